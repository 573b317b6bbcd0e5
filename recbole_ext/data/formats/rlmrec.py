"""RLMRec's files: a pickled sparse matrix of users by items for each part of its own split, and a list of ASINs.

What is relied on: `trn_mat.pkl`, `val_mat.pkl` and `tst_mat.pkl` are SciPy matrices by places (COO) of one shape whose stored
numbers that are not 0 are interactions (read so by HKUDS/RLMRec, encoder/data_utils/data_handler_general_cf.py). The item mapper holds an
object a line with `iid` and `asin`; that `iid` is the matrices' column is assumed, nothing in the files shows it. Ratings, times and
text there are none: the profiles that the authors had a language model write are in an archive of their own.

A pickle can run code. These are read only when that is asked for (`--allow-pickle`), and even then by a reader that
knows the classes of arrays and sparse matrices and refuses every other name.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.formats.reading import Batch, Malformed, Row, batched, lines

REVISION = 1
PICKLED = True
PARTS = ("train", "valid", "test")
"""Roles of the files too."""
_ADMITTED = {
    "_coo": {"coo_matrix"},
    "coo": {"coo_matrix"},
    "numpy": {"ndarray", "dtype"},
    "multiarray": {"_reconstruct", "scalar"},
    "numeric": {"_frombuffer"},
}
"""Last part of a module of NumPy or SciPy -> names that a matrix is made of."""


class _Reader(pickle.Unpickler):
    """Of a matrix, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        package, last = module.split(".", 1)[0], module.rsplit(".", 1)[-1]
        if package not in ("numpy", "scipy") or name not in _ADMITTED.get(last, ()):
            raise HarnessError(f"it wants {module}.{name}, which no matrix needs; it was not read")
        if name == "coo_matrix":  # older SciPy keeps it elsewhere
            return sp.coo_matrix
        return super().find_class(module, name)


def part(files: Mapping[str, Path], name: str) -> Iterator[Batch]:
    """Interactions of one of `PARTS`; users and items by their numbers in the matrix, from 0."""
    return batched(_pairs(files[name]))


def interactions(files: Mapping[str, Path]) -> Iterator[Batch]:
    """All parts, one after the other."""
    for name in PARTS:
        yield from part(files, name)


def items(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """`asin` of every item of the mapper, "" where it is none."""
    path = files["items"]
    malformed = Malformed(path)
    for number, line in lines(path):
        try:
            found = json.loads(line)
            yield {"item_id": str(int(found["iid"])), "asin": str(found.get("asin") or "")}
        except (ValueError, KeyError, TypeError, AttributeError):
            malformed.add(number, "no object with 'iid' and 'asin'")
    malformed.report()


def _pairs(path: Path) -> Iterator[Row]:
    matrix = _matrix(path)
    kept = np.asarray(matrix.data) != 0
    for user, item in zip(matrix.row[kept].tolist(), matrix.col[kept].tolist(), strict=True):
        yield str(user), str(item), None, None


def _matrix(path: Path) -> sp.coo_matrix:
    try:
        with path.open("rb") as stream:
            found = _Reader(stream).load()
        if isinstance(found, sp.coo_matrix):
            # Its parts may be anything that a pickle can hold: built anew, they are checked.
            return sp.coo_matrix((found.data, (found.row, found.col)), shape=found.shape)
    except HarnessError as error:
        raise HarnessError(f"{path}: {error}") from None
    except Exception as error:  # whatever a damaged pickle does
        raise HarnessError(
            f"{path}: no readable matrix ({' '.join(str(error).split())[:100]})"
        ) from None
    raise HarnessError(f"{path}: holds no sparse matrix by places (COO)")
