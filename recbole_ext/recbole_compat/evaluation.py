"""RecBole's own evaluator, called as RecBole calls it: the numbers that papers built on RecBole print."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.metrics import JOINT
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.boundary import by_recbole
from recbole_ext.recbole_compat.loader import sampler_class

_SPELLED = {key: metric.recbole for key, metric in JOINT.items() if metric.recbole is not None}


def evaluate(
    bench: Bench, model: Any, ks: Sequence[int], negatives: int | None = None
) -> dict[str, float]:
    """RecBole's test metrics, rounded by RecBole to four decimals.

    Args:
        bench: what the model was built from; a sequential one has no test part of RecBole's.
        model: trained.
        ks: cut-offs.
        negatives: None for full ranking (training and validation items masked), else RecBole's `uniM`: each positive
            draws M negatives from the items that the user has in no part, with replacement between positives, and *one*
            list per user holds all of its positives and all that was drawn.

    Returns:
        `metric@k` in this project's spelling.
    """
    import torch
    from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
    from recbole.trainer import Trainer

    if bench.built is None:
        raise HarnessError("RecBole's own evaluation is there for general models only")
    config = copy.copy(bench.config)
    config.final_config_dict = {
        **bench.config.final_config_dict,
        "metrics": list(_SPELLED.values()),
        "topk": list(ks),
        "metric_decimal_place": 4,
        "test_neg_sample_args": {
            "distribution": "none" if negatives is None else "uniform",
            "sample_num": "none" if negatives is None else negatives,
        },
        "eval_args": {
            **bench.config["eval_args"],
            "mode": "full" if negatives is None else f"uni{negatives}",
        },
    }

    class Evaluation(Trainer):  # type: ignore[misc]
        def _build_optimizer(self, **kwargs: Any) -> None:
            """A solved model has no parameters, and RecBole's would raise."""

    sampler = sampler_class()(["train", "valid", "test"], list(bench.built), "uniform")
    sampler = sampler.set_phase("test")
    loader = FullSortEvalDataLoader if negatives is None else NegSampleEvalDataLoader
    # The loader sorts what it is given.
    test = copy.copy(bench.built[2])
    name, data = bench.name, bench.dataset.dataset_name
    with warnings.catch_warnings(), torch.no_grad(), by_recbole(name, data):
        warnings.simplefilter("ignore")
        trainer = Evaluation(config, model)
        trainer.eval_collector.data_collect(bench.train_loader)
        found = trainer.evaluate(
            loader(config, test, sampler, shuffle=False), load_best_model=False
        )
    return {
        f"{name}@{k}": float(found[f"{spelled.lower()}@{k}"])
        for name, spelled in _SPELLED.items()
        for k in ks
    }
