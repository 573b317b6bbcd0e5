"""Official files, downloaded once: resumed after a cut, checked, and never under their names before they are whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from recbole_ext.errors import HarnessError
from recbole_ext.progress import progress, say

if TYPE_CHECKING:
    import requests

BACKOFF = 1.0
"""Seconds before the first retry; doubled for each further one."""
_CHUNK = 1 << 20
_LOCK_PATIENCE = 2.0


@dataclass(frozen=True)
class RemoteFile:
    """A file that somebody publishes."""

    url: str
    size: int | None = None
    """Bytes, where published."""
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Last part of the URL's path: never empty, without separators."""
        last = unquote(urlsplit(self.url).path.rstrip("/").rsplit("/", 1)[-1])
        return re.sub(r"[/\\\0]", "_", last).lstrip(".") or "file"

    @property
    def about(self) -> str:
        """URL, and size where it is known, for a reader who must fetch it by hand."""
        return f"{self.url} ({self.size / 1e6:.1f} MB)" if self.size else self.url


class _Unreachable(Exception):
    """No connection at all: what one file meets the others would meet too."""


class _Interrupted(Exception):
    """Worth another try from where it stopped."""


def fetch(
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    source_dir: Path | None = None,
    mirror: str | None = None,
    timeout: float = 30.0,
    retries: int = 4,
    what: str = "",
) -> list[Path]:
    """Paths of all files, in order; those that are not in `folder` are downloaded into it.

    Args:
        files: what is wanted.
        folder: where downloads go.
        source_dir: files fetched by hand, checked and used in place; nothing is downloaded.
        mirror: base URL that has the files under their names, taken instead of their own URLs.
        timeout: seconds without a byte after which a connection counts as stalled.
        retries: further attempts after a stall, a cut or a server's error, each from where the last one stopped.
        what: whose files these are, for messages.

    Raises:
        HarnessError: a file cannot be had, or is not what was published; one line that says what to do.
    """
    for file in files:
        if urlsplit(mirror or file.url).scheme not in ("http", "https"):
            raise HarnessError(f"{mirror or file.url}: only http and https addresses are fetched")
    if source_dir is not None:
        return _by_hand(files, source_dir, what)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        for file in files:
            url = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
            try:
                paths.append(_one(file, url, folder, timeout, retries))
            except _Unreachable as error:
                missing = [f for f in files if not (folder / f.name).is_file()]
                raise HarnessError(
                    f"{what}: no connection ({error}). Missing: {'; '.join(f.about for f in missing)}. Fetch "
                    f"{'it' if len(missing) == 1 else 'them'} elsewhere, put the files into a folder DIR and add "
                    "--source-dir=DIR, or name a mirror with --mirror=URL"
                ) from None
        return paths
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror or error}); what was downloaded is kept: make room, or set "
            "RECBOLE_EXT_CACHE to another disk"
        ) from None


def _by_hand(files: Sequence[RemoteFile], source_dir: Path, what: str) -> list[Path]:
    missing = [file for file in files if not (source_dir / file.name).is_file()]
    if missing:
        raise HarnessError(
            f"{what}: {source_dir} lacks {', '.join(file.name for file in missing)}; get "
            f"{'; '.join(file.about for file in missing)} and put {'it' if len(missing) == 1 else 'them'} there"
        )
    for file in files:
        _check(file, source_dir / file.name)
    return [source_dir / file.name for file in files]


def _one(file: RemoteFile, url: str, folder: Path, timeout: float, retries: int) -> Path:
    from filelock import FileLock, Timeout

    path = folder / file.name
    lock = FileLock(folder / f".{file.name}.lock")
    try:
        lock.acquire(timeout=_LOCK_PATIENCE)
    except Timeout:
        say(f"{file.name}: another process is downloading it, waiting")
        lock.acquire()
    try:
        if path.is_file():
            if file.size is not None and path.stat().st_size != file.size:
                raise HarnessError(
                    f"{path}: has {path.stat().st_size:,} bytes, {file.size:,} are published; delete it to fetch it anew"
                )
            return path
        part = folder / f".{file.name}.part"
        for attempt in range(retries + 1):
            try:
                _download(url, part, timeout)
                break
            except _Interrupted as error:
                if attempt == retries:
                    raise HarnessError(
                        f"{url}: {error}, {retries + 1} times; run the same command again to go on from "
                        f"{_size(part):,} bytes, or fetch it by hand and add --source-dir=DIR"
                    ) from None
                time.sleep(BACKOFF * 2**attempt)
        try:
            _check(file, part)
        except HarnessError:
            part.unlink()
            raise
        os.replace(part, path)
        _stamp(part).unlink(missing_ok=True)
        return path
    finally:
        lock.release()


def _download(url: str, part: Path, timeout: float) -> None:
    """Append to `part` what it lacks of the file at `url`; begins anew where the server cannot or must not resume."""
    import requests

    have, stamp = _size(part), _read_stamp(part)
    headers = {"Accept-Encoding": "identity"}
    if have and stamp:  # without a stamp nobody knows whether it is still the same file
        headers |= {"Range": f"bytes={have}-", "If-Range": stamp}
    try:
        with requests.get(
            url, headers=headers, stream=True, timeout=(timeout, timeout)
        ) as response:
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise _Interrupted("the server cannot resume it")
            if response.status_code >= 500 or response.status_code == 429:
                raise _Interrupted(f"the server answers {response.status_code} {response.reason}")
            if response.status_code not in (200, 206):
                raise HarnessError(
                    f"{url}: the server answers {response.status_code} {response.reason}; fetch the file by hand and add "
                    "--source-dir=DIR, or name a mirror with --mirror=URL"
                )
            if response.status_code == 200:
                have = 0
            _receive(response, part, have)
    except requests.exceptions.ConnectTimeout as error:
        raise _Unreachable(_short(error)) from None
    except requests.exceptions.Timeout:
        raise _Interrupted("the connection stalled") from None
    except requests.exceptions.ConnectionError as error:
        if "RemoteDisconnected" in str(error) or "reset" in str(error):
            raise _Interrupted("the connection was cut") from None
        raise _Unreachable(_short(error)) from None
    except requests.exceptions.RequestException as error:
        raise HarnessError(f"{url}: {_short(error)}") from None


def _receive(response: requests.Response, part: Path, have: int) -> None:
    import urllib3

    coming = response.headers.get("Content-Length")
    total = have + int(coming) if coming and coming.isdigit() else None
    # Only a strong validator says that two answers are byte for byte the same.
    stamp = response.headers.get("ETag", "")
    stamp = (
        stamp if stamp and not stamp.startswith("W/") else response.headers.get("Last-Modified", "")
    )
    if not have:
        _stamp(part).write_text(json.dumps({"stamp": stamp}))
    with (
        part.open("ab" if have else "wb") as out,
        progress(
            f"downloading {part.name[1:-5]} (kB)", None if total is None else total // 1000
        ) as advance,
    ):
        advance(have // 1000)
        try:
            # What has arrived is written at once: a cut loses nothing of it.
            while chunk := response.raw.read1(_CHUNK):
                out.write(chunk)
                advance(len(chunk) // 1000)
        except urllib3.exceptions.ReadTimeoutError:
            raise _Interrupted("the connection stalled") from None
        except urllib3.exceptions.HTTPError:
            raise _Interrupted("the connection was cut") from None
        finally:
            out.flush()
            os.fsync(out.fileno())
    if total is not None and _size(part) != total:
        raise _Interrupted(f"the connection was cut after {_size(part):,} of {total:,} bytes")


def _check(file: RemoteFile, path: Path) -> None:
    """Size and checksums, where they are published."""
    if file.size is not None and path.stat().st_size != file.size:
        raise HarnessError(
            _differs(file, "size", f"{file.size:,}", f"{path.stat().st_size:,} bytes")
        )
    for kind in ("sha256", "md5"):
        expected = getattr(file, kind)
        if expected is None:
            continue
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if found != str(expected).lower():
            raise HarnessError(_differs(file, kind, str(expected), found))


def _differs(file: RemoteFile, what: str, expected: str, found: str) -> str:
    return (
        f"{file.name}: {what} is {found}, published is {expected}; it is damaged or another version: fetch it again from "
        f"{file.url}, or put the right number into the dataset's YAML"
    )


def _stamp(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_stamp(part: Path) -> str:
    try:
        return str(json.loads(_stamp(part).read_text())["stamp"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    reason = re.search(r"\[Errno[^\]]*\][^')]*", text)
    return reason[0] if reason else text[:120]
