"""The page of `show --html` made from a finished run: every list at once, and what a reader sees of items and neurons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import progress
from recbole_ext.data.problem import Problem
from recbole_ext.explain.knobs import Labelled, Turn, best_lists, strongest
from recbole_ext.explain.page.data import Board, Card, Item, Knob, Label, Page, Turned
from recbole_ext.explain.top_items import held_out_of, history_of, user_of
from recbole_ext.sae.mapping import ORIENTATIONS
from recbole_ext.sae.steering import steered

if TYPE_CHECKING:
    import torch

STRONGEST = 12
"""Concepts, and neurons, of a user that are offered beside the search field."""
_BLOCK_BYTES = 32 << 20
"""Upper bound for one matrix of scores."""
_TITLE, _DETAIL = 160, 100
"""Letters of an item's texts."""


def page_of(view: Labelled, user: str, board: Board, opened: str | None = None) -> Page:
    """Everything that a page shows of a user.

    Args:
        view: a finished run whose neurons are compared with concepts.
        user: a token.
        board: what is turned, and how far.
        opened: the concept that is seen first; None takes the one whose neurons have the largest share of the user's code.

    Raises:
        HarnessError: no such user or concept, no neuron has anything to do with it, or lists longer than the catalogue.
    """
    problem, concepts = view.problem, view.concepts
    index = user_of(problem, user)
    first = None if opened is None else concepts.index(opened)
    if opened is not None:
        view.neurons(Turn(opened, 0.0, board.by, board.count))  # refuses one that no neuron knows
    if board.k > view.knobs.n_items:
        raise HarnessError(
            f"--k={board.k}: {problem.data.name} has {view.knobs.n_items:,} items; ask for at most as many"
        )
    one, history = np.array([index]), history_of(problem, index)
    held_out = held_out_of(problem, index)
    code = view.knobs.codes(one)
    share = _shares(code[0].double().cpu().numpy())
    neurons = [view.mapping.neurons_of(t, board.by, board.count) for t in range(len(concepts))]
    plain, before = (
        best_lists(scores, history, board.k)[0]
        for scores in (view.knobs.plain(one), view.knobs.scores(one, code))
    )
    lists = _lists(view, one, code, neurons, history, board)
    shares = np.array([share[found].sum() for found in neurons])
    strong_neurons = _largest(np.where(view.mapping.live, share, 0.0))  # a dead one has no card
    codes = view.item_codes.cpu().numpy()
    on_cards = np.unique(np.concatenate([strong_neurons, *neurons])).tolist()
    exciting = {n: strongest(codes[:, n]) for n in on_cards}
    places = _Places(
        [history, plain, before, *(found for rows in lists for found in rows), *exciting.values()]
    )
    items = _items(problem, places.items)
    strong_concepts = _largest(shares).tolist()
    if first is None:
        first = next(
            (t for t in [*strong_concepts, *range(len(concepts))] if len(neurons[t])), None
        )
    return Page(
        model=view.saved.record.experiment["model"],
        dataset=problem.data.name,
        run=view.saved.record.run_id,
        user=user,
        board=board,
        neurons=len(share),
        live=int(view.mapping.live.sum()),
        history=tuple(sorted(places.of(history), key=lambda at: items[at].title.casefold())),
        held_out=places.of(np.intersect1d(held_out, places.items)),
        held_out_in_all=len(held_out),
        plain=places.of(plain),
        before=places.of(before),
        items=items,
        cards=_cards(view, share, codes, exciting, places),
        concepts=_turned(view, neurons, lists, shares, places, [history, plain, before]),
        strongest_concepts=tuple(strong_concepts),
        strongest_neurons=tuple(strong_neurons.tolist()),
        opened=first,
    )


class _Places:
    """Items of a page, each once."""

    def __init__(self, lists: Iterable[Ints | Sequence[int]]) -> None:
        self.items: Ints = np.unique(np.concatenate([np.asarray(x, dtype=np.int64) for x in lists]))

    def of(self, items: Ints | Sequence[int]) -> tuple[int, ...]:
        return tuple(np.searchsorted(self.items, np.asarray(items, dtype=np.int64)).tolist())


def _shares(code: Floats) -> Floats:
    """[h] of a code [h]; zeros of one that is all zeros."""
    total = float(code.sum())
    return code / total if total > 0 else code


def _largest(shares: Floats) -> Ints:
    """The `STRONGEST` places of largest share above 0, equal ones by place."""
    order = np.argsort(-shares, kind="stable")[:STRONGEST]
    return np.asarray(order[shares[order] > 0])


def _lists(
    view: Labelled,
    one: Ints,
    code: torch.Tensor,
    neurons: Sequence[Ints],
    history: Ints,
    board: Board,
) -> list[list[Ints]]:
    """For each concept a list for each strength above 0; none for a concept without neurons.

    A user's codes [C·A, h] for several concepts are scored at once.
    """
    import torch

    strengths, dead = board.strengths[1:], ~view.live
    together = max(1, _BLOCK_BYTES // (4 * view.knobs.n_items * len(strengths)))
    able = [t for t, found in enumerate(neurons) if len(found)]
    lists: list[list[Ints]] = [[] for _ in neurons]
    with progress("lists turned by concepts", len(able)) as advance:
        for block in _blocks(able, together):
            codes = [
                steered(code, torch.from_numpy(neurons[t]), alpha, board.mode, dead)
                for t in block
                for alpha in strengths
            ]
            found = iter(best_lists(view.knobs.scores(one, torch.cat(codes)), history, board.k))
            for t in block:
                lists[t] = [next(found) for _ in strengths]
            advance(len(block))
    return lists


def _blocks(places: Sequence[int], together: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), together):
        yield places[start : start + together]


def _turned(
    view: Labelled,
    neurons: Sequence[Ints],
    lists: Sequence[Sequence[Ints]],
    shares: Floats,
    places: _Places,
    common: Sequence[Ints],
) -> tuple[Turned, ...]:
    """`common`: items that are on the page whatever is turned."""
    presence = view.concepts.presence.tocsc()
    mapping, turned = view.mapping, []
    for t, name in enumerate(view.concepts.names):
        carrying = presence.indices[presence.indptr[t] : presence.indptr[t + 1]]
        shown = np.concatenate([*common, *lists[t]])
        turned.append(
            Turned(
                name=name,
                on=len(carrying),
                share=round(float(shares[t]), 4),
                knobs=tuple(
                    Knob(int(n), *_rounded(mapping.correlation[t, n], mapping.f1[t, n]))
                    for n in neurons[t]
                ),
                carried=places.of(np.intersect1d(shown, carrying)),
                lists=tuple(places.of(found) for found in lists[t]),
            )
        )
    return tuple(turned)


def _cards(
    view: Labelled,
    share: Floats,
    codes: Floats,
    exciting: Mapping[int, Sequence[int]],
    places: _Places,
) -> dict[int, Card]:
    """Of the neurons of `exciting`, each with the items that excite it most; `codes` [n_items, h]."""
    labels = {by: _labels(view, by) for by in ORIENTATIONS}
    return {
        n: Card(
            share=round(float(share[n]), 4),
            characterises=labels["characterises"][n],
            unique=labels["unique"][n],
            excites=int((codes[:, n] > 0).sum()),
            items=places.of(items),
            codes=tuple(float(f"{codes[item, n]:.4g}") for item in items),
        )
        for n, items in exciting.items()
    }


def _labels(view: Labelled, by: str) -> list[Label | None]:
    """[h]."""
    mapping = view.mapping
    return [
        None if t < 0 else Label(t, *_rounded(mapping.correlation[t, n], mapping.f1[t, n]))
        for n, t in enumerate(mapping.labels(by).tolist())
    ]


def _rounded(correlation: float, f1: float) -> tuple[float, float]:
    return round(float(correlation), 3), round(float(f1), 3)


def _items(problem: Problem, wanted: Ints) -> tuple[Item, ...]:
    """What a reader sees of items; one without a title is called by its token."""
    columns = problem.data.item_columns
    try:
        fields = problem.texts[0]
    except HarnessError:
        fields = {}
    details = [label for label in fields if label not in ("Title", "Description")]

    def part(label: str, item: int) -> str:
        return " ".join(columns[fields[label]][item].split()) if label in fields else ""

    found = []
    for item in wanted.tolist():
        token = problem.data.item_tokens[item]
        detail = " · ".join(text for label in details if (text := part(label, item)))
        title = part("Title", item) or token
        found.append(Item(token, _shortened(title, _TITLE), _shortened(detail, _DETAIL)))
    return tuple(found)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
