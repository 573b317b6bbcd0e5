"""TALLRec: a language model with a LoRA that answers from titles; and the same without any training."""

from __future__ import annotations

from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.model.prompted import PromptedPairModel


class TALLRec(PromptedPairModel):
    """Bao et al., RecSys 2023: LoRA on prompts of liked titles and a target title, that are answered with Yes or No.

    As SeLLa-Rec and CoLLM compare with it, which is their first stage alone and is shared with them. Settings, and what differs from
    the authors' code, in docs/sella-rec.md.
    """


class ZeroShot(PromptedPairModel):
    """The language model as it is; nothing is trained.

    Raises:
        HarnessError: the backbone is an encoder, whose two answers would have to be learnt.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        if not self.backbone.generative:
            raise HarnessError(
                f"ZeroShot: {self.backbone.name} is an encoder, without a vocabulary to say Yes or No with, and nothing is "
                "trained here: --backbone=smollm2"
            )

    def stages(self) -> list[Any]:
        """None."""
        return []
