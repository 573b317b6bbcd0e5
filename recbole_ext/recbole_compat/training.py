"""RecBole's trainers with our validation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from recbole_ext.errors import HarnessError
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.stack import naming_what_is_missing


def make_trainer(bench: Bench, model: Any, validate: Callable[[], float]) -> Any:
    """RecBole's trainer for this model, validating by `validate` and keeping the best weights in memory.

    Args:
        bench: what the model was built from.
        model: to be trained.
        validate: the validation score, larger is better; called by RecBole every `eval_step` epochs.
    """
    from recbole.utils import get_trainer

    parent = get_trainer(bench.config["MODEL_TYPE"], bench.config["model"])

    class HarnessTrainer(parent):  # type: ignore[misc, valid-type]
        best_state: tuple[dict[str, Any], dict[str, Any]] | None = None

        def _valid_epoch(
            self, valid_data: Any, show_progress: bool = False
        ) -> tuple[float, dict[str, float]]:
            score = validate()
            return score, {"score": score}

        def _check_nan(self, loss: Any) -> None:
            if not loss.isfinite():
                raise HarnessError(
                    f"the training loss of {self.config['model']} is {loss.item()}; lower the learning rate"
                )

        def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
            state = {
                name: value.detach().cpu().clone()
                for name, value in self.model.state_dict().items()
            }
            self.best_state = state, _copied(self.model.other_parameter())

        def run(self, loader: Any, tick: Callable[[float], None]) -> tuple[float, int]:
            """Train with early stopping and put the best weights back: (best validation score, epochs trained)."""
            with naming_what_is_missing(self.config["model"]):
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

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = HarnessTrainer(bench.config, model)
    return trainer


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.clone() if hasattr(value, "clone") else value for name, value in values.items()
    }
