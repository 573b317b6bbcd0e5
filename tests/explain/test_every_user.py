"""`show --users=all`: every test user's list and values, against slow loops, the run's own tables and `show --user`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from recbole_ext.cli import main
from recbole_ext.core import table_file
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import written_atomically
from recbole_ext.evaluator.pointwise import LabelledPairs, scores_per_user
from recbole_ext.evaluator.ranks import make_task
from recbole_ext.evaluator.ranks_file import RANKS, SCORES, read_ranks, read_scores
from recbole_ext.evaluator.summary import per_user
from recbole_ext.explain import every_user
from recbole_ext.explain.every_user import write_every_user
from recbole_ext.explain.lists import best_items, best_rows
from recbole_ext.explain.top_items import saved_run
from tests.model.prompted_data import write_clicks

SPLIT = ["--keep_label=true", "--split_ratio=0.5,0.2,0.3", "--threads=1"]


@pytest.fixture(scope="module")
def where(tiny_path, tmp_path_factory):
    """Options that find a finished run of EASE."""
    records = tmp_path_factory.mktemp("runs")
    found = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={records}"]
    assert main(["--model=EASE", *found, "--protocols=full,uni5,expected@5", "--threads=1"]) == 0
    return records, found


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """The same of Bias and of ItemKNN on labelled pairs."""
    records, data = (tmp_path_factory.mktemp(name) for name in ("labelled", "clicks"))
    write_clicks(data)
    found = ["--dataset=clicks", f"--data-path={data}", f"--records={records}"]
    assert main(["--model=Bias", *found, *SPLIT, "--protocols=ctr"]) == 0
    assert main(["--model=ItemKNN", *found, *SPLIT, "--protocols=full,ctr"]) == 0
    return records, found


def shown(found, path, *given, model="EASE"):
    return main(["show", f"--model={model}", *found, "--users=all", f"--output={path}", *given])


def refused(capsys, *argv):
    capsys.readouterr()
    assert main(["show", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def folder_of(records, model):
    (found,) = [p.parent for p in records.glob("*/record.json") if f'"model": "{model}"' in p.read_text()]  # fmt: skip
    return found


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_best_items_are_those_of_a_sort(seed, top):
    rng = np.random.default_rng(seed)
    mask = rng.random((5, 8))
    task = make_task(8, np.nonzero(mask < 0.3), np.nonzero(mask > 0.6))
    if not len(task.users):
        return
    first = int(rng.integers(len(task.users)))
    users = task.users[first:]
    matrix = rng.integers(0, 4, (len(users), 8)).astype(np.float32)  # with ties
    wanted = [
        (user, place, item, matrix[row, item], mask[user, item] < 0.3)
        for row, user in enumerate(users)
        for place, item in enumerate(
            sorted(np.flatnonzero(mask[user] <= 0.6), key=lambda i: (-matrix[row, i], i))[:top], 1
        )
    ]
    before = matrix.copy()
    of = best_items(task, users, matrix, top)
    assert list(zip(of.user, of.place, of.item, of.score, of.positive, strict=True)) == wanted
    np.testing.assert_array_equal(matrix, before)  # ranks are read off it next


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_best_rows_are_those_of_a_sort(seed, top, block):
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, 6, 15))
    pairs = LabelledPairs(user, rng.integers(0, 5, 15), rng.integers(0, 2, 15))
    score = rng.integers(0, 3, 15) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recbole_ext.explain.lists._USERS", block)
        blocks = list(best_rows(pairs, score, top))
    found = [row for b in blocks for row in zip(b.user, b.place, b.item, b.score, b.positive, strict=True)]  # fmt: skip
    wanted = [
        (u, place, pairs.item[at], score[at], pairs.label[at] == 1)
        for u in np.unique(user)
        for place, at in enumerate(
            sorted(np.flatnonzero(user == u), key=lambda i: (-score[i], i))[:top], 1
        )
    ]
    assert found == wanted and all(len(np.unique(b.user)) <= block for b in blocks)


def test_lists_are_those_that_show_prints_for_each_user(where, tmp_path, capsys):
    found = where[1]
    assert shown(found, tmp_path / "l.parquet", "--top=6") == 0
    assert "40 test users, at most 6 items each" in capsys.readouterr().out
    rows = parquet.read_table(tmp_path / "l.parquet").to_pylist()
    assert len({row["user"] for row in rows}) == 40
    for user in ("u0", "u7", "u39"):
        assert main(["show", "--model=EASE", *found, f"--user={user}", "--k=6"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        own = [row for row in rows if row["user"] == user]
        assert [line.split()[2] for line in lines] == [row["item"] for row in own]
        assert [int(line.split()[0]) for line in lines] == [row["place"] for row in own]
        # Printed with four digits; products of one user and of a block round differently in float32.
        assert [float(line.split()[1]) for line in lines] == pytest.approx([row["score"] for row in own], abs=1e-4)  # fmt: skip
        assert [line.endswith("held out") for line in lines] == [row["positive"] for row in own]


def test_values_of_users_are_those_of_the_run(where, tmp_path):
    records, found = where
    assert shown(found, tmp_path / "l.parquet") == 0
    users = parquet.read_table(tmp_path / "l.users.parquet")
    table, tokens, _ = read_ranks(folder_of(records, "EASE") / RANKS)
    there = [tokens[u] for u in np.unique(table.user)]
    order = [users["user"].to_pylist().index(token) for token in there]
    assert len(order) == len(users)
    for protocol in ("full", "uni5", "expected@5"):
        for metric, values in per_user(table, protocol, [1, 5, 10, 20, 50]).items():
            own = users[f"{protocol} {metric}"].to_numpy()[order]
            np.testing.assert_allclose(own, values if values.ndim == 1 else values.mean(axis=1))
    assert users["positives"].to_numpy()[order].tolist() == np.unique(table.user, return_counts=True)[1].tolist()  # fmt: skip
    hits = {row["user"] for row in parquet.read_table(tmp_path / "l.parquet").to_pylist() if row["positive"]}  # fmt: skip
    assert hits == {u for u, v in zip(users["user"].to_pylist(), users["full hr@20"].to_pylist(), strict=True) if v}  # fmt: skip


def test_csv_holds_what_parquet_holds(where, tmp_path, monkeypatch):
    found = where[1]
    assert shown(found, tmp_path / "l.parquet") == 0
    monkeypatch.setattr(table_file, "_ROWS", 7)  # many pieces
    assert shown(found, tmp_path / "l.csv") == 0
    for name in ("l", "l.users"):
        one, other = parquet.read_table(tmp_path / f"{name}.parquet"), pyarrow.csv.read_csv(tmp_path / f"{name}.csv")  # fmt: skip
        assert one.column_names == other.column_names
        for column in one.column_names:
            a, b = one[column].to_pylist(), other[column].to_pylist()
            assert a == (pytest.approx(b) if isinstance(a[0], float) else b), column


def test_pairs_are_listed_with_their_labels_and_the_users_own_auc(clicks, tmp_path, capsys):
    records, found = clicks
    assert shown(found, tmp_path / "l.parquet", "--top=3", model="Bias") == 0
    table, tokens, items = read_scores(folder_of(records, "Bias") / SCORES)
    rows = parquet.read_table(tmp_path / "l.parquet").to_pylist()
    for user in np.unique(table.user):
        own = table.user == user
        at = np.flatnonzero(own)[np.argsort(-table.score[own], kind="stable")][:3]
        mine = [row for row in rows if row["user"] == tokens[user]]
        assert [row["score"] for row in mine] == pytest.approx(table.score[at].tolist())
        assert [row["positive"] for row in mine] == (table.label[at] == 1).tolist()
        assert {row["item"] for row in mine} <= {items[i] for i in table.item[own]}
    users = parquet.read_table(tmp_path / "l.users.parquet")
    own = dict(zip(users["user"].to_pylist(), users["ctr uauc"].to_pylist(), strict=True))
    wanted = scores_per_user(table)["uauc"]
    for user, value in zip(np.unique(table.user), wanted, strict=True):
        assert own[tokens[user]] is None if np.isnan(value) else own[tokens[user]] == pytest.approx(value)  # fmt: skip
    assert any(np.isnan(wanted)) or users["ctr uauc"].null_count == 0


def test_a_model_that_scores_every_item_has_ranks_and_labels(clicks, tmp_path):
    records, found = clicks
    assert shown(found, tmp_path / "l.parquet", model="ItemKNN") == 0
    users = parquet.read_table(tmp_path / "l.users.parquet")
    folder = folder_of(records, "ItemKNN")
    ranked, scores = read_ranks(folder / RANKS)[0], read_scores(folder / SCORES)[0]
    assert users["full recall@10"].null_count == len(users) - len(np.unique(ranked.user))
    assert len(users) == len(np.unique(scores.user))
    assert np.nanmean(users["ctr uauc"].to_numpy()) == pytest.approx(np.nanmean(scores_per_user(scores)["uauc"]))  # fmt: skip


def test_what_is_cut_short_leaves_the_files_that_were_there(where, tmp_path, monkeypatch):
    found = where[1]
    for name in ("l.csv", "l.users.csv"):
        (tmp_path / name).write_text("before")

    def broken(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(every_user, "_values", broken)  # the lists are all written by then
    assert shown(found, tmp_path / "l.csv") == 130
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"l.csv": "before", "l.users.csv": "before"}  # fmt: skip


def test_a_stream_that_ends_badly_is_no_file(tmp_path):
    with pytest.raises(ValueError), written_atomically(tmp_path / "x") as stream:
        stream.write(b"half")
        raise ValueError
    assert not list(tmp_path.iterdir())
    with written_atomically(tmp_path / "sub" / "x") as stream:
        stream.write(b"all")
        assert not (tmp_path / "sub" / "x").exists()
    assert (tmp_path / "sub" / "x").read_bytes() == b"all"


def test_a_disk_that_takes_no_more_is_one_line(where, tmp_path, monkeypatch, capsys):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_file.TableWriter, "write", full)
    capsys.readouterr()
    assert shown(where[1], tmp_path / "l.csv") == 2
    assert f"--output={tmp_path / 'l.csv'}: No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--users=some", "--output=l.csv"], "--users=some must be all"),
        (["--users=all"], "--output=FILE is missing"),
        (["--users=all", "--output=l.txt"], "ends in .parquet or .csv, e.g. l.parquet"),
        (["--users=all", "--output=nowhere/l.csv"], "no folder nowhere"),
        (["--users=all", "--output=folder.csv"], "folder.csv is a folder"),
        (["--users=all", "--output=l.csv", "--top=0"], "--top=0: must be a whole number from 1"),
        (["--users=all", "--output=l.csv", "--user=u3"], "--user says nothing to --users=all"),
        (["--users=all", "--output=l.csv", "--tops=3"], "did you mean top?"),
        (["--users=all", "--output=l.csv", "--publish"], "--publish says nothing"),
    ],
)
def test_a_mistake_is_one_line(argv, expected, where, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert expected in refused(capsys, "--model=EASE", *where[1], *argv)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.csv"]


def test_runs_without_a_model_or_without_a_list_are_refused(where, tmp_path, capsys, tiny_path):
    (tmp_path / "scores.csv").write_text("user,item,score\nu3,i4,1\n")
    records = tmp_path / "runs"
    found = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={records}"]
    assert main(["--model=Theirs", *found, "--protocols=full", f"--run-file={tmp_path / 'scores.csv'}"]) == 0  # fmt: skip
    out = ["--users=all", f"--output={tmp_path / 'l.csv'}"]
    assert "ranked from a run file" in refused(capsys, "--model=Theirs", *found, *out)
    assert "has no run of Pop" in refused(capsys, "--model=Pop", *where[1], *out)


def test_a_model_that_scores_given_lists_only_has_none(where, tiny_path, tmp_path):
    with saved_run(where[0], "EASE", "tiny", tiny_path) as saved:
        model = dataclasses.replace(saved.experiment.model, scoring="candidates")
        experiment = dataclasses.replace(saved.experiment, model=model)
        with pytest.raises(HarnessError, match="EASE has no score of every item"):
            write_every_user(
                dataclasses.replace(saved, experiment=experiment), 3, tmp_path / "l.csv"
            )
    assert not list(tmp_path.iterdir())
