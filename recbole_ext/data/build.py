"""From official files to a folder of atomic files: fetched, read in a stream, filtered, written once per set of filters.

What is built lies below the cache, `datasets/<name>/<key>/`, with a manifest of what it was made from. The downloaded
files lie in `sources/<name>/` and are needed again only for other filters.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked, write_atomically
from recbole_ext.core.progress import progress, say
from recbole_ext.core.tokens import Numbering
from recbole_ext.data.formats.reading import Batch, Malformed
from recbole_ext.data.interactions import PARTS, filtered
from recbole_ext.data.source import Source, Supply

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

_SEPARATORS = frozenset("\t\r\n\0")
REVISION = 2
"""Bumped when a change moves what is built."""


@dataclass(frozen=True)
class Built:
    """A folder of atomic files `name.inter.gz` and `name.item.gz`."""

    folder: Path
    manifest: Mapping[str, Any]


def get(source: Source, supply: Supply) -> dict[str, Path]:
    """Role -> official file, fetched if it is not there.

    Raises:
        HarnessError: a file cannot be had; the line names each with its URL and where to put it.
    """
    from recbole_ext.data.fetch import fetch

    remote = source.remote()
    folder = supply.cache / "sources" / source.name
    if not folder.is_dir() and supply.source_dir is None:
        say(f"{source.name}: licence: {source.licence} ({source.page})")
        if source.verified == "never":
            say(f"{source.name}: its addresses were written down but never opened by this project")
    paths = fetch(
        list(remote.values()),
        folder,
        source_dir=supply.source_dir,
        mirror=supply.mirror,
        what=source.name,
    )
    return dict(zip(remote, paths, strict=True))


def build(source: Source, filters: Mapping[str, Any], supply: Supply) -> Built:
    """The dataset after `filters`, from the cache or made now.

    Args:
        source: from the dataset's YAML.
        filters: settings of the dataset; those that `filtered` reads count.
        supply: where files are.
    """
    asked = _that_do_something(filters)
    reader = source.reader()
    identity = [source.name, source.format, reader.REVISION, REVISION, asked]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    folder = supply.cache / "datasets" / source.name / key
    with locked(folder.with_name(f".{key}.lock"), f"building {source.name}"):
        manifest = _manifest(folder)
        if manifest is None or not _same_files(manifest, source, supply):
            if getattr(reader, "PICKLED", False) and not supply.allow_pickle:
                raise HarnessError(
                    f"{source.name}: its official files are pickles, which can run code when they are read; add "
                    "--allow-pickle to read them (arrays and tables only, every other name is refused)"
                )
            files = get(source, supply)
            with _made_whole(folder) as fresh:
                manifest = _make(source, files, asked, fresh)
    assert manifest is not None
    return Built(folder, manifest)


def set_aside(folder: Path) -> Path:
    """Move a damaged build out of the way; returns where it is now."""
    aside = folder.with_name(f"{folder.name}.corrupt")
    shutil.rmtree(aside, ignore_errors=True)
    return folder.replace(aside)


def _that_do_something(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that are not off, so that one dataset is built once however it is asked for."""
    asked = {key: filters[key] for key in ("min_user", "min_item") if filters.get(key)}
    if filters.get("min_rating") is not None:
        asked |= {
            "min_rating": filters["min_rating"],
            "rating_field": filters.get("rating_field", "rating"),
        }
    if filters.get("min_label") is not None:
        asked["min_label"] = filters["min_label"]
    if filters.get("duplicates", "latest") != "latest":
        asked["duplicates"] = filters["duplicates"]
    if asked.keys() & {"min_user", "min_item"} and filters.get("k_core") is False:
        asked["k_core"] = False
    return asked


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and "files" in found else None
    except (OSError, ValueError):
        return None


def _same_files(manifest: Mapping[str, Any], source: Source, supply: Supply) -> bool:
    """Whether files given by hand are those that the folder was built from."""
    if supply.source_dir is None:
        return True
    for role, remote in source.remote().items():
        path = supply.source_dir / remote.name
        if not path.is_file() or path.stat().st_size != manifest["files"][role]["size"]:
            return False
    return True


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A new folder that takes `folder`'s place when the block ends well, and is removed when it does not."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield fresh
        if folder.exists():
            shutil.rmtree(folder)
        fresh.replace(folder)
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror}); make room, or set RECBOLE_EXT_CACHE to another disk"
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _make(
    source: Source, files: Mapping[str, Path], filters: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    rows = _encoded(source, files)
    raw = len(rows)
    rows, dropped = filtered(source.name, rows, filters)
    rows = rows.assign(
        user_id=rows["user_id"].cat.remove_unused_categories(),
        item_id=rows["item_id"].cat.remove_unused_categories(),
    )
    kept = set(rows["item_id"].cat.categories)
    if "part" in rows:
        for number, name in enumerate(PARTS):
            own = rows[rows["part"] == number].drop(columns="part")
            if len(own):
                _write_interactions(own, folder / f"{source.name}.{name}.inter.gz")
    else:
        _write_interactions(rows, folder / f"{source.name}.inter.gz")
    columns = _write_items(source, files, kept, folder / f"{source.name}.item.gz")
    manifest = {
        "name": source.name,
        "format": source.format,
        "files": {
            role: {"name": path.name, "size": path.stat().st_size} for role, path in files.items()
        },
        "filters": dict(filters),
        "raw_interactions": raw,
        "dropped": dropped,
        "users": len(rows["user_id"].cat.categories),
        "items": len(kept),
        "interactions": len(rows),
        "columns": columns,
    }
    write_atomically(
        folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    )
    return manifest


def _encoded(source: Source, files: Mapping[str, Path]) -> pd.DataFrame:
    """All interactions; a token is kept once, whatever the number of its rows."""
    import numpy as np
    import pandas as pd

    users, items = Numbering(), Numbering()
    user, item = array("i"), array("i")
    ratings, times, parts = array("d"), array("d"), array("b")
    with progress(f"reading {source.name} interactions", None) as advance:
        for part, batch in _batches(source, files):
            user.extend(users.of(batch.user))
            item.extend(items.of(batch.item))
            ratings.extend(batch.rating or ())
            times.extend(batch.time or ())
            parts.extend([part] * len(batch.user) if part is not None else ())
            advance(len(batch.user))
    if not user:
        raise HarnessError(f"{source.name}: its files hold no interactions")
    columns: dict[str, Any] = {
        "user_id": users.categorical(np.frombuffer(user, dtype=np.int32)),
        "item_id": items.categorical(np.frombuffer(item, dtype=np.int32)),
    }
    if ratings:
        columns["rating"] = np.frombuffer(ratings, dtype=np.float64)
    if times:
        columns["timestamp"] = np.frombuffer(times, dtype=np.float64)
    if parts:
        columns["part"] = np.frombuffer(parts, dtype=np.int8)
    rows = pd.DataFrame(columns, copy=False)
    unfit = _unfit(users, user) | _unfit(items, item)
    if not unfit.any():
        return rows
    malformed = Malformed(Path(source.name), "interaction")
    for row in np.flatnonzero(unfit).tolist():
        of = rows.iloc[row]
        malformed.add(row + 1, f"user {of['user_id']!r}, item {of['item_id']!r}")
    malformed.report()
    return rows[~unfit]


def _unfit(tokens: Numbering, codes: array[int]) -> npt.NDArray[np.bool_]:
    """[rows] whose token is empty or holds what separates fields or lines in the files that are written."""
    import numpy as np

    bad = [not token or not _SEPARATORS.isdisjoint(token) for token in tokens.number]
    return np.array(bad)[np.frombuffer(codes, dtype=np.int32)]


def _batches(source: Source, files: Mapping[str, Path]) -> Iterator[tuple[int | None, Batch]]:
    """Batches with the number of their part where the format brings its own split."""
    reader: Any = source.reader()
    for name in getattr(reader, "PARTS", ()):
        for batch in reader.part(files, name):
            yield PARTS.index(name), batch
    if not hasattr(reader, "PARTS"):
        for batch in reader.interactions(files):
            yield None, batch


def _write_interactions(rows: pd.DataFrame, path: Path) -> None:
    """Sorted by user, time and item; numbers with the digits that read back as the same double, and no more."""
    rows = rows.sort_values(
        [c for c in ("user_id", "timestamp", "item_id") if c in rows], kind="stable"
    )
    kinds = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
    rows = rows.rename(columns={name: f"{name}:{kind}" for name, kind in kinds.items()})
    rows.to_csv(
        path,
        sep="\t",
        index=False,
        float_format=lambda number: str(number).removesuffix(".0"),
        quoting=3,
        compression={"method": "gzip", "mtime": 0, "compresslevel": 6},
    )


def _write_items(
    source: Source, files: Mapping[str, Path], wanted: set[str], path: Path
) -> list[str]:
    """Text of the items that are left, sorted by item; returns the columns, none if the source has no text."""
    import gzip
    import io

    found: dict[str, dict[str, str]] = {}
    with progress(f"reading {source.name} items", None) as advance:
        for item in source.reader().items(files):
            advance(1)
            if item["item_id"] in wanted:
                found.setdefault(item["item_id"], item)
    if not found:
        return []
    columns = [column for column in next(iter(found.values())) if column != "item_id"]
    text = io.StringIO()
    text.write("\t".join(["item_id:token", *(f"{column}:token_seq" for column in columns)]) + "\n")
    for name in sorted(found):
        values = (" ".join(found[name][column].split()) for column in columns)
        text.write("\t".join([name, *values]) + "\n")
    path.write_bytes(gzip.compress(text.getvalue().encode(), 6, mtime=0))
    return columns


def published_beside(source: Source, manifest: Mapping[str, Any]) -> list[str]:
    """A line per published size: equal, or how far off."""
    out = []
    for what in ("users", "items", "interactions"):
        if what in source.published:
            theirs, ours = int(source.published[what]), int(manifest[what])
            gap = "equal" if theirs == ours else f"{(ours - theirs) / theirs:+.2%}"
            out.append(
                f"{what}: published {theirs:,} ({source.published['where']}), here {ours:,}: {gap}"
            )
    return out
