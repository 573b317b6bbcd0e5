"""`--refit`: chosen on validation, trained again on training and validation, then tested."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.data.splits import TEST, TRAIN, VALID
from recbole_ext.pipeline.training import Training, rank_test
from recbole_ext.results import find_records, read_record
from tests.problems import make_experiment, train


def ran(tiny_path, records, *given):
    argv = [*given, "--dataset=tiny", f"--data-path={tiny_path}", f"--records={records}", "--protocols=full"]  # fmt: skip
    assert main(argv) == 0
    return {r.experiment["model"]: r for r in map(read_record, find_records(records))}


def test_the_validation_part_is_trained_on_and_the_test_part_stays(tiny_path):
    experiment = make_experiment("EASE", "tiny", tiny_path, protocols="full", refit=True)
    before, after = experiment.problem.split.part, experiment.final.problem.split.part
    np.testing.assert_array_equal(before == TEST, after == TEST)
    np.testing.assert_array_equal(after == TRAIN, (before == TRAIN) | (before == VALID))
    assert experiment.run_id != make_experiment("EASE", "tiny", tiny_path, protocols="full").run_id
    assert "refit" not in make_experiment("EASE", "tiny", tiny_path).describe()


def test_a_closed_form_is_that_of_both_parts(tiny_path, tmp_path):
    experiment = make_experiment("EASE", "tiny", tiny_path, protocols="full", refit=True)
    training = Training(experiment, None, tmp_path)
    params = experiment.settings.params
    chosen = training.fit(params, "EASE")
    fitted = Training(experiment.final, None, tmp_path).refit(params, chosen)
    data, part = experiment.problem.data, experiment.problem.split.part
    seen = np.zeros((len(data.user_tokens), len(data.item_tokens)))
    seen[data.user[part != TEST], data.item[part != TEST]] = 1
    inverse = np.linalg.inv(seen.T @ seen + params["reg_weight"] * np.eye(seen.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    scores = seen @ weights
    table = rank_test(fitted, experiment.problem)
    for user, item, above in zip(table.user, table.item, table.above, strict=True):
        others = np.setdiff1d(np.arange(seen.shape[1]), data.item[data.user == user])
        # Scores are float32 sums of a dozen numbers below one.
        clear = np.abs(scores[user, others] - scores[user, item]) > 1e-4
        low = int((scores[user, others[clear]] > scores[user, item]).sum())
        assert low <= above <= low + int((~clear).sum())
    assert fitted.value == chosen.value


def test_a_trained_model_runs_through_the_epochs_that_were_best(tiny_path, tmp_path):
    given = {"protocols": "full", "epochs": 12, "stopping_step": 2, "learning_rate": 0.02}
    experiment = make_experiment("BPR", "tiny", tiny_path, refit=True, **given)
    params, scores = experiment.settings.params, []
    chosen = Training(experiment, None, tmp_path).fit(
        params, "BPR", lambda score, best, epochs: scores.append(score)
    )
    best = 1 + int(np.argmax(scores))
    assert chosen.chosen == {"": best} and chosen.epochs == len(scores)
    fitted = Training(experiment.final, None, tmp_path).refit(params, chosen)
    assert fitted.epochs == best
    # The same seed on the same parts, stopped there.
    plain = Training(experiment.final, None, tmp_path)
    _, bench = plain.build(params)
    assert len(bench.dataset) == int((experiment.problem.split.part != TEST).sum())
    again = Training(experiment.final, None, tmp_path).refit(params, chosen)
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert not torch.equal(
        fitted.model.state_dict()["user_embedding.weight"],
        train(experiment, tmp_path).model.state_dict()["user_embedding.weight"],
    )


def test_the_record_says_so_and_its_validation_is_that_of_the_choice(tiny_path, tmp_path, capsys):
    plain = ran(tiny_path, tmp_path / "plain", "--model=EASE,BPR", "--epochs=3")
    again = ran(tiny_path, tmp_path / "refit", "--model=EASE,BPR", "--epochs=3", "--refit=true")
    for model, record in again.items():
        assert record.experiment["refit"] is True and "refit" not in plain[model].experiment
        assert record.validation == plain[model].validation
        assert record.metrics != plain[model].metrics
        assert record.data == plain[model].data and record.fingerprints == plain[model].fingerprints
    capsys.readouterr()
    records = f"--records={tmp_path / 'refit'}"
    assert main(["show", "--model=EASE", "--dataset=tiny", f"--data-path={tiny_path}", records, "--user=u1"]) == 0  # fmt: skip
    shown = capsys.readouterr().out
    assert "u1" in shown
    assert main(["board", records]) == 0
    assert "EASE, refitted" in capsys.readouterr().out


def test_a_search_is_shared_with_the_run_that_is_not_refitted(tiny_path, tmp_path, capsys):
    ran(tiny_path, tmp_path, "--model=EASE", "--tune")
    (log,) = (tmp_path / ".trials").glob("*.jsonl")
    before = log.read_bytes()
    argv = ["--model=EASE", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}", "--protocols=full",
            "--tune", "--refit=true", "--json"]  # fmt: skip
    capsys.readouterr()
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["experiment"]["refit"] is True
    assert log.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--exclude=train"], "--exclude=train+valid"),
        (["--refit=maybe"], "refit"),
    ],
)
def test_what_a_refit_cannot_mean_is_one_line(given, said, tiny_path, tmp_path, capsys):
    argv = ["--model=EASE", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}", "--refit=true", *given]  # fmt: skip
    assert main(argv) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in line
