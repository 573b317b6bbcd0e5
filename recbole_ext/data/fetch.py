"""Official files, downloaded once: resumed after a cut, checked, and never under their names before they are whole."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import responses as STATUS_NAMES
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import digest_of, locked
from recbole_ext.core.progress import progress

if TYPE_CHECKING:
    import requests

BACKOFF = 1.0
"""Seconds before the first retry; doubled for each further one."""
_CHUNK = 1 << 20


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
        """Last part of the URL's path: never empty, without separators and control characters."""
        last = unquote(urlsplit(self.url).path.rstrip("/").rsplit("/", 1)[-1])
        safe = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in last)
        return safe.lstrip(".") or "file"

    @property
    def about(self) -> str:
        """URL, and size where it is known, for a reader who must fetch it by hand."""
        return f"{self.url} ({self.size / 1e6:.1f} MB)" if self.size else self.url


class _Failed(Exception):
    """The address does not give the file, and asking again would not help."""


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
    _check_addresses(files, mirror)
    if source_dir is not None:
        return _by_hand(files, source_dir, what)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for file in files:
            url = f"{mirror.rstrip('/')}/{quote(file.name)}" if mirror else file.url
            paths.append(_one(file, url, folder, timeout, retries))
        return paths
    except _Failed as error:
        missing = [file for file in files if not (folder / file.name).is_file()]
        # --source-dir wants all of them, those that are here already too.
        others = f", with the others from {folder}," if len(missing) < len(files) else ""
        raise HarnessError(
            f"{what and f'{what}: '}{error}. Missing: {'; '.join(file.about for file in missing)}. Fetch by hand, put "
            f"the files into DIR{others} and add --source-dir=DIR, or name a mirror with --mirror=URL"
        ) from None
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror or error}); what was downloaded is kept: make room, or set "
            "RECBOLE_EXT_CACHE to another disk"
        ) from None


def _check_addresses(files: Sequence[RemoteFile], mirror: str | None) -> None:
    for url in [*(file.url for file in files), *([mirror] if mirror else [])]:
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and parts.hostname and url.isprintable()
        except ValueError:
            sound = False
        if not sound:
            raise HarnessError(f"{url!r}: only http and https addresses are fetched; correct it")
    named: dict[str, str] = {}
    for file in files:
        if named.setdefault(file.name, file.url) != file.url:
            raise HarnessError(
                f"{named[file.name]} and {file.url} would both be {file.name}; correct one in the dataset's YAML"
            )


def _by_hand(files: Sequence[RemoteFile], source_dir: Path, what: str) -> list[Path]:
    missing = [file for file in files if not (source_dir / file.name).is_file()]
    if missing:
        raise HarnessError(
            f"{what and f'{what}: '}{source_dir} lacks {', '.join(file.name for file in missing)}; get "
            f"{'; '.join(file.about for file in missing)} and put {'it' if len(missing) == 1 else 'them'} there"
        )
    paths = [source_dir / file.name for file in files]
    for file, path in zip(files, paths, strict=True):
        _check(file, path, str(path))
    return paths


def _one(file: RemoteFile, url: str, folder: Path, timeout: float, retries: int) -> Path:
    path, part = folder / file.name, folder / f".{file.name}.part"
    # Unlocked first: a whole file never changes, and a folder that may only be read has its use.
    if _is_whole(file, path):
        return path
    with locked(folder / f".{file.name}.lock", file.name):
        # Again: another process may have finished while this one waited.
        if not _is_whole(file, path):
            _download(url, part, timeout, retries)
            try:
                _check(file, part, file.name)
            except HarnessError:
                _discard(part)
                raise
            os.replace(part, path)
            _discard(part)
    return path


def _is_whole(file: RemoteFile, path: Path) -> bool:
    if not path.is_file():
        return False
    if file.size is not None and (size := path.stat().st_size) != file.size:
        raise HarnessError(
            f"{path}: has {size:,} bytes, {file.size:,} are published; delete it to fetch it anew"
        )
    return True


def _download(url: str, part: Path, timeout: float, retries: int) -> None:
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(BACKOFF * 2 ** (attempt - 1))
        try:
            return _attempt(url, part, timeout)
        except _Interrupted as error:
            reason = error
    raise _Failed(
        f"{url}: {reason}, {retries + 1} times; run the same command again to go on from {_size(part):,} bytes"
    )


def _attempt(url: str, part: Path, timeout: float) -> None:
    """Append to `part` what it lacks of the file at `url`; begins anew where the server cannot or must not resume."""
    import requests
    from urllib3.exceptions import ProtocolError

    have, headers = _size(part), {"Accept-Encoding": "identity"}
    # Without a stamp nobody knows whether it is still the same file.
    if resumed := bool(have and (stamp := _read_stamp(part, url))):
        headers |= {"Range": f"bytes={have}-", "If-Range": stamp}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            status = response.status_code
            if status == 200:
                return _receive(response, url, part, 0, response.headers.get("Content-Length", ""))
            if status == 206 and resumed:
                # What comes must begin where the part ends; its own length may be less than the rest.
                given = response.headers.get("Content-Range", "")
                if coming := re.fullmatch(rf"bytes {have}-\d+/(\d+)", given):
                    return _receive(response, url, part, have, coming[1])
            elif status >= 500:
                raise _Interrupted(f"the server answers {_named(status)}")
            elif not (status == 416 and resumed):
                raise _Failed(f"{url}: the server answers {_named(status)}")
    except requests.exceptions.ReadTimeout:
        raise _Interrupted("the connection stalled") from None
    except requests.exceptions.ConnectionError as error:
        # There was a connection, and it was dropped before the answer.
        if error.args and isinstance(error.args[0], ProtocolError):
            raise _Interrupted("the connection was cut") from None
        raise _Failed(f"no connection ({_short(error)})") from None
    except requests.exceptions.RequestException as error:
        raise _Failed(f"{url}: {_short(error)}") from None
    # It cannot go on from there; asked for the whole file, it cannot answer so again.
    _discard(part)
    _attempt(url, part, timeout)


def _receive(response: requests.Response, url: str, part: Path, have: int, total: str) -> None:
    """Write the body behind the first `have` bytes of `part`, which makes `total` bytes if the server says how many."""
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    whole = int(total) if total.isdigit() else None
    what = f"downloading {part.name[1:-5]} (kB)"
    with (
        part.open("ab" if have else "wb") as out,
        progress(what, None if whole is None else whole // 1000) as advance,
    ):
        if not have:  # after the old bytes are gone, so that they never stand beside the new stamp
            _write_stamp(part, url, response)
        advance(have // 1000)
        try:
            # What has arrived is written at once: a cut loses nothing of it.
            while chunk := response.raw.read1(_CHUNK):
                out.write(chunk)
                advance((have + len(chunk)) // 1000 - have // 1000)
                have += len(chunk)
        except ReadTimeoutError:
            raise _Interrupted("the connection stalled") from None
        except HTTPError:
            raise _Interrupted("the connection was cut") from None
        finally:
            out.flush()
            os.fsync(out.fileno())
    if whole is not None and have != whole:
        raise _Interrupted(f"the connection was cut after {have:,} of {whole:,} bytes")


def _check(file: RemoteFile, path: Path, shown: str) -> None:
    """Size and checksums, where they are published."""

    def compare(what: str, found: str, expected: str) -> None:
        if found != expected:
            raise HarnessError(
                f"{shown}: {what} is {found}, published is {expected}; it is damaged or another version: fetch it again "
                f"from {file.url}, or put the right number into the dataset's YAML"
            )

    if file.size is not None:
        compare("size", f"{path.stat().st_size:,} bytes", f"{file.size:,} bytes")
    for kind, published in (("sha256", file.sha256), ("md5", file.md5)):
        if published is not None:
            compare(kind, digest_of(path, kind), published.lower())


def _write_stamp(part: Path, url: str, response: requests.Response) -> None:
    # Only a strong validator says that two answers are byte for byte the same.
    tag = response.headers.get("ETag", "W/")
    stamp = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
    _stamp(part).write_text(json.dumps({"url": url, "stamp": stamp}))


def _read_stamp(part: Path, url: str) -> str:
    try:
        found = json.loads(_stamp(part).read_text())
        return str(found["stamp"]) if found["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _stamp(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _stamp(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _named(status: int) -> str:
    """The code with its own name: the server's is not taken."""
    return f"{status} {STATUS_NAMES.get(status, '')}".strip()


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    reason = re.search(r"\[Errno[^\]]*\][^')\"]*", text)
    return reason[0] if reason else text[:120]
