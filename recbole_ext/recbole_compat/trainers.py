"""RecBole's trainers with our validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.boundary import by_recbole
from recbole_ext.recbole_compat.draws import check_draws


def make_trainer(bench: Bench, model: Any, validate: Callable[[], float] | None) -> Any:
    """RecBole's trainer for this model, validating by `validate` and keeping the best weights in memory.

    Args:
        bench: what the model was built from.
        model: to be trained.
        validate: the validation score, larger is better; called by RecBole every `eval_step` epochs. None where only
            `run_through` is asked for.

    Raises:
        HarnessError: a draw of this training could not succeed.
    """
    import torch
    from recbole.utils import get_trainer

    check_draws(bench, model)
    name, data = bench.name, bench.dataset.dataset_name

    parent = get_trainer(bench.config["MODEL_TYPE"], bench.config["model"])

    class HarnessTrainer(parent):  # type: ignore[misc, valid-type]
        best_state: tuple[dict[str, Any], dict[str, Any]] | None = None
        best_epochs = 0
        """Epochs trained at the best validation."""
        losses: tuple[float, float] | None = None
        """The first and the latest that was a number."""

        def _build_optimizer(self, **kwargs: Any) -> Any:
            """On a CPU Adam reads and writes each weight once a step: a fifth of the time of its ten passes."""
            built = super()._build_optimizer(**kwargs)
            if self.device.type == "cpu" and type(built) in (torch.optim.Adam, torch.optim.AdamW):
                for group in built.param_groups:
                    group.update(fused=True, foreach=False)
            return built

        def _valid_epoch(
            self, valid_data: Any, show_progress: bool = False
        ) -> tuple[float, dict[str, float]]:
            assert validate is not None
            score = validate()
            return score, {"score": score}

        def _check_nan(self, loss: Any) -> None:
            value = loss.item()
            if math.isfinite(value):
                self.losses = (self.losses[0] if self.losses else value, value)
                return
            rose = self.losses is not None and self.losses[1] > self.losses[0]
            raise HarnessError(f"the training loss of {name} is {value}; {self._why(rose)}")

        def _why(self, rose: bool) -> str:
            if rose or diverged(self.model, start):
                return "lower the learning rate"
            return (
                f"its weights have not grown, so that {data} is what it is not defined on, e.g. a user or an item without "
                "other interactions, or a batch without them: raise --train_batch_size, --min_user or --min_item"
            )

        def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
            state = {
                name: value.detach().cpu().clone()
                for name, value in self.model.state_dict().items()
            }
            self.best_state = state, _copied(self.model.other_parameter())
            self.best_epochs = epoch + 1

        def run(self, loader: Any, tick: Callable[[float], None]) -> tuple[float, int]:
            """Train with early stopping and put the best weights back: (best validation score, epochs trained)."""
            with by_recbole(name, data):
                self.fit(
                    loader,
                    valid_data=True,
                    verbose=False,
                    saved=True,
                    show_progress=False,
                    callback_fn=lambda epoch, score: tick(score),
                )
            if self.best_state is not None:
                self.model.load_state_dict(self.best_state[0])
                self.model.load_other_parameter(self.best_state[1])
            return float(self.best_valid_score), len(self.train_loss_dict)

        def run_through(self, loader: Any) -> None:
            """Train every epoch and keep the last weights."""
            with by_recbole(name, data):
                self.fit(loader, valid_data=None, verbose=False, saved=False, show_progress=False)

    start = _largest(model)
    with warnings.catch_warnings(), by_recbole(name, data):
        warnings.simplefilter("ignore")
        trainer = HarnessTrainer(bench.config, model)
    return trainer


_GROWN = 10.0
"""Times the largest weight at the start, beyond which a model has left where it was."""


def diverged(model: Any, start: float = 1.0) -> bool:
    """Whether some weight is infinite, or much larger than `start`, the largest before training.

    Weights that are no numbers do not say so: a gradient may be undefined where the weights are small.
    """
    return _largest(model) > _GROWN * max(start, 1.0)


def _largest(model: Any) -> float:
    """Of the weights that are numbers, the largest in size."""
    sizes = [p.detach().abs().nan_to_num(0.0, math.inf) for p in model.parameters() if p.numel()]
    return max((float(size.max()) for size in sizes), default=0.0)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.clone() if hasattr(value, "clone") else value for name, value in values.items()
    }
