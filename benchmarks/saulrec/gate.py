"""Whether anything is to be read from models on a language model: A-LLMRec above chance, and above itself with its vectors permuted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from benchmarks.saulrec.rows import Row
from recbole_ext.evaluator.findings import holm
from recbole_ext.evaluator.stats import paired_tests

LEVEL = 0.05
VALID = 0.9
"""Least share of outputs that name a candidate."""


@dataclass(frozen=True)
class Gate:
    """Of one backbone and way to choose on some users."""

    kind: tuple[str, str]
    """Backbone, and how titles are chosen."""
    failures: tuple[str, ...]
    """Why nothing is read from its models; none where it is passed."""
    lines: tuple[str, ...]

    def why(self, row: Row) -> str | None:
        """Why a row says nothing; None where it does."""
        if self.failures:
            return "; ".join(self.failures)
        valid = [run.valid for run in row.runs]
        shares = [float(of.mean()) for of in valid if of is not None]
        if shares and np.mean(shares) < VALID:
            return f"valid share {np.mean(shares):.3f} below {VALID:g}"
        return None

    def told(self) -> list[str]:
        """Lines of markdown."""
        verdict = "passed" if not self.failures else f"uninformative: {'; '.join(self.failures)}"
        return [f"Gate of {', titles '.join(self.kind)}: {verdict}.", "", *(f"* {line}" for line in self.lines), ""]  # fmt: skip


def gate_of(kind: tuple[str, str], rows: Sequence[Row], chance: float) -> Gate:
    """From the rows of one kind; the p of both tests are adjusted by Holm's method.

    Where A-LLMRec was run in several ways, epochs say, the gate takes the one of the largest mean that has its control. Above chance: the
    binomial tail of as many hits as there are, rounded down, of as many users (means over seeds vary less: p is on the safe side).
    """
    plain = [row for row in rows if _is_base(row, permuted=False)]
    pairs = [(row, control) for row in plain for control in rows if _is_control_of(control, row)]
    if not plain:
        return Gate(kind, ("no run of ALLMRec",), ())
    if not pairs:
        return Gate(kind, ("no run of ALLMRec with --shuffle_vectors=true",), ())
    row, control = max(pairs, key=lambda pair: float(pair[0].hit.mean()))
    n, hits = len(row.hit), float(row.hit.sum())
    tail = float(binom.sf(np.floor(hits + 1e-9) - 1, n, chance))
    both = paired_tests(np.column_stack([row.hit, control.hit]))[0, 1]
    above, apart = holm([tail, both.p])
    lines = (
        f"ALLMRec {row.hit.mean():.4f} above {chance:g}: p {above:.4f}",
        f"above itself with its vectors permuted, {control.hit.mean():.4f}: {both.difference:+.4f} [{both.low:+.4f}, {both.high:+.4f}], p {apart:.4f}",
    )
    failures = []
    if above >= LEVEL:
        failures.append(f"ALLMRec is not above {chance:g}")
    if apart >= LEVEL or both.difference <= 0:
        failures.append("ALLMRec is not above itself with its vectors permuted")
    return Gate(kind, tuple(failures), lines)


_OTHER = ("shuffle_text", "id_source", "text_encoder", "projection_users", "projection_epochs", "heal_batches")  # fmt: skip


def _is_base(row: Row, permuted: bool) -> bool:
    params = row.params
    return (
        row.model == "ALLMRec"
        and bool(params.get("shuffle_vectors")) is permuted
        and not params.get("shuffle_text")
        and params.get("id_source") == "latent"
    )


def _is_control_of(control: Row, row: Row) -> bool:
    alike = all(control.params.get(key) == row.params.get(key) for key in _OTHER)
    return _is_base(control, permuted=True) and alike and control.users == row.users
