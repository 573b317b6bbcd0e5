"""Experiments for tests."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.config import resolve
from recbole_ext.data.catalog import find_dataset
from recbole_ext.experiment import Experiment, Fitted, Ground, fit, prepare
from recbole_ext.registry import find_model


def make_experiment(
    model: str, dataset: str, data_path: Path | None = None, tune: bool = False, **given: object
) -> Experiment:
    """The experiment of `--model --dataset --key=value ..`."""
    spec, found = find_model(model), find_dataset(dataset, data_path)
    (settings,) = resolve([spec], found.options, {key: str(value) for key, value in given.items()})
    return prepare(spec, settings, Ground(found, settings.dataset, settings.evaluation), tune)


def train(experiment: Experiment, scratch: Path, saved: Path | None = None) -> Fitted:
    """Fit (or load) an experiment's model with its own parameters."""
    embeddings = experiment.embeddings()
    vectors = None if embeddings is None else embeddings.vectors
    return fit(experiment, experiment.settings.params, vectors, scratch, "test", saved)
