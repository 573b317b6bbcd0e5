"""Experiments as the command line would make them, trained without a record."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.config import resolve
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.problem import Problem
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.prepare import prepare
from recbole_ext.pipeline.training import Training
from recbole_ext.registry.find import find_model
from recbole_ext.trainer.setup import Fitted
from recbole_ext.tune.search import Space


def make_experiment(
    model: str, dataset: str, data_path: Path | None = None, tune: bool = False, **given: object
) -> Experiment:
    """The experiment of `--model --dataset --key=value ..`."""
    spec, described = find_model(model), find_dataset(dataset, data_path)
    texts = {key: str(value) for key, value in given.items()}
    (settings,) = resolve([spec], described.options, texts, described.labelled_options)
    space = Space(settings.space) if tune else None
    problem = Problem(described, settings.dataset, settings.evaluation)
    return prepare(spec, settings, problem, space)


def train(experiment: Experiment, scratch: Path, saved: Path | None = None) -> Fitted:
    """Fit (or load) an experiment's model with its own parameters."""
    training = Training(experiment, experiment.embeddings(), scratch)
    params = experiment.settings.params
    return training.fit(params, "test") if saved is None else training.load(params, saved)
