"""A-LLMRec: SASRec's user and items as tokens of a frozen language model, which names one of twenty titles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Schedule, Stage
from recbole_ext.lm.backbone import make_backbone
from recbole_ext.lm.batches import bucketed, padded, splice_listed
from recbole_ext.lm.generate import generate
from recbole_ext.lm.likelihood import Prefix
from recbole_ext.lm.listing import Listed, ListFiller, load_list_template
from recbole_ext.lm.prompts import Prompt
from recbole_ext.lm.titles import Named, named, quoted
from recbole_ext.model.healing import CopyTasks, heal_loss
from recbole_ext.model.matching import MatchedSASRec
from recbole_ext.model.sequences import Batch, Windows, left_padded

_KEYS = (
    "prompt", "domain_verb", "domain_noun", "max_length", "title_length", "prompt_items", "train_candidates", "id_source",
    "shuffle_text", "shuffle_vectors", "projection_users", "projection_batch_rows", "projection_epochs", "projection_learning_rate",
    "chosen_by", "eval_batch_rows", "collaborative_metric", "heal_batches", "heal_batch_rows", "heal_learning_rate", "heal_words",
)  # fmt: skip
_TOLD = (
    "domain_verb", "domain_noun", "max_length", "title_length", "prompt_items", "train_candidates", "id_source",
    "shuffle_text", "shuffle_vectors", "projection_users", "projection_batch_rows",
)  # fmt: skip
"""What the stage of the projectors depends on beside the prompt, the backbone and the stages before."""
_READ = ("data", "split", "valid_rows")
_UNTITLED = "untitled"
Rules = tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]


def projector(width: int, hidden: int, activation: nn.Module) -> nn.Sequential:
    """Linear, LayerNorm, activation, Linear, by Xavier's normal: [B, width] -> [B, hidden]."""
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
    for layer in (first, last):
        nn.init.xavier_normal_(layer.weight)
    return nn.Sequential(first, nn.LayerNorm(hidden), activation, last)


@dataclass(frozen=True)
class Asked:
    """A prompt, and whose vectors stand at its slots."""

    prompt: Prompt
    items: list[int]
    """At each slot in order, in RecBole's ids; 0 at the user's."""


class ALLMRec(MatchedSASRec):
    """Kim et al., "Large Language Models meet Collaborative Filtering", KDD 2024, as SAULREC uses it (methods 3.3, 3.5).

    Stages: `collaborative` is SASRec's, `matching` MatchedSASRec's, both shared with them. `projection` trains two projectors, of the user's
    state and of items, so that the frozen language model says the next title where it is asked for one of 20 (`train_candidates`): cross-entropy
    on the tokens of the title in quotes and of the end only. One example a user, the last item of its training history; the 19 others are
    drawn anew each time, all different and none of the user's, and stand in a new order.

    `id_source`: what the projector of items reads, `latent` z (the authors' code) or `recon` r (as SAULREC writes). `chosen_by`: `generated`,
    the title that is written by greedy decoding, or `likelihood`, log-likelihood per token of each candidate's title and end, which ranks
    all of them, `both` the first with whether the likeliest is right beside it. Candidates of one title are a tie under both. `shuffle_text` and `shuffle_vectors` are controls of ours: titles, or
    vectors, permuted over the items.

    `heal_batches`, ours, for a backbone that has lost layers: a stage `heal` before the projectors, on so many batches of made-up prompts
    (`healing`), trains the layers of the language model, and nothing after it moves them. It depends on the titles of the catalogue and
    on no interaction.

    Deviations: a title is cut to `title_length` tokens and is its short form everywhere; the order of candidates at the test is a function of
    the seed and the user; no repetition penalty; weights are not in 8 bits; the epoch of SASRec is chosen by `collaborative_metric` in the
    full ranking, as SASRec itself is by default, so that its stage is the same.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.scored = "table"
        self.llm: dict[str, Any] = {key: config[key] for key in _KEYS}
        self.seed = int(config["seed"])
        # No module of this one, and a class that is none itself: what registers modules does not see it.
        self.backbone: Any = make_backbone(
            config["backbone"],
            revision=config["backbone_revision"],
            device=str(self.device),
            dtype=config["lm_dtype"],
            trust_remote_code=config["trust_remote_code"],
            checkpointing=config["checkpointing"],
        )
        if not self.backbone.generative:
            raise HarnessError(
                f"{type(self).__name__}: {self.backbone.name} is an encoder and names no title: --backbone=smollm2"
            )
        self.frozen_parameters = sum(p.numel() for p in self.backbone.model.parameters())
        self.heals = int(self.llm["heal_batches"]) > 0
        if self.heals:
            if self.backbone.model.dtype != torch.float32:
                raise HarnessError(
                    f"{type(self).__name__}: --heal_batches trains the language model, which is too coarse in "
                    f"{config['lm_dtype']}: --lm_dtype=float32"
                )
            self.healed = self.backbone.layers
            self.frozen_parameters -= sum(p.numel() for p in self.healed.parameters())
        self.template = load_list_template(str(self.llm["prompt"]))
        self.words = {"verb": str(self.llm["domain_verb"]), "noun": str(self.llm["domain_noun"])}
        if lacking := set(self.template.texts) - set(self.words):
            raise HarnessError(
                f"prompt '{self.template.name}': {{text:{min(lacking)}}} is not filled here; there are verb and noun"
            )
        length, title = int(self.llm["max_length"]), int(self.llm["title_length"])
        self.filler = ListFiller(self.template, self.backbone, length, title)
        self.titles = self._titles(dataset)
        self.vector_of = self._permuted("vectors", bool(self.llm["shuffle_vectors"]))
        narrow = self.items.embedding_dim
        read = narrow if self.llm["id_source"] == "recon" else int(self.match["match_dim"])
        with self.drawn("projectors"):
            self.user_token = projector(narrow, self.backbone.width, nn.LeakyReLU())
            self.item_token = projector(read, self.backbone.width, nn.GELU())

    @contextmanager
    def drawn(self, name: str) -> Iterator[None]:
        """What is drawn inside comes from the seed and a name; what is drawn after does not notice."""
        own = int(hashlib.sha256(f"{self.seed} {name}".encode()).hexdigest()[:8], 16)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own)
            yield

    def _permuted(self, name: str, permuted: bool) -> torch.Tensor:
        """[n_items] each item, or another one in its place; the padding item stays."""
        order = torch.arange(self.n_items)
        if permuted:
            with self.drawn(name):
                order[1:] = 1 + torch.randperm(self.n_items - 1)
        return order

    def _titles(self, dataset: Any) -> list[str]:
        given = [self.filler.shortened(title) or _UNTITLED for title in dataset.item_titles]
        order = self._permuted("titles", bool(self.llm["shuffle_text"]))
        return [given[place] for place in order.tolist()]

    # Prompts

    def item_labels(self) -> list[str]:
        """[n_items] words behind the vector of each item."""
        return [""] * self.n_items

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
        of_items, of_users = self.item_labels(), self.user_labels(states)
        found = []
        for history, among, labels in zip(histories, candidates, of_users, strict=True):
            history = list(history)[-int(self.llm["prompt_items"]) :]
            before, offered = (
                [Listed(self.titles[item], of_items[item]) for item in items]
                for items in (history, among)
            )
            texts = {name: self.words[name] for name in self.template.texts}
            prompt = self.filler.fill(before, offered, texts, labels)
            at = {f"item{place}": item for place, item in enumerate(history[prompt.dropped :], 1)}
            at |= {f"candidate{place}": item for place, item in enumerate(among, 1)} | {"user": 0}
            found.append(
                Asked(replace(prompt, pieces=()), [int(at[name]) for name in prompt.slots])
            )
        return found

    def item_input(self, items: torch.Tensor) -> torch.Tensor:
        """[S, d] vectors of items that go into the autoencoder of the matching."""
        return self.items.weight[items]

    def slot_vectors(self, asked: Sequence[Asked], states: torch.Tensor) -> torch.Tensor:
        """[S, d_L] for all slots of B prompts, one prompt after the other."""
        flat = torch.tensor([item for one in asked for item in one.items])
        owner = torch.tensor([row for row, one in enumerate(asked) for _ in one.items])
        source = self.vector_of[flat].to(self.device)
        with torch.no_grad():
            z, r = self.matching.items(self.item_input(source))
        read = r if self.llm["id_source"] == "recon" else z
        users = self.user_token(states)[owner.to(self.device)]
        return torch.where((source == 0)[:, None], users, self.item_token(read))

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

    # The stage

    def before(self) -> list[Stage | Computed]:
        """The stages below the language model. What they read is no title and no backbone, so that others share them."""
        sasrec, matching = super().stages()
        assert isinstance(sasrec, Stage) and isinstance(matching, Stage)
        return [
            replace(sasrec, validated_by=str(self.llm["collaborative_metric"])),
            replace(matching, reads=(*_READ, "text", "encoder")),
        ]

    def collaborative_score(self) -> float:
        """SASRec's own, in the full ranking."""
        found: float = self.full_validation_score(str(self.llm["collaborative_metric"]))
        return found

    def stages(self) -> list[Stage | Computed]:
        """Those below the language model, its own where it is healed, and the projectors."""
        return [*self.before(), *self.heal_stages(), self.projection_stage()]

    def heal_stages(self) -> list[Stage | Computed]:
        """None, or the one that trains the layers of the language model."""
        if not self.heals:
            return []
        titles = sorted(set(self.titles[1:]))
        size, rate = int(self.llm["heal_batch_rows"]), float(self.llm["heal_learning_rate"])
        weight = float(self.llm["heal_words"])
        history, count = int(self.llm["prompt_items"]), int(self.llm["train_candidates"])
        loader = CopyTasks(titles, int(self.llm["heal_batches"]), size, history, count)
        keys = ("domain_verb", "domain_noun", "max_length", "title_length", "prompt_items", "train_candidates", "heal_batches", "heal_batch_rows", "heal_words")  # fmt: skip
        told = {name: self.llm[name] for name in keys}
        told |= {"prompt": asdict(self.template), "backbone": self.backbone.identity}
        told |= {"titles": hashlib.sha256("\n".join(titles).encode()).hexdigest()}
        return [
            Stage(
                name="heal",
                trainable=("healed",),
                loader=loader,
                loss=lambda tasks: heal_loss(self.backbone, self.filler, self.words, tasks, weight),
                fingerprint=told,
                epochs=1,
                learning_rate=rate,
                betas=(0.9, 0.95),
                clip=1.0,
                schedule=Schedule(0.05, "cosine"),
                after=(),
                reads=("backbone",),
            )
        ]

    def projection_stage(self, **fingerprint: Any) -> Stage:
        """What trains the projectors; `fingerprint` is what a subclass adds to what its weights depend on."""
        told = {name: self.llm[name] for name in _TOLD}
        told |= {"prompt": asdict(self.template), "backbone": self.backbone.identity}
        user, item = self._learnt()
        return Stage(
            name="projection",
            trainable=("user_token", "item_token"),
            loader=Windows(
                user, item, self.longest, int(self.llm["projection_batch_rows"]), False, self.device
            ),
            loss=self.projection_loss,
            fingerprint={"tokens": "user, item", **told, **fingerprint},
            epochs=int(self.llm["projection_epochs"]),
            learning_rate=float(self.llm["projection_learning_rate"]),
            rows=lambda batch: len(batch[0]),
        )

    def _learnt(self) -> tuple[Ints, Ints]:
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
        others = np.setdiff1d(np.arange(1, self.n_items), self.item[self.user == user])
        count = min(int(self.llm["train_candidates"]) - 1, len(others))
        drawn = others[torch.randperm(len(others))[:count].numpy()].tolist()
        among = [target, *drawn]
        return [among[place] for place in torch.randperm(len(among)).tolist()]

    def projection_loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the answers' tokens of a batch of histories."""
        users, seen, following = batch
        targets = following[:, -1].tolist()
        pairs = zip(users.tolist(), targets, strict=True)
        candidates = [self.candidates_of(user, target) for user, target in pairs]
        with torch.no_grad():
            states = self.states(seen, 1)[:, 0]
        asked = self.asked(_unpadded(seen), candidates, states)
        answers = [self.filler.answer(self.titles[target]) for target in targets]
        embeds, mask, ids = self.embedded(asked, states, answers)
        told = torch.zeros_like(mask, dtype=torch.bool)
        for row, (one, answer) in enumerate(zip(asked, answers, strict=True)):
            told[row, len(one.prompt.ids) : len(one.prompt.ids) + len(answer)] = True
        read = self.backbone.states(embeds, mask)[:, :-1][told[:, 1:]]
        return functional.cross_entropy(self.backbone.vocabulary(read), ids[told])

    # Answers

    @property
    def choose_candidates(self) -> Any:
        """[p] columns of generated titles and what `evaluator.lists.Answers` has beside; there is none where titles are scored."""
        if self.llm["chosen_by"] == "likelihood":
            raise AttributeError("titles are scored")
        return self.named_candidates

    def named_candidates(self, interaction: Any, items: torch.Tensor) -> Rules:
        """What is generated, of users and items [p, m + 1], and read by each rule."""
        found: list[Named] = [
            named(output, [self.spoken(item) for item in row])
            for output, row in zip(self.outputs(interaction, items), items.tolist(), strict=True)
        ]
        exact = torch.from_numpy(np.stack([one.exact for one in found]))
        place = torch.where(exact.any(1), exact.int().argmax(1), -1)
        rules = {
            name: torch.from_numpy(np.stack([getattr(one, name) for one in found]))
            for name in ("substring", "llara")
        }
        if self.llm["chosen_by"] == "both":
            scores = self.score_candidates(interaction, items)
            rules["score"] = scores == scores.max(dim=1, keepdim=True).values
        return place, exact, rules

    def spoken(self, item: int) -> str:
        """An item's title as the backbone's tokenizer gives it back, in the form that outputs are compared in."""
        return _spoken(self.filler, self.backbone, self.titles[item])

    @torch.no_grad()
    def outputs(self, interaction: Any, items: torch.Tensor) -> list[str]:
        """[p] texts that are generated for users among items [p, m + 1]."""
        asked, states = self._at_test(interaction, items)
        found = [""] * len(asked)
        most = int(self.llm["title_length"]) + 4
        for places in self._buckets(asked):
            some = [asked[place] for place in places]
            embeds, mask, _ = self.embedded(some, states[torch.from_numpy(places).to(self.device)])
            rows = [row[there.bool()] for row, there in zip(embeds, mask, strict=True)]
            said = generate(self.backbone, rows, most, stop=(self.filler.end,))
            for place, tokens in zip(places, said, strict=True):
                found[place] = _decoded(self.backbone, tokens)
        return found

    @torch.no_grad()
    def score_candidates(self, interaction: Any, items: torch.Tensor) -> torch.Tensor:
        """[p, m + 1] log-likelihood per token of each title with its end; the same for candidates of one title."""
        asked, states = self._at_test(interaction, items)
        found = torch.empty(items.shape, dtype=torch.float32)
        for row, (one, among) in enumerate(zip(asked, items.tolist(), strict=True)):
            embeds, _, _ = self.embedded([one], states[row : row + 1])
            titles = list(dict.fromkeys(self.titles[item] for item in among))
            answers = [self.filler.answer(title) for title in titles]
            mean = Prefix(self.backbone, embeds[0]).likelihood(answers).mean
            found[row] = mean[[titles.index(self.titles[item]) for item in among]]
        return found

    def _at_test(self, interaction: Any, items: torch.Tensor) -> tuple[list[Asked], torch.Tensor]:
        """Prompts of users, the candidates in an order of each user's own, and [p, d] states."""
        seen = left_padded(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        states = self.states(seen, 1)[:, 0]
        among = []
        for user, row in zip(interaction[self.USER_ID].tolist(), items.tolist(), strict=True):
            drawn = np.random.default_rng([self.seed, user])
            among.append([row[place] for place in drawn.permutation(len(row))])
        return self.asked(_unpadded(seen), among, states), states

    def _buckets(self, asked: Sequence[Asked]) -> list[Ints]:
        lengths = [len(one.prompt.ids) for one in asked]
        return bucketed(lengths, int(self.llm["eval_batch_rows"]))


@lru_cache(maxsize=1 << 17)
def _spoken(filler: ListFiller, backbone: Any, title: str) -> str:
    return quoted(_decoded(backbone, filler.answer(title)[:-1]))


def _decoded(backbone: Any, tokens: Sequence[int]) -> str:
    found: str = backbone.tokenizer.decode(
        list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return found


def _unpadded(seen: torch.Tensor) -> list[list[int]]:
    return [[item for item in row if item] for row in seen.tolist()]
