"""Users that training never sees, from the command line to the board, back from the record, and in `show`."""

from __future__ import annotations

import pytest

from recbole_ext.cli import main
from recbole_ext.data.splits import HISTORY, TEST
from recbole_ext.leaderboard.board import load_records
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.pipeline.verify import verify_records

KEYS = ["--split=users", "--fold=3", "--split_held_out=0.3", "--protocols=full,uni5", "--threads=1"]


@pytest.fixture
def common(tiny_path, tmp_path):
    return ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}"]


def test_a_board_a_record_and_a_list_of_unseen_users(tiny_path, tmp_path, common, capsys):
    models = [
        "--model=Pop,EASE,MultiVAE",
        "--epochs=2",
        "--mlp_hidden_size=[8]",
        "--latent_dimension=4",
    ]
    assert main([*models, *common, *KEYS]) == 0
    out = capsys.readouterr().out
    assert (
        "fold=3, split=users, split_held_out=0.3, split_seed=2026" in out and "4 test users" in out
    )
    assert all(name in out for name in ("Pop", "EASE", "MultiVAE"))
    records, _ = load_records(tmp_path)
    for record in records:
        again = experiment_of(record, tiny_path)
        assert again.run_id == record.run_id and record.data["history"] > 0
    assert verify_records(records, 3, 0, tiny_path) == 0
    problem = experiment_of(records[0], tiny_path).problem
    data, part = problem.data, problem.split.part
    user = int(problem.test_task.users[0])
    token, mine = data.user_tokens[user], data.user == user
    capsys.readouterr()
    assert main(["show", "--model=EASE", *common, f"--user={token}", "--k=30"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert f"user {token}, {(mine & (part == HISTORY)).sum()} items in the history" in first
    assert sum("held out" in line for line in lines) == (mine & (part == TEST)).sum()
    assert len(lines) == len(data.item_tokens) - (mine & (part == HISTORY)).sum()


def test_a_search_chooses_on_users_that_are_folded_in(tmp_path, common, capsys):
    assert main(["--model=EASE", *common, *KEYS, "--tune=3", "--valid_metric=recall@5"]) == 0
    (record,), _ = load_records(tmp_path)
    values = [trial["value"] for trial in record.tuning["trials"]]
    assert len(values) == 3 and max(values) > 0
    assert record.validation["value"] == pytest.approx(max(values), abs=0.2)


def test_a_model_that_cannot_refuses_the_whole_command(tmp_path, common, capsys):
    assert main(["--model=EASE,LightGCN", *common, *KEYS]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: --split=users: LightGCN has parameters of users")
    assert err.count("\n") == 1 and not list(tmp_path.glob("*/record.json"))


def test_sources_that_hold_users_out_are_refused(tiny_path, tmp_path, common, capsys):
    argv = ["--model=AlphaRec", *common, "--train=ml-100k", "--split=users", "--encoder=hash:8"]
    assert main(argv) == 2
    assert "error: --train: split=users holds users out" in capsys.readouterr().err
