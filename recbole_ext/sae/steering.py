"""Steering: a user's code of a sparse autoencoder, with some of its neurons turned up.

From Knots to Knobs (arXiv 2601.11182) hands a share α of a code's whole activation to the neurons of a concept; the two other
modes are there beside it. Codes e [B, h] are what the encoder makes of B users, none of them negative; what is returned goes to
the decoder with each user's own mean and deviation. With strength 0 every mode returns the code as it is, to the bit.

* `redistribute`, the paper's: e' = (1 - α) e + α s Σ_{n ∈ N} 1_n / |N| with s = Σ e, so that Σ e' = s. α is the share of the
  activation that the concept gets, from 0 to 1, and α / |N| what one neuron gets.
* `add`: e' = e + α Σ_{n ∈ N} 1_n, in the units of the code, after an extension of the authors' first code in which strengths
  run up to 100. The sum grows by α |N|; a strength may exceed 1.
* `set`, ours: e'_n = max(e_n, α max_j e_j) for n ∈ N. Each neuron is raised to α times the user's strongest one, and never
  lowered; a strength may exceed 1. A code of zeros stays one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from recbole_ext.core.errors import HarnessError, one_of

if TYPE_CHECKING:
    import torch

MODES = ("redistribute", "add", "set")
_NAMED = 5
"""Neurons that a message names."""


def steered(
    e: torch.Tensor,
    neurons: torch.Tensor,
    alpha: float,
    mode: str = "redistribute",
    dead: torch.Tensor | None = None,
) -> torch.Tensor:
    """Codes [B, h] steered towards neurons; `e` itself is left alone.

    Args:
        e: [B, h] codes, >= 0.
        neurons: [N] the same for all, or [B, N] each row's own; from 0, none twice in a row.
        alpha: the strength, >= 0; at most 1 for `redistribute`.
        mode: one of `MODES`.
        dead: [h] neurons that fire for no item and so stand for nothing.

    Raises:
        HarnessError: an unknown mode, a strength out of its range, a code that is negative or no number, no neuron at all, one
            outside [0, h), twice in a row or dead.
    """
    import torch

    checked_strength(alpha, mode)
    if not bool((e >= 0).all()):  # NaN too: it is not above 0
        row = int((~(e >= 0)).any(dim=1).nonzero()[0])
        raise HarnessError(
            f"steering: the code in row {row} has a negative entry or one that is no number; only codes of a ReLU encoder can "
            "be steered"
        )
    rows = _rows(neurons, e, dead)  # (B, N)
    if mode == "redistribute":
        share = (alpha / rows.shape[1]) * e.sum(dim=1, keepdim=True)
        return ((1.0 - alpha) * e).scatter_add_(1, rows, share.expand(rows.shape))
    if mode == "add":
        return e.scatter_add(1, rows, torch.full_like(rows, alpha, dtype=e.dtype))
    floor = alpha * e.amax(dim=1, keepdim=True)
    return e.scatter(1, rows, torch.maximum(e.gather(1, rows), floor))


def checked_strength(alpha: float, mode: str) -> None:
    """Refuse an unknown mode, and a strength that it does not take.

    Raises:
        HarnessError: as the line says.
    """
    one_of("steer_mode", mode, MODES)
    most = 1.0 if mode == "redistribute" else math.inf
    if not (0 <= alpha <= most and math.isfinite(alpha)):
        known = "a share from 0 to 1" if mode == "redistribute" else "a number from 0 on"
        raise HarnessError(f"alpha={alpha:g}: steering by '{mode}' takes {known}")


def live_neurons(item_codes: torch.Tensor) -> torch.Tensor:
    """[h] whether a neuron fires for any item; `item_codes` [n_items, h] are the codes of one-item profiles (section 5.6)."""
    return (item_codes != 0).any(dim=0)


def random_neurons(live: torch.Tensor, n_tags: int, count: int, seed: int) -> torch.Tensor:
    """[n_tags, count] neurons drawn among the live ones, each tag's own: a control that is ours.

    Args:
        live: [h] whether a neuron is live.
        n_tags: tags to draw for.
        count: neurons of a tag, none twice.
        seed: of the drawing, on the CPU whatever the device of `live`.

    Raises:
        HarnessError: fewer neurons are live than one tag asks for.
    """
    import torch

    alive = live.cpu().nonzero().flatten()
    if len(alive) < count or count < 1:
        raise HarnessError(
            f"steering: {count} random neurons a tag were asked for and {len(alive)} of {len(live)} neurons are live; ask for "
            "1 up to as many"
        )
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(n_tags, len(alive), generator=generator).argsort(dim=1)[:, :count]
    return alive[places]


def _rows(neurons: torch.Tensor, e: torch.Tensor, dead: torch.Tensor | None) -> torch.Tensor:
    """[B, N] the checked neurons of every row."""
    batch, h = e.shape
    neurons = neurons.to(e.device).long()
    if neurons.ndim not in (1, 2) or not neurons.shape[-1]:
        raise HarnessError(
            f"steering: neurons of shape {tuple(neurons.shape)} are none; give at least one, as [N] or [B, N]"
        )
    if neurons.ndim == 2 and len(neurons) != batch:
        raise HarnessError(
            f"steering: neurons of {len(neurons)} rows do not fit {batch} codes; give a row for each, or one set for all"
        )
    outside = (neurons < 0) | (neurons >= h)
    if bool(outside.any()):
        _refuse(neurons[outside], f"not among the {h} of the code, which count from 0")
    if dead is not None:
        of_dead = dead.to(e.device)[neurons]
        if bool(of_dead.any()):
            _refuse(neurons[of_dead], "dead: no item makes it fire, so that it stands for nothing")
    ordered = neurons.sort(dim=-1).values
    twice = ordered[..., 1:] == ordered[..., :-1]
    if bool(twice.any()):
        _refuse(ordered[..., 1:][twice], "given twice for one user")
    return neurons.expand(batch, -1)


def _refuse(found: torch.Tensor, why: str) -> None:
    numbers = sorted(set(found.flatten().tolist()))
    named = ", ".join(map(str, numbers[:_NAMED]))
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    raise HarnessError(f"steering: neuron {named}{more} is {why}")
