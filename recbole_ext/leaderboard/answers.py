"""Sentences that answer what a reader comes for, each with its numbers and where they stand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.agreement import Agreement, agreements
from recbole_ext.leaderboard.analysis import LEVEL, Analysis
from recbole_ext.leaderboard.family import LLM, encoder_kind, reads_language, tags_of
from recbole_ext.leaderboard.groups import Group
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.papers import PaperTable, paper_tables
from recbole_ext.leaderboard.plots import seconds
from recbole_ext.leaderboard.rows import Row, Section
from recbole_ext.leaderboard.sizes import published_sizes, sizes_met
from recbole_ext.leaderboard.standing import METRIC, Field
from recbole_ext.leaderboard.standings import COMPARED
from recbole_ext.leaderboard.table import escaped

_FEW = 3
_DIGITS = 4
"""Of papers' numbers."""


def link(field: Field) -> str:
    return f"[{escaped(field.group.dataset)}]({field.group.page}.md)"


def answers(groups: Sequence[Group], fields: Sequence[Field], known: Analysis) -> list[str]:
    """In the order of the questions; one that nothing answers yet is left out."""
    found = (
        _does_text_help(fields),
        _does_language_beat(fields, "EASE"),
        _does_sampling_mislead(fields, known),
        _were_figures_met(groups),
        _did_claims_hold(fields),
        _cheapest(fields),
    )
    return [sentence for sentence in found if sentence]


def _value(row: Row) -> float:
    cell = row.cell("full", METRIC)
    return cell.mean if cell else float("nan")


def _first(field: Field, holds: Callable[[Row], bool]) -> Row | None:
    return next((row for row in field.section.rows if row.place is not None and holds(row)), None)


@dataclass(frozen=True)
class _Duel:
    field: Field
    one: Row
    two: Row

    @property
    def told(self) -> str:
        one, two = _value(self.one), _value(self.two)
        change = f", {100 * (one / two - 1):+.0f}%" if two else ""
        return f"{link(self.field)} {escaped(self.one.model)} {one:.4f} to {escaped(self.two.model)} {two:.4f}{change}"


def _duels(question: str, what: str, duels: Sequence[_Duel]) -> str:
    """On how many datasets the one side wins, loses, or neither."""
    if not duels:
        return ""
    better = [d for d in duels if d.field.wins(d.one, d.two)]
    worse = [d for d in duels if d.field.wins(d.two, d.one)]
    rest = [d for d in duels if d not in better and d not in worse]
    sides = ((better, "better"), (worse, "worse"), (rest, "not told apart"))
    told = [f"{word} on {listed([d.told for d in of])}" for of, word in sides if of]
    return f"**{question}** {what} on {len(better)} of {len(duels)} datasets (NDCG@20, p < {LEVEL:g} after Holm): {'; '.join(told)}."


def _does_text_help(fields: Sequence[Field]) -> str:
    duels = []
    for field in fields:
        with_text = _first(field, lambda row: encoder_kind(row.first) is not None)
        without = _first(field, lambda row: encoder_kind(row.first) is None)
        if with_text and without:
            duels.append(_Duel(field, with_text, without))
    return _duels(
        "Does text help?", "The best model that reads it beats the best that does not", duels
    )


def _does_language_beat(fields: Sequence[Field], baseline: str) -> str:
    duels = []
    for field in fields:
        language = _first(field, reads_language)
        other = _first(field, lambda row: row.model == baseline)
        if language and other and language is not other:
            duels.append(_Duel(field, language, other))
    causal = any(LLM in tags_of(duel.one) for duel in duels)
    kinds = sorted({str(encoder_kind(duel.one.first)) for duel in duels})
    text = _duels(
        f"Does a language model beat {baseline}?",
        f"The best model with one beats {baseline}",
        duels,
    )
    if text and not causal:
        text += f" Their texts are read by {listed(kinds)}; no causal language model is among them."
    return text


def orders(fields: Sequence[Field], known: Analysis) -> dict[str, list[tuple[Field, Agreement]]]:
    """Protocol -> what it makes of the order of the models of each dataset, by NDCG@10 per positive."""
    found: dict[str, list[tuple[Field, Agreement]]] = {}
    for field in fields:
        for one in agreements(field.section, known, COMPARED[0]):
            # A closed form says what its drawn twin says.
            if one.estimator == "naive" and not protocol_of(one.protocol).closed:
                found.setdefault(one.protocol, []).append((field, one))
    return found


def wrong_swaps(cases: Sequence[tuple[Field, Agreement]]) -> int | None:
    """Pairs turned round that full ranking tells apart; None where it was not asked."""
    flips = [flip for _, one in cases for flip in one.flips]
    tested = any(field.found for field, _ in cases)
    return sum(flip.significant for flip in flips) if tested else None


def _does_sampling_mislead(fields: Sequence[Field], known: Analysis) -> str:
    told = []
    for protocol, cases in orders(fields, known).items():
        lost = [link(field) for field, one in cases if not one.first_kept]
        swaps, pairs = sum(len(o.flips) for _, o in cases), sum(o.pairs for _, o in cases)
        wrong = wrong_swaps(cases)
        tau = fmean(o.tau for _, o in cases if o.tau is not None) if cases else 0.0
        told.append(
            f"{protocol} puts another model first on {len(lost)} of {len(cases)}"
            + (f" ({listed(lost)})" if lost else "")
            + f", swaps {swaps} of {pairs} pairs"
            + ("" if wrong is None else f", {wrong} of them against a significant difference")
            + f" (τ-b {tau:+.2f})"
        )
    if not told:
        return ""
    where = "[docs/sampled-vs-full.md](../docs/sampled-vs-full.md)"
    return f"**Does sampling mislead?** By NDCG@10 per positive {'; '.join(told)}. More: {where}."


def _printed(groups: Sequence[Group]) -> Iterator[tuple[str, Section, PaperTable]]:
    """(link, section, table) of what papers print and a page has beside its rows."""
    for group in groups:
        if (section := group.main) is not None:
            for paper in paper_tables(section):
                yield f"[{escaped(group.dataset)}]({group.page}.md)", section, paper


def _beside(fields: Sequence[Field]) -> Iterator[tuple[Field, PaperTable]]:
    for field in fields:
        for paper in paper_tables(field.section):
            yield field, paper


def _were_figures_met(groups: Sequence[Group]) -> str:
    """Sizes of datasets, and scores of papers, that come out here to the last digit that is printed."""
    told = []
    printed = [group for group in groups if published_sizes(group.dataset) is not None]
    if printed:
        met = {f"[{escaped(g.dataset)}]({g.page}.md)" for g in printed if sizes_met([g])}
        names = f" ({listed(sorted(met))})" if met else ""
        count = len({group.dataset for group in printed})
        told.append(f"sizes of {len(met)} of {count} datasets{names}")
    tables = list(_printed(groups))
    met_scores = compared = 0
    agreeing = set()
    for at, section, paper in tables:
        if paper.differences(section):
            continue
        for row, metric in itertools.product(section.rows, paper.shown):
            theirs, cell = paper.value(row, metric), row.cell("full", metric)
            if theirs is not None and cell is not None:
                agreeing.add(at)
                compared += 1
                met_scores += round(cell.mean, _DIGITS) == round(theirs, _DIGITS)
    where = listed(sorted(agreeing or {at for at, _, _ in tables}))
    if compared:
        told.append(f"{met_scores} of {compared} scores of papers whose conditions agree ({where})")
    elif tables:
        told.append(
            f"no score: each of the {len(tables)} tables of papers beside our rows has other data, another split or another encoder "
            f"({where})"
        )
    if not told:
        return ""
    text = "; ".join(told)
    return f"**Which published figures were met to the digit?** {text[0].upper()}{text[1:]}."


def _did_claims_hold(fields: Sequence[Field]) -> str:
    """Pairs of models that a paper puts in one order and significant differences of ours in the other."""
    against: dict[tuple[str, str], list[str]] = {}
    count: set[tuple[str, str, str]] = set()
    for field, paper in _beside(fields):
        metric = METRIC if METRIC in paper.shown else paper.shown[-1] if paper.shown else None
        rows = [row for row in field.section.rows if row.model in paper.rows]
        for one, two in itertools.permutations(rows, 2) if metric else ():
            ours, theirs = paper.value(one, str(metric)), paper.value(two, str(metric))
            if ours is None or theirs is None or ours <= theirs or field.differs(one, two) is None:
                continue
            count.add((field.group.dataset, one.model, two.model))
            if field.wins(two, one):
                said = against.setdefault((one.model, two.model), [])
                if link(field) not in said:
                    said.append(link(field))
    if not count:
        return ""
    start = f"**Which claims did not hold?** Of {len(count)} orders of two models that papers print"
    if not against:
        return f"{start}, ours turn none round significantly (on the same or a near dataset)."
    wrong = sum(map(len, against.values()))
    most = sorted(against.items(), key=lambda kv: (-len(kv[1]), kv[0]))
    told = [f"{escaped(a)} over {escaped(b)} ({', '.join(of)})" for (a, b), of in most[:_FEW]]
    more = f" and {len(most) - _FEW} more" if len(most) > _FEW else ""
    return f"{start}, ours turn {wrong} round significantly, on the same or a near dataset: {'; '.join(told)}{more}."


def _cheapest(fields: Sequence[Field]) -> str:
    told = []
    for field in fields:
        best = field.section.rows[0]
        near = [
            (cost, row.place or 0, row)
            for row in field.section.rows
            if (cost := seconds(row)) is not None
            and (row is best or ((p := field.differs(best, row)) is not None and p >= LEVEL))
        ]
        if near and len(field.section.rows) > 1 and field.found:
            cost, place, row = min(near, key=lambda of: of[:2])
            told.append(f"{link(field)} {escaped(row.model)} ({cost:,.0f} s, #{place})")
    if not told:
        return ""
    return f"**What is cheapest within noise of the best?** {'; '.join(told)}: not told apart from the first in NDCG@20."
