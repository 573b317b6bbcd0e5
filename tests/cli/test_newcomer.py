"""What somebody types, and where it is printed, who has not read the pages."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

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
