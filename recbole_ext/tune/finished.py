"""Ray's callback that hands a trial on as soon as it is over. Imports Ray."""

from __future__ import annotations

import queue
from typing import Any

from ray import tune

from recbole_ext.tune.search import Trial


class Finished(tune.Callback):  # type: ignore[misc]
    """Puts the trials of every finished Ray trial into a queue of this process."""

    def __init__(self, done: queue.Queue[list[Trial]]) -> None:
        self.done = done

    def __getstate__(self) -> dict[str, Any]:
        """Ray writes its state to disk; the queue belongs to this process alone."""
        return {}

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.done.put([Trial(**found) for found in trial.last_result["trials"]])

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        error = trial.get_pickled_error() or RuntimeError("the worker died")
        reason = str(error).strip().splitlines()[-1][:300]
        points = trial.config["run"]["points"]
        self.done.put([Trial(point, None, 0.0, error=reason) for point in points])
