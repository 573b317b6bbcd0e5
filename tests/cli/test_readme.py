"""What the README's first command is said to print is what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_ext.cli import main

README = Path(__file__).resolve().parents[2] / "README.md"


def numbers(text: str) -> dict[str, list[float]]:
    """Line label -> the numbers with four decimals (metrics, not seconds)."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        values = [float(x) for x in re.findall(r"\d\.\d{4}", line)]
        if values:
            label = next(
                word for word in line.split() if len(word) > 1
            )  # before it: a row's letter
            found.setdefault(label, []).extend(values)
    return found


def test_the_demo_prints_what_the_readme_shows(tmp_path, capsys):
    shown = README.read_text().split("<!-- demo -->")[1].split("<!-- /demo -->")[0]
    assert main(["--model=Pop,EASE,L3AE", "--dataset=ml-100k", f"--records={tmp_path}"]) == 0
    printed, said = numbers(capsys.readouterr().out), numbers(shown)
    assert set(printed) == set(said) == {"Pop", "EASE", "L3AE"}
    for name, values in said.items():
        # Another processor may swap near-ties; four decimals of a thousand users move by less than this.
        assert printed[name] == pytest.approx(values, abs=1e-3), name
