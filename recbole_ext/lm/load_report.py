"""Which weights transformers made up. It fills what a file lacks at random, and only logs that."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = "transformers.modeling_utils"
_ANSI = re.compile(r"\x1b\[[\d;]*m")
_ROW = re.compile(r"^(\S+)\s*\|\s*MISSING\b", re.MULTILINE)


@contextmanager
def made_up_weights() -> Iterator[list[str]]:
    """Collect the names of weights that are missing from the files loaded in the block.

    sentence-transformers has no way to hand on what `from_pretrained` can report, so the report is
    taken out of the log, where nobody would act on it. Layers of one name count once.

    Yields:
        The names, filled while models load; poolers are left out, no encoder here reads one.
    """
    names: list[str] = []
    logger = logging.getLogger(_LOGGER)
    level, heard = logger.level, logger.isEnabledFor(logging.WARNING)

    def take(record: logging.LogRecord) -> bool:
        message = _ANSI.sub("", record.getMessage())
        if "LOAD REPORT" not in message:
            return heard
        names.extend(name for name in _ROW.findall(message) if "pooler" not in name)
        return False

    logger.addFilter(take)
    if not heard:
        # Who has silenced transformers still gets the check, and nothing else. Just below WARNING:
        # at WARNING itself transformers complains of layers that are not sharded.
        logger.setLevel(logging.WARNING - 1)
    try:
        yield names
    finally:
        logger.setLevel(level)
        logger.removeFilter(take)
