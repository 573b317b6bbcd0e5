"""TALLRec: a language model with a LoRA that answers from titles; and the same without any training."""

from __future__ import annotations

from typing import Any

from recbole_ext.model.prompted import PromptedPairModel


class TALLRec(PromptedPairModel):
    """Bao et al., RecSys 2023: LoRA on prompts of liked titles and a target title, that are answered with Yes or No.

    As SeLLa-Rec and CoLLM compare with it, which is their first stage alone and is shared with them. Settings, and what differs from
    the authors' code, in docs/sella-rec.md.
    """


class ZeroShot(PromptedPairModel):
    """The language model as it is; nothing is trained. An encoder's two answers would have to be learnt, and it is refused."""

    def stages(self) -> list[Any]:
        """None."""
        return []
