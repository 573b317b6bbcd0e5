"""RecBole's config, from one dictionary."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


def fixed(seed: int, scratch: Path) -> dict[str, Any]:
    """Settings that are ours to fix: everything around the model that RecBole would read from its files."""
    return {
        "seed": seed,
        "reproducibility": True,
        "state": "WARNING",
        "show_progress": False,
        "checkpoint_dir": str(scratch),
        "data_path": str(scratch),
        "normalize_all": False,
        "eval_args": {
            "split": {"RS": [0.8, 0.1, 0.1]},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
        "metrics": ["Recall"],
        "topk": [20],
        "valid_metric": "Recall@20",
        "metric_decimal_place": 10,
    }


@functools.cache
def config_class() -> type:
    import torch
    from recbole.config import Config
    from recbole.data.utils import get_dataloader
    from recbole.utils import ModelType

    class HarnessConfig(Config):  # type: ignore[misc]
        """RecBole's Config fed by one dictionary: no command line, no eval of strings, no mutation of arguments."""

        def _load_cmd_line(self) -> dict[str, Any]:
            return {}

        def _load_variable_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
            return dict(config_dict)

        def _set_default_parameters(self) -> None:
            final = self.final_config_dict
            final["repeatable"] = final["MODEL_TYPE"] == ModelType.SEQUENTIAL
            full_softmax = final["repeatable"] and final.get("loss_type") == "CE"
            final.setdefault("eval_args", {})
            final["model"] = self.model
            # Loaders of whole user rows and the full softmax take no sampled negatives; RecBole's default would raise.
            # Models that are counted or solved read none, but for RecBole's Pop, which counts them.
            by_rows = get_dataloader(self, "train").__name__ == "UserDataLoader"
            solved = final["MODEL_TYPE"] == ModelType.TRADITIONAL and self.model != "Pop"
            if full_softmax or by_rows or solved:
                final["train_neg_sample_args"] = None
            super()._set_default_parameters()

        def _init_device(self) -> None:
            # RecBole's own would overwrite CUDA_VISIBLE_DEVICES, which a scheduler may have set.
            self.final_config_dict.update(
                single_spec=True,
                local_rank=0,
                device=torch.device(self.final_config_dict.pop("harness_device")),
            )

    return HarnessConfig
