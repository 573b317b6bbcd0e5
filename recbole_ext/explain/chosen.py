"""What finished runs chose from a user's list, read off their tables: no model is asked again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.problem import Problem
from recbole_ext.evaluator.ranks_file import LISTS, read_lists
from recbole_ext.explain.top_items import Saved
from recbole_ext.results import ResultRecord, read_records

BASE = "ALLMRec"
_CONTROLS = ("shuffle_text", "shuffle_vectors")


@dataclass(frozen=True)
class Choice:
    """Of one run."""

    who: str
    item: int | None = None
    """None where it named none, or where it is not known."""
    right: bool = False
    why: str = ""
    """It is not known."""


@dataclass(frozen=True)
class Choices:
    """A user's first list."""

    protocol: str
    candidates: Ints
    """Ascending."""
    right: int
    chosen: list[Choice]

    def told_of(self, item: int) -> list[str]:
        """Words for a candidate."""
        right = ["right"] if item == self.right else []
        return [*right, *(one.who for one in self.chosen if one.item == item)]


def choices(saved: Saved, user: int, records: Path) -> Choices:
    """What a run chose from the first list of a user, and what the latest run of A-LLMRec, with no control, chose from the same one.

    Raises:
        HarnessError: no list was drawn for the user.
    """
    problem = saved.experiment.problem
    task, name = problem.test_task, problem.data.user_tokens[user]
    if not task.lists:
        raise HarnessError(
            f"{saved.name} was ranked in no list: --protocols=uni19 draws candidates for each user"
        )
    protocol = next(iter(task.lists))
    rows = np.flatnonzero(task.users[task.row_of_positive] == user)
    if not len(rows):
        some = problem.data.user_tokens[int(task.users[0])]
        raise HarnessError(
            f"user '{name}' is not among the {len(task.users):,} tested users of {problem.data.name}, as '{some}' is"
        )
    right = int(task.pos_items[rows[0]])
    candidates = np.sort(np.append(task.lists[protocol][rows[0], 0].astype(np.int64), right))
    found = Choices(protocol, candidates, right, [])
    own = saved.record.experiment["model"]
    if saved.experiment.model.scoring == "candidates":
        found.chosen.append(_choice(saved.folder, saved.record, problem, user, found, str(own)))
    if own != BASE:
        found.chosen.extend(_of_base(saved, records, user, found))
    return found


def _of_base(saved: Saved, records: Path, user: int, found: Choices) -> list[Choice]:
    """Of the run of A-LLMRec that is most like this one, in seed and backbone, the latest of these; none where there is none."""
    problem, record = saved.experiment.problem, saved.record
    lists = problem.candidates[found.protocol]
    alike: list[tuple[bool, bool, str, Path, ResultRecord]] = []
    for path, other in read_records(records)[0]:
        plain = not any(other.params.get(key) for key in _CONTROLS)
        same = other.candidates.get(found.protocol) == lists
        if other.experiment["model"] == BASE and plain and same and other.fingerprints.get("data") == record.fingerprints.get("data"):  # fmt: skip
            backbone = other.params.get("backbone") == record.params.get("backbone")
            seed = other.experiment["seed"] == record.experiment["seed"]
            alike.append((backbone, seed, other.created, path, other))
    if not alike:
        return []
    *_, path, other = max(alike, key=lambda one: one[:4])
    return [_choice(path.parent, other, problem, user, found, f"{BASE} (run {other.run_id[:8]})")]


def _choice(
    folder: Path, record: ResultRecord, problem: Problem, user: int, found: Choices, who: str
) -> Choice:
    from recbole_ext.model.title_answers import named_order

    table, users, items = read_lists(folder / LISTS)
    if found.protocol not in table.placed:
        return Choice(who, why="what it chose was not kept; run it again with --force")
    token, right = problem.data.user_tokens[user], problem.data.item_tokens[found.right]
    mine = (table.user == _at(users, token)) & (table.item == _at(items, right))
    (row,) = np.flatnonzero(mine) if mine.sum() == 1 else (None,)
    if row is None:
        return Choice(who, why=f"user '{token}' was not tested there")
    place = int(table.placed[found.protocol][1][row, 0])
    if not place:
        return Choice(who)
    # A prompt is ordered by the run's seed and the user's number in RecBole, which counts from 1.
    order = named_order(int(record.experiment["seed"]), user + 1, len(found.candidates))
    item = int(found.candidates[order[place - 1]])
    return Choice(who, item, item == found.right)


def _at(tokens: list[str], token: str) -> int:
    return tokens.index(token) if token in tokens else -1
