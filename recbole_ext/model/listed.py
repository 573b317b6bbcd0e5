"""What models share that list items in a prompt of a frozen language model: the backbone, its healing, prompts with vectors, and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Stage
from recbole_ext.lm.batches import padded, splice_listed
from recbole_ext.lm.listing import Listed, ListFiller, ListTemplate, load_list_template
from recbole_ext.lm.prompts import Prompt
from recbole_ext.model.asking import Asking
from recbole_ext.model.healing import heal_stage
from recbole_ext.model.sasrec import SASRec

_TOLD = (
    "domain_verb", "domain_noun", "max_length", "title_length", "prompt_items", "train_candidates", "shuffle_text", "shuffle_vectors",
    "projection_users", "projection_batch_rows",
)  # fmt: skip
"""What the last stage depends on beside the prompt, the backbone and the stages before."""
_HEALED = (
    "domain_verb", "domain_noun", "max_length", "title_length", "prompt_items", "train_candidates", "heal_batches", "heal_batch_rows",
    "heal_words",
    "heal_drawn",
)  # fmt: skip
_KEYS = (
    *dict.fromkeys((*_TOLD, *_HEALED)), "prompt", "heal_prompt", "projection_epochs", "projection_learning_rate", "heal_learning_rate", "chosen_by",
    "eval_batch_rows", "collaborative_metric",
)  # fmt: skip
_UNTITLED = "untitled"


@dataclass(frozen=True)
class Asked:
    """A prompt, and whose vectors stand at its slots."""

    prompt: Prompt
    items: list[int]
    """At each slot in order, in RecBole's ids; 0 at the user's."""


class ListingSASRec(Asking, SASRec):
    """SASRec, frozen, whose items are listed in prompts, title and vector, and a frozen language model that is asked for a title of them.

    A subclass has `item_vectors` and, where its template has the user's slot, `user_vectors`, and says what its last stage trains.

    `heal_batches`, ours, for a backbone that has lost layers: a stage `heal` before the last, on so many batches of made-up prompts
    (`healing`), trains the layers of the language model, and nothing after it moves them. It depends on the titles of the catalogue and
    on no interaction, and its prompt is `heal_prompt` for all models, so that they stand on one healed language model.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.llm: dict[str, Any] = {key: config[key] for key in _KEYS}
        self.hold_backbone(config)
        assert self.backbone.generative, "its row of the registry says that it is generative"
        self.frozen_parameters = sum(p.numel() for p in self.backbone.model.parameters())
        self.heals = int(self.llm["heal_batches"]) > 0
        if self.heals:
            self._hold_layers()
        self.words = {"verb": str(self.llm["domain_verb"]), "noun": str(self.llm["domain_noun"])}
        self.template = self.template_of("prompt")
        length, title = int(self.llm["max_length"]), int(self.llm["title_length"])
        self.filler = ListFiller(self.template, self.backbone, length, title)
        self.titles = self._titles(dataset)
        self.vector_of = self.permuted("vectors", bool(self.llm["shuffle_vectors"]))
        self._token_length: float | None = None

    def template_of(self, key: str) -> ListTemplate:
        """The template that a key names.

        Raises:
            HarnessError: it has a text that is not filled here.
        """
        found = load_list_template(str(self.llm[key]))
        if lacking := set(found.texts) - set(self.words):
            raise HarnessError(
                f"prompt '{found.name}': {{text:{min(lacking)}}} is not filled here; there are verb and noun"
            )
        return found

    def _hold_layers(self) -> None:
        """Its layers' weights, in float32, as this model's own, so that they are trained and kept."""
        named = self.backbone.layers.named_parameters()
        # By names of their own: a LoRA that comes later renames the modules and leaves these as they are.
        self.healed = nn.ParameterDict({name.replace(".", ":"): p for name, p in named})
        self.frozen_parameters -= sum(p.numel() for p in self.healed.values())

    def permuted(self, name: str, permuted: bool) -> torch.Tensor:
        """[n_items] each item, or another one in its place; the padding item stays."""
        order = torch.arange(self.n_items)
        if permuted:
            with self.drawn(name):
                order[1:] = 1 + torch.randperm(self.n_items - 1)
        return order

    def _titles(self, dataset: Any) -> list[str]:
        given = [self.filler.shortened(title) or _UNTITLED for title in dataset.item_titles]
        order = self.permuted("titles", bool(self.llm["shuffle_text"]))
        return [given[place] for place in order.tolist()]

    # Prompts

    def item_labels(self, items: Sequence[int]) -> list[str]:
        """[S] words behind the vector of each item."""
        return [""] * len(items)

    def user_labels(self, states: torch.Tensor) -> list[str]:
        """[B] words behind the vector of each user of states [B, d]."""
        return [""] * len(states)

    def asked(
        self,
        histories: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[int]],
        states: torch.Tensor,
    ) -> list[Asked]:
        """Prompts of B users.

        Args:
            histories: items in RecBole's ids, the latest last; the latest `prompt_items` are named.
            candidates: in the order in which they are named.
            states: [B, d].
        """
        named = [list(history)[-int(self.llm["prompt_items"]) :] for history in histories]
        every = sorted({item for items in (*named, *candidates) for item in items})
        labels = dict(zip(every, self.item_labels(every), strict=True))
        found = []
        for history, among, own in zip(named, candidates, self.user_labels(states), strict=True):
            before, offered = (
                [Listed(self.titles[item], labels[item]) for item in items]
                for items in (history, among)
            )
            texts = {name: self.words[name] for name in self.template.texts}
            prompt = self.filler.fill(before, offered, texts, own)
            at = {f"item{place}": item for place, item in enumerate(history[prompt.dropped :], 1)}
            at |= {f"candidate{place}": item for place, item in enumerate(among, 1)} | {"user": 0}
            found.append(
                Asked(replace(prompt, pieces=()), [int(at[name]) for name in prompt.slots])
            )
        return found

    def item_vectors(self, items: torch.Tensor) -> torch.Tensor:
        """[S, d_L] of items [S]; that of the padding item is not read."""
        raise NotImplementedError

    def user_vectors(self, states: torch.Tensor) -> torch.Tensor:
        """[B, d_L] of users' states [B, d]."""
        raise NotImplementedError

    @property
    def token_length(self) -> float:
        """Mean length of the language model's tokens as it reads them."""
        if self._token_length is None:
            table = self.backbone.model.get_input_embeddings().weight
            self._token_length = float(table.detach().float().norm(dim=1).mean())
        return self._token_length

    @torch.no_grad()
    def measures(self) -> dict[str, float]:
        """Of the vectors at the items' slots, of at most 4,096 items: `spread`, the share of their mean square that differs between items (0: all
        are one vector, and nothing can be read off it), and `length`, their mean length in the tokens' of the language model.
        """
        step = -(-(self.n_items - 1) // 4096)
        found = self.item_vectors(torch.arange(1, self.n_items, step, device=self.device)).float()
        spread = found.var(0, unbiased=False).sum() / (found**2).mean(0).sum()
        length = found.norm(dim=1).mean() / self.token_length
        return {"spread": float(spread), "length": float(length)}

    def slot_vectors(self, asked: Sequence[Asked], states: torch.Tensor) -> torch.Tensor:
        """[S, d_L] for all slots of B prompts, one prompt after the other."""
        flat = torch.tensor([item for one in asked for item in one.items])
        source = self.vector_of[flat].to(self.device)
        found = self.item_vectors(source)
        if bool((flat > 0).all()):
            return found
        owner = torch.tensor([row for row, one in enumerate(asked) for _ in one.items])
        users = self.user_vectors(states)[owner.to(self.device)]
        return torch.where((source == 0)[:, None], users, found)

    def embedded(
        self, asked: Sequence[Asked], states: torch.Tensor, answers: Sequence[Sequence[int]] = ()
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """([B, T, d_L] input embeddings, [B, T] mask, [B, T] token ids) of prompts, with answers behind them where they are given."""
        prompts = [one.prompt for one in asked]
        rows = [prompt.ids for prompt in prompts]
        if answers:
            rows = [[*ids, *answer] for ids, answer in zip(rows, answers, strict=True)]
        ids, mask = padded(rows, self.backbone.filler, self.device)
        embeds = splice_listed(self.backbone.embed(ids), prompts, self.slot_vectors(asked, states))
        return embeds, mask, ids

    # Training

    def before(self) -> list[Stage | Computed]:
        """The stages below the language model. What they read is no title and no backbone, so that others share them."""
        sasrec, *more = super().stages()
        assert isinstance(sasrec, Stage)
        return [replace(sasrec, validated_by=str(self.llm["collaborative_metric"])), *more]

    def collaborative_score(self) -> float:
        """SASRec's own, in the full ranking."""
        found: float = self.full_validation_score(str(self.llm["collaborative_metric"]))
        return found

    def stages(self) -> list[Stage | Computed]:
        """Those below the language model, its own where it is healed, and the last."""
        return [*self.before(), *self.heal_stages(), self.last_stage()]

    def last_stage(self) -> Stage:
        """What trains what makes the vectors."""
        raise NotImplementedError

    def heal_stages(self) -> list[Stage | Computed]:
        """None, or the one that trains the layers of the language model."""
        if not self.heals:
            return []
        length, title = int(self.llm["max_length"]), int(self.llm["title_length"])
        template = self.template_of("heal_prompt")
        filler = ListFiller(template, self.backbone, length, title)
        told = self.told(_HEALED, template)
        return [heal_stage(self.backbone, filler, self.words, self.titles[1:], self.llm, told)]

    def told(
        self, names: Sequence[str] = _TOLD, template: ListTemplate | None = None
    ) -> dict[str, Any]:
        """What a stage of the language model depends on: some keys, the prompt (the model's own by default) and the backbone."""
        found = {name: self.llm[name] for name in names}
        prompt = asdict(template or self.template)
        return found | {"prompt": prompt, "backbone": self.backbone.identity}

    def learnt(self) -> tuple[Ints, Ints]:
        """(user, item) of the interactions of the users that the projectors learn from."""
        most = int(self.llm["projection_users"])
        users, counts = np.unique(self.user, return_counts=True)
        users = users[counts > 1]
        if not 0 < most < len(users):
            return self.user, self.item
        with self.drawn("users of the projection"):
            chosen = users[torch.randperm(len(users))[:most].numpy()]
        kept = np.isin(self.user, chosen)
        return self.user[kept], self.item[kept]

    def candidates_of(self, user: int, target: int) -> list[int]:
        """The target and others that the user has not in training, all different, in any order; by torch's generator."""
        free = np.ones(self.n_items, dtype=bool)
        free[0] = False
        free[self.item[self.user == user]] = False
        others = np.flatnonzero(free)
        count = min(int(self.llm["train_candidates"]) - 1, len(others))
        drawn = others[torch.randperm(len(others))[:count].numpy()].tolist()
        among = [target, *drawn]
        return [among[place] for place in torch.randperm(len(among)).tolist()]

    def answer_loss(
        self,
        asked: Sequence[Asked],
        states: torch.Tensor,
        targets: Sequence[int],
    ) -> torch.Tensor:
        """Mean cross-entropy over the tokens of the targets' titles and ends, behind their prompts."""
        answers = [self.filler.answer(self.titles[target]) for target in targets]
        embeds, mask, ids = self.embedded(asked, states, answers)
        told = torch.zeros_like(mask, dtype=torch.bool)
        for row, (one, answer) in enumerate(zip(asked, answers, strict=True)):
            told[row, len(one.prompt.ids) : len(one.prompt.ids) + len(answer)] = True
        read = self.backbone.states(embeds, mask)[:, :-1][told[:, 1:]]
        return functional.cross_entropy(self.backbone.vocabulary(read), ids[told])


def unpadded(seen: torch.Tensor) -> list[list[int]]:
    """Items of histories [B, T] in RecBole's ids, without padding."""
    return [[item for item in row if item] for row in seen.tolist()]
