"""Healing of a language model that has lost layers: made-up prompts of a catalogue's titles, in which the answer is marked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Schedule, Stage
from recbole_ext.lm.batches import padded, splice_listed
from recbole_ext.lm.listing import Listed, ListFiller


@dataclass(frozen=True)
class CopyTask:
    """A made-up prompt; no user's sequence is in it."""

    history: list[str]
    candidates: list[str]
    answer: int
    """Place of the candidate whose vector is the user's."""


class CopyTasks:
    """Batches of tasks: titles are drawn uniformly, all of a task different, and one candidate is the answer."""

    def __init__(
        self, titles: Sequence[str], batches: int, size: int, history: int, candidates: int
    ) -> None:
        """Args:
        titles: different ones.
        batches: of an epoch.
        size: tasks of a batch.
        history: titles of the longest history; each length from 0 is as likely.
        candidates: of a list, fewer where there are fewer titles.
        """
        self.titles, self.batches, self.size = list(titles), batches, size
        self.history, self.candidates = history, candidates

    def __len__(self) -> int:
        return self.batches

    def __call__(self, generator: torch.Generator) -> Iterator[list[CopyTask]]:
        for _ in range(self.batches):
            yield [self._task(generator) for _ in range(self.size)]

    def _task(self, generator: torch.Generator) -> CopyTask:
        def below(most: int) -> int:
            return int(torch.randint(most, (1,), generator=generator))

        count = min(self.candidates, len(self.titles))
        length = min(below(self.history + 1), len(self.titles) - count)
        order = torch.randperm(len(self.titles), generator=generator)[: count + length].tolist()
        names = [self.titles[place] for place in order]
        return CopyTask(names[count:], names[:count], below(count))


def heal_loss(
    backbone: Any,
    filler: ListFiller,
    words: dict[str, str],
    tasks: Sequence[CopyTask],
    weight: float,
    drawn: int = 0,
) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens, plus `weight` times that of the prompts' own words; slots are nobody's next word.

    Of the words `drawn` places a prompt are taken, by torch's generator, or all: the read-out of the whole vocabulary at each place
    costs more than six layers do.

    The vectors at the slots are drawn from a normal distribution, but that the answer's is the user's: what marks it.
    """
    texts = {name: words[name] for name in filler.template.texts}
    prompts, rows, vectors = [], [], []
    for task in tasks:
        history, candidates = (
            [Listed(title) for title in titles] for titles in (task.history, task.candidates)
        )
        prompt = filler.fill(history, candidates, texts)
        noise = torch.randn(len(prompt.slots), backbone.width, device=backbone.device)
        names = list(prompt.slots)
        noise[names.index(f"candidate{task.answer + 1}")] = noise[names.index("user")]
        prompts.append(prompt)
        vectors.append(noise)
        rows.append([*prompt.ids, *filler.answer(task.candidates[task.answer])])
    ids, mask = padded(rows, backbone.filler, backbone.device)
    embeds = splice_listed(backbone.embed(ids), prompts, torch.cat(vectors))
    own, answers = mask.bool(), torch.zeros_like(mask, dtype=torch.bool)
    own[:, 0] = False  # nothing is before the first
    for row, prompt in enumerate(prompts):
        answers[row, len(prompt.ids) : len(rows[row])] = True
        own[row, list(prompt.slots.values())] = False
    states = backbone.states(embeds, mask)[:, :-1]
    own &= ~answers
    places = own.flatten().nonzero().squeeze(1)
    if 0 < drawn * len(tasks) < len(places):
        own.view(-1)[places[torch.randperm(len(places))[drawn * len(tasks) :]]] = False
    parts = []
    for told in (answers, own):
        logits = backbone.vocabulary(states[told[:, 1:]])
        parts.append(functional.cross_entropy(logits, ids[:, 1:][told[:, 1:]]))
    return parts[0] + weight * parts[1]


def heal_stage(
    backbone: Any,
    filler: ListFiller,
    words: dict[str, str],
    titles: Sequence[str],
    keys: Mapping[str, Any],
    told: Mapping[str, Any],
) -> Stage:
    """The training of the layers, which a model holds as `healed`.

    Args:
        backbone: whose they are.
        filler: of a template with the user's slot.
        words: name -> what stands at the template's `{text:NAME}`.
        titles: of all items.
        keys: a model's.
        told: what its weights depend on beside the titles.

    Raises:
        HarnessError: the template has no slot of a user.
    """
    if ("slot:user", True) not in filler.template.user:
        raise HarnessError(
            f"--heal_prompt={filler.template.name}: the answer is marked by the user's vector, and it has no {{slot:user}}: allmrec has"
        )
    different = sorted(set(titles))
    tasks = CopyTasks(
        different,
        int(keys["heal_batches"]),
        int(keys["heal_batch_rows"]),
        int(keys["prompt_items"]),
        int(keys["train_candidates"]),
    )
    weight, drawn = float(keys["heal_words"]), int(keys["heal_drawn"])
    digest = hashlib.sha256("\n".join(different).encode()).hexdigest()
    return Stage(
        name="heal",
        trainable=("healed",),
        loader=tasks,
        loss=lambda batch: heal_loss(backbone, filler, words, batch, weight, drawn),
        fingerprint={**told, "titles": digest},
        epochs=1,
        learning_rate=float(keys["heal_learning_rate"]),
        betas=(0.9, 0.95),
        clip=1.0,
        schedule=Schedule(0.05, "cosine"),
        after=(),
        reads=("backbone",),
    )
