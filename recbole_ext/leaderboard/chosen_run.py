"""A run by its id, or by as much of it as no other begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.leaderboard.labels import first_few
from recbole_ext.results import ResultRecord, find_records, read_record, read_records


@dataclass(frozen=True)
class Chosen:
    """A run, and the folder that has its tables, if any has."""

    record: ResultRecord
    folder: Path

    @property
    def name(self) -> str:
        return _named(self.record)


def chosen_run(asked: str, folders: Sequence[Path]) -> Chosen:
    """The run that an id, or the beginning of one, stands for; only its own record is read.

    Args:
        asked: as typed.
        folders: of records, whichever comes first being where tables are looked for: `<run_id>/` beside a published record has none.

    Raises:
        HarnessError: no such run, several, or a record that cannot be trusted.
    """
    paths: dict[str, Path] = {}
    for folder in folders:
        for path in find_records(folder):
            paths.setdefault(_id_of(path), path)
    where = " or ".join(map(str, folders))
    if not paths:
        raise HarnessError(
            f"{where} has no records; run something first: python run_bench.py --help"
        )
    word = asked.lower()
    found = [word] if word in paths else [run for run in paths if word and run.startswith(word)]
    if not found:
        raise HarnessError(f"no run '{asked}' in {where}{_hint(asked, paths, folders)}")
    if len(found) > 1:
        raise HarnessError(
            f"'{asked}' begins {len(found)} runs ({first_few(sorted(found))}): give more of the id"
        )
    path = paths[found[0]]
    record = read_record(path)
    if record.run_id != found[0]:
        raise HarnessError(f"{path}: its run is {record.run_id}, not what its name says")
    beside = path.parent if path.name == "record.json" else folders[0] / record.run_id
    return Chosen(record, beside)


def _id_of(path: Path) -> str:
    """What the name of a record's file, or of its folder, says that its run is."""
    return path.parent.name if path.name == "record.json" else path.stem


def _hint(asked: str, paths: dict[str, Path], folders: Sequence[Path]) -> str:
    """Ids alike; of somebody who typed the name of a model, its runs."""
    if close := nearest(asked, paths):
        return close
    records = {r.run_id: r for folder in folders for _, r in read_records(folder)[0]}
    of = [r for r in records.values() if str(r.experiment["model"]).lower() == asked.lower()]
    if of:
        runs = sorted(f"{r.run_id} ({r.experiment['dataset']['name']})" for r in of)
        return f"; ids of {of[0].experiment['model']} are {first_few(runs)}"
    return f" ({len(paths):,} runs, e.g. {min(paths)}: an id is the name of a run's folder)"


def _named(record: ResultRecord) -> str:
    asked = record.experiment
    return f"{asked['model']} on {asked['dataset']['name']} ({record.run_id[:8]})"
