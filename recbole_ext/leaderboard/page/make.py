"""The page of `board --html` made from records: each row once, with its numbers, what it was and how to make it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.metrics import PointwiseMetric, heading_of, metric_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.agreement import Flip, agreements
from recbole_ext.leaderboard.alike import terms
from recbole_ext.leaderboard.analysis import Analysis, Tested
from recbole_ext.leaderboard.family import MEANING, tags_of
from recbole_ext.leaderboard.groups import Group, Table, groups
from recbole_ext.leaderboard.labels import flat
from recbole_ext.leaderboard.notes import environment_of
from recbole_ext.leaderboard.page.command import command_of
from recbole_ext.leaderboard.page.data import BoardPage, Metric, Number, PageRow, Place, Swap
from recbole_ext.leaderboard.plots import best_so_far, seconds
from recbole_ext.leaderboard.rows import (
    DECIMALS,
    Row,
    Section,
    deviation,
    sections,
    trailing_number,
)
from recbole_ext.leaderboard.standings import COMPARED
from recbole_ext.results import ResultRecord


def page_of(records: Sequence[ResultRecord], known: Analysis) -> BoardPage:
    """Everything that a page shows of records.

    Raises:
        HarnessError: there are none.
    """
    if not records:
        raise HarnessError(
            "no records to make a page of; run something first: python run_bench.py --help"
        )
    found = groups(sections(records))
    metrics = _metrics(records)
    rows: list[PageRow] = []
    places = []
    for number, group in enumerate(found):
        own = [
            _row(number, table, row, group, metrics)
            for table, row in _each_once(group)
        ]  # fmt: skip
        places.append(_place(group, known, {row.label: len(rows) + i for i, row in enumerate(own) if row.main}))  # fmt: skip
        rows += own
    most = [sum(row.main and row.place == number for row in rows) for number in range(len(found))]
    return BoardPage(
        records=len(records),
        tags=MEANING,
        protocols={name: _means(name) for name in metrics},
        metrics=metrics,
        places=tuple(places),
        rows=tuple(rows),
        opened=most.index(max(most)),
    )


def _each_once(group: Group) -> Iterator[tuple[Table, Row]]:
    """Rows of the group's tables, each in the first that it stands in."""
    seen: set[str] = set()
    for table in group.tables:
        for row in table.section.rows:
            if table.labels[row.label] not in seen:
                seen.add(table.labels[row.label])
                yield table, row


def _metrics(records: Sequence[ResultRecord]) -> dict[str, tuple[Metric, ...]]:
    """Protocol -> its metrics; full ranking first, then few negatives before many, labelled pairs last."""
    by_protocol: dict[str, set[str]] = {}
    for record in records:
        for protocol, values in record.metrics.items():
            by_protocol.setdefault(protocol, set()).update(values)

    def order(protocol: str) -> tuple[Any, ...]:
        of = protocol_of(protocol)
        return protocol != "full", of.labelled, not of.drawn, -(of.m or 0), protocol

    return {
        protocol: tuple(_metric(name) for name in sorted(by_protocol[protocol], key=_by_name))
        for protocol in sorted(by_protocol, key=order)
    }


def _by_name(name: str) -> tuple[str, int]:
    return name.partition("@")[0], trailing_number(name)


def _metric(name: str) -> Metric:
    try:
        metric, _ = metric_of(name)
    except HarnessError:  # of RecBole's own evaluator
        return Metric(name, name, False)
    return Metric(name, heading_of(name), isinstance(metric, PointwiseMetric) and not metric.selects)  # fmt: skip


def _means(protocol: str) -> str:
    of = protocol_of(protocol)
    if of.labelled:
        return "labelled pairs"
    if of.by_recbole:
        return f"{of.m} uniform negatives, by RecBole's own evaluator"
    if of.closed:
        return f"mean over all draws of {of.m} uniform negatives"
    return f"{of.m} {'uniform' if of.kind == 'uni' else 'popular'} negatives" if of.drawn else "all items"  # fmt: skip


def _row(
    place: int, table: Table, row: Row, group: Group, metrics: Mapping[str, Sequence[Metric]]
) -> PageRow:
    record, section = row.first, table.section
    main = table.kind != "others"
    command = command_of(row)
    runs = tuple(each.run_id for each in row.records)
    hashes = {k: v for k, v in record.fingerprints.items() if k not in ("data", "split")}
    hashes |= {f"lists of {name}": value for name, value in record.candidates.items()}
    time = seconds(row)
    return PageRow(
        id=record.run_id,
        place=place,
        table=table.heading,
        main=main,
        model=row.model,
        label=row.label,
        tags=tuple(tags_of(row)),
        points=row.points,
        seeds=len(row.records),
        seconds=None if time is None else round(time, 3),
        numbers={
            protocol: tuple(_number(row, protocol, metric.name) for metric in of)
            for protocol, of in metrics.items()
            if protocol in record.metrics
        },
        splits=_splits(group, row.model, metrics) if main else {},
        curve=_curve(row),
        validation=(str(record.experiment["valid_metric"]), record.validation["value"]),
        params=record.params,
        text=record.text or {},
        terms=terms(row),
        read=hashes,
        cost=_cost(row),
        runs=runs,
        elsewhere=tuple(
            record.run_id
            for other in _on_every_split(group, row, main)
            for record in other.records
            if record.run_id not in runs
        ),
        remarks=tuple(section.flags[number - 1] for number in row.marks),
        environment=" or ".join(sorted({environment_of(each) for each in row.records})),
        command=command.line,
        notes=command.remarks,
    )


def _on_every_split(group: Group, row: Row, main: bool) -> Iterator[Row]:
    """What stands for a row on each random split: for a model the row that was chosen there, else the one that is called alike and was not."""
    for section, chosen in zip(group.sections, group.mains, strict=True):
        if main:
            yield from filter(None, [chosen.get(row.model)])
        else:
            yield from (
                other
                for other in section.rows
                if other.label == row.label and other is not chosen.get(other.model)
            )


def _number(row: Row, protocol: str, metric: str) -> Number | None:
    cell = row.cell(protocol, metric)
    if cell is None:
        return None
    low, high = (None if end is None else round(end, DECIMALS) for end in (cell.low, cell.high))
    return cell.compared, low, high


def _splits(
    group: Group, model: str, metrics: Mapping[str, Sequence[Metric]]
) -> dict[str, tuple[float, float, int]]:
    found = {}
    for metric in metrics.get("full", ()):
        if values := group.over_splits(model, metric.name):
            mean, sd = round(fmean(values), DECIMALS), round(deviation(values), DECIMALS)
            found[metric.name] = (mean, sd, len(values))
    return found


def _curve(row: Row) -> tuple[tuple[int, float], ...]:
    best = best_so_far(row)
    at = [i for i, value in enumerate(best) if i in (0, len(best) - 1) or value > best[i - 1]]
    return tuple((i + 1, round(best[i], DECIMALS)) for i in at)


def _cost(row: Row) -> dict[str, float]:
    found = {}
    for name in sorted({name for record in row.records for name in record.cost}):
        values = [r.cost[name] for r in row.records if r.cost.get(name) is not None]
        if values:
            found[name] = round(fmean(values), 9 if name == "energy_kwh" else 3)
    if row.first.tuning is not None:
        found["tune_seconds"] = round(float(row.first.tuning["seconds"]), 3)
    return found


def _place(group: Group, known: Analysis, at: Mapping[str, int]) -> Place:
    """`at`: label of each row of a table of models -> where it stands on the page."""
    section = group.reference
    record = section.first
    asked, size = record.experiment, record.data
    drawn = [p for p in section.sampled if protocol_of(p).corrects and section.comparable(p)]
    facts = {
        "size": f"{size['users']:,} users, {size['items']:,} items, {size['interactions']:,} interactions; {size['test']:,} to be found of "
        f"{size['test_users']:,} users",
        "filters": flat(asked["dataset"]["filters"]) or "none",
        "split": flat(asked["dataset"]["split"]),
        "no candidates at test": asked["exclude"],
        "data": record.fingerprints["data"],
        "split hash": record.fingerprints["split"],
    }
    if len(group.sections) > 1:
        facts["random splits"] = f"{len(group.sections)}; the table is of the one named here"
    table = next((t for t in group.tables if t.kind != "others"), None)
    return Place(
        key=f"{group.page}-{section.problem[:6]}",
        dataset=group.dataset,
        title=group.title,
        facts=facts,
        apart=tuple(name for name in section.lists if not section.comparable(name)),
        orders=("full", *sorted(drawn, key=lambda p: -trailing_number(p))) if group.main else (),
        headline=(table.section if table else section).headline,
        swaps=tuple(_swaps(group.main, known, at)) if group.main else (),
    )


def _swaps(main: Section, known: Analysis, at: Mapping[str, int]) -> Iterator[Swap]:
    for metric in COMPARED:
        for found in agreements(main, known, metric):
            if found.estimator == "naive" and protocol_of(found.protocol).corrects:
                for flip in found.flips:
                    yield _swap(flip, found.protocol, metric, at)


def _swap(flip: Flip, protocol: str, metric: str, at: Mapping[str, int]) -> Swap:
    def p(tested: Tested | None) -> float | None:
        return None if tested is None else float(f"{tested.p:.3g}")

    return Swap(protocol, metric, at[flip.first], at[flip.second], p(flip.full), p(flip.here))
