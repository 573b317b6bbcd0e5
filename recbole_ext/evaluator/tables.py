"""What a model's scores of the test part came to: a table for the protocols that rank, and one for labelled pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.core.arrays import Floats
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.pointwise import ScoreTable, scores_per_user, summarise_scores
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.ranks_file import (
    LISTS,
    RANKS,
    SCORES,
    read_lists,
    read_ranks,
    read_scores,
    write_lists,
    write_ranks,
    write_scores,
)
from recbole_ext.evaluator.summary import per_user, summarise

FILES = (RANKS, LISTS, SCORES)


@dataclass(frozen=True)
class Tables:
    """None where no protocol asked for one."""

    ranked: RankTable | ListTable | None
    scored: ScoreTable | None = None

    def summarise(
        self, protocols: Sequence[str], ks: Sequence[int]
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """Protocol -> metric -> `mean`, `low` and `high`, and what else there is to it; protocols that were served."""
        ranking = [name for name in protocols if not protocol_of(name).labelled]
        found = summarise(self.ranked, ranking, ks) if self.ranked is not None else {}
        labelled = [name for name in protocols if name not in ranking]
        return found | {
            name: summarise_scores(self.scored) for name in labelled if self.scored is not None
        }

    def per_user(self, protocol: str, ks: Sequence[int]) -> dict[str, Floats]:
        """Metric -> [U] or [U, draws] values, users ascending; of labelled pairs those users that have one."""
        if protocol_of(protocol).labelled:
            assert self.scored is not None
            found = scores_per_user(self.scored)
            return {name: values[values == values] for name, values in found.items()}
        assert self.ranked is not None
        return per_user(self.ranked, protocol, ks)

    def write(
        self, user_tokens: Sequence[str], item_tokens: Sequence[str], folder: Path, prefix: str
    ) -> None:
        """A file for each table in a folder, its name after a prefix."""
        if isinstance(self.ranked, RankTable):
            write_ranks(self.ranked, user_tokens, item_tokens, folder / f"{prefix}{RANKS}")
        elif self.ranked is not None:
            write_lists(self.ranked, user_tokens, item_tokens, folder / f"{prefix}{LISTS}")
        if self.scored is not None:
            write_scores(self.scored, user_tokens, item_tokens, folder / f"{prefix}{SCORES}")


def are_there(folder: Path, protocols: Iterable[str]) -> bool:
    """Whether a folder has the tables behind the numbers of some protocols."""
    ours = [of for of in map(protocol_of, protocols) if not of.by_recbole]
    wanted = [(SCORES,) if of.labelled else (RANKS, LISTS) for of in ours]
    return all(any((folder / name).is_file() for name in names) for names in wanted)


def read_tables(folder: Path) -> Tables:
    """The tables of a folder.

    Raises:
        ranks_file.DamagedRanks: one cannot be read.
    """
    ranked: RankTable | ListTable | None = None
    if (folder / RANKS).is_file():
        ranked = read_ranks(folder / RANKS)[0]
    elif (folder / LISTS).is_file():
        ranked = read_lists(folder / LISTS)[0]
    scores = folder / SCORES
    return Tables(ranked, read_scores(scores)[0] if scores.is_file() else None)
