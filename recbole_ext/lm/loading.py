"""What the encoders with weights and the writer share: a checked device, a quiet load, errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.load_report import made_up_weights
from recbole_ext.lm.source import Source

ENCODER = "a model of this kind (st: or lm:)"


@contextmanager
def loading(what: str, device: str, kind: str = ENCODER) -> Iterator[None]:
    """Check `device`, load without a progress bar, and turn what goes wrong into one line.

    Args:
        what: Names the model in messages, e.g. `encoder st:name`.
        device: As torch spells it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        kind: What the model has to be.

    Raises:
        HarnessError: no such device, code of the repository would have to run, or the model cannot
            be loaded or lacks weights.
    """
    _check_device(what, device)
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with made_up_weights() as lost:
            yield
    except HarnessError:
        raise
    except Exception as error:
        # Damaged or foreign files fail in every way: KeyError, SafetensorError, ImportError, ...
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            raise HarnessError(
                f"{what}: it runs Python code of its repository; "
                "read that code and, if you trust it, allow it with trust_remote_code"
            ) from error
        raise HarnessError(
            f"{what}: its files cannot be loaded ({type(error).__name__}: {reason[:160]}); "
            f"check that the folder is complete and is {kind}"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    if lost:
        raise HarnessError(
            f"{what}: its files lack the weights {lost[0]}"
            f"{f' and {len(lost) - 1} more' if lost[1:] else ''}; "
            f"fetch the whole model, or choose {kind}"
        )


def pretrained(
    auto: str,
    what: str,
    source: Source,
    device: str,
    trust_remote_code: bool,
    kind: str = ENCODER,
    **options: Any,
) -> Any:
    """What one of transformers' Auto classes reads from files that are here.

    Args:
        auto: the class's name.
        what: names the model in messages.
        source: where its files are.
        device: checked, not moved to.
        trust_remote_code: let it run Python code of its repository.
        kind: what the model has to be.
        options: of `from_pretrained`.

    Raises:
        HarnessError: as `loading`, and a tokenizer without words.
    """
    with loading(what, device, kind):
        import transformers

        found = getattr(transformers, auto).from_pretrained(
            source.folder, trust_remote_code=trust_remote_code, local_files_only=True, **options
        )
        if auto == "AutoTokenizer":
            require_vocabulary(what, found)
        return found


def require_vocabulary(what: str, tokenizer: Any) -> None:
    """Refuse a tokenizer without words: transformers makes one up where the files are missing.

    Raises:
        HarnessError: it knows special tokens only, so that every text would be the same to it.
    """
    special = getattr(tokenizer, "all_special_ids", None)
    if special is not None and len(tokenizer) <= len(special):
        raise HarnessError(
            f"{what}: its folder has no vocabulary; fetch the whole model with its "
            "tokenizer files (tokenizer.json, vocab.txt, *.model)"
        )


def _check_device(what: str, device: str) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = "unknown"
    ready = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not ready.get(kind, False):
        there = ", ".join(word for word, is_there in ready.items() if is_there)
        raise HarnessError(
            f"{what}: there is no device {device!r} on this machine; use one of {there}"
        )
