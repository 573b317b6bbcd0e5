"""Energy of a piece of work, by CodeCarbon: an optional package that is asked to look at this machine and at nothing else."""

from __future__ import annotations

import importlib.util
import logging
from types import TracebackType
from typing import Any

from recbole_ext.core.errors import HarnessError

SECONDS_BETWEEN = 5
"""Looks at power; between them it is taken to stay as it was."""


def check_energy() -> None:
    """Say before anything runs that the package is not here.

    Raises:
        HarnessError: it is not.
    """
    if importlib.util.find_spec("codecarbon") is None:
        raise HarnessError("--energy needs the package codecarbon: pip install codecarbon")


class Meter:
    """What is used from entering to leaving, of processors, GPUs and memory of this machine; whatever else runs on it counts, too.

    Where the machine does not tell (RAPL needs root on most), CodeCarbon reckons with the processor's rated power and its load.
    """

    kwh: float | None = None
    """Once it was left; None where CodeCarbon could not tell."""

    def __enter__(self) -> Meter:
        check_energy()
        from codecarbon import OfflineEmissionsTracker

        logging.getLogger("codecarbon").setLevel(logging.ERROR)
        # A country is asked for, and used for emissions alone, which are not read.
        self._tracker: Any = OfflineEmissionsTracker(
            country_iso_code="FRA",
            measure_power_secs=SECONDS_BETWEEN,
            save_to_file=False,
            allow_multiple_runs=True,
            log_level="error",
        )
        self._tracker.start()
        return self

    def read(self) -> float | None:
        """Stop, and tell the kWh since entering, to nine digits behind the point."""
        if self._tracker is not None:
            self._tracker.stop()
            found = getattr(self._tracker, "final_emissions_data", None)
            used = getattr(found, "energy_consumed", None)
            self.kwh, self._tracker = None if used is None else round(float(used), 9), None
        return self.kwh

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.read()
