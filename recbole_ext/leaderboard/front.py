"""LEADERBOARD.md: the answers, the models over datasets, and where the rest is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.agreement import Agreement
from recbole_ext.leaderboard.analysis import Analysis
from recbole_ext.leaderboard.answers import answers, link, orders, wrong_swaps
from recbole_ext.leaderboard.blocks import WRITTEN, bullets
from recbole_ext.leaderboard.columns import Bold, Column, Parts
from recbole_ext.leaderboard.family import MEANING
from recbole_ext.leaderboard.groups import Group
from recbole_ext.leaderboard.kinds import other_kinds
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.rows import HEADLINE
from recbole_ext.leaderboard.sizes import published_sizes, sizes_met, sizes_of
from recbole_ext.leaderboard.standing import (
    METRIC,
    MOVED,
    Field,
    Standing,
    common_size,
    fields,
    models_over,
)
from recbole_ext.leaderboard.table import escaped

MOST_LINES = 80
MOST_BYTES = 10_000
_MOST_OF_A_KIND = 10
"""Models of a table of another kind than the first."""
_SOME = 15
"""Models of the first table that stay while tables of other kinds grow."""

_READ = """\
## How to read it, and how to add a row

* A model stands by its tuned row that validation likes best (*untuned*: it has none); ablations, controls and zero-shot runs are on the
  datasets' pages. `0.1234`: NDCG@20 of full ranking, mean over test users; **bold**: better than every other model there, p < 0.05 after
  Holm. *W/T/L*: against every other model of each dataset, significantly better, neither, worse. *s*: tuning and one training. *uni100*,
  *uni19*: places that a model wins when its positives are ranked among so few drawn negatives; `–`: not measured.
* Everything else, every comparison too, is in `leaderboard.parquet` (`pandas.read_parquet`); what pages print in `summary.csv`, each trial
  of tuning in `trials.csv`. Formulas: [docs/protocols.md](../docs/protocols.md); the claims of papers one by one: [docs/claims.md](../docs/claims.md).
* `python run_bench.py --model=NAME --dataset=NAME --tune`, then `python run_bench.py board --publish`, and commit what it wrote;
  `board --check` says whether the pages follow from the records. A model of your own: [docs/adding.md](../docs/adding.md)."""


def render_front(groups: Sequence[Group], known: Analysis) -> str:
    """The page, at most `MOST_LINES` lines and `MOST_BYTES` long: where models are many, the last ones are only counted."""
    if not groups:
        return f"# Leaderboard\n\n{WRITTEN}\n\nNo records yet.\n\n{_READ}\n"
    of_dataset = fields(groups, known)
    found = models_over(of_dataset)
    told = answers(groups, of_dataset, known)
    for count, of_a_kind in _shrinking(len(found)):
        page = _page(groups, of_dataset, found, (count, of_a_kind), told, known)
        if page.count("\n") <= MOST_LINES and len(page.encode()) <= MOST_BYTES:
            return page
    return page


def _shrinking(models: int) -> Iterator[tuple[int, int]]:
    """(models of the first table, of each other kind) from all to none: the first table gives way down to some, then the others."""
    some = min(models, _SOME)
    yield from ((count, _MOST_OF_A_KIND) for count in range(models, some, -1))
    yield from ((some, of_a_kind) for of_a_kind in range(_MOST_OF_A_KIND, 0, -1))
    yield from ((count, 0) for count in range(some, -1, -1))


def _page(
    groups: Sequence[Group],
    of_dataset: Sequence[Field],
    found: Sequence[Standing],
    most: tuple[int, int],
    told: Sequence[str],
    known: Analysis,
) -> str:
    blocks = [f"# Leaderboard\n\n{WRITTEN}"]
    if told:
        blocks.append(bullets(told))
    if found:
        blocks += ["## Models over datasets", _models(of_dataset, found, most[0])]
    blocks += other_kinds(groups, most[1])
    if by_protocol := orders(of_dataset, known):
        blocks += ["## Protocols", _protocols(by_protocol)]
    blocks += ["## Datasets", _datasets(groups), _READ]
    return "\n\n".join(blocks) + "\n"


def _models(of_dataset: Sequence[Field], found: Sequence[Standing], count: int) -> str:
    def best(field: Field, label: str) -> bool:
        others = [row.label for row in field.section.rows if row.label != label]
        tested = field.found.get((label, METRIC), {})
        return bool(others) and all(o in tested and tested[o].wins for o in others)

    def of(field: Field) -> Column[Standing]:
        def value(standing: Standing) -> Parts | None:
            row = standing.rows.get(field.group.dataset)
            cell = row.cell(*HEADLINE) if row else None
            if row is None or cell is None:
                return None
            text = f"{cell.mean:.4f}"
            untuned = "untuned" if row.points is None and row.first.params else ""
            return (Bold(text) if best(field, row.label) else text, untuned)

        return Column(field.group.dataset, link(field), value, tuple)

    columns: list[Column[Standing]] = [
        Column("model", "Model", lambda s: s.model, numeric=False),
        Column("tags", "Family", lambda s: ", ".join(s.tags) or None, numeric=False),
        Column("mean", "Mean place", lambda s: s.mean, lambda v: (f"{v:.2f}",)),
        Column("wins", "W/T/L", lambda s: f"{s.wins}/{s.ties}/{s.losses}" if s.tested else None),
        *map(of, of_dataset),
        Column("seconds", "s", lambda s: s.seconds, lambda v: (f"{v:,.0f}",)),
        *(
            Column(p, p, lambda s, p=p: s.moved.get(p), lambda v: (f"{v:+.1f}",))  # type: ignore[misc]
            for p in MOVED
        ),
    ]
    size, datasets = common_size(of_dataset)
    used = {tag for standing in found for tag in standing.tags}
    notes = [f"{tag}: {MEANING[tag]}" for tag in MEANING if tag in used]
    lines = [f"Family: {'; '.join(notes)}."] if notes else []
    if size:
        lines.append(
            f"Mean place: among the {size} models that stand on all of {listed(list(map(escaped, datasets)))}."
        )
    if more := len(found) - count:
        lines.append(f"{more} more models stand on the datasets' pages.")
    body = "\n".join(table.compact(columns, found[:count]))
    return f"{body}\n\n{bullets(lines)}" if lines else body


def _protocols(by_protocol: dict[str, list[tuple[Field, Agreement]]]) -> str:
    columns: list[Column[str]] = [
        Column("order", "Order by", str, numeric=False),
        Column("datasets", "Datasets", lambda p: len(by_protocol[p])),
        Column("tau", "Mean τ-b", lambda p: _tau(by_protocol[p]), lambda v: (f"{v:+.2f}",)),
        Column("kept", "Best kept", lambda p: f"{sum(o.first_kept for _, o in by_protocol[p])} of {len(by_protocol[p])}"),
        Column("swaps", "Swaps", lambda p: f"{sum(len(o.flips) for _, o in by_protocol[p])} of {sum(o.pairs for _, o in by_protocol[p])}"),
        Column("wrong", "Significant swaps", lambda p: wrong_swaps(by_protocol[p])),
    ]  # fmt: skip
    note = "NDCG@10 per positive against full ranking; a significant swap turns round what full ranking tells apart. Estimators: the second page of each dataset."
    return "\n".join(table.compact(columns, list(by_protocol))) + f"\n\n* {note}"


def _tau(cases: Sequence[tuple[Field, Agreement]]) -> float | None:
    known = [one.tau for _, one in cases if one.tau is not None]
    return fmean(known) if known else None


def _datasets(groups: Sequence[Group]) -> str:
    by_page: dict[str, list[Group]] = {}
    for group in groups:
        by_page.setdefault(group.page, []).append(group)

    def sizes(page: str) -> str:
        told = {sizes_of(group): None for group in by_page[page]}
        return "; ".join(" / ".join(f"{n:,}" for n in size) for size in told)

    def anchor(page: str) -> str | None:
        theirs = published_sizes(by_page[page][0].dataset)
        if theirs is None:
            return None
        return (
            "met" if sizes_met(by_page[page]) else f"{' / '.join(f'{n:,}' for n in theirs)} printed"
        )

    columns: list[Column[str]] = [
        Column("name", "Dataset", lambda p: by_page[p][0].dataset, numeric=False),
        Column("sizes", "Users / items / interactions", sizes, numeric=False),
        Column("anchor", "Published sizes", anchor, numeric=False),
        Column("rows", "Rows", lambda p: sum(len(s.rows) for g in by_page[p] for s in g.sections)),
        Column("splits", "Splits", lambda p: sum(len(g.sections) for g in by_page[p])),
    ]
    lines = table.compact(columns, list(by_page))
    links = [
        f"[{escaped(by_page[p][0].dataset)}]({p}.md) ([protocols]({p}-protocols.md))"
        for p in by_page
    ]
    return "\n".join(lines) + f"\n\n* Pages: {', '.join(links)}."
