"""RecBole's own EASE, dense, handed the matrix without RecBole's files and loaders; see peer_io. Options: reg_weight."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.scale.peer_io import Asked, Made, by_scores, serve


class _Config(dict[str, Any]):
    device = "cpu"


def _make_names() -> None:
    """What RecBole uses and NumPy 2 dropped."""
    for name, now in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if name not in np.__dict__:
            setattr(np, name, now)


def fit(asked: Asked, options: dict[str, str], threads: int) -> Made:
    """The class is RecBole's; config and dataset are stand-ins with what it reads of them."""
    _make_names()
    import torch
    from recbole.model.general_recommender.ease import EASE

    torch.set_num_threads(threads)
    config = _Config(
        USER_ID_FIELD="user",
        ITEM_ID_FIELD="item",
        NEG_PREFIX="neg_",
        device="cpu",
        reg_weight=float(options["reg_weight"]),
    )
    sizes = dict(zip(("user", "item"), asked.train.shape, strict=True))
    dataset = SimpleNamespace(num=sizes.__getitem__, inter_matrix=lambda form: asked.train)
    model = EASE(config, dataset)

    def score(users: Any) -> Any:
        flat = model.full_sort_predict({"user": torch.from_numpy(users)})
        return np.array(flat.numpy().reshape(len(users), -1))

    return Made(by_scores(score), {"numbers": model.item_similarity.size})


if __name__ == "__main__":
    _make_names()
    serve(fit, ["recbole.model.general_recommender.ease"])
