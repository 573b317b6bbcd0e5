"""Ray's callback that hands on what trials do. Imports Ray."""

from __future__ import annotations

import queue
from typing import Any

from ray import tune

from recbole_ext.tune.search import Trial
from recbole_ext.tune.watch import Event


class Events(tune.Callback):  # type: ignore[misc]
    """Puts what happens to Ray's trials into a queue of this process."""

    def __init__(self, happened: queue.Queue[Event]) -> None:
        self.happened = happened

    def __getstate__(self) -> dict[str, Any]:
        """Ray writes its state to disk; the queue belongs to this process alone."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.happened.put(Event(trial.trial_id, trial.config["run"]["points"]))

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any
    ) -> None:
        so_far = [Trial(**found) for found in result["trials"]]
        points = [trial.point for trial in so_far]
        self.happened.put(Event(trial.trial_id, points, so_far, result["curve"]))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        made = [Trial(**found) for found in trial.last_result["trials"]]
        self.happened.put(Event(trial.trial_id, [t.point for t in made], made, over=True))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        error = trial.get_pickled_error() or RuntimeError("the worker died")
        reason = (str(error).strip().splitlines() or ["the worker died"])[-1][:300]
        points = trial.config["run"]["points"]
        failed = [Trial(point, None, 0.0, error=reason) for point in points]
        self.happened.put(Event(trial.trial_id, points, failed, over=True))
