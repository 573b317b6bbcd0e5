"""What a model must do on data sets that break models: it ranks, or says in one line what to change; nothing hangs."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from recbole_ext.config import model_defaults
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import TEST
from recbole_ext.pipeline.training import rank_test, score_test
from recbole_ext.recbole_compat import recbole
from recbole_ext.registry.find import find_model
from recbole_ext.testing.contract import Contract, of_models
from recbole_ext.testing.experiments import make_experiment, train
from recbole_ext.testing.tiny_data import NASTY, labelled, write_nasty

SECONDS = 60
REMEDIES = ("leave that", "lower --", "raise --")
"""One of these is in every line by which a model is refused."""


class NastyDataContract(Contract):
    """What holds for every model on every data set of `tiny_data.NASTY`."""

    refused_on: ClassVar[Collection[str]] = ("a user with everything", "one item")
    """Data sets that a model may refuse: nothing can be drawn beside a user's items, and nothing follows anything."""
    refused: ClassVar[Collection[str]] = ()
    """Models that may refuse any of them."""

    def small(self, name: str) -> Mapping[str, object]:
        """Parameters of a model's training."""
        return self.models[name]

    @pytest.fixture(scope="class")
    def folders(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """Where each data set is."""
        return {name: write_nasty(name, tmp_path_factory.mktemp("nasty")) for name in NASTY}

    @pytest.fixture(scope="class", autouse=True)
    def one_thread(self) -> Iterator[None]:
        """Steps as small as these wait longer for threads than they take."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)

    @of_models(lambda spec: spec.scoring == "pointwise")
    @pytest.mark.parametrize("data", NASTY)
    def test_it_tells_labelled_pairs_apart_or_says_in_one_line_what_to_change(
        self, name: str, data: str, tmp_path: Path
    ) -> None:
        known = {"split", *model_defaults(find_model(name)).params}
        of_data = {key: value for key, value in NASTY[data][1].items() if key in known}
        keys: dict[str, object] = {"keep_label": "true", **self.small(name), **of_data}
        with within(SECONDS):
            folder = labelled(write_nasty(data, tmp_path), "nasty")
            experiment = make_experiment(name, "nasty", folder, False, **keys)
            try:
                table = score_test(train(experiment, tmp_path), experiment).scored
            except HarnessError as error:  # one row of validation has one label
                assert data == "one item" and "labels of the validation part are all" in str(error)
                return
        assert table is not None and len(table) == int(
            (experiment.problem.split.part == TEST).sum()
        )

    @of_models(lambda spec: spec.scoring == "full")
    @pytest.mark.parametrize("data", NASTY)
    def test_it_ranks_or_says_in_one_line_what_to_change(
        self, name: str, data: str, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        known = {"split", *model_defaults(find_model(name)).params}
        of_data = {key: value for key, value in NASTY[data][1].items() if key in known}
        keys: dict[str, object] = {"protocols": "full", **self.small(name), **of_data}
        with within(SECONDS):
            try:
                experiment = make_experiment(name, "nasty", folders[data], False, **keys)
                table = rank_test(train(experiment, tmp_path), experiment.problem)
            except HarnessError as error:
                line = str(error)
                assert len(line.splitlines()) == 1 and any(r in line for r in REMEDIES), line
                assert data in self.refused_on or name in self.refused, line
            else:
                assert len(table) == len(experiment.problem.test_task.pos_items)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """A step that ends, by force if need be; what takes its time once, the imports, is before it."""
    recbole()
    importlib.import_module("torch._dynamo")

    def stop(*_: object) -> None:
        raise TimeoutError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
