"""The trainer of models that RecBole's own loop trains, epoch by epoch, with our validation."""

from __future__ import annotations

from typing import Any

from recbole_ext import recbole_compat
from recbole_ext.core.progress import progress, say
from recbole_ext.trainer.base import Report, Trainer
from recbole_ext.trainer.setup import Fitted, Setup


class Epochs(Trainer):
    """RecBole's epochs, optimiser and early stopping."""

    def fit(
        self, setup: Setup, params: dict[str, Any], what: str, report: Report | None = None
    ) -> Fitted:
        """The weights of the best validation."""
        model, bench = setup.build(params)
        trainer = recbole_compat.make_trainer(bench, model, lambda: setup.validate(model, bench))
        best, validations, step = -float("inf"), 0, int(params["eval_step"])
        with progress(f"{what} epochs", trainer.epochs) as advance:

            def tick(score: float) -> None:
                nonlocal best, validations
                best, validations = max(best, score), validations + 1
                advance(step, f"validation {score:.4f}")
                if report is not None:
                    report(score, best, validations * step)

            value, epochs = trainer.run(bench.train_loader, tick)
        return Fitted(model, bench, value, epochs, {"": trainer.best_epochs})

    def refit(self, setup: Setup, params: dict[str, Any], chosen: Fitted, what: str) -> Fitted:
        """As many epochs as were best."""
        epochs = chosen.chosen[""]
        model, bench = setup.build({**params, "epochs": epochs})
        say(f"{what}: trained again on training and validation, {epochs} epochs")
        recbole_compat.make_trainer(bench, model, None).run_through(bench.train_loader)
        return Fitted(model, bench, chosen.value, epochs)
