"""`board`: records shown, compared, verified or published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.arguments import Arguments, as_count, as_names, as_path
from recbole_ext.core.errors import HarnessError, either, nearest

if TYPE_CHECKING:
    from recbole_ext.leaderboard.analysis import Analysis
    from recbole_ext.results import ResultRecord


_OF_BOARD: Mapping[str, tuple[str, ...]] = {
    "html": ("records", "model", "dataset"),
    "publish": ("records",),
    "check": (),
    "verify": ("records", "model", "dataset", "seed", "data-path"),
    "paper": ("records", "model", "dataset"),
    "neighbours": ("records",),
}
"""What `board` is asked beside its text, one at a time -> what else that takes: all else would be ignored."""


def board(arguments: Arguments) -> int:
    """What of a board is asked for; 1 where `--check` finds it stale or `--verify` a record that does not repeat."""
    if "compare" in arguments.options:
        return _compare(arguments)
    asked = [name for name in _OF_BOARD if name in {*arguments.options, *arguments.flags}]
    if len(asked) == 1:
        takes = [f"--{one}" for one in _OF_BOARD[asked[0]]] or ["nothing"]
        for name in ("records", "model", "dataset", "seed", "data-path"):
            if name in arguments.options and f"--{name}" not in takes:
                raise HarnessError(
                    f"--{name} says nothing to --{asked[0]} (it takes {either(takes)})"
                )
    of_verify = [name for name in ("seed", "data-path") if name in arguments.options]
    published = Path("leaderboard")
    model = arguments.take("model")
    models = as_names(model, "model") if model else None
    dataset = arguments.take("dataset")
    records = as_path(arguments.take("records"))
    verify = arguments.take("verify")
    seed = as_count(arguments.take("seed") or "1", "seed")
    data_path, paper = as_path(arguments.take("data-path")), arguments.take("paper")
    new = as_path(arguments.take("neighbours"))
    html = as_path(arguments.take("html"))
    if "metrics" in arguments.options:
        raise HarnessError("--metrics is of --compare RUN RUN; a board has its own")
    arguments.finish(*_OF_BOARD, "compare")
    if of_verify and verify is None:
        raise HarnessError(
            f"--{of_verify[0]} belongs to --verify=N, which runs records again; without it leave it out"
        )
    if {"publish", "check"} <= arguments.flags:
        raise HarnessError("--publish writes and --check only looks: give one of them")
    if html is not None and (arguments.flags or paper is not None or verify is not None):
        raise HarnessError(
            "--html makes a page of what is there: without --publish, --check, --paper and --verify"
        )
    if len(asked) > 1:
        raise HarnessError(f"--{asked[0]} and --{asked[1]} are two questions: ask one at a time")
    if records is not None and not records.is_dir():
        raise HarnessError(f"--records={records}: no such folder")
    kept = records or published / "records"
    if new is not None:
        from recbole_ext.leaderboard.neighbours import new_records, render_neighbours

        if not new.is_dir():
            raise HarnessError(f"--neighbours={new}: no such folder")
        print(
            render_neighbours(new_records(new), *_analysed(kept)),
            end="",
        )
        return 0
    if paper is not None:
        from recbole_ext.leaderboard.papers_beside import render_paper

        print(render_paper(paper, _narrowed(_loaded(kept), dataset, models)), end="")
        return 0
    if html is not None:
        return _board_page(html, kept, dataset, models)
    if "publish" in arguments.flags:
        from recbole_ext.leaderboard.board import publish

        written, remarks = publish(records or Path("runs"), published)
        for path in written:
            print(path)
        _tell(remarks)
        return 0
    if "check" in arguments.flags:
        from recbole_ext.leaderboard.board import check

        stale = check(published)
        for line in stale:
            print(line)
        print(
            "leaderboard/ is stale: python run_bench.py board --publish"
            if stale
            else "leaderboard/ is fresh"
        )
        return 1 if stale else 0
    if verify is not None:
        from recbole_ext.pipeline.verify import verify_records

        found = _narrowed(_loaded(kept), dataset, models)
        return verify_records(found, as_count(verify, "verify"), seed, data_path)
    print(board_text(records or Path("runs"), dataset, models))
    return 0


def _compare(arguments: Arguments) -> int:
    import shutil

    metrics, records = arguments.take("metrics"), as_path(arguments.take("records"))
    asked = [run for run in str(arguments.take("compare")).split(",") if run] + arguments.words
    arguments.finish_part("--compare RUN RUN", "metrics", "records")
    if len(asked) != 2:
        raise HarnessError(
            f"--compare takes two runs, not {len(asked)}: --compare RUN RUN, each by its id or how that begins"
        )
    if records is not None and not records.is_dir():
        raise HarnessError(f"--records={records}: no such folder")

    from recbole_ext.leaderboard.chosen_run import chosen_run
    from recbole_ext.leaderboard.compare import compare
    from recbole_ext.leaderboard.compared_text import render_comparison

    folders = [records or Path("runs"), Path("leaderboard/records")]
    one, other = (chosen_run(run, folders) for run in asked)
    found = compare(one, other, as_names(metrics, "metrics") if metrics is not None else None)
    print("\n".join(render_comparison(found, shutil.get_terminal_size((160, 50)).columns)))
    return 0


def _board_page(path: Path, records: Path, dataset: str | None, models: list[str] | None) -> int:
    from recbole_ext.core.web_page import checked_path
    from recbole_ext.leaderboard.page.make import page_of
    from recbole_ext.leaderboard.page.write import write_page

    checked_path(path, "board.html")
    found, known = _analysed(records)
    for line in write_page(page_of(_narrowed(found, dataset, models), known), path):
        print(line)
    return 0


def board_text(records: Path, dataset: str | None = None, model: list[str] | None = None) -> str:
    """The board of a folder of records, as wide as the terminal."""
    import shutil

    from recbole_ext.leaderboard.board import analysed
    from recbole_ext.leaderboard.terminal import render_text

    shown = _narrowed(_loaded(records), dataset, model)
    known, broken = analysed(shown, records, records, deep=False)
    _tell(broken)
    return render_text(shown, shutil.get_terminal_size((160, 50)).columns, known)


def _loaded(records: Path) -> list[ResultRecord]:
    """Those of a folder that can be read; of the others it is told why not."""
    from recbole_ext.leaderboard.board import load_records

    found, damaged = load_records(records)
    _tell(damaged)
    return found


def _analysed(records: Path) -> tuple[list[ResultRecord], Analysis]:
    """The same with what is known of them."""
    from recbole_ext.leaderboard.analysis import read_analysis

    found, (known, broken) = _loaded(records), read_analysis(records)
    _tell(broken)
    return found, known


def _tell(remarks: list[HarnessError]) -> None:
    from recbole_ext.core.progress import say

    for remark in remarks:
        say(f"left out: {remark}")


def _narrowed(
    records: list[ResultRecord], dataset: str | None, model: list[str] | None
) -> list[ResultRecord]:
    """Those of a dataset and of models.

    Raises:
        HarnessError: there are records, and none of that name: it is mistyped, or never ran.
    """
    names = {
        "dataset": ({r.experiment["dataset"]["name"] for r in records}, [dataset or ""]),
        "model": ({r.experiment["model"] for r in records}, model or [""]),
    }
    for option, (known, wanted) in names.items():
        for name in wanted:
            if records and name and name not in known:
                near = nearest(name, known) or f" (they are of {', '.join(sorted(known))})"
                raise HarnessError(f"--{option}={name}: no record here is of it{near}")
    return [
        r
        for r in records
        if dataset in (None, r.experiment["dataset"]["name"])
        and (not model or r.experiment["model"] in model)
    ]
