"""Finished runs in one list of candidates a user, as rows of a table: values by user, seeds of one model together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.over_seeds import changed, name_of, over_seeds, runs_under
from recbole_ext.core.arrays import Bools, Floats, Ints
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.ranks_file import LISTS, RANKS, read_lists, read_ranks
from recbole_ext.results import ResultRecord

_SWITCHES = (
    "id_source", "shuffle_text", "shuffle_vectors", "labels_for", "shuffle_labels", "rebuilt", "sae_beta", "sae_k", "sae_dim", "sae_tied",
    "sae_standardise", "coded", "curriculum", "text_encoder",
)  # fmt: skip
"""Keys that make another row of a model, told where they are not at their defaults."""
_CONDITIONS = (
    "projection_users", "projection_epochs", "projection_batch_rows", "projection_learning_rate", "heal_batches", "chosen_by", "loss",
    "learning_rate", "epochs",
)  # fmt: skip
"""Keys that make another row too, told where rows would be called alike."""


@dataclass(frozen=True)
class Run:
    """One finished run; U users, in the order of their tokens."""

    record: ResultRecord
    protocol: str
    users: tuple[str, ...]
    table: RankTable | ListTable
    rule: str | None = None
    """Another way to read its outputs, in place of the exact title."""

    @property
    def model(self) -> str:
        return str(self.record.experiment["model"])

    @cached_property
    def listed(self) -> ListTable | None:
        """The table of a model that names titles, or scores them."""
        return self.table if isinstance(self.table, ListTable) else None

    @cached_property
    def hit(self) -> Floats:
        """[U] share of a user's lists that were right; 1/n where n candidates were tied; an invalid output is a miss."""
        if self.rule is not None:
            return self._means(self.rules[self.rule][0])
        above, tied = self.table.lists[self.protocol]
        found = (above == 0) / (tied + 1.0)
        if self.listed is not None:
            found = found * self.listed.valid[self.protocol]
        return self._means(found)

    @cached_property
    def valid(self) -> Floats | None:
        """[U] share of a user's outputs that named a candidate; None of scores."""
        if self.listed is None or self.listed.depth is None or self.rule is not None:
            return None
        return self._means(self.listed.valid[self.protocol])

    def by_rule(self, rule: str) -> tuple[Floats, Floats] | None:
        """([U] share of outputs that are right by another rule, [U] of those that it can read); None without it."""
        if self.rule is not None or rule not in self.rules:
            return None
        return self._means(self.rules[rule][0]), self._means(self.rules[rule][1])

    @property
    def rules(self) -> Mapping[str, tuple[Bools, Bools]]:
        """Rule -> as of `ListTable`."""
        return {} if self.listed is None else self.listed.rules.get(self.protocol, {})

    def _means(self, values: Floats | Bools) -> Floats:
        of, count = self.table.user, len(self.users)
        total = np.bincount(of, np.asarray(values, dtype=np.float64).mean(axis=1), count)
        return total / np.bincount(of, minlength=count)


@dataclass(frozen=True)
class Row:
    """Runs that differ in the seed alone."""

    title: str
    runs: tuple[Run, ...]
    params: Mapping[str, object]
    switched: bool = False
    """Whether a switch is not at its default."""

    @property
    def kind(self) -> tuple[str, str]:
        """(Backbone, how titles are chosen): rows of one kind pass one gate."""
        scored = self.params.get("chosen_by") == "likelihood"
        return str(self.params.get("backbone")), "likelihood" if scored else "generated"

    @property
    def model(self) -> str:
        return self.runs[0].model

    @property
    def asks(self) -> bool:
        """Whether a language model names or scores titles."""
        return "backbone" in self.params

    @property
    def users(self) -> tuple[str, ...]:
        return self.runs[0].users

    def mean(self, of: Sequence[Floats]) -> Floats:
        """[U] over its seeds."""
        found: Floats = np.mean(of, axis=0)
        return found

    @cached_property
    def hit(self) -> Floats:
        return self.mean([run.hit for run in self.runs])

    def on(self, users: Sequence[str]) -> Ints:
        """Places of some users among its own."""
        place = {token: number for number, token in enumerate(self.users)}
        return np.array([place[token] for token in users])


def read_rows(records: Path, dataset: str, protocol: str) -> list[Row]:
    """Rows of all runs of a dataset that were ranked under a protocol, in the order of their titles. One whose titles were written and scored
    too (`chosen_by: both`) makes two rows."""
    found = over_seeds(runs_under(records, dataset, protocol), _key)
    groups = {key: [_run(*one, protocol) for one in runs] for key, runs in found.items()}
    titles = {key: title_of(runs[0].record) for key, runs in groups.items()}
    rows = []
    for key, runs in groups.items():
        alike = [other for other in groups if titles[other] == titles[key]]
        more = _differing(runs[0].record, [groups[other][0].record for other in alike])
        # A run that lacks users of another seed's is a row by itself: means over seeds are of the same users.
        for users in sorted({run.users for run in runs}, key=len):
            same = tuple(run for run in runs if run.users == users)
            switched = "=" in titles[key]
            title, params = ", ".join([titles[key], *more]), runs[0].record.params
            rows.append(Row(title, same, params, switched))
            if all("score" in run.rules for run in same):
                scored = tuple(replace(run, rule="score") for run in same)
                told = {**params, "chosen_by": "likelihood"}
                rows.append(Row(f"{title}, likeliest title", scored, told, switched))
    return sorted(rows, key=lambda row: (row.title, len(row.users)))


def _run(folder: Path, record: ResultRecord, protocol: str) -> Run:
    lists = (folder / LISTS).is_file()
    table, users, _ = read_lists(folder / LISTS) if lists else read_ranks(folder / RANKS)
    return Run(record, protocol, tuple(users), table)


def _key(record: ResultRecord) -> tuple[object, ...]:
    params = record.params
    told = (str(params.get(key)) for key in ("backbone", *_SWITCHES, *_CONDITIONS))
    return (record.experiment["model"], *told)


def title_of(record: ResultRecord) -> str:
    """Model, backbone, and the switches that are not at their defaults."""
    unusual = changed(record)
    switches = [f"{key}={unusual[key]}" for key in _SWITCHES if key in unusual]
    return ", ".join([name_of(record), *switches])


def _differing(record: ResultRecord, alike: Sequence[ResultRecord]) -> list[str]:
    return [
        f"{key}={record.params[key]}"
        for key in _CONDITIONS
        if key in record.params and len({str(other.params.get(key)) for other in alike}) > 1
    ]
