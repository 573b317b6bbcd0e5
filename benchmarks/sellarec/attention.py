"""Figure 8: how much of what the answer is read from attends to each of the three tokens, in the second layer and the last."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_ext.data.splits import TEST
from recbole_ext.evaluator.metrics import COLD, WARM
from recbole_ext.evaluator.pointwise import LabelledPairs
from recbole_ext.evaluator.warmth import warmth
from recbole_ext.explain.top_items import Saved


def attended(saved: Saved, most: int, seed: int = 0) -> list[dict[str, object]]:
    """A line for each layer, part of the test rows and token: mean and deviation over rows, of the mean over heads.

    `even` is the mean over rows of one over the prompt's length: what a token would have if all had the same. The answer is read from the
    last token of a causal model, and from the mean of all tokens of an encoder, whose attention is meant too.

    Args:
        saved: a run of SeLLaRec.
        most: rows of each part, drawn; all where there are fewer.
        seed: of the draw.
    """
    model: Any = saved.fitted.model
    problem = saved.experiment.problem
    pairs = problem.labelled(TEST)
    assert isinstance(pairs, LabelledPairs) and pairs.row is not None
    parts = warmth(pairs.user, pairs.item, problem.activity, problem.popularity)
    deepest = len(model.backbone.layers)
    layers = sorted({min(2, deepest), deepest})
    lines: list[dict[str, object]] = []
    for part in (WARM, COLD):
        rows = np.flatnonzero(parts[part])
        if not len(rows):
            continue
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
        user, item, row = (
            torch.from_numpy(column[rows]).to(model.device)
            for column in (pairs.user + 1, pairs.item + 1, pairs.row)
        )
        prompts = model.token_prompts.of(item.tolist(), row.tolist())
        even = float(np.mean([1 / len(prompt.ids) for prompt in prompts]))
        for slot, found in model.attention(user, item, row, layers).items():
            for layer, values in zip(layers, found.double().numpy(), strict=True):
                line = {"layer": layer, "part": part, "token": slot, "rows": len(rows)}
                line |= {"mean": float(values.mean()), "sd": float(values.std()), "even": even}
                lines.append(line)
    return lines
