"""A model of this package as a peer among others: the same process, files and lists; see peer_io. Options: model, dataset, folder, keys."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.scale.peer_io import Asked, Made, by_scores, measured


def main(given: list[str] | None = None) -> None:
    """Data are read from the dataset's own files; what is fitted and ranked is what the others are given."""
    import torch

    from recbole_ext.core.errors import HarnessError
    from recbole_ext.pipeline.training import Training
    from recbole_ext.recbole_compat import measures
    from recbole_ext.recbole_compat.stack import recbole
    from recbole_ext.testing import make_experiment

    recbole()  # Imported before anything is timed
    folder, output, threads, text = sys.argv[1:] if given is None else given
    options = json.loads(text)
    torch.set_num_threads(int(threads))
    asked = Asked.read(Path(folder))
    try:
        where = None if options["folder"] is None else Path(options["folder"])
        experiment = make_experiment(options["model"], options["dataset"], where, **options["keys"])
        problem, embeddings = experiment.problem, experiment.embeddings()
        if problem.test_task.users.tolist() != asked.users.tolist():
            raise HarnessError(f"{folder} is of another split")
        with tempfile.TemporaryDirectory() as scratch:
            training = Training(experiment, embeddings, Path(scratch))

            def fit() -> Made:
                fitted = training.fit(dict(experiment.settings.params), options["model"])
                scores = fitted.scorer(problem, *problem.seen_at_test)
                params = experiment.settings.params
                told: dict[str, Any] = {
                    key: value
                    for key, value in params.items()
                    if isinstance(value, (int, float, str))
                }
                told |= measures(fitted.model, fitted.bench)
                if fitted.epochs is not None:
                    told["epochs"] = fitted.epochs
                told["numbers"] = sum(v.numel() for v in fitted.model.state_dict().values())
                return Made(by_scores(lambda users: scores(users).clone().numpy()), told)

            measured(fit, asked, int(threads), Path(output))
    except HarnessError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
