"""What every model must do, as pytest classes that any package's tests inherit: `ModelContract` and `NastyDataContract`.

The only place, with its tests, where pytest is imported.
"""

import pytest

# What a failed assertion held is printed as it is for the tests that inherit it.
for module in ("model_contract", "nasty_contract"):
    pytest.register_assert_rewrite(f"{__name__}.{module}")

from recbole_ext.testing.experiments import make_experiment, train  # noqa: E402
from recbole_ext.testing.model_contract import ModelContract  # noqa: E402
from recbole_ext.testing.nasty_contract import NastyDataContract  # noqa: E402
from recbole_ext.testing.tiny_data import NASTY, write_nasty, write_tiny  # noqa: E402

__all__ = [
    "NASTY",
    "ModelContract",
    "NastyDataContract",
    "make_experiment",
    "train",
    "write_nasty",
    "write_tiny",
]
