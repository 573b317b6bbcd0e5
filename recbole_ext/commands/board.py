"""`board`: records shown, compared, verified or published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.arguments import Arguments, as_count, as_names, as_path
from recbole_ext.core.errors import HarnessError, either, nearest

if TYPE_CHECKING:
    from recbole_ext.leaderboard.analysis import Analysis
    from recbole_ext.results import ResultRecord

_PUBLISHED = Path("leaderboard")


@dataclass(frozen=True)
class _Asked:
    """A question, and what stands beside it."""

    value: str
    """Of --QUESTION=VALUE."""
    words: list[str]
    records: Path | None
    dataset: str | None
    models: list[str] | None
    metrics: list[str] | None
    seed: int
    data_path: Path | None

    @property
    def runs(self) -> Path:
        """The folder of records of those who have just run something."""
        return self.records or Path("runs")

    @property
    def kept(self) -> Path:
        """The folder of records of those who look at what is published."""
        return self.records or _PUBLISHED / "records"

    def narrowed(self, records: list[ResultRecord]) -> list[ResultRecord]:
        return _narrowed(records, self.dataset, self.models)


def board(arguments: Arguments) -> int:
    """What of a board is asked for; 1 where `--check` finds it stale or `--verify` a record that does not repeat."""
    given = {*arguments.options, *arguments.flags}
    names = [name for name in _QUESTIONS if name in given]
    if len(names) > 1:
        raise HarnessError(f"--{names[0]} and --{names[1]} are two questions: ask one at a time")
    name = names[0] if names else None
    answer, takes = _QUESTIONS[name] if name else (_shown, _OF_TEXT)
    _refuse_idle(arguments, name, takes)
    models, metrics = arguments.take("model"), arguments.take("metrics")
    asked = _Asked(
        value=(arguments.take(name) or "") if name else "",
        words=arguments.words,
        records=as_path(arguments.take("records")),
        dataset=arguments.take("dataset"),
        models=as_names(models, "model") if models else None,
        metrics=None if metrics is None else as_names(metrics, "metrics"),
        seed=as_count(arguments.take("seed") or "1", "seed"),
        data_path=as_path(arguments.take("data-path")),
    )
    arguments.finish(*_QUESTIONS, *takes, words=len(asked.words) if name == "compare" else 0)
    if asked.records is not None and not asked.records.is_dir():
        raise HarnessError(f"--records={asked.records}: no such folder")
    return answer(asked)


def _refuse_idle(arguments: Arguments, asked: str | None, takes: tuple[str, ...]) -> None:
    """Refuse what a question would not look at."""
    for name in dict.fromkeys(one for _, own in _QUESTIONS.values() for one in own):
        if name not in arguments.options or name in takes:
            continue
        if asked is None:
            owners = [f"--{one}" for one, (_, own) in _QUESTIONS.items() if name in own]
            raise HarnessError(f"--{name} belongs to {either(owners)}; without it leave it out")
        own = [f"--{one}" for one in takes] or ["nothing"]
        raise HarnessError(f"--{name} says nothing to --{asked} (it takes {either(own)})")


def _shown(asked: _Asked) -> int:
    print(board_text(asked.runs, asked.dataset, asked.models))
    return 0


def _page(asked: _Asked) -> int:
    from recbole_ext.core.web_page import checked_path
    from recbole_ext.leaderboard.page.make import page_of
    from recbole_ext.leaderboard.page.write import write_page

    path = Path(asked.value).expanduser()
    checked_path(path, "board.html")
    found, known = _analysed(asked.kept)
    for line in write_page(page_of(asked.narrowed(found), known), path):
        print(line)
    return 0


def _publish(asked: _Asked) -> int:
    from recbole_ext.leaderboard.board import publish

    written, remarks = publish(asked.runs, _PUBLISHED)
    for path in written:
        print(path)
    _tell(remarks)
    return 0


def _check(asked: _Asked) -> int:
    from recbole_ext.leaderboard.board import check

    stale = check(_PUBLISHED)
    for line in stale:
        print(line)
    print(
        "leaderboard/ is stale: python run_bench.py board --publish"
        if stale
        else "leaderboard/ is fresh"
    )
    return 1 if stale else 0


def _verify(asked: _Asked) -> int:
    from recbole_ext.pipeline.verify import verify_records

    count = as_count(asked.value, "verify")
    return verify_records(asked.narrowed(_loaded(asked.kept)), count, asked.seed, asked.data_path)


def _paper(asked: _Asked) -> int:
    from recbole_ext.leaderboard.papers_beside import render_paper

    print(render_paper(asked.value, asked.narrowed(_loaded(asked.kept))), end="")
    return 0


def _neighbours(asked: _Asked) -> int:
    from recbole_ext.leaderboard.neighbours import new_records, render_neighbours

    new = Path(asked.value).expanduser()
    if not new.is_dir():
        raise HarnessError(f"--neighbours={new}: no such folder")
    print(render_neighbours(new_records(new), *_analysed(asked.kept)), end="")
    return 0


def _compare(asked: _Asked) -> int:
    import shutil

    from recbole_ext.leaderboard.chosen_run import chosen_run
    from recbole_ext.leaderboard.compare import compare
    from recbole_ext.leaderboard.compared_text import render_comparison

    runs = [run for run in asked.value.split(",") if run] + asked.words
    if len(runs) != 2:
        raise HarnessError(
            f"--compare takes two runs, not {len(runs)}: --compare RUN RUN, each by its id or how that begins"
        )
    folders = [asked.runs, _PUBLISHED / "records"]
    one, other = (chosen_run(run, folders) for run in runs)
    found = compare(one, other, asked.metrics)
    print("\n".join(render_comparison(found, shutil.get_terminal_size((160, 50)).columns)))
    return 0


_OF_TEXT = ("records", "model", "dataset")
_QUESTIONS: Mapping[str, tuple[Callable[[_Asked], int], tuple[str, ...]]] = {
    "html": (_page, ("records", "model", "dataset")),
    "publish": (_publish, ("records",)),
    "check": (_check, ()),
    "verify": (_verify, ("records", "model", "dataset", "seed", "data-path")),
    "paper": (_paper, ("records", "model", "dataset")),
    "neighbours": (_neighbours, ("records",)),
    "compare": (_compare, ("records", "metrics")),
}
"""What `board` is asked beside its text, one at a time -> who answers, and what that takes: all else would be ignored."""


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
