"""One number out of the logits of Yes and No. Three readings are published; their order within a user differs.

Each is a logit: it trains by binary cross-entropy with logits, and its sigmoid is the probability of Yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import torch

Score = Literal["softmax_yes_no", "prob_diff", "yes_logit"]
SCORES: tuple[str, ...] = get_args(Score)


def softmax_yes_no(yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    """[n] ℓ_Yes − ℓ_No, whose sigmoid is the softmax over the two (SeLLa-Rec's paper, eq. 3)."""
    return yes - no


def prob_diff(yes: torch.Tensor, no: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """[n] p_Yes − p_No of a softmax over the whole vocabulary, whose sigmoid is a softmax over the two *probabilities*
    (SeLLa-Rec's code). It lies between -1 and 1, so that its probabilities lie between 0.27 and 0.73.

    Args:
        yes: [n] logits.
        no: [n].
        total: [n] log of the sum of exp over all logits.
    """
    return (yes - total).exp() - (no - total).exp()


def yes_logit(yes: torch.Tensor) -> torch.Tensor:
    """[n] ℓ_Yes as it is (CoLLM's and TALLRec's code); what else the model might say does not enter."""
    return yes


def answer_logit(
    score: str, yes: torch.Tensor, no: torch.Tensor, total: torch.Tensor | None = None
) -> torch.Tensor:
    """[n] by the name of the reading.

    Args:
        score: of `SCORES`.
        yes: [n] logits.
        no: [n].
        total: [n], for `prob_diff` only.
    """
    if score == "softmax_yes_no":
        return softmax_yes_no(yes, no)
    if score == "yes_logit":
        return yes_logit(yes)
    if score == "prob_diff" and total is not None:
        return prob_diff(yes, no, total)
    raise ValueError(
        f"{score}: the logsumexp of the vocabulary is needed"
        if score == "prob_diff"
        else f"score is one of {', '.join(SCORES)}, not {score!r}"
    )
