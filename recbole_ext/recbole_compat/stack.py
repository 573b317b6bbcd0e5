"""RecBole imported on today's stack."""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from types import ModuleType
from typing import Any

import numpy as np

from recbole_ext.core.recbole_package import recbole_root


@functools.cache
def recbole() -> ModuleType:
    """Import RecBole on today's stack.

    NumPy 2 dropped aliases and SciPy 1.11 dropped `dok_matrix._update`, both of which RecBole uses.
    """
    import scipy.sparse

    recbole_root()
    for name, now in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if name not in np.__dict__:
            setattr(np, name, now)
    if not hasattr(scipy.sparse.dok_matrix, "_update"):
        setattr(  # noqa: B010
            scipy.sparse.dok_matrix, "_update", lambda self, data: self._dict.update(data)
        )
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    # RecBole logs to the root logger; its tables and hints are not for our readers.
    logging.getLogger().addFilter(
        lambda entry: "recbole_ext" in entry.pathname or "/recbole/" not in entry.pathname
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (
            "config",
            "data",
            "data.dataset",
            "data.utils",
            "data.interaction",
            "trainer",
            "utils",
        ):
            importlib.import_module(f"recbole.{module}")
    trainer_module: Any = importlib.import_module("recbole.trainer.trainer")
    trainer_module.get_tensorboard = lambda logger: _NoTensorboard()
    return importlib.import_module("recbole")


def model_class(model: type | str) -> Any:
    """A model's class; RecBole's own are found by name.

    To find one RecBole imports all of its kind, and its SINE turns on autograd's search for anomalies when it is imported. From then on each
    operation of whatever is trained in the process notes where it was called, and a small model takes four to nine times as long.
    """
    if not isinstance(model, str):
        return model
    import torch
    from recbole.utils import get_model

    # Puts back at its end what was set before.
    with torch.autograd.set_detect_anomaly(torch.is_anomaly_enabled()):
        return get_model(model)


class _NoTensorboard:
    """RecBole opens an event file in the working directory for every run; this one writes nothing."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None: ...

    def add_hparams(self, *args: Any, **kwargs: Any) -> None: ...
