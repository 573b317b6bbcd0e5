"""Systems that can be turned towards a tag: steered autoencoders, and the controls beside them (section 5.9).

At strength 0 each is a plain list: of the autoencoder, of the model without it, or of TEASER.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.sae.steering import live_neurons, random_neurons, steered
from recbole_ext.sae.steering_evaluation import Steerable, System
from recbole_ext.sae.steering_task import SteeringTask

if TYPE_CHECKING:
    import torch

    from recbole_ext.sae.teaser import Teaser

COUNTS = (1, 5, 10)
"""Neurons that a concept is steered by."""


@dataclass(frozen=True)
class Steered:
    """A model whose codes are steered by the neurons of each user's tag; at strength 0 the autoencoder's own list."""

    name: str
    model: Steerable
    neurons: torch.Tensor
    """[T, N] of each tag."""
    mode: str = "redistribute"
    dead: torch.Tensor | None = None
    """[h] neurons that must not be used."""
    steers = True

    def at(self, users: Ints, tags: Ints, alphas: Sequence[float]) -> Iterator[torch.Tensor]:
        """As `System`; the strength is that of `steering.steered`."""
        import torch

        codes = self.model.codes(users)
        rows = self.neurons[torch.from_numpy(tags).to(self.neurons.device)]
        for alpha in alphas:
            yield self.model.scores(users, steered(codes, rows, alpha, self.mode, self.dead))


@dataclass(frozen=True)
class Unsteered:
    """Scores that no tag moves: the model without the autoencoder, say."""

    name: str
    scores: Callable[[Ints], torch.Tensor]
    """Users [B] -> [B, n_items]."""
    steers = False

    def at(self, users: Ints, tags: Ints, alphas: Sequence[float]) -> Iterator[torch.Tensor]:
        """As `System`."""
        for _ in alphas:
            yield self.scores(users)


@dataclass(frozen=True)
class TowardsMean:
    """Ours: a user's dense embedding z moved towards the mean c of those of the tagged items, z + α ||z|| c / ||c||.

    In the length of the user's own embedding, or one strength would mean less for a user with a longer history.
    """

    name: str
    embeddings: Callable[[Ints], torch.Tensor]
    """Users [B] -> z [B, d]."""
    decode: Callable[[Ints, torch.Tensor], torch.Tensor]
    """(users [B], embeddings [B, d]) -> scores [B, n_items]."""
    means: torch.Tensor
    """[T, d] the mean embedding of each tag's items; see `tag_means`."""
    steers = True

    def at(self, users: Ints, tags: Ints, alphas: Sequence[float]) -> Iterator[torch.Tensor]:
        """As `System`."""
        import torch

        z = self.embeddings(users)
        c = self.means[torch.from_numpy(tags).to(self.means.device)].to(z)
        c = torch.nn.functional.normalize(c, dim=1) * z.norm(dim=1, keepdim=True)
        for alpha in alphas:
            yield self.decode(users, z + alpha * c)


@dataclass(frozen=True)
class PostFilter:
    """Ours: a list that is re-ranked until a share α of its first k has the tag; see `promoted`."""

    name: str
    scores: Callable[[Ints], torch.Tensor]
    """Users [B] -> [B, n_items], of the model that is re-ranked."""
    task: SteeringTask
    steers = True

    def at(self, users: Ints, tags: Ints, alphas: Sequence[float]) -> Iterator[torch.Tensor]:
        """As `System`; of α k the nearest whole number counts, a half upwards."""
        import torch

        scores = self.scores(users)
        tagged, seen = (
            torch.from_numpy(mask).to(scores.device)
            for mask in (np.ascontiguousarray(self.task.tags[:, tags].T), self.task.history(users))
        )
        for alpha in alphas:
            if not 0 <= alpha <= 1:
                raise HarnessError(f"alpha={alpha:g}: a post-filter takes a share from 0 to 1")
            yield promoted(scores, tagged, seen, int(alpha * self.task.k + 0.5), self.task.k)


@dataclass(frozen=True)
class ByTeaser:
    """TEASER, whose hidden layer is the tags: α is added to the tag's coordinate of a profile."""

    name: str
    teaser: Teaser
    task: SteeringTask
    steers = True

    def at(self, users: Ints, tags: Ints, alphas: Sequence[float]) -> Iterator[torch.Tensor]:
        """As `System`."""
        import torch

        profiles = self.teaser.profiles(torch.from_numpy(self.task.history(users)))
        for alpha in alphas:
            yield self.teaser.scores(profiles, torch.from_numpy(tags), alpha)


def steered_systems(
    model: Steerable,
    maps: Mapping[str, torch.Tensor],
    counts: Sequence[int] = COUNTS,
    mode: str = "redistribute",
    seed: int = 0,
) -> list[System]:
    """The model without its autoencoder, and steered by so many neurons of every map and by as many random live ones.

    Args:
        model: with an autoencoder.
        maps: name -> [T, >= the largest count] neurons of each tag, best first.
        counts: numbers of neurons.
        mode: of `steering.steered`.
        seed: of the random neurons.

    Raises:
        HarnessError: a map has too few neurons, or there are too few live ones.
    """
    live = live_neurons(model.item_codes())
    found: list[System] = [Unsteered("without the autoencoder", model.plain)]
    for name, neurons in maps.items():
        if neurons.shape[1] < max(counts):
            raise HarnessError(
                f"steering: map '{name}' has {neurons.shape[1]} neurons a tag, fewer than {max(counts)}; ask for fewer"
            )
        found += [
            Steered(f"{name}, {count}", model, neurons[:, :count], mode, ~live) for count in counts
        ]
    n_tags = len(next(iter(maps.values())))
    for count in counts:
        drawn = random_neurons(live, n_tags, count, seed)
        found.append(Steered(f"random, {count}", model, drawn, mode, ~live))
    return found


def tag_means(items: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """[T, d] the mean of the embeddings [n_items, d] of the items with each tag [n_items, T]; zeros where none has it."""
    weights = tags.to(items)
    return (weights.T @ items) / weights.sum(0).clamp(min=1).unsqueeze(1)


def promoted(
    scores: torch.Tensor, tagged: torch.Tensor, seen: torch.Tensor, slots: int, k: int
) -> torch.Tensor:
    """Scores in which each row's tagged items have the least bonus that puts `slots` of them into the first k.

    With q = min(slots, tagged candidates), a the (k - q + 1)-th best score of an untagged candidate and b the q-th best of a
    tagged one, the bonus of every tagged item is 0 where b > a, or where there is no such a, and else what lifts b just above a.
    Tagged items keep their order, the others theirs, and no row loses a tagged item that it had. Sums are float64, so that only
    scores 10⁸ times closer than float32 tells apart, beside the bonus, could become equal.

    Args:
        scores: [B, n].
        tagged: [B, n] whether an item has the row's tag.
        seen: [B, n] what is no candidate.
        slots: places for tagged items, 0 to k; with 0 the scores are returned as they are.
        k: length of the list, at most n.
    """
    import torch

    if slots == 0:
        return scores
    exact = scores.double()
    own = exact.masked_fill(~tagged | seen, -torch.inf).topk(k, dim=1).values
    rest = exact.masked_fill(tagged | seen, -torch.inf).topk(k, dim=1).values
    quota = own.isfinite().sum(1, keepdim=True).clamp(max=slots)  # (B, 1) q
    b = own.gather(1, (quota - 1).clamp(min=0))
    a = rest.gather(1, (k - quota).clamp(max=k - 1))
    behind = (quota > 0) & a.isfinite() & (b <= a)
    # Four roundings' worth above: less than a float32's distance to its neighbour by a factor of 10⁸.
    margin = (a.abs() + b.abs()).mul(2.0**-50).clamp(min=1e-300)
    bonus = torch.where(behind, a - b + margin, 0.0)
    return exact + bonus * tagged
