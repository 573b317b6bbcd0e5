"""SeLLa-Rec: a collaborative model aligned with what a language model knows of the items, and three tokens of both in its prompt."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Stage
from recbole_ext.lm.batches import bucketed
from recbole_ext.lm.prompts import Filler, load_template
from recbole_ext.model.alignment import align_loss, contrasted, sella_projection
from recbole_ext.model.clicks import Batch
from recbole_ext.model.collm import TokenModel
from recbole_ext.model.prompted import Vectors

_ALIGNED = (
    "embedding_size", "init_std", "collab_weight_decay", "collab_loss", "collab_batch_rows", "projection_hidden",
    "align_loss", "align_anchor", "align_items", "align_weight", "tau", "freeze_EL", "penalise_EL",
)  # fmt: skip


class SeLLaRec(TokenModel):
    """SeLLa-Rec (arXiv 2504.10107), sections 4.1 to 4.4.

    Stages, with what each trains (its Table 1):

        text        LoRA, on prompts of text                                                      eq. 5; TALLRec's
        distil      E^L [n, d_L]: what the language model with the LoRA reads after "Movie: title"    fig. 3; computed
        align       E^C, E^L, Proj: cross-entropy or squared error of <e_u, e_i>, plus align_weight x L_align    eq. 6 to 9
        projection  E^C, E^L, Proj and a new W: tokens Proj(e_u), Proj(e_i), W e_i^L in the prompt    eq. 10, 11

    Switches, the first being the paper's: `collab_loss` (mse | bce), `align_loss`, `align_anchor`, `align_items` (see `alignment`),
    `distill_dtype` (float | int: vectors cut to whole numbers, as in the released script), `proj_init` (aligned | random), `use_warm`, `use_ui`,
    `align` (false: MF without E^L, no warm token), `stage3_order` (joint | warm_then_ui | ui_then_warm; of the parts that wait their turn
    the tokens are there as they were, our reading), `freeze_EL` (ours: E^L stays what was distilled), `penalise_EL` (whether Adam's penalty
    reaches E^L, as in the code).
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        keys, wide = self.keys, self.backbone.width
        self.align, self.use_ui = bool(keys["align"]), bool(keys["use_ui"])
        self.use_warm = bool(keys["use_warm"]) and self.align
        if not (self.use_ui or self.use_warm):
            raise HarnessError(
                "SeLLaRec: neither the user's and the item's token nor the warm one is left; TALLRec is that, or "
                "--use_ui=true"
            )
        self.check_slots(*("user", "item") * self.use_ui, *("warm",) * self.use_warm)
        narrow, hidden = int(keys["embedding_size"]), int(keys["projection_hidden"])
        with self.drawn("projection"):
            self.projection = sella_projection(narrow, hidden, wide)
        self.begins_anew = keys["proj_init"] == "random" or not self.align
        if self.begins_anew and self.use_ui:
            with self.drawn("new projection"):
                self.new_projection = sella_projection(narrow, hidden, wide)
        if self.align:
            self.semantic = nn.Embedding(self.n_items, wide, padding_idx=0)
            with torch.no_grad():
                self.semantic.weight.zero_()
        if self.use_warm:
            with self.drawn("warm"):
                self.warm = nn.Linear(wide, wide)

    def template(self, key: str) -> Any:
        """`token_prompt: auto` is the template with the slots of the variant."""
        if key == "token_prompt" and self.keys[key] == "auto":
            warm = bool(self.keys["use_warm"]) and bool(self.keys["align"])
            suffix = {(True, True): "", (True, False): "-ui", (False, True): "-warm"}
            self.keys[key] = "sellarec" + suffix.get((bool(self.keys["use_ui"]), warm), "")
        return super().template(key)

    @property
    def to_tokens(self) -> nn.Module:
        """The projection of stage 3."""
        return self.new_projection if self.begins_anew else self.projection

    def vectors(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        """The three tokens, or those of the variant."""
        found: dict[str, torch.Tensor] = {}
        if self.use_ui:
            found["user"] = self.to_tokens(self.users(user))
            found["item"] = self.to_tokens(self.items(item))
        if self.use_warm:
            found["warm"] = self.warm(self.semantic(item))
        return found

    def stages(self) -> list[Stage | Computed]:
        """Those of the variant."""
        if not self.align:
            return [
                self.text_stage(),
                self.collaborative_stage(),
                *self.projection_stage(("users", "items", "new_projection"), **self._shape()),
            ]
        before: list[Stage | Computed] = [
            self.text_stage(),
            self.distil_stage(),
            self.align_stage(),
        ]
        own = () if self.keys["freeze_EL"] else ("semantic",)
        warm = (*own, "warm") if self.use_warm else ()
        projection = "new_projection" if self.begins_anew else "projection"
        ui = ("users", "items", projection) if self.use_ui else ()
        order = str(self.keys["stage3_order"])
        if order == "joint" or not (warm and ui):
            return [*before, *self.projection_stage((*ui, *warm), **self._shape())]
        parts = {"warm": warm, "ui": ui}
        for name in order.split("_then_"):
            before += self.projection_stage(parts[name], f"projection of {name}", **self._shape())
        return before

    def _shape(self) -> dict[str, Any]:
        return {"projection_hidden": int(self.keys["projection_hidden"])}

    def distil_stage(self) -> Computed:
        """E^L, from the language model with the LoRA of the text stage."""
        name = str(self.keys["item_prompt"])
        # A line of one's own may be another tomorrow under the same name.
        own = load_template(name) if name.endswith((".yaml", ".yml")) else None
        return Computed(
            name="distil",
            made=("semantic",),
            compute=self.distilled,
            fingerprint=self.told(
                ("item_prompt", "domain", "item_length", "shuffle_text", "distill_dtype"),
                prompt=own,
            ),
            after=("text",),
        )

    def distilled(self) -> dict[str, torch.Tensor]:
        """`semantic.weight` [n_items, d_L]: the state that is read after one line with each item's title (fig. 3)."""
        template = load_template(str(self.keys["item_prompt"]))
        filler = Filler(template, self.backbone, int(self.keys["item_length"]))
        texts = {name: str(self.keys["domain"]) for name in template.texts}
        prompts = [filler.fill([], title, texts) for title in self.titles[1:]]
        found = torch.zeros(self.n_items, self.backbone.width, device=self.device)
        lengths = [len(prompt.ids) for prompt in prompts]
        with torch.no_grad():
            for places in bucketed(lengths, int(self.keys["eval_batch_rows"])):
                state = self.state([prompts[place] for place in places])
                found[torch.from_numpy(places + 1).to(self.device)] = state.float()
        if self.keys["distill_dtype"] == "int":
            found = found.trunc()
        return {"semantic.weight": found}

    def align_stage(self) -> Stage:
        """MF and the alignment loss, until validation of MF's own scores has not been better for some epochs."""
        keys = self.keys
        own = () if keys["freeze_EL"] else ("semantic",)

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            cost = self.collaborative_cost(self.collaborative_logits(user, item, row), label)
            decayed = [self.users, self.items, self.projection]
            if own and keys["penalise_EL"]:
                decayed.append(self.semantic)
            return (
                cost + float(keys["align_weight"]) * self.alignment(item) + self.squares(*decayed)
            )

        return Stage(
            name="align",
            trainable=("users", "items", "projection", *own),
            loader=self.labelled_rows(int(keys["collab_batch_rows"])),
            loss=loss,
            fingerprint={name: keys[name] for name in _ALIGNED},
            epochs=int(keys["align_epochs"]),
            learning_rate=float(keys["align_learning_rate"]),
            validate=self.validated(self.collaborative_logits),
            patience=int(keys["align_patience"]) or None,
            after=("distil",),
            rows=lambda batch: len(batch[0]),
        )

    @torch.no_grad()
    def both_embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(Proj(E^C), E^L), each [n_items - 1, d_L], in the order of the items: what figures 6 and 7 compare."""
        return self.projection(self.items.weight[1:]), self.semantic.weight[1:].clone()

    def alignment(self, item: torch.Tensor) -> torch.Tensor:
        """L_align of a batch of items [B] in RecBole's ids."""
        keys = self.keys
        anchors, candidates, own = contrasted(item, self.n_items, str(keys["align_items"]))
        collab = keys["align_anchor"] == "collab"
        ours, theirs = (anchors, candidates) if collab else (candidates, anchors)
        return align_loss(
            self.projection(self.items(ours)),
            self.semantic(theirs),
            own,
            form=str(keys["align_loss"]),
            anchor=str(keys["align_anchor"]),
            tau=float(keys["tau"]),
        )
