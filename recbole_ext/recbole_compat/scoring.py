"""Scores of every item, of lists or of pairs from any RecBole model, and the histories that sequential ones read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.interactions import Interactions
from recbole_ext.evaluator.lists import Answers, ListScorer, Scores
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.boundary import by_recbole
from recbole_ext.recbole_compat.folding import folded_in

PairScorer = Callable[[Ints, Ints, Ints | None], Any]
_PAIRS = 1 << 17
"""Scored at once by a model that scores pairs only."""


def score_function(
    model: Any,
    bench: Bench,
    data: Interactions,
    history: tuple[Ints, Ints],
    by_pairs: bool = False,
) -> Callable[[Ints], Any]:
    """users [B] -> scores [B, n_items] of every item, without RecBole's padding column.

    Args:
        model: trained.
        bench: what it was built from.
        data: the interactions.
        history: (user, item) pairs that a sequential model may see, put into order here; general models carry their
            training history with them, and that of other users is folded in.
        by_pairs: each score by the model's `predict`, as a model without `full_sort_predict` gives them anyway.
    """
    import torch

    config, n_items = bench.config, len(data.item_tokens)
    model = folded_in(model, bench)
    batch_of = _batches(bench, data, history)

    @torch.no_grad()
    def scores(users: Ints) -> Any:
        model.eval()
        batch = batch_of(users)
        with by_recbole(bench.name, data.name):
            found = None if by_pairs else _score_rows(model, batch)
            if found is None:
                found = _score_pairs(model, batch, config["ITEM_ID_FIELD"], n_items + 1)
        return found.view(len(users), n_items + 1)[:, 1:]

    return scores


def list_scorer(
    model: Any, bench: Bench, data: Interactions, history: tuple[Ints, Ints], rules: bool = True
) -> ListScorer:
    """users [p], candidates [p, m + 1] -> scores of the candidates, or answers; arguments are those of `score_function`, and whether all rules are asked for.

    The model has `score_candidates(interaction, items)`, which gives scores [p, m + 1], or `choose_candidates(interaction, items, rules)`,
    which gives columns [p], -1 for an output that names none of them, or these, [p, m + 1] of all candidates that are named alike, and
    other rules by their names, as `evaluator.lists.Answers` has them, of which those that cost more than the choice may be left out unless
    `rules`; `items` [p, m + 1] are RecBole's ids. One that reads the candidates in an order has `places_of_candidates(interaction, items)`
    too, which gives [p, m + 1] the place of each, from 1.

    Raises:
        HarnessError: it has neither.
    """
    import torch

    name, device = bench.name, bench.config["device"]
    model = folded_in(model, bench)
    batch_of = _batches(bench, data, history)
    chooses = hasattr(model, "choose_candidates")
    if not chooses and not hasattr(model, "score_candidates"):
        raise HarnessError(
            f"{name} is said to score candidates, but has neither score_candidates nor choose_candidates"
        )
    of_model = partial(model.choose_candidates, rules=rules) if chooses else model.score_candidates
    places_of = getattr(model, "places_of_candidates", None)

    @torch.no_grad()
    def score(users: Ints, candidates: Ints) -> Any:
        model.eval()
        batch, items = batch_of(users), torch.from_numpy(candidates + 1).to(device)
        with by_recbole(name, data.name):
            found = of_model(batch, items)
            named_at = None if places_of is None else places_of(batch, items).cpu().numpy()
        if chooses and isinstance(found, tuple):
            place, alike, read = found
            return Answers(
                place.cpu().numpy(),
                alike.cpu().numpy(),
                {rule: right.cpu().numpy() for rule, right in read.items()},
                named_at,
            )
        found = found.cpu().numpy()
        if chooses:
            return Answers(found, named_at=named_at)
        return found if named_at is None else Scores(found, named_at)

    return score


def pair_scorer(
    model: Any, bench: Bench, data: Interactions, history: tuple[Ints, Ints]
) -> PairScorer:
    """users [N], items [N] -> scores [N] by the model's `predict`; arguments are those of `score_function`.

    `row` [N], where it is given, is a column of what the model is handed: the pairs' places among the interactions.
    """
    import torch
    from recbole.data.interaction import Interaction

    config = bench.config
    model = folded_in(model, bench)
    batch_of = _batches(bench, data, history)

    @torch.no_grad()
    def score(users: Ints, items: Ints, row: Ints | None = None) -> Any:
        model.eval()
        found = []
        for first in range(0, len(users), _PAIRS):
            rows = slice(first, first + _PAIRS)
            batch, columns = batch_of(users[rows]), {config["ITEM_ID_FIELD"]: items[rows] + 1}
            if row is not None:
                columns["row"] = row[rows]
            batch.update(Interaction(columns).to(config["device"]))
            with by_recbole(bench.name, data.name):
                found.append(model.predict(batch).view(-1).double().cpu())
        return torch.cat(found).numpy()

    return score


def lists_by_pairs(score: PairScorer) -> ListScorer:
    """Users [p], candidates [p, m + 1], rows [p] -> scores [p, m + 1] of a model that scores pairs, each as it would be in the row of
    the list's positive: what the user had before that is all that a row says."""

    def of_lists(users: Ints, candidates: Ints, row: Ints) -> Any:
        length = candidates.shape[1]
        flat = score(np.repeat(users, length), candidates.ravel(), np.repeat(row, length))
        return flat.reshape(candidates.shape)

    return of_lists


def histories_of(
    bench: Bench, data: Interactions, history: tuple[Ints, Ints]
) -> Callable[[int], Ints]:
    """user -> the latest items that a sequential model reads of it, oldest first; arguments are those of `score_function`."""
    sequences = _Sequences(bench, data, history)
    return lambda user: sequences.items[user, : sequences.lengths[user]] - 1


def _batches(bench: Bench, data: Interactions, history: tuple[Ints, Ints]) -> Callable[[Ints], Any]:
    """users [B] -> RecBole's interaction of them, with their histories where the model is sequential."""
    import torch
    from recbole.data.interaction import Interaction
    from recbole.utils import ModelType

    config = bench.config
    sequences = (
        _Sequences(bench, data, history) if config["MODEL_TYPE"] == ModelType.SEQUENTIAL else None
    )

    def batch_of(users: Ints) -> Any:
        columns = {config["USER_ID_FIELD"]: torch.from_numpy(users + 1)}
        if sequences is not None:
            columns.update(sequences.of(users))
        return Interaction(columns).to(config["device"])

    return batch_of


def _score_rows(model: Any, batch: Any) -> Any:
    """[B * n_items] scores, None by a model that only knows `predict`."""
    try:
        return model.full_sort_predict(batch)
    except NotImplementedError:
        return None


def _score_pairs(model: Any, batch: Any, item_field: str, n_items: int) -> Any:
    """[B * n_items] scores by `predict`."""
    import torch
    from recbole.data.interaction import Interaction

    items = torch.arange(n_items, device=next(iter(batch.interaction.values())).device)
    step, found = max(1, _PAIRS // n_items), []
    for first in range(0, len(batch), step):
        users = batch[first : first + step]
        pairs = users.repeat_interleave(n_items)
        pairs.update(Interaction({item_field: items.repeat(len(users))}))
        found.append(model.predict(pairs).view(-1))
    return torch.cat(found)


class _Sequences:
    """Each user's latest items, right-padded with 0, in the columns that RecBole's sequential models read."""

    def __init__(self, bench: Bench, data: Interactions, history: tuple[Ints, Ints]) -> None:
        assert bench.places is not None
        config = bench.config
        longest = config["MAX_ITEM_LIST_LENGTH"]
        self.item_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        n = len(data.item_tokens)
        keys = data.user * n + data.item  # ascending: rows are in canonical order
        rows = np.searchsorted(keys, history[0] * n + history[1])
        order = np.lexsort((bench.places[rows], data.user[rows]))
        user, item = data.user[rows][order], data.item[rows][order]
        length = np.bincount(user, minlength=len(data.user_tokens))
        place = np.arange(len(user)) - (np.cumsum(length) - length)[user]
        skipped = np.maximum(length - longest, 0)  # older items than the model can hold
        kept = place >= skipped[user]
        self.items = np.zeros((len(length), longest), dtype=np.int64)
        self.items[user[kept], (place - skipped[user])[kept]] = item[kept] + 1
        self.lengths = np.minimum(length, longest)

    def of(self, users: Ints) -> dict[str, Any]:
        import torch

        return {
            self.item_field: torch.from_numpy(self.items[users]),
            # A user without history is given length 1 over the padding item, as RecBole's gather needs an index.
            self.length_field: torch.from_numpy(np.maximum(self.lengths[users], 1)),
        }
