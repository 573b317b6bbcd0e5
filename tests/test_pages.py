"""What docs/architecture.md and its neighbours say of files is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CONCEPTS = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` \|", PAGE, re.M)


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/adding.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_is_there(page):
    text = (ROOT / page).read_text()
    named = re.findall(
        r"`((?:recbole_ext|properties|tests|benchmarks|docs)/[\w/.-]+)(?::\w+)?`", text
    )
    filled_in = re.compile("NAME|yours|mine", re.I)  # by the reader
    there = [path for path in named if not filled_in.search(path)]
    assert there and not [path for path in there if not (ROOT / path).exists()]
    assert not [path for path in named if not (ROOT / path).parent.is_dir()]


def test_every_concept_lives_where_the_table_says():
    assert len(CONCEPTS) > 30
    lost = [name for name, path in CONCEPTS if not re.search(rf"^class {name}\b", (ROOT / path).read_text(), re.M)]  # fmt: skip
    assert not lost


def test_the_way_of_a_run_names_files_of_the_package():
    way = PAGE[PAGE.index("run_bench.py\n") : PAGE.index("`sweep` puts")]
    files = re.findall(r"\b((?:\w+/)?\w+\.py)\b", way)[1:]
    folder = ""
    for file in files:  # one that is named beside another is in its folder
        folder = file.rpartition("/")[0] if "/" in file else folder
        places = (file, f"{folder}/{file}")
        assert any((ROOT / "recbole_ext" / place).is_file() for place in places), file
    assert len(files) > 25


def test_the_layers_of_the_page_are_those_that_are_checked():
    (block,) = re.findall(r"From the top:\n\n```text\n(.*?)\n```", PAGE, re.S)
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]  # fmt: skip
    assert block.splitlines() == contract["layers"]
