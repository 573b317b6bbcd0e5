"""What the neurons of a sparse autoencoder stand for, and what turning them does to lists: From Knots to Knobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.data.problem import Problem
from recbole_ext.data.splits import TRAIN
from recbole_ext.explain.top_items import Saved, history_of, labels_of, user_of
from recbole_ext.recbole_compat import Knobs
from recbole_ext.registry import CONCEPTS
from recbole_ext.registry.find import require
from recbole_ext.sae.concepts import Concepts, TagFile, concepts_of_columns
from recbole_ext.sae.mapping import Mapping
from recbole_ext.sae.monosemanticity import extremes, measure, rotation, signed
from recbole_ext.sae.steering import live_neurons, steered

if TYPE_CHECKING:
    import torch

EXAMPLES = 10
"""Items of a neuron's card."""


@dataclass(frozen=True)
class Turn:
    """How a list is steered."""

    concept: str
    alpha: float
    by: str = "characterises"
    """Which map leads from a concept to neurons."""
    count: int = 5
    """Neurons that share α."""
    mode: str = "redistribute"


@dataclass(frozen=True)
class Labelled:
    """A finished run whose neurons are compared with concepts."""

    saved: Saved
    knobs: Knobs
    concepts: Concepts

    @classmethod
    def of(cls, saved: Saved, tags: Path | None, own_users: bool | None) -> Labelled:
        """`tags`: a file of tags, None for the item file's own columns; `own_users` as in `TagFile.read`.

        Raises:
            HarnessError: the model has no neurons, or the data has no concepts.
        """
        require(saved.experiment.model, CONCEPTS)
        if saved.record.params.get("sae") == "none":
            raise HarnessError(f"{saved.name} was trained with --sae=none: it has no neurons")
        problem = saved.experiment.problem
        if tags is None:
            concepts = concepts_of_columns(problem.data)
        else:
            trained = np.unique(problem.split.pairs(problem.data, TRAIN)[0])
            unseen = np.setdiff1d(np.arange(len(problem.data.user_tokens)), trained)
            concepts = TagFile(tags).read(problem.data, unseen, own_users)
        return cls(saved, Knobs(saved.fitted.model, saved.fitted.bench), concepts)

    @property
    def problem(self) -> Problem:
        return self.saved.experiment.problem

    @cached_property
    def item_codes(self) -> torch.Tensor:
        """E [n_items, h]."""
        return self.knobs.item_codes()

    @cached_property
    def live(self) -> torch.Tensor:
        """[h] neurons that some item alone makes fire."""
        return live_neurons(self.item_codes)

    @cached_property
    def mapping(self) -> Mapping:
        return Mapping.of(self.concepts, self.item_codes.cpu().numpy())

    def neurons(self, turn: Turn) -> Ints:
        """Neurons of a turn, best first.

        Raises:
            HarnessError: nobody uses the concept, or no neuron has anything to do with it.
        """
        found = self.mapping.neurons_of(self.concepts.index(turn.concept), turn.by, turn.count)
        if not len(found):
            raise HarnessError(f"no neuron has anything to do with '{turn.concept}'")
        return found

    def steered_scores(self, users: Ints, neurons: Ints, turn: Turn) -> torch.Tensor:
        """[B, n_items]."""
        import torch

        codes = steered(
            self.knobs.codes(users), torch.from_numpy(neurons), turn.alpha, turn.mode, ~self.live
        )
        return self.knobs.scores(users, codes)


def steered_list(view: Labelled, user: str, turn: Turn, k: int) -> list[str]:
    """Lines with a user's k best items by the model without its autoencoder, with it, and turned towards a concept.

    Raises:
        HarnessError: no such user or concept, or a strength that cannot be.
    """
    index, neurons = user_of(view.problem, user), view.neurons(turn)
    one = np.array([index])
    names, concept = view.mapping.names(), view.concepts.index(turn.concept)
    lines = [f"{view.saved.name}: user {user}", *_told_of(view, neurons, concept, names)]
    plain = best_of(view, index, view.knobs.plain(one), k)
    before = best_of(view, index, view.steered_scores(one, neurons, replace(turn, alpha=0.0)), k)
    after = best_of(view, index, view.steered_scores(one, neurons, turn), k)
    if plain.tolist() != before.tolist():
        lines += ["without the autoencoder:", *_rows(view, plain, None, concept)]
    lines += ["before:", *_rows(view, before, None, concept)]
    lines += [
        f"after '{view.concepts.names[concept]}' (alpha {turn.alpha:g}, {turn.mode}):",
        *_rows(view, after, before, concept),
    ]
    return lines


def _told_of(view: Labelled, neurons: Ints, concept: int, names: Sequence[str | None]) -> list[str]:
    name = view.concepts.names[concept]
    on = int(view.concepts.presence[:, [concept]].sum())
    shown = ", ".join(f"{n} ({names[n] or 'no label'})" for n in neurons)
    return [f"'{name}' is on {on:,} items; its neurons: {shown}"]


def best_of(view: Labelled, user: int, scores: torch.Tensor, k: int) -> Ints:
    """[k] the best items of a user's scores [1, n_items] that are not in its history."""
    (found,) = best_lists(scores, history_of(view.problem, user), k)
    return found


def best_lists(scores: torch.Tensor, history: Ints, k: int) -> list[Ints]:
    """For each row of scores [B, n_items] its k best items, best first, equal ones by index; fewer where fewer are not in the
    history or have a finite score."""
    rows: Floats = scores.double().cpu().numpy().copy()
    rows[~np.isfinite(rows)] = -np.inf
    rows[:, history] = -np.inf
    k = min(k, rows.shape[1])
    # Sorting what reaches the k-th score alone: sorting all for every strength of every concept would take minutes.
    edge = -np.partition(-rows, k - 1, axis=1)[:, k - 1]
    lists = []
    for row, least in zip(rows, edge, strict=True):
        reaching = np.flatnonzero((row >= least) & (row > -np.inf))
        lists.append(reaching[np.argsort(-row[reaching], kind="stable")[:k]])
    return lists


def _rows(view: Labelled, items: Ints, before: Ints | None, concept: int) -> list[str]:
    """A line for each item: its place, how it moved, whether it has the concept (*)."""
    labels, has = labels_of(view.problem), view.concepts.presence
    places = {} if before is None else {int(item): at for at, item in enumerate(before, 1)}
    lines = []
    for place, item in enumerate(items.tolist(), 1):
        moved = "" if before is None else _moved(places.get(item), place)
        star = "*" if has[item, concept] else " "
        lines.append(f"{place:>3} {star} {moved:<4} {labels[item]:<60.60}".rstrip())
    return lines


def _moved(before: int | None, now: int) -> str:
    if before is None:
        return "new"
    return f"{before - now:+d}" if before != now else "="


def neuron_card(view: Labelled, neuron: int) -> list[str]:
    """Lines with a neuron's labels, how sure they are, and the items that excite it most.

    Raises:
        HarnessError: no such neuron, or a dead one.
    """
    mapping, h = view.mapping, view.item_codes.shape[1]
    if not 0 <= neuron < h:
        raise HarnessError(f"--neuron={neuron}: {view.saved.name} has neurons 0 to {h - 1}")
    if not mapping.live[neuron]:
        raise HarnessError(
            f"--neuron={neuron} is dead: no item excites it, and so it stands for nothing "
            f"({int(mapping.live.sum()):,} of {h:,} live)"
        )
    lines = [f"{view.saved.name}: neuron {neuron}"]
    for by in ("characterises", "unique"):
        label = int(mapping.labels(by)[neuron])
        if label < 0:
            lines.append(f"{by}: no label, its items have no concept")
            continue
        r, f1 = mapping.correlation[label, neuron], mapping.f1[label, neuron]
        lines.append(f"{by}: {view.concepts.names[label]} (correlation {r:.2f}, F1 {f1:.2f})")
    code, labels = view.item_codes[:, neuron].cpu().numpy(), labels_of(view.problem)
    count = int((code > 0).sum())
    lines.append(f"{count:,} items excite it, most:" if count > 1 else "1 item excites it:")
    lines += [f"{code[i]:9.4f}  {labels[i]:<60.60}".rstrip() for i in strongest(code)]
    return lines


def strongest(code: Floats) -> list[int]:
    """Items that excite a neuron most, of its activations [n_items]."""
    order = np.argsort(-code, kind="stable")[:EXAMPLES]
    return [int(item) for item in order if code[item] > 0]


def interpretability(view: Labelled) -> list[str]:
    """The paper's measures of how selective neurons and concepts are, and ours, beside those of the embedding's own coordinates
    and of the autoencoder given a randomly turned embedding; written beside the run too."""
    from recbole_ext.sae.densities import densities

    tokens, z = view.problem.data.item_tokens, view.knobs.item_embeddings()
    turned = z @ z.new_tensor(rotation(z.shape[1], view.saved.experiment.settings.run["seed"]))
    codes = {
        "neurons": view.item_codes,
        "coordinates": z.new_tensor(signed(z.cpu().numpy())),
        "neurons of a turned embedding": view.knobs.coded(turned),
    }
    found = {
        name: measure(view.concepts, code.cpu().numpy(), tokens) for name, code in codes.items()
    }
    keys = list(found["neurons"].means())
    table = [",".join(["system", *keys])]
    lines = [f"{view.saved.name}: {len(view.concepts)} concepts"]
    width = max(map(len, keys))
    lines.append(f"{'':<{width}}  " + "  ".join(f"{name:>10}" for name in found))
    means = {name: measures.means() for name, measures in found.items()}
    for name, values in means.items():
        table.append(",".join([name, *(f"{values[key]:.6g}" for key in keys)]))
    for key in keys:
        shown = (f"{means[name][key]:{max(10, len(name))}.4f}" for name in found)
        lines.append(f"{key:<{width}}  " + "  ".join(shown))
    tags = extremes(view.concepts, found["neurons"].concepts)
    lines += ["concepts, most selective first, the least last:"]
    lines += [f"  {t.name:<30} entropy {t.entropy:.3f}  KL {t.divergence:.2f}" for t in tags]
    folder = view.saved.folder
    csv, plot = folder / "interpretability.csv", folder / "interpretability.svg"
    write_atomically(csv, "\n".join(table) + "\n")
    write_atomically(plot, densities(found, view.saved.name))
    return [*lines, str(csv), str(plot)]
