"""The contract as another package runs it: by the lines of docs/adding.md, and it fails for a model that breaks it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BROKEN = '''
import dataclasses

import torch
from recbole_ext_toys import TWO_STAGES
from recbole_ext_toys.two_stages import TwoStages

from recbole_ext.registry.rows import MODELS
from recbole_ext.testing import ModelContract


class Forgetful(TwoStages):
    """Keeps something that its scores depend on out of its weights."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.bonus = self.drawn()

    def drawn(self):
        return torch.rand(self.n_items)

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + self.bonus.repeat(len(interaction))


class Unrepeatable(Forgetful):
    """Draws by no seed."""

    def drawn(self):
        generator = torch.Generator()
        generator.seed()
        return torch.rand(self.n_items, generator=generator)


class Disagreeing(TwoStages):
    """Has two opinions of a pair."""

    def predict(self, interaction):
        return -super().predict(interaction)


for model in (Forgetful, Unrepeatable, Disagreeing):
    MODELS[model.__name__] = dataclasses.replace(
        TWO_STAGES, name=model.__name__, target=f"{__name__}:{model.__name__}"
    )


class TestBroken(ModelContract):
    models = dict.fromkeys(("Forgetful", "Unrepeatable", "Disagreeing"), {})
'''


def run(toys, folder, name, code):
    """What pytest says of a file of tests in a folder of its own, the toy models being installed."""
    (folder / name).write_text(code)
    path = os.pathsep.join((str(toys), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", name], cwd=folder,
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_toy_model_keeps_the_contract_by_the_lines_of_the_page(toys, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding.md").read_text(), re.S)
    (code,) = (block for block in blocks if "ModelContract" in block)
    done = run(toys, tmp_path, "test_page.py", code)
    assert done.returncode == 0, done.stdout
    # Four of models and five of data sets; a family, a query, codes, a transfer and seven of single pairs are of models that have them.
    assert "9 passed, 11 skipped" in done.stdout


def test_what_breaks_the_contract_is_named(toys, tmp_path):
    done = run(toys, tmp_path, "test_broken.py", BROKEN)
    failed = set(re.findall(r"^FAILED \S+::(test_\w+\[\w+\])", done.stdout, re.M))
    assert failed >= {
        "test_weights_make_a_round_trip[Forgetful]",
        "test_fits_ranks_and_repeats[Unrepeatable]",
        "test_full_sort_predict_agrees_with_predict[Disagreeing]",
    }, done.stdout
    assert not {name for name in failed if name.endswith("[Disagreeing]")} - {
        "test_full_sort_predict_agrees_with_predict[Disagreeing]"
    }
