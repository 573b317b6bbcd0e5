"""Finished trials on disk, a line each, so that a search that was killed goes on where it stopped."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.tune.search import Asked, Evaluate, Point, Trial


class TrialLog:
    """The trials of one model on one problem and seed; a trial is known by *all* its parameters, whatever searched it.

    The file is only ever appended to, a line and an fsync per trial: a kill can tear nothing but the line that is being
    written, and a torn line is a trial that has not been made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = {canonical_json(params): found for params, found in self._read()}

    def _read(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                found = {key: entry[key] for key in ("value", "seconds", "epochs", "error")}
                yield entry["params"], found
            except (ValueError, KeyError, TypeError):
                continue

    def known(self, points: list[Point], defaults: Point) -> list[Trial]:
        """The finished trials of points, in the order in which they ended."""
        by_params = {canonical_json({**defaults, **point}): point for point in points}
        return [
            Trial(point=by_params[params], **found)
            for params, found in self._known.items()
            if params in by_params
        ]

    def add(self, params: Point, trial: Trial) -> None:
        """Append, and do not return before it is on the disk."""
        found = dataclasses.asdict(trial)
        del found["point"]
        self._known[canonical_json(params)] = found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            torn = file.tell() > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            line = canonical_json({"params": params, **found})
            file.write(f"{chr(10) if torn else ''}{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def remembered(evaluate: Evaluate, log: TrialLog, defaults: Point) -> Evaluate:
    """`evaluate`, asked only for points that the log does not know; `defaults` are the parameters no point names."""

    def known_first(asked: Asked) -> Iterator[Trial]:
        known = log.known(asked.points, defaults)[: asked.count]
        yield from known
        if len(known) == asked.count:
            return
        for trial in evaluate(Asked(asked.points, asked.count - len(known), known)):
            log.add({**defaults, **trial.point}, trial)
            yield trial

    return known_first
