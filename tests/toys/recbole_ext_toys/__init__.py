"""Rows of the toy models. What is imported here is imported when one of them is named."""

from pathlib import Path

from recbole_ext.registry import CLOSED_FORM, STAGED, ModelSpec

HERE = Path(__file__).parent

TWO_STAGES = ModelSpec(
    name="TwoStages",
    target="recbole_ext_toys.two_stages:TwoStages",
    trainer=STAGED,
    defaults=HERE / "two_stages.yaml",
)
CHOOSER = ModelSpec(
    name="Chooser",
    target="recbole_ext_toys.chooser:Chooser",
    trainer=CLOSED_FORM,
    scoring="candidates",
    defaults=HERE / "chooser.yaml",
)
GENERATOR = ModelSpec(
    name="Generator",
    target="recbole_ext_toys.generator:Generator",
    trainer=CLOSED_FORM,
    scoring="candidates",
    defaults=HERE / "generator.yaml",
)
CLICKS = ModelSpec(
    name="Clicks",
    target="recbole_ext_toys.clicks:Clicks",
    trainer=CLOSED_FORM,
    scoring="pointwise",
    defaults=HERE / "clicks.yaml",
)
