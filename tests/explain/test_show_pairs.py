"""`show --user` of models of single pairs: the user's test rows, and what a language model is asked about each."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_ext.cli import main
from recbole_ext.data.splits import TEST
from recbole_ext.evaluator.ranks_file import SCORES, read_scores
from recbole_ext.explain.pairs import rows_of
from recbole_ext.explain.top_items import saved_run
from recbole_ext.registry import PROMPTS
from recbole_ext.registry.find import offering
from recbole_ext.registry.rows import MODELS
from tests.model.prompted_data import OF, SMALL, write_clicks, write_llama

MODELS_RUN = ("CoLLM", "TALLRec", "MF")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """Finished runs of three models on the clicks."""
    folder = write_clicks(tmp_path_factory.mktemp("clicks"))
    llama = write_llama(tmp_path_factory.mktemp("llama"))
    records = tmp_path_factory.mktemp("runs")
    common = [f"--records={records}", f"--data-path={folder}", "--dataset=clicks"]
    for name in MODELS_RUN:
        own = {"epochs": 2, "embedding_size": 4} if name == "MF" else {key: SMALL[key] for key in OF[name]} | {"backbone": f"lm:{llama}", "max_length": 66}  # fmt: skip
        if name == "CoLLM":
            own["score"] = "prob_diff"
        given = [f"--{key}={value}" for key, value in own.items()]
        split = ["--keep_label=true", "--split_ratio=0.5,0.2,0.3", "--threads=1"]
        assert main([f"--model={name}", *common, *split, *given]) == 0
    return records, folder, common


def busiest(where):
    """The token of a user with most test rows."""
    with saved_run(where[0], "MF", "clicks", where[1]) as saved:
        problem = saved.experiment.problem
    user = np.bincount(problem.data.user[problem.split.part == TEST]).argmax()
    return problem.data.user_tokens[user]


def shown(capsys, where, model, *given):
    capsys.readouterr()
    code = main(["show", f"--model={model}", *where[2], *given])
    told = capsys.readouterr()
    return code, told.out if code == 0 else told.err


@pytest.mark.parametrize("model", MODELS_RUN)
def test_scores_and_labels_are_those_of_the_run(model, where, capsys):
    records, folder, _ = where
    with saved_run(records, model, "clicks", folder) as saved:
        data = saved.experiment.problem.data
        table = read_scores(saved.folder / SCORES)[0]
    user = int(np.unique(table.user)[3])
    own = table.user == user
    code, out = shown(capsys, where, model, f"--user={data.user_tokens[user]}", "--k=50")
    assert code == 0
    head, *lines = out.splitlines()
    assert f"user {data.user_tokens[user]}, {own.sum()} test row" in head
    rows = [line.split() for line in lines if line.lstrip()[:1].isdigit() and "label" in line]
    order = np.flatnonzero(own)[np.argsort(-table.score[own], kind="stable")]
    what = {"MF": "chance", "TALLRec": "P(Yes)", "CoLLM": "score"}[model]
    wanted = [
        [str(n), what, f"{table.score[at]:.4f}", "label", str(table.label[at]), data.item_tokens[table.item[at]]]
        for n, at in enumerate(order, 1)
    ]  # fmt: skip
    # The item's title stands behind; MF's float32 sums of other batches may differ in the last digit that is printed.
    assert [row[:2] + row[3:6] for row in rows] == [row[:2] + row[3:] for row in wanted]
    np.testing.assert_allclose(
        [float(row[2]) for row in rows], [float(row[2]) for row in wanted], atol=1.01e-4
    )
    assert ("|" in out) == (model != "MF")


def test_prompts_have_slots_the_target_and_what_was_dropped(where, capsys):
    records, folder, _ = where
    asked_for = busiest(where)
    with saved_run(records, "CoLLM", "clicks", folder) as saved:
        problem, model = saved.experiment.problem, saved.fitted.model
        pairs = rows_of(problem, asked_for)
        prompts = {
            problem.data.item_tokens[item]: model.token_prompts.of([item + 1], [row])[0]
            for item, row in zip(pairs.item, pairs.row, strict=True)
        }
        titles = dict(zip(problem.data.item_tokens, problem.titles[1], strict=True))
        assert (problem.split.part[pairs.row] == TEST).all()
    assert any(prompt.dropped for prompt in prompts.values())
    _, out = shown(capsys, where, "CoLLM", f"--user={asked_for}")
    _, *parts = out.split(" score ")
    assert len(parts) == len(prompts)
    for part in parts:
        item = part.split()[3]
        prompt = prompts[item]
        told = f"{len(prompt.ids)} tokens" + (f", the {prompt.dropped} oldest titles dropped" if prompt.dropped else "")  # fmt: skip
        assert told in [line.strip() for line in part.splitlines()]
        asked = [line for line in part.splitlines() if line.lstrip().startswith("|")]
        text = "\n".join(asked)
        assert "⟦user⟧" in text and "⟦item⟧" in text and titles[item] in text
    _, plain = shown(capsys, where, "TALLRec", f"--user={asked_for}")
    assert "⟦" not in plain and "tokens" in plain


def test_k_rows_are_the_highest(where, capsys):
    user = f"--user={busiest(where)}"
    _, every = shown(capsys, where, "MF", user)
    _, two = shown(capsys, where, "MF", user, "--k=2")
    assert two.splitlines()[1:] == every.splitlines()[1:3]
    assert "the 2 with the highest chance" in two.splitlines()[0]


def test_what_cannot_be_shown_is_one_line(where, capsys, monkeypatch):
    records, folder, _ = where
    for given, why in (
        (["--user=u00"], "user 'u00' is not in clicks, did you mean"),
        (["--user=u0", "--query=a red house"], "MF has no score of every item"),
    ):
        code, err = shown(capsys, where, "MF", *given)
        assert code == 2 and why in err and err.count("\n") == 1
    code, err = shown(capsys, where, "DIN", "--user=u0")
    assert code == 2 and "has no run of DIN on clicks" in err
    with saved_run(records, "MF", "clicks", folder) as saved:
        problem = saved.experiment.problem
        part = problem.split.part
        part[(problem.data.user == 2) & (part == TEST)] = 0
        tested = len(np.unique(problem.data.user[part == TEST]))
        user = problem.data.user_tokens[2]
        with pytest.raises(Exception, match=f"user '{user}' has no row in the test part of clicks; {tested} of 20 users have"):  # fmt: skip
            rows_of(problem, user)


def test_every_model_of_pairs_that_loads_a_backbone_shows_its_prompts():
    asks = {name: spec for name, spec in MODELS.items() if "language_model" in spec.inputs}
    assert set(offering(PROMPTS)) == {n for n, s in asks.items() if s.scoring == "pointwise"}
