"""What somebody types, and where it is printed, who has not read the pages."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from recbole_ext.arguments import COMMANDS, HELP
from recbole_ext.cli import main
from tests.cli.test_cli import refused


class Disk(io.BytesIO):
    """A file on a disk that is full until somebody makes room."""

    full = True

    def write(self, data: Any, /) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_letters_that_a_terminal_lacks_become_question_marks(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr("recbole_ext.cli.HELP", "0.28 ±0.02 – τ\n")
    assert main(["--help"]) == 0
    assert raw.getvalue() == b"0.28 ?0.02 ? ?\n"


def test_a_full_disk_behind_standard_output_is_one_line(monkeypatch, capsys):
    disk = Disk()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(disk))
    assert main(["list", "EASE"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: No space left on device; make room") and err.count("\n") == 1
    disk.full = False  # or it is tried again, in vain, when the stream is collected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--modle=EASE", "--dataset=ml-100k"], "--model=NAME is missing; is --modle meant to be it?"),
        (["--model=EASE", "--datset=ml-100k"], "--dataset=NAME is missing; is --datset meant to be it?"),
        (["--model=EASE", "--dataset=ml-100k", "--force=true"], "--force=true: it takes no value; write --force"),
        (["board", "--check=yes"], "--check=yes: it takes no value"),
        (["show", "--model=EASE,L3AE", "--dataset=ml-100k", "--user=1"], "--model=EASE,L3AE: one model per command"),
        (["show", "--model=EASE", "--dataset=a,b", "--neuron=1"], "--dataset=a,b: one dataset per command"),
        (["show", "--model=A,B", "--dataset=a", "--latent=1"], "--model=A,B: one model per command"),
        (["show", "--model=A,B", "--dataset=a", "--users=all", "--output=x.csv"], "--model=A,B: one model per command"),
        (["board", "--publish", "--model=EASE"], "--model says nothing to --publish (it takes --records)"),
        (["board", "--check", "--records=."], "--records says nothing to --check (it takes nothing)"),
        (["board", "--paper=l3ae", "--verify=1"], "--verify and --paper are two questions: ask one at a time"),
        (["board", "--metrics=hr@5"], "--metrics belongs to --compare;"),
        (["board", "--compar", "a", "b"], "--compar is not an option of board, did you mean compare?"),
        (["--model=EASE", "--dataset=ml-100k", "--split_ratio=0.8:0.1:0.1"],
         "must be a number, or several with commas between (default 0.8,0.1,0.1)"),
    ],
)  # fmt: skip
def test_what_is_asked_in_vain_is_told(argv, expected, capsys):
    assert expected in refused(capsys, *argv)


def test_a_hint_is_never_the_word_itself(capsys):
    assert "did you mean" not in refused(capsys, "list", "--model=EASE")
    assert "did you mean" not in refused(capsys, "doctor", "--records=x")


def test_help_is_a_command_and_may_be_a_query(capsys):
    assert main(["help"]) == 0 and "Commands" in capsys.readouterr().out
    assert "--model=NAME is missing" in refused(capsys, "show", "--query", "help")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder `data` with the dataset `shop`, typed from beside it."""
    (tmp_path / "data" / "shop").mkdir(parents=True)
    (tmp_path / "data" / "shop" / "shop.inter").write_text(
        "user_id:token\titem_id:token\n" + "".join(f"u{u}\ti{(u + j) % 9}\n" for u in range(8) for j in range(6))
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "shop"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--dataset=shop/", "--data-path=data"], "--dataset=shop --data-path={data}"),
        (["--dataset=data/shop"], "--dataset=shop --data-path={data}"),
        (["--dataset={data}/shop"], "--dataset=shop --data-path={data}"),
        (["--dataset=shop", "--data-path=data/shop"], "holds its files themselves; name the folder above, --data-path={data}"),
        (["--dataset=shop.inter", "--data-path=data"], "did you mean shop?"),
        (["--dataset=empty", "--data-path=data"], "data/empty has neither empty.inter nor empty.train.inter"),
    ],
)  # fmt: skip
def test_a_dataset_by_its_path_is_told_its_name(argv, expected, shop, capsys):
    (shop.parent / "empty").mkdir()
    typed = [word.format(data=shop.parent) for word in argv]
    assert expected.format(data=shop.parent) in refused(capsys, "--model=EASE", *typed)


def test_a_model_of_text_is_not_run_on_items_without_any(shop, capsys):
    (shop / "shop.item").write_text("item_id:token\ttitle:token_seq\n17\tlamp\n")
    line = refused(capsys, "--model=L3AE", "--dataset=shop", "--data-path=data", "--encoder=hash")
    assert "shop: none of its 9 items has anything in title" in line and "L3AE reads" in line


@pytest.mark.parametrize("output", ["no/such/q.csv", "q.parquet", "data"])
def test_queries_are_refused_before_they_are_written(output, shop, capsys):
    assert f"--output={output}" in refused(capsys, "data", "queries", "shop", "--data-path=data", f"--output={output}")  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty; its first line must name the columns"),
        (b"user,item\nu,i\nu,i,i,i\n", "no table (Expected 2 fields in line 3, saw 4)"),
        (b"user,item,score\nu,\xe9,1\n", "not UTF-8; convert it"),
    ],
)
def test_a_run_file_that_is_none_says_what_to_do(content, expected, shop, capsys):
    (shop.parent / "lists.csv").write_bytes(content)
    argv = ["--model=Mine", "--dataset=shop", "--data-path=data", "--run-file=data/lists.csv"]
    assert expected in refused(capsys, *argv, "--protocols=full")


def test_a_board_of_nothing_by_that_name_says_what_there_is(shop, capsys):
    assert main(["--model=EASE", "--dataset=shop", "--data-path=data", "--protocols=full"]) == 0
    capsys.readouterr()
    assert "--dataset=shp: no record here is of it, did you mean shop?" in refused(
        capsys, "board", "--dataset=shp"
    )
    assert "--model=BPR: no record here is of it (they are of EASE)" in refused(
        capsys, "board", "--model=EASE,BPR"
    )


def test_a_models_keys_are_listed_with_those_of_every_model(capsys):
    assert main(["list", "EASE"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  --split_ratio=0.8,0.1,0.1  (from 0)" in lines and "  --users=None  (from 1)" in lines


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_its_own(command, capsys):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.split()[0] == command and ("--KEY=VALUE" in out) == (command in ("run", "sweep"))
    assert len(out.splitlines()) < len(HELP.splitlines()) / 1.3


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--text_fields=title", "text_fields=title must say which column is which field, e.g. --text_fields="),
        ("--text_fields=[title]", "must say which column is which field"),
        ("--history_field=3", "history_field needs a column '3'"),
        ("--threads=99999", "--threads=99999: must be a whole number from 0 to 1024"),
        ("--protocols=uni19", "choose m up to that (--protocols=full,uni3)"),
        ("--protocols=expected@19", "choose m up to that (--protocols=full,expected@3)"),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_one_line(typed, expected, shop, capsys):
    (shop / "shop.item").write_text("item_id:token\ttitle:token_seq\ni1\tlamp\n")
    argv = ["--model=L3AE", "--dataset=shop", "--data-path=data", "--encoder=hash", typed]
    assert expected in refused(capsys, *argv)
