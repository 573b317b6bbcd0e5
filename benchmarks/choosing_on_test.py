"""What choosing the epoch by the test part adds to a test score: AlphaRec's released code does so, the harness never does.

python -m benchmarks.choosing_on_test [--model=AlphaRec --dataset=NAME --seeds=3 --KEY=VALUE ..]

Takes what `run` takes, for a model that is trained by epoch and on the dataset itself. Both parts are ranked after every `eval_step` epochs of one
training without an early stop; a line compares the test score at the epoch that validation chooses with that at the epoch
that the test part chooses.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from recbole_ext import recbole_compat
from recbole_ext.arguments import parse
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import progress
from recbole_ext.data.splits import TRAIN
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.ranks import rank
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.plan import plan
from recbole_ext.pipeline.training import Training

_USUAL = ["--model=AlphaRec", "--dataset=ml-100k", "--epochs=60", "--seeds=3"]


def curves(experiment: Experiment) -> npt.NDArray[np.float64]:
    """[validations, 2] scores of validation and of test along a training.

    Raises:
        HarnessError: there is no such training, or it is not on the dataset.
    """
    name, problem, settings = experiment.model.name, experiment.problem, experiment.settings
    if experiment.model.trainer != "recbole":
        raise HarnessError(f"{name} is not trained by epoch: there is nothing to choose")
    if experiment.sources is not None or experiment.space is not None:
        raise HarnessError("no --train and no --tune here: one training, on the dataset itself")
    torch.set_num_threads(settings.run["threads"])
    params = {**settings.params, "stopping_step": settings.params["epochs"]}
    found: list[list[float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        training = Training(experiment, experiment.embeddings(), Path(scratch))
        model, bench = training.build(params)
        history = problem.split.pairs(problem.data, TRAIN)
        scores = recbole_compat.score_function(model, bench, problem.data, history)

        def both() -> float:
            tables = [
                rank(task, lambda users: [scores(users)])[0]
                for task in (problem.validations[0].task, problem.test_task)
            ]
            metric = settings.evaluation["valid_metric"]
            found.append([summary.mean_of(table, metric) for table in tables])
            return found[-1][0]

        trainer = recbole_compat.make_trainer(bench, model, both)
        with progress(f"{name} epochs", trainer.epochs) as advance:
            step = int(params["eval_step"])
            trainer.run(bench.train_loader, lambda score: advance(step, f"validation {score:.4f}"))
    return np.array(found)


def main(argv: list[str]) -> None:
    for experiment in plan(parse(["run", *(argv or _USUAL)])).experiments:
        valid, test = curves(experiment).T
        step = int(experiment.settings.params["eval_step"])
        honest, best = test[valid.argmax()], test.max()
        print(
            f"{experiment.model.name}, seed {experiment.settings.run['seed']}: test "
            f"{experiment.settings.evaluation['valid_metric']} {honest:.4f} at epoch {(valid.argmax() + 1) * step}, chosen on "
            f"validation; {best:.4f} ({best / honest - 1:+.2%}) at epoch {(test.argmax() + 1) * step}, chosen on test"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
