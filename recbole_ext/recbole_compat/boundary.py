"""Where RecBole's own exceptions end: one line for the reader, while errors of this package stay what they are."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.recbole_package import recbole_root

_OURS = Path(__file__).resolve().parents[1]
_REMEDIES = {
    "out of memory": "lower --train_batch_size, or raise --min_user or --min_item",
    "Sample larger than population": "lower --train_batch_size, so that an epoch has more batches",
}
"""What RecBole or torch says -> what helps."""


@contextmanager
def by_recbole(model: str, dataset: str) -> Iterator[None]:
    """What RecBole raises in here becomes a line that names the model, the data and what to change; what it prints is lost.

    Raises:
        HarnessError: an exception whose traceback was last in RecBole's code. One that was last in this package's is a
            fault of ours and passes.
    """
    try:
        # Standard output is for results, and some models print while they are built.
        with redirect_stdout(io.StringIO()):
            yield
    except HarnessError:
        raise
    except Exception as error:
        if not _is_of_recbole(error):
            raise
        if isinstance(error, ModuleNotFoundError):
            line = f"{model} needs the package '{error.name}', which is not installed"
        else:
            line = f"{model} on {dataset}: RecBole ends in {_said(error)}; {_remedy(error, model)}"
        raise HarnessError(line) from error


def _is_of_recbole(error: BaseException) -> bool:
    """Whether RecBole was the last of the two to run; what it calls (torch, SciPy) is below both."""
    theirs, last = recbole_root().resolve(), False
    step = error.__traceback__
    while step is not None:
        where = Path(step.tb_frame.f_code.co_filename).resolve()
        if where.is_relative_to(theirs):
            last = True
        elif where.is_relative_to(_OURS):
            last = False
        step = step.tb_next
    return last


def _said(error: BaseException, most: int = 200) -> str:
    text = " ".join(str(error).split())
    short = text if len(text) <= most else text[: most - 2] + ".."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _remedy(error: BaseException, model: str) -> str:
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, str(error)):
            return remedy
    if isinstance(error, TypeError):
        return f"one of its keys has a value of another type than it reads: python run_bench.py list {model}"
    return (
        f"this data is too small or too uneven for it: lower --min_user or --min_item, change its keys "
        f"(python run_bench.py list {model}) or take another model"
    )
