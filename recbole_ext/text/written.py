"""What a language model writes of users and items from titles: prompts, and their answers kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked, write_atomically
from recbole_ext.text.batching import Progress

if TYPE_CHECKING:
    from recbole_ext.text.writer import Writer

LONGEST = 10
"""Titles of a user that a prompt names (ours)."""
_AT_ONCE = 256
"""Answers after which the file is written: what a run that is killed loses at most."""
_FORMAT = "recbole_ext profiles 1"
# Ours: RLMRec and KAR have prompts of their own, for larger models, with reviews and facts that titles do not hold.
_ITEM = 'A product is called "{}". In one sentence, say what it is and who would like it.'
_USER = "Somebody likes these products: {}. In one sentence, say what this person is interested in."


def item_prompt(title: str) -> str:
    """What is asked of an item, "" of one without title."""
    return _ITEM.format(title) if title.strip() else ""


def user_prompt(titles: Sequence[str]) -> str:
    """What is asked of a user with the titles of its training items, "" of one that has none: the first `LONGEST` are named."""
    named = [title for title in titles if title.strip()][:LONGEST]
    return _USER.format("; ".join(f'"{title}"' for title in named)) if named else ""


@dataclass(frozen=True)
class Profiles:
    """Answers to prompts, one for each; those that are made are kept below `cache_dir`, by writer and prompts."""

    writer: Writer
    prompts: Sequence[str]
    """[n], "" where there is nothing to ask."""
    what: str
    """`users` or `items`, in messages."""

    @property
    def fingerprint(self) -> str:
        """Of all that decides the answers, known before any is made."""
        asked = [_FORMAT, self.writer.source.identity, list(self.prompts)]
        return hashlib.sha256(canonical_json(asked).encode()).hexdigest()

    def written(self, cache_dir: Path, progress: Progress | None = None) -> list[str]:
        """[n] answers, "" where the prompt is; equal prompts have one.

        Raises:
            HarnessError: the cache cannot be written, or the model not loaded.
        """
        path = cache_dir / "profiles" / f"{self.fingerprint[:32]}.json"
        asked = sorted({prompt for prompt in self.prompts if prompt})
        try:
            with locked(path.with_suffix(".lock"), f"writing profiles of {self.what}"):
                answers = self._made(asked, _read(path, self.fingerprint), path, progress)
        except OSError as error:
            raise HarnessError(f"{cache_dir}: {error.strerror}; profiles are kept there") from None
        return [answers[prompt] if prompt else "" for prompt in self.prompts]

    def _made(
        self, asked: Sequence[str], known: Mapping[str, str], path: Path, progress: Progress | None
    ) -> dict[str, str]:
        """Every answer; what is new is written as it comes."""
        answers = {prompt: known[prompt] for prompt in asked if prompt in known}
        left = [prompt for prompt in asked if prompt not in answers]
        for first in range(0, len(left), _AT_ONCE):
            some = left[first : first + _AT_ONCE]
            answers |= zip(some, self.writer.write(some), strict=True)
            content = {"format": _FORMAT, "of": self.fingerprint, "answers": answers}
            write_atomically(path, json.dumps(content, ensure_ascii=False))
            if progress is not None:
                progress(len(answers))
        return answers


def _read(path: Path, fingerprint: str) -> dict[str, str]:
    """Answers of an earlier run; none of a file that is damaged or another's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["format"], content["of"]) != (_FORMAT, fingerprint):
            return {}
        return {str(prompt): str(answer) for prompt, answer in content["answers"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
