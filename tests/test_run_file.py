"""Another system's lists as a row: the same numbers as its model would get here, and faults in one line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.data.run_file import RunFile
from recbole_ext.evaluator.ranks import rank
from recbole_ext.pipeline.verify import verify_records
from tests.problems import make_experiment


@pytest.fixture
def scored(tiny_path):
    """(scores [40, 30] with ties, long frame) on the tiny dataset."""
    data = make_experiment("Pop", "tiny", tiny_path).problem.data
    scores = (
        np.random.default_rng(0)
        .integers(0, 9, (len(data.user_tokens), len(data.item_tokens)))
        .astype(float)
    )
    u, i = (x.ravel() for x in np.indices(scores.shape))
    frame = pd.DataFrame(
        {
            "user_id": np.array(data.user_tokens)[u],
            "item_id": np.array(data.item_tokens)[i],
            "score": scores.ravel(),
        }
    )
    return scores, frame.sample(frac=1, random_state=1)


def arguments(tiny_path, tmp_path, file, name="Theirs"):
    return [
        f"--run-file={file}", f"--model={name}", "--dataset=tiny", f"--data-path={tiny_path}", "--protocols=full,uni5",
        f"--records={tmp_path / 'runs'}", "--valid_metric=recall@5",
    ]  # fmt: skip


def write(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["run.csv", "run.tsv", "run.parquet", "run.csv.gz"])
def test_a_run_file_gets_the_ranks_of_its_scores(name, scored, tiny_path, tmp_path):
    scores, frame = scored
    problem = make_experiment("Pop", "tiny", tiny_path, protocols="full,uni5").problem
    listed = RunFile(write(frame, tmp_path / name)).read(problem.data)
    (ours,) = rank(problem.test_task, lambda users: [listed.scores(users)])
    (expected,) = rank(problem.test_task, lambda users: [torch.from_numpy(scores[users])])
    for column in ("above", "tied"):
        np.testing.assert_array_equal(getattr(ours, column), getattr(expected, column))
    np.testing.assert_array_equal(ours.lists["uni5"][0], expected.lists["uni5"][0])
    assert len(listed.remarks(problem.test_task)) == 1


def test_scores_as_text_are_read_to_the_last_bit(tmp_path):
    scores = np.random.default_rng(0).random(2000)
    path = write(pd.DataFrame({"user": "u", "item": "i", "score": scores}), tmp_path / "run.csv")
    file = RunFile(path)
    np.testing.assert_array_equal(file._values(file.frame()), scores)


def test_doubles_that_float32_would_merge_keep_their_order(tiny_path, tmp_path):
    data = make_experiment("Pop", "tiny", tiny_path).problem.data
    score = 1e9 + np.arange(30) * 1e-3
    frame = pd.DataFrame({"user": data.user_tokens[3], "item": data.item_tokens, "score": score})
    listed = RunFile(write(frame, tmp_path / "run.parquet")).read(data)
    assert listed.scores(np.array([3]))[0].tolist() == list(range(1, 31))
    assert listed.scores(np.array([2])).sum() == 0


def test_short_lists_by_rank_are_a_row_with_remarks(scored, tiny_path, tmp_path, capsys):
    _, frame = scored
    top = frame.sort_values("score", ascending=False).groupby("user_id").head(7)
    top = top[top["user_id"] != "u5"]
    top["rank"] = top.groupby("user_id").cumcount() + 1
    file = write(top[["user_id", "item_id", "rank"]], tmp_path / "run.csv")
    assert main([*arguments(tiny_path, tmp_path, file), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["experiment"]["model"] == "Theirs" and record["validation"]["value"] is None
    assert record["flags"] == [
        "from a run file",
        "1 of 40 test users are not in the run file: all their items tie",
        "the run file lists 7 to 7 items a user; what is not listed ties below",
    ]
    assert main(arguments(tiny_path, tmp_path, file)) == 0  # finished: the board alone
    out, err = capsys.readouterr()
    assert "nothing to do" in err and "from a run file (Theirs)" in out
    with pytest.raises(Exception, match="no record matches"):
        verify_records([], 1, 1, None)


def test_another_content_is_another_run(scored, tiny_path, tmp_path, capsys):
    _, frame = scored
    ids = set()
    for shift in (0, 1):
        frame["score"] = frame["score"] + shift
        file = write(frame, tmp_path / "run.csv")
        assert main([*arguments(tiny_path, tmp_path, file), "--json"]) == 0
        ids.add(json.loads(capsys.readouterr().out)["run_id"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(user_id="nobody"), "rows name no users of tiny (after its filters), first 'nobody' in row 1"),
        (lambda f: f.assign(item_id="nothing"), "rows name no items of tiny"),
        (lambda f: f.drop(columns="score"), "neither 'score' nor 'rank' (it has user_id, item_id)"),
        (lambda f: f.rename(columns={"user_id": "usr"}), "no column 'user' (it has usr, item_id, score), did you mean usr"),
        (lambda f: pd.concat([f, f.head(2)]), "2 pairs stand more than once, first user"),
        (lambda f: f.assign(score=["x", *f["score"].iloc[1:]]), "1 values of 'score' are no finite numbers, first 'x' in row 1"),
        (lambda f: f.assign(score=float("nan")), "values of 'score' are no finite numbers"),
        (lambda f: f.head(0), "it has no rows"),
    ],
)  # fmt: skip
def test_a_bad_run_file_is_one_line(change, said, scored, tiny_path, tmp_path, capsys):
    file = write(change(scored[1].astype(object)), tmp_path / "run.csv")
    assert main(arguments(tiny_path, tmp_path, file)) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and str(file) in err
    assert not list((tmp_path / "runs").rglob("record.json"))


def test_a_file_that_is_no_file_and_a_name_that_is_taken(scored, tiny_path, tmp_path, capsys):
    assert main(arguments(tiny_path, tmp_path, tmp_path / "none.csv")) == 2
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    assert main(arguments(tiny_path, tmp_path, tmp_path / "bad.parquet")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    file = write(scored[1], tmp_path / "run.csv")
    for name in ("EASE", "BPR"):
        assert main(arguments(tiny_path, tmp_path, file, name)) == 2
        assert "is a model here" in capsys.readouterr().err
    assert main([*arguments(tiny_path, tmp_path, file), "--tune"]) == 2
    assert "no --tune" in capsys.readouterr().err
