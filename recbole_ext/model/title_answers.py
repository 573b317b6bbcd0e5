"""How models of listed items answer: by a title that is written, or by how likely each title is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from recbole_ext.core.arrays import Ints
from recbole_ext.core.progress import progress
from recbole_ext.lm.batches import bucketed
from recbole_ext.lm.generate import generate
from recbole_ext.lm.likelihood import Prefix
from recbole_ext.lm.listing import ListFiller
from recbole_ext.lm.titles import Named, named, quoted
from recbole_ext.model.listed import Asked, ListingSASRec, unpadded
from recbole_ext.model.sequences import left_padded

Rules = tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]


class TitleSASRec(ListingSASRec):
    """`chosen_by`: `generated`, the title that is written by greedy decoding, or `likelihood`, log-likelihood per token of each candidate's
    title and end, which ranks all of them; `both` is the first with whether the likeliest is right beside it. Candidates of one title are a
    tie under all.
    """

    @property
    def choose_candidates(self) -> Any:
        """[p] columns of generated titles and what `evaluator.lists.Answers` has beside; there is none where titles are scored."""
        if self.llm["chosen_by"] == "likelihood":
            raise AttributeError("titles are scored")
        return self.named_candidates

    def named_candidates(self, interaction: Any, items: torch.Tensor, rules: bool = True) -> Rules:
        """What is generated, of users and items [p, m + 1], and read by each rule; likelihoods, which no validation reads, for `rules` only."""
        with_scores = rules and self.llm["chosen_by"] == "both"
        outputs, scores = self.answers(interaction, items, True, with_scores)
        found: list[Named] = [
            named(output, [self.spoken(item) for item in row])
            for output, row in zip(outputs, items.tolist(), strict=True)
        ]
        exact = torch.from_numpy(np.stack([one.exact for one in found]))
        place = torch.where(exact.any(1), exact.int().argmax(1), -1)
        read = {
            name: torch.from_numpy(np.stack([getattr(one, name) for one in found]))
            for name in ("substring", "llara")
        }
        if with_scores:
            read["score"] = scores == scores.max(dim=1, keepdim=True).values
        return place, exact, read

    def spoken(self, item: int) -> str:
        """An item's title as the backbone's tokenizer gives it back, in the form that outputs are compared in."""
        return _spoken(self.filler, self.backbone, self.titles[item])

    def score_candidates(self, interaction: Any, items: torch.Tensor) -> torch.Tensor:
        """[p, m + 1] log-likelihood per token of each title with its end; the same for candidates of one title."""
        return self.answers(interaction, items, False, True)[1]

    @torch.no_grad()
    def answers(
        self, interaction: Any, items: torch.Tensor, written: bool, scored: bool
    ) -> tuple[list[str], torch.Tensor]:
        """What is generated and how likely each title is, of prompts that go through the language model once for both; what is not asked for is empty, or NaN."""
        asked, states = self._at_test(interaction, items)
        texts = [""] * len(asked)
        scores = torch.full(items.shape, torch.nan)
        most = int(self.llm["title_length"]) + 4
        with progress("prompts answered", len(asked)) as advance:
            for places in self._buckets(asked):
                some = [asked[place] for place in places]
                embeds, mask, _ = self.embedded(
                    some, states[torch.from_numpy(places).to(self.device)]
                )
                rows = [row[there.bool()] for row, there in zip(embeds, mask, strict=True)]
                prompts = Prefix(self.backbone, *rows)
                if written:
                    said = generate(self.backbone, prompts, most, stop=(self.filler.end,))
                    for place, tokens in zip(places, said, strict=True):
                        texts[place] = _decoded(self.backbone, tokens)
                if scored:
                    among = items[torch.from_numpy(places).to(items.device)].tolist()
                    scores[torch.from_numpy(places)] = self._likelihoods(prompts, among)
                advance(len(places))
        return texts, scores

    def _likelihoods(self, prompts: Prefix, items: list[list[int]]) -> torch.Tensor:
        """[P, m + 1] of the candidates of each prompt; a title that several of them have is looked at once."""
        titles = [list(dict.fromkeys(self.titles[item] for item in row)) for row in items]
        answers = [self.filler.answer(title) for own in titles for title in own]
        owner = [row for row, own in enumerate(titles) for _ in own]
        mean = iter(prompts.likelihood(answers, owner).mean.tolist())
        known = [{title: next(mean) for title in own} for own in titles]
        return torch.tensor(
            [[of[self.titles[item]] for item in row] for of, row in zip(known, items, strict=True)]
        )

    def _at_test(self, interaction: Any, items: torch.Tensor) -> tuple[list[Asked], torch.Tensor]:
        """Prompts of users, the candidates in an order of each user's own, and [p, d] states."""
        seen = left_padded(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        states = self.states(seen, 1)[:, 0]
        orders = self._orders(interaction, items.shape[1])
        among = [
            [row[column] for column in order]
            for row, order in zip(items.tolist(), orders, strict=True)
        ]
        return self.asked(unpadded(seen), among, states), states

    def _orders(self, interaction: Any, count: int) -> list[Ints]:
        """[p] of [count] columns of candidates, in the order in which a prompt names them: by the seed and the user."""
        users = interaction[self.USER_ID].tolist()
        return [named_order(self.seed, user, count) for user in users]

    def places_of_candidates(self, interaction: Any, items: torch.Tensor) -> torch.Tensor:
        """[p, m + 1] the place, from 1, at which the prompt of each user names each candidate of `items`."""
        orders = self._orders(interaction, items.shape[1])
        return torch.from_numpy(1 + np.argsort(np.stack(orders), axis=1))

    def _buckets(self, asked: Sequence[Asked]) -> list[Ints]:
        lengths = [len(one.prompt.ids) for one in asked]
        return bucketed(lengths, int(self.llm["eval_batch_rows"]))


def named_order(seed: int, user: int, count: int) -> Ints:
    """[count] columns of ascending candidates in the order in which a prompt names them, of a user in RecBole's ids."""
    return np.random.default_rng([seed, user]).permutation(count)


@lru_cache(maxsize=1 << 17)
def _spoken(filler: ListFiller, backbone: Any, title: str) -> str:
    return quoted(_decoded(backbone, filler.answer(title)[:-1]))


def _decoded(backbone: Any, tokens: Sequence[int]) -> str:
    found: str = backbone.tokenizer.decode(
        list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return found
