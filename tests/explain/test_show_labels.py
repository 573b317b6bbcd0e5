"""`show --labels` and `show --latent`: what is printed is the coder's, the lists are the run's, and choices are those of the tables."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.data.splits import VALID
from recbole_ext.evaluator.lists import Answers
from recbole_ext.explain.chosen import choices
from recbole_ext.explain.labels import latents_of
from recbole_ext.explain.top_items import saved_run
from recbole_ext.recbole_compat import list_scorer
from recbole_ext.testing import write_tiny
from tests.model.listed_data import CODER, OWN, write_llama
from tests.model.test_sasrec import SMALL

BELOW = ("protocols", "draws", "ks")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """Finished runs of a model that names titles, of A-LLMRec, and of the coder without a language model."""
    torch.set_num_threads(1)
    folder, records = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs")
    write_tiny(folder)
    llama = write_llama(tmp_path_factory.mktemp("llama"))
    common = [f"--records={records}", f"--data-path={folder}", "--dataset=tiny"]
    listing = {**SMALL, **OWN, "backbone": llama, "chosen_by": "likelihood"}
    runs = {
        "SAULD": {**listing, **CODER},
        "ALLMRec": listing,
        "SASRecSAE": {**SMALL, **CODER, **{key: OWN[key] for key in BELOW}},
    }
    for name, own in runs.items():
        given = [f"--{key}={value}" for key, value in own.items()]
        assert main([f"--model={name}", *common, *given]) == 0
    return records, folder, common


def shown(capsys, where, model, *given):
    capsys.readouterr()
    code = main(["show", f"--model={model}", *where[2], *given])
    told = capsys.readouterr()
    return code, told.out if code == 0 else told.err


def numbers(line):
    return [int(one) for one in re.findall(r"\d+", line.split("]")[0])]


def test_a_latents_items_are_those_with_its_largest_values(where, capsys):
    with saved_run(where[0], "SASRecSAE", "tiny", where[1]) as saved:
        model, data = saved.fitted.model, saved.experiment.problem.data
        code = model.sae.code(model.items.weight)[1:].detach().numpy()
    latent = int((code != 0).sum(0).argmax())
    exit_code, out = shown(capsys, where, "SASRecSAE", f"--latent={latent}", "--k=3")
    assert exit_code == 0
    _, *lines = out.splitlines()
    best = sorted(np.flatnonzero(code[:, latent]), key=lambda item: -code[item, latent])[:3]
    assert [line.split()[1] for line in lines] == [data.item_tokens[item] for item in best]
    assert [float(line.split()[0]) for line in lines] == [
        pytest.approx(code[item, latent], abs=1e-4) for item in best
    ]


def test_labels_marks_and_counts_are_those_of_a_loop(where, capsys):
    with saved_run(where[0], "SAULD", "tiny", where[1]) as saved:
        view, data = latents_of(saved), saved.experiment.problem.data
        model = saved.fitted.model
        user = int(saved.experiment.problem.test_task.users[4])
        history, own = view.history(user), view.user_labels(user)
        found = choices(saved, user, where[0])
        with torch.no_grad():
            state = model.user_states([[int(item) + 1 for item in history]])
            values = model.sae.code(state)[0]
    assert set(own.tolist()) == set(values.nonzero()[:, 0].tolist())
    part = saved.experiment.problem.split.part
    mine = np.flatnonzero((data.user == user) & (part <= VALID))
    latest = mine[np.argsort(data.time[mine], kind="stable")][-SMALL["MAX_ITEM_LIST_LENGTH"] :]
    assert history.tolist() == data.item[latest].tolist()
    code, out = shown(capsys, where, "SAULD", f"--user={data.user_tokens[user]}", "--labels")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("  [")]
    before = [set(view.labels(history[[place]])[0].tolist()) for place in range(len(history))]
    shared_history = before[-10:]
    rows = lines[len(shared_history) :]
    assert len(rows) == 6 == len(found.candidates)
    for item, line in zip(found.candidates.tolist(), rows, strict=True):
        mine = view.labels(np.array([item]))[0].tolist()
        assert numbers(line) == mine
        stars = set(map(int, re.findall(r"(\d+)\*", line)))
        pluses = set(map(int, re.findall(r"(\d+)\*?\+", line)))
        assert stars == set(mine) & set(own.tolist())
        assert pluses == set(mine) & set.union(*shared_history)
        with_items = sum(bool(one & set(mine)) for one in shared_history)
        assert f"{len(stars)} with the user, {with_items} with items" in line
        assert ("right" in line) == (item == found.right)
    assert "SAULD chose" in out and "ALLMRec (run " in out


@pytest.mark.parametrize("model", ["SAULD", "ALLMRec"])
def test_what_is_said_to_be_chosen_is_what_the_model_scores_highest(model, where):
    with saved_run(where[0], model, "tiny", where[1]) as saved:
        problem, fitted = saved.experiment.problem, saved.fitted
        known = problem.split.pairs(problem.data, *problem.seen_at_test)
        scorer = list_scorer(fitted.model, fitted.bench, problem.data, known)
        for user in problem.test_task.users[:8].tolist():
            found = choices(saved, user, where[0])
            scores = scorer(np.array([user]), found.candidates[None])
            assert not isinstance(scores, Answers)
            best = int(found.candidates[scores.values[0].argmax()])
            assert found.chosen[0].item == best
            assert found.chosen[0].right == (best == found.right)
            assert len(found.chosen) == (2 if model == "SAULD" else 1)


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("SAULD", ["--labels"], "--user=TOKEN is missing"),
        ("SAULD", ["--labels", "--latent=1", "--user=u1"], "two questions"),
        ("SAULD", ["--latent=12"], "has latents 0 to 11"),
        ("SAULD", ["--latent=1", "--user=u1"], "are nobody's"),
        ("ALLMRec", ["--latent=1"], "has no sparse autoencoder of item vectors"),
        ("SASRecSAE", ["--labels", "--user=nobody"], "user 'nobody' is not in tiny"),
        ("SAULD", ["--latent=x"], "whole number from 0"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(model, given, said, where, capsys):
    code, err = shown(capsys, where, model, *given)
    assert code == 2 and said in err
