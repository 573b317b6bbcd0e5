"""LLaRA: a language model with a LoRA that is first taught by titles, then by titles with SASRec's vectors behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Schedule, Stage
from recbole_ext.lm.lora import Lora
from recbole_ext.model.listed import unpadded
from recbole_ext.model.sequences import Batch, Windows
from recbole_ext.model.title_answers import TitleSASRec

Taught = tuple[Batch, bool]
"""A batch of histories, and whether its prompts have vectors."""


class Curriculum:
    """Batches of all epochs in one, of which the s-th of S has vectors with probability s / S."""

    def __init__(self, loader: Windows, epochs: int, grows: bool) -> None:
        """Args:
        loader: of one epoch.
        epochs: how often it is gone through, each time in another order.
        grows: False: all have vectors.
        """
        self.loader, self.epochs, self.grows = loader, epochs, grows

    def __len__(self) -> int:
        return self.epochs * len(self.loader)

    def __call__(self, generator: torch.Generator) -> Iterator[Taught]:
        drawn = torch.rand(len(self), generator=generator)
        step = 0
        for _ in range(self.epochs):
            for batch in self.loader(generator):
                yield batch, not self.grows or float(drawn[step]) < step / len(self)
                step += 1


class LLaRA(TitleSASRec):
    """Liao et al., "LLaRA: Large Language-Recommendation Assistant", SIGIR 2024 (methods 3.9).

    Behind each title of the history and of the candidates stands a vector, projector(x_i) of SASRec's frozen item vector, by Linear, GELU,
    Linear; there is no user's. One stage trains a LoRA on all linear layers of the language model and the projector, by cross-entropy on the
    title and the end, with a curriculum: the s-th of S batches has its vectors with probability s / S, the others have one plain token in
    each vector's place, and the projector is not trained by them. Adam, 5% warm-up, then half a cosine.

    Deviations: one wording of the prompt, and the end of a text behind the answer, where the authors draw one of several wordings and end
    with a new line; titles in quotes; one example a user, its last training item, as A-LLMRec's.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.grows, self.accumulate = bool(config["curriculum"]), int(config["accumulate"])
        self.warmup = float(config["projection_warmup"])
        given = str(config["lora_modules"]).strip("[] ")
        modules = given if given == "all" else [name.strip(" '\"") for name in given.split(",")]
        lora = {key: config[key] for key in ("lora_r", "lora_alpha", "lora_dropout")}
        self.lora_keys = {**lora, "lora_modules": given}
        if ("slot:user", True) in self.template.user:
            raise HarnessError(
                f"LLaRA has no vector of a user, and prompt '{self.template.name}' has {{slot:user}}: --prompt=llara"
            )
        with self.drawn("lora"):
            self.lora = Lora(
                self.backbone, int(lora["lora_r"]), float(lora["lora_alpha"]), float(lora["lora_dropout"]), modules
            )  # fmt: skip
        wide = self.backbone.width
        with self.drawn("projectors"):
            self.item_token = nn.Sequential(
                nn.Linear(self.items.embedding_dim, wide), nn.GELU(), nn.Linear(wide, wide)
            )
        self.plain = False
        """Whether a plain token stands in each vector's place."""

    def item_vectors(self, items: torch.Tensor) -> torch.Tensor:
        """Projected vectors of items, or the plain token's."""
        if self.plain:
            token = self.backbone.tokenise(" item")[0]
            one = self.backbone.embed(torch.tensor([token], device=self.device))
            placeholder: torch.Tensor = one.float().expand(len(items), -1)
            return placeholder
        found: torch.Tensor = self.item_token(self.items.weight[items].detach())
        return found

    def last_stage(self) -> Stage:
        """The LoRA and the projector, all epochs as one."""
        user, item = self.learnt()
        size = int(self.llm["projection_batch_rows"])
        windows = Windows(user, item, self.longest, size, device=self.device)
        told = {"tokens": "item", "curriculum": self.grows, "passes": int(self.llm["projection_epochs"])}  # fmt: skip
        return Stage(
            name="projection",
            trainable=("lora", "item_token"),
            loader=Curriculum(windows, int(self.llm["projection_epochs"]), self.grows),
            loss=self.taught_loss,
            fingerprint={**self.told(), **self.lora_keys, **told},
            epochs=1,
            learning_rate=float(self.llm["projection_learning_rate"]),
            schedule=Schedule(self.warmup, "cosine"),
            accumulate=self.accumulate,
            rows=lambda taught: len(taught[0][0]),
        )

    def taught_loss(self, taught: Taught) -> torch.Tensor:
        """Mean over the answers' tokens of a batch of histories."""
        (users, seen, following), vectors = taught
        targets = following[:, -1].tolist()
        pairs = zip(users.tolist(), targets, strict=True)
        candidates = [self.candidates_of(user, target) for user, target in pairs]
        states = torch.zeros(len(targets), 1, device=self.device)  # nothing reads them
        self.plain = not vectors
        try:
            return self.answer_loss(self.asked(unpadded(seen), candidates, states), states, targets)
        finally:
            self.plain = False
