"""ALS of the package `implicit`, in its interpreter; see peer_io. Options: factors, regularization, alpha, iterations, seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.scale.peer_io import TOP, Asked, Made, serve

_USERS = 4096
"""Whose lists the package makes in one call."""


def fit(asked: Asked, options: dict[str, str], threads: int) -> Made:
    """On the CPU, float32; lists are the package's own."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=int(options["factors"]),
        regularization=float(options["regularization"]),
        alpha=float(options["alpha"]),
        iterations=int(options["iterations"]),
        num_threads=threads,
        random_state=int(options["seed"]),
    )
    model.fit(asked.train, show_progress=False)

    def lists(asked: Asked, threads: int) -> npt.NDArray[np.int64]:
        out = np.full((len(asked.users), TOP), -1, dtype=np.int64)
        candidates = asked.train.shape[1] - np.diff(asked.masked.indptr)
        for first in range(0, len(asked.users), _USERS):
            users = asked.users[first : first + _USERS]
            # It hides what `user_items` has of the ids that it is given, which are looked up in the factors, too.
            queries = model.user_factors[users]
            found = _listed(model, queries, asked.masked[first : first + _USERS], threads)
            out[first : first + _USERS, : found.shape[1]] = found
        # A hidden item comes last, and not as none.
        out[np.arange(TOP) >= candidates[:, None]] = -1
        return out

    numbers = model.user_factors.size + model.item_factors.size
    return Made(lists, {"numbers": numbers})


def _listed(model, queries, masked, threads):  # type: ignore[no-untyped-def]
    """[B, 20] by the package's top-k."""
    from implicit.cpu.topk import topk

    found, _ = topk(
        model.item_factors, queries, TOP, filter_query_items=masked, num_threads=threads
    )
    return found


if __name__ == "__main__":
    serve(fit, ["implicit.cpu.als", "implicit.cpu.topk"])
