"""Ranks, candidate lists and metrics on plain arrays: scores and positives in, numbers out.

`evaluate` is the way in for a notebook; it is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_ext.evaluator.arrays import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]


def __getattr__(name: str) -> Any:
    # The leaderboard reads `findings` from here and must not load NumPy for it.
    if name in __all__:
        from recbole_ext.evaluator import arrays

        return getattr(arrays, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
