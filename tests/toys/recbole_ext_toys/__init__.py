"""Rows of the toy models. What is imported here is imported when one of them is named."""

from pathlib import Path

from recbole_ext.registry import STAGED, ModelSpec

HERE = Path(__file__).parent

TWO_STAGES = ModelSpec(
    name="TwoStages",
    target="recbole_ext_toys.two_stages:TwoStages",
    trainer=STAGED,
    defaults=HERE / "two_stages.yaml",
)
