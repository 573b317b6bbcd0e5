"""Runs of SeLLa-Rec in a folder of records, and tables that grow with them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_ext.core.files import write_atomically
from recbole_ext.results import ResultRecord, read_records

DATASET = "collm-ml-1m"
ALIGNED, NEW, NEITHER = "aligned, its projection", "aligned, a new projection", "neither"
"""The rows of the paper's Table 6; the last is its variant w/o."""
Line = dict[str, str]


@dataclass(frozen=True)
class Run:
    """A finished run of SeLLaRec."""

    path: Path
    """Of its record."""
    record: ResultRecord

    @property
    def name(self) -> str:
        """Its id."""
        return self.record.run_id

    @property
    def backbone(self) -> str:
        """By name; of a folder its last part."""
        return str(self.record.params["backbone"]).rpartition("/")[2]

    @property
    def aligned(self) -> bool:
        """Whether its vectors were aligned, and are projected as they were then."""
        return self.variant == ALIGNED

    @property
    def variant(self) -> str:
        """Which row of Table 6 it is of."""
        params = self.record.params
        if not params["align"]:
            return NEITHER
        return ALIGNED if params["proj_init"] == "aligned" else NEW

    @property
    def begins(self) -> bool:
        """Whether its scores are those before the first step of the last stage."""
        return int(self.record.params["projection_epochs"]) == 0

    @property
    def weights(self) -> Path:
        return self.path.parent / "weights.safetensors"

    @property
    def what(self) -> str:
        """What it is beside its backbone, for readers."""
        return f"{'aligned' if self.aligned else self.variant}, {'before' if self.begins else 'after'} the last stage"


_SWITCHES = {
    "use_ui": True, "use_warm": True, "stage3_order": "joint", "freeze_EL": False, "shuffle_text": False, "loss": "answer",
    "score": "softmax_yes_no", "collab_loss": "mse", "align_loss": "infonce", "align_anchor": "collab", "align_items": "batch",
    "distill_dtype": "float", "penalise_EL": True, "lora_dropout_in_projection": False,
}  # fmt: skip
"""Those that have to be off: figures and Table 6 are of the paper's model and of it without alignment."""


def sella_runs(records: Path, dataset: str = DATASET) -> list[Run]:
    """Those of a folder that may be compared."""
    every, _ = read_records(records)
    return comparable(
        Run(path, record)
        for path, record in every
        if record.experiment["model"] == "SeLLaRec"
        and record.experiment["dataset"]["name"] == dataset
    )


def comparable(runs: Iterable[Run]) -> list[Run]:
    """Without those that have a switch on: of each backbone the runs on most training rows, of these those of one seed, that of the most variants; of
    several runs of one variant and length of the last stage the latest."""
    groups: dict[str, dict[tuple[int, int], dict[tuple[str, bool], Run]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for run in sorted(runs, key=lambda run: (run.record.created, run.path)):
        asked, params = run.record.experiment, run.record.params
        switched = any(params.get(key, usual) != usual for key, usual in _SWITCHES.items())
        if not (switched or asked["dataset"]["split"].get("min_history")):
            alike = groups[run.backbone][run.record.data["train"], int(asked["seed"])]
            alike[run.variant, run.begins] = run
    found = []
    for _, of in sorted(groups.items()):
        _, chosen = max(of.items(), key=lambda one: (one[0][0], len(one[1]), -one[0][1]))
        found += [run for _, run in sorted(chosen.items())]
    return found


def grown(path: Path, lines: Sequence[Mapping[str, object]], by: str = "run") -> list[Line]:
    """Write lines to a csv in the place of earlier ones that are alike in a column; the others stay. All of it is returned."""
    new = [{key: _told(value) for key, value in line.items()} for line in lines]
    old = list(csv.DictReader(io.StringIO(path.read_text()))) if path.is_file() else []
    ours = {line[by] for line in new}
    every = [line for line in old if line[by] not in ours] + new
    if every:
        write_atomically(path, _csv(every))
    return every


def _told(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _csv(lines: Iterable[Line]) -> str:
    lines, out = list(lines), io.StringIO()
    table = csv.DictWriter(out, list(lines[-1]), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return out.getvalue()
