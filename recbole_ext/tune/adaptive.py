"""Optuna's choice among the points of a grid, through Ray Tune's own integration. Imports Ray."""

from __future__ import annotations

import json
import random
from typing import Any

from ray.tune.search import Searcher

from recbole_ext.core.errors import HarnessError
from recbole_ext.tune.search import Asked, Point, axes

_ASKS = 64
"""Proposals of points that were tried before, after which one is drawn among the others."""


class Chosen(Searcher):  # type: ignore[misc]
    """Points of a stage by Optuna's tree-structured Parzen estimator, none of them twice.

    Optuna sees a key as the place of its value in the order written: a grid's values are written in order, so nearness
    means something, and any YAML value can be one. A third of the trials, 3 to 10, are random (Optuna's own default is 10
    however few there are).

    Args:
        asked: what is known is told to Optuna first.
        seed: of the sampler.

    Raises:
        HarnessError: Optuna is not installed.
    """

    def __init__(self, asked: Asked, seed: int) -> None:
        super().__init__(metric="value", mode="max")
        try:
            import optuna
            from ray.tune.search.optuna import OptunaSearch
        except ImportError:
            raise HarnessError("--searcher=optuna needs Optuna: pip install optuna") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.logging.disable_propagation()
        self.axes = axes(asked.points)
        startup = max(3, min(10, (len(asked.known) + asked.count) // 3))
        self.optuna = OptunaSearch(
            space={
                key: optuna.distributions.IntDistribution(0, len(values) - 1)
                for key, values in self.axes.items()
            },
            metric="value",
            mode="max",
            sampler=optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=startup, constant_liar=True
            ),
        )
        self.random = random.Random(seed)
        self.left = {self._key(point): point for point in asked.untried}
        self.values: dict[str, float | None] = {}
        self.running: dict[str, str] = {}
        self.drawn: set[str] = set()
        self.asks = 0
        for trial in asked.known:
            self.values[self._key(trial.point)] = trial.value
            self._add(trial.point, trial.value)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's configuration."""
        if not self.left:
            return None
        for _ in range(_ASKS if self.axes else 0):
            self.asks += 1
            ask = f"{trial_id}/{self.asks}"
            places = self.optuna.suggest(ask) or {}
            point = {key: self.axes[key][place] for key, place in places.items()}
            key = self._key({**next(iter(self.left.values())), **point})
            if key in self.left:
                self.running[trial_id] = ask
                return self._config(key)
            # Told again what it knows already, so that it looks elsewhere; a point that still runs counts as given up.
            value = self.values.get(key)
            self.optuna.on_trial_complete(ask, None if value is None else {"value": value})
        self.drawn.add(trial_id)
        return self._config(self.random.choice(list(self.left)))

    def _config(self, key: str) -> dict[str, Any]:
        return {"run": {"points": [self.left.pop(key)]}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how a trial ended."""
        found = (result or {}).get("trials") or [{"value": None}]
        value, point = found[0]["value"], found[0].get("point")
        if point is not None:
            self.values[self._key(point)] = value
        if trial_id in self.drawn and point is not None:
            self._add(point, value)
        elif trial_id in self.running:
            known = None if value is None else {"value": value}
            self.optuna.on_trial_complete(self.running.pop(trial_id), known, error=value is None)

    def _add(self, point: Point, value: float | None) -> None:
        if not self.axes:
            return
        places = {key: values.index(point[key]) for key, values in self.axes.items()}
        # A failed trial's value is not read.
        self.optuna.add_evaluated_point(places, value or 0.0, error=value is None)

    def _key(self, point: Point) -> str:
        return json.dumps(point, sort_keys=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is finished is in the log of trials, and a sweep goes on from there."""

    def restore(self, checkpoint_path: str) -> None:
        """Never used, see `save`."""
