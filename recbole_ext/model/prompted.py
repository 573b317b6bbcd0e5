"""What models that ask a language model share: the backbone and its LoRA, prompts of rows, Yes and No as a score, and the text stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Schedule, Stage
from recbole_ext.lm.answers import answer_logit
from recbole_ext.lm.batches import bucketed, collate, splice
from recbole_ext.lm.lora import Lora
from recbole_ext.lm.prompts import Filler, load_template
from recbole_ext.model.asking import Asking
from recbole_ext.model.clicks import Batch, PairModel
from recbole_ext.model.prompt_rows import FilledRows, PromptedRows

Vectors = Mapping[str, torch.Tensor]
"""Slot -> [B, d_L]."""
_QV = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin")
_TEXT_KEYS = (
    "loss", "score", "max_length", "MAX_ITEM_LIST_LENGTH", "shuffle_text",
    "lora_r", "lora_alpha", "lora_dropout", "lora_modules",
)  # fmt: skip


class PromptedPairModel(Asking, PairModel):
    """P(label = 1) = sigmoid of what a language model says between Yes and No after a prompt of liked titles and a target title.

    Keys: `backbone` and what says how it is loaded; `prompt`, a template of text alone; `score` (softmax_yes_no is the paper's, eq. 3);
    `loss`: `answer`, cross-entropy of that score with the label (eq. 5), or `all_tokens`, next-token cross-entropy over the whole
    sequence with the answer behind it, as a chat (the authors' code; of a causal backbone only); `shuffle_text`, a control of ours: the
    titles permuted among the items.

    The backbone is frozen and no part of the model's state: that holds the LoRA and, for an encoder, which has no vocabulary to answer
    with, two rows `answers` [2, d_L] for Yes and No on its pooled state (ours), trained with the LoRA.

    Weights are drawn from the seed and their own name, so that a stage is the same whichever model it is a part of.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys: dict[str, Any] = {
            key: value for key, value in config.final_config_dict.items() if isinstance(key, str)
        }
        self.hold_backbone(self.keys)
        self.score, self.loss_kind = str(self.keys["score"]), str(self.keys["loss"])
        self.probabilities = self.score == "softmax_yes_no"
        with self.drawn("lora"):
            self.lora = Lora(
                self.backbone,
                int(self.keys["lora_r"]),
                float(self.keys["lora_alpha"]),
                float(self.keys["lora_dropout"]),
                self.adapted(),
            )
        if not self.backbone.generative:
            with self.drawn("answers"):
                start = torch.randn(2, self.backbone.width) * 0.02
            self.answers = nn.Parameter(start)
        self.titles = self._titles(dataset)
        self.histories = dataset.histories()
        self.text_template = self.template("prompt")
        self.text_prompts = self.filled(self.text_template)
        self._asked: Callable[..., torch.Tensor] | None = None

    def adapted(self) -> str | list[str]:
        """`lora_modules` as names: `qv` is what the architecture calls the query's and the value's projection."""
        given = str(self.keys["lora_modules"]).strip("[] ")
        if given == "all":
            return given
        if given != "qv":
            return [name.strip(" '\"") for name in given.split(",")]
        there = {path.rpartition(".")[2] for path, _ in self.backbone.model.named_modules()}
        found = [name for name in _QV if name in there]
        if not found:
            raise HarnessError(
                f"--lora_modules=qv: {self.backbone.name} calls its projections otherwise; give their names, or all"
            )
        return found

    def _titles(self, dataset: Any) -> list[str]:
        titles = list(dataset.item_titles)
        if not self.keys["shuffle_text"]:
            return titles
        drawn = torch.Generator().manual_seed(self.seed)
        order = (1 + torch.randperm(len(titles) - 1, generator=drawn)).tolist()
        return ["", *(titles[place] for place in order)]

    # Prompts

    def template(self, key: str) -> Any:
        """The template that a key names; for the loss over all tokens as a chat, which is the form of the authors' code."""
        name = str(self.keys[key])
        if self.loss_kind == "all_tokens" and not name.endswith(("-chat", ".yaml", ".yml")):
            name += "-chat"
        return load_template(name)

    def filled(self, template: Any) -> FilledRows:
        """Prompts of rows by a template."""
        if template.texts:
            raise HarnessError(
                f"prompt '{template.name}' has a place {{text:{template.texts[0]}}}, which {type(self).__name__} does not fill"
            )
        longest = int(self.keys["MAX_ITEM_LIST_LENGTH"])
        return FilledRows(self.filler(template), self.titles, self.histories, longest)

    def filler(self, template: Any) -> Filler:
        """What fills a template, within `max_length`; where the answer is learnt too there is room for it in the context."""
        room = self.backbone.context
        if self.loss_kind == "all_tokens":
            room -= max(len(self._answer(template, one)) for one in (True, False))
        return Filler(template, self.backbone, min(room, int(self.keys["max_length"])))

    def _answer(self, template: Any, yes: bool) -> list[int]:
        """Tokens of an answer as the loss over all tokens has it."""
        found: list[int] = self.backbone.tokenise(template.answer[0 if yes else 1] + ".")
        return found

    def rows(self, prompts: FilledRows, size: int) -> PromptedRows:
        """Batches of the training rows on the model's device."""
        columns = {
            "user": torch.from_numpy(self.user),
            "item": torch.from_numpy(self.item),
            "label": torch.from_numpy(self.label).float(),
            "row": torch.from_numpy(self.row),
        }
        return PromptedRows({k: v.to(self.device) for k, v in columns.items()}, prompts, size)

    # What the language model says

    def state(self, prompts: Sequence[Any], vectors: Vectors | None = None) -> torch.Tensor:
        """[B, d_L] float32 what is read after each prompt."""
        batch = collate(prompts, self.backbone.filler, self.device)
        embeds = splice(self.backbone.embed(batch.ids), batch, vectors or {})
        found: torch.Tensor = self.backbone.read(embeds, batch.mask)
        return found

    def answer(self, state: torch.Tensor, template: Any) -> torch.Tensor:
        """[B] the score as a logit, of states [B, d_L]."""
        if not self.backbone.generative:
            pair = state.float() @ self.answers.T
            return answer_logit(self.score, pair[:, 0], pair[:, 1])
        pair = self.backbone.of_tokens(state, self.backbone.answers(*template.answer))
        total = None
        if self.score == "prob_diff":
            total = torch.logsumexp(self.backbone.vocabulary(state), -1)
        return answer_logit(self.score, pair[:, 0], pair[:, 1], total)

    def said(
        self, prompts: Sequence[Any], template: Any, vectors: Vectors | None = None
    ) -> torch.Tensor:
        """[B] logits of prompts."""
        return self.answer(self.state(prompts, vectors), template)

    def cost(
        self,
        prompts: Sequence[Any],
        template: Any,
        label: torch.Tensor,
        vectors: Vectors | None = None,
    ) -> torch.Tensor:
        """The training loss of B prompts with labels [B]."""
        if self.loss_kind == "answer":
            logits = self.said(prompts, template, vectors)
            return functional.binary_cross_entropy_with_logits(logits, label)
        words = [self._answer(template, bool(one)) for one in label.tolist()]
        whole = [
            replace(prompt, ids=[*prompt.ids, *answer])
            for prompt, answer in zip(prompts, words, strict=True)
        ]
        batch = collate(whole, self.backbone.filler, self.device)
        embeds = splice(self.backbone.embed(batch.ids), batch, vectors or {})
        states = self.backbone.states(embeds, batch.mask)
        told = batch.mask.bool()
        for position in batch.slots.values():  # what stands at a slot is no token
            told = told.scatter(1, position[:, None], False)
        told = told[:, 1:]
        logits = self.backbone.vocabulary(states[:, :-1][told])
        return functional.cross_entropy(logits, batch.ids[:, 1:][told])

    # Scores

    def text_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] from text alone."""
        return self.in_buckets(self.text_prompts, self.text_template, user, item, row)

    def in_buckets(
        self,
        rows: FilledRows,
        template: Any,
        user: torch.Tensor,
        item: torch.Tensor,
        row: torch.Tensor,
        vectors: Callable[[torch.Tensor, torch.Tensor], Vectors] | None = None,
    ) -> torch.Tensor:
        """[B] logits, `eval_batch_rows` of like length at a time, in the order that was given."""
        prompts = rows.of(item.tolist(), row.tolist())
        found = torch.empty(len(prompts), dtype=torch.float32, device=self.device)
        size = int(self.keys["eval_batch_rows"])
        for places in bucketed([len(prompt.ids) for prompt in prompts], size):
            at = torch.from_numpy(places).to(self.device)
            given = vectors(user[at], item[at]) if vectors else None
            found[at] = self.said([prompts[place] for place in places], template, given).float()
        return found

    @contextmanager
    def asked_by(self, logits: Callable[..., torch.Tensor]) -> Iterator[None]:
        """`predict` goes by other logits inside: those of a stage that is validated before the later ones are trained."""
        before, self._asked = self._asked, logits
        try:
            yield
        finally:
            self._asked = before

    def validated(self, logits: Callable[..., torch.Tensor]) -> Callable[[], float]:
        """The metric of selection of a stage's own logits, of users, items and rows."""

        def value() -> float:
            with self.asked_by(logits):
                found: float = self.validation_score()
                return found

        return value

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds, or what the score is instead of them."""
        return (self._asked or self.final_logits)(user, item, row)

    def final_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] of the model after its last stage."""
        return self.text_logits(user, item, row)

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] in float64 between 0 and 1; chances of label 1 where `probabilities`, otherwise in their order."""
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        logits = self.logits(user, item, interaction["row"]).double()
        if self.score == "yes_logit" and self._asked is None:
            # A raw logit may be far from 0, where the logistic function is 1 to the last digit and the order is gone.
            return 0.5 + 0.5 * logits / (1.0 + logits.abs())
        return torch.sigmoid(logits)

    def prompt_of(self, item: int, row: int) -> Any:
        """What is asked about an item in RecBole's ids after what was liked before a row (`recbole_compat.prompting`)."""
        return self.text_prompts.one(item, row)

    # The text stage

    def stages(self) -> list[Stage | Computed]:
        """LoRA on text."""
        return [self.text_stage()]

    def text_stage(self) -> Stage:
        """Stage 1 of all models here: the LoRA (and an encoder's answers) on prompts of text. It is one stage, whoever asks for it."""
        keys = self.keys
        own = () if self.backbone.generative else ("answers",)
        epochs = int(keys["text_epochs"])

        def loss(batch: Batch) -> torch.Tensor:
            _, item, label, row = batch
            return self.cost(
                self.text_prompts.of(item.tolist(), row.tolist()), self.text_template, label
            )

        return Stage(
            name="text",
            trainable=("lora", *own),
            loader=self.rows(self.text_prompts, int(keys["text_batch_rows"])),
            loss=loss,
            fingerprint=self.told_of_text(self.text_template),
            epochs=epochs,
            learning_rate=float(keys["text_learning_rate"]),
            weight_decay=float(keys["text_weight_decay"]),
            betas=(0.9, 0.95),
            clip=float(keys["clip"]) or None,
            schedule=Schedule(float(keys["text_warmup"]), "cosine"),
            accumulate=int(keys["accumulate"]),
            validate=self.validated(self.text_logits) if epochs > 1 else None,
            after=(),
            rows=lambda batch: len(batch[0]),
        )

    def told_of_text(self, template: Any) -> dict[str, Any]:
        """What a stage that trains the LoRA on a template depends on."""
        return self.told(_TEXT_KEYS, prompt=template, batch="text_batch_rows")

    def told(self, names: Sequence[str], *, prompt: Any = None, batch: str = "") -> dict[str, Any]:
        """What a stage depends on: the backbone, a template, the size of a batch, and some keys."""
        found: dict[str, Any] = {"backbone": self.backbone.identity}
        found |= {name: self.keys[name] for name in names if name in self.keys}
        if prompt is not None:
            found["prompt"] = asdict(prompt)
        if batch:
            found["batch_rows"] = self.keys[batch]
        return found
