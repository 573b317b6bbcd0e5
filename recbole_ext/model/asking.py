"""What models that ask a language model have in common: the backbone, and draws of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recbole_ext.lm.backbone import make_backbone


class Asking:
    """A model with a frozen backbone that is no part of its state."""

    seed: int
    device: torch.device
    backbone: Any

    def hold_backbone(self, keys: Any) -> None:
        """Load what the keys of overall.yaml's section `language_model` name, and take the run's seed.

        Args:
            keys: values by key, with `checkpointing` and `seed`.

        Raises:
            HarnessError: it cannot be had.
        """
        self.seed = int(keys["seed"])
        # No module of this one, and a class that is none itself: what registers modules does not see it.
        self.backbone = make_backbone(
            keys["backbone"],
            revision=keys["backbone_revision"],
            device=str(self.device),
            dtype=keys["lm_dtype"],
            trust_remote_code=keys["trust_remote_code"],
            checkpointing=keys["checkpointing"],
        )

    @contextmanager
    def drawn(self, name: str) -> Iterator[None]:
        """What is drawn inside, on the CPU, comes from the seed and a name, whatever was drawn before; what is drawn after does not notice."""
        own = int(hashlib.sha256(f"{self.seed} {name}".encode()).hexdigest()[:8], 16)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would set those of GPUs too, and nothing would set them back.
            torch.default_generator.manual_seed(own)
            yield
