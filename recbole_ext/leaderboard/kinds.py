"""What the first page says of results of another kind than full ranking of known users: each has a table of its own, with its dashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.evaluator.metrics import POINTWISE, heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.columns import Column
from recbole_ext.leaderboard.family import tags_over
from recbole_ext.leaderboard.groups import Group
from recbole_ext.leaderboard.rows import HEADLINE, Row, Section
from recbole_ext.leaderboard.standings import list_metric

Number = tuple[str, str, str]
"""Protocol, metric, and how the two are headed."""


@dataclass(frozen=True)
class _Kind:
    heading: str
    section: Callable[[Group], Section | None]
    """The rows of a group that are of this kind."""
    numbers: Callable[[Section], list[Number]]


def _users(group: Group) -> Section | None:
    return group.main if group.unseen_users else None


def _of(kind: str) -> Callable[[Group], Section | None]:
    def section(group: Group) -> Section | None:
        found = group.table(kind)
        return found.section if found else None

    return section


def _headline(section: Section) -> list[Number]:
    return [(*HEADLINE, heading_of(HEADLINE[1]))]


def _lists(section: Section) -> list[Number]:
    """The shortest lists, which every model of the kind has most likely been given."""
    metric = list_metric(section)
    drawn = [p for p in section.sampled if protocol_of(p).drawn]
    return [(drawn[0], metric, f"{heading_of(metric)} of {drawn[0]}")] if drawn else []


def _labelled(section: Section) -> list[Number]:
    names = [name for name in ("auc", "uauc") if name in POINTWISE]
    return [("ctr", name, POINTWISE[name].heading) for name in names]


_KINDS = (
    _Kind("Users that training has not seen", _users, _headline),
    _Kind("Given lists", _of("lists"), _lists),
    _Kind("Labelled pairs", _of("ctr"), _labelled),
)


def other_kinds(groups: Sequence[Group], most_models: int) -> list[str]:
    """A block for each kind that has a row, with at most so many models; none is named where there is room for no model."""
    if not most_models:
        return []
    found = [_block(kind, groups, most_models) for kind in _KINDS]
    return [text for text in found if text]


def _block(kind: _Kind, groups: Sequence[Group], most_models: int) -> str:
    best: dict[str, tuple[Group, Section]] = {}
    for group in groups:
        section = kind.section(group)
        other = best.get(group.dataset)
        if section is not None and (other is None or len(section.rows) > len(other[1].rows)):
            best[group.dataset] = (group, section)
    columns: list[Column[str]] = []
    shares: dict[str, list[float]] = {}
    rows: dict[str, list[Row]] = {}
    for group, section in best.values():
        by_model = {row.model: row for row in section.rows}
        for protocol, metric, heading in kind.numbers(section):

            def value(
                model: str, of: tuple[dict[str, Row], str, str] = (by_model, protocol, metric)
            ) -> float | None:
                row = of[0].get(model)
                cell = row.cell(of[1], of[2]) if row else None
                return cell.mean if cell else None

            name = f"[{table.escaped(group.dataset)}]({group.page}.md) {heading}"
            columns.append(Column(name, name, value, lambda v: (f"{v:.4f}",)))
            order = sorted(
                (m for m in by_model if value(m) is not None), key=lambda m: (-(value(m) or 0.0), m)
            )
            for place, model in enumerate(order, 1):
                shares.setdefault(model, []).append(place / len(order))
        for model, row in by_model.items():
            rows.setdefault(model, []).append(row)
    if not shares:
        return ""

    def tags(model: str) -> str | None:
        return ", ".join(tags_over(rows[model])) or None

    models = sorted(shares, key=lambda m: (fmean(shares[m]), m))
    first: list[Column[str]] = [
        Column("model", "Model", str, numeric=False),
        Column("tags", "Family", tags, numeric=False),
    ]
    body = "\n".join(table.compact([*first, *columns], models[:most_models]))
    more = len(models) - most_models
    told = f"\n\n* {more} more on the datasets' pages." if more > 0 else ""
    return f"## {kind.heading}\n\n{body}{told}"
