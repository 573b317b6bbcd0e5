"""The notebook of docs/ runs top to bottom and shows what it is said to show."""

from __future__ import annotations

from pathlib import Path

from tests.notebook import cells, kept, run

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "own-data.ipynb"


def test_the_notebook_runs_and_shows_what_stands_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, shown = {}, []
    for cell in cells(NOTEBOOK):
        found = run(cell, names)
        # After a mistake: `python -m tests.notebook docs/own-data.ipynb` writes what is shown now.
        assert found == kept(cell), "".join(cell["source"])
        shown.append(found)
    assert shown.count("0") == 3  # run, run file and page went well
    assert [*names["full"]["model"]] == ["EASE", "Pop", "Recent"]
    assert (tmp_path / "board.html").stat().st_size > 10_000
