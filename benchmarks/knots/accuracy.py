"""The accuracy of coders beside that of the autoencoder below each, as a table that grows with the runs: after the paper's figure 2.

    python run_bench.py --suite=knots --data-path=DIR --records=RECORDS
    python -m benchmarks.knots.accuracy RECORDS

keeps a line for each run in benchmarks/knots/accuracy.csv (runs that are no longer in RECORDS stay in it) and writes
docs/knots-accuracy.md and its plot of them.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.core.files import write_atomically
from recbole_ext.core.plotting import STYLE, svg
from recbole_ext.evaluator.tables import read_tables
from recbole_ext.results import ResultRecord, read_records

LINES = Path("benchmarks", "knots", "accuracy.csv")
PAGE = Path("docs", "knots-accuracy.md")
PLOT = Path("docs", "knots-accuracy.svg")
K = 20
_CODED = {"KnotsELSA": "ELSA", "KnotsMultVAE": "MultVAE"}
_KEYS = (
    "embedding_size", "width_ratio", "sae", "k", "l1", "recon_loss", "sae_target", "rescale", "augment",
)  # fmt: skip
_OF_CFAE = ("embedding_size", "learning_rate", "train_batch_size", "epochs", "stopping_step")
_COLUMNS = (
    "run_id", "model", "dataset", "fold", *_KEYS, "users", "recall", "ndcg", "cfae_recall", "cfae_ndcg", "change", "change_sd",
    "l0", "cosine", "live", "neurons", "sae_epochs",
)  # fmt: skip
Line = dict[str, str]


def lines_of(records: Path) -> list[Line]:
    """One for each coder in a folder of runs whose autoencoder is there too, on the same users.

    `recall` is over min(20, |T|); `change` is the mean over users of a user's NDCG@20 less that of the autoencoder alone,
    `change_sd` its deviation.
    """
    every, _ = read_records(records)
    plain = {
        _below(record): path
        for path, record in every
        if record.experiment["model"] in _CODED.values()
    }
    found = []
    for path, record in every:
        model = record.experiment["model"]
        if model not in _CODED or (below := plain.get(_below(record))) is None:
            continue
        coded, alone = (_values(folder.parent) for folder in (path, below))
        difference = coded["ndcg"] - alone["ndcg"]
        split = record.experiment["dataset"]["split"]
        numbers = {
            "users": len(difference),
            "recall": coded["recall"].mean(),
            "ndcg": coded["ndcg"].mean(),
            "cfae_recall": alone["recall"].mean(),
            "cfae_ndcg": alone["ndcg"].mean(),
            "change": difference.mean(),
            "change_sd": difference.std(ddof=1),
            **record.measures,
        }
        line = {
            "run_id": record.run_id,
            "model": model,
            "dataset": record.experiment["dataset"]["name"],
            "fold": str(split.get("fold", 0)),
            **{key: str(record.params[key]) for key in _KEYS},
            **{key: f"{numbers[key]:.6g}" for key in _COLUMNS if key in numbers},
            "sae_epochs": str(record.cost["epochs"]),
        }
        found.append({key: line.get(key, "") for key in _COLUMNS})
    return found


def _below(record: ResultRecord) -> tuple[str, ...]:
    """What an autoencoder and the coders over it have in common."""
    model = record.experiment["model"]
    keys = [str(record.params.get(key)) for key in _OF_CFAE]
    return (
        _CODED.get(model, model),
        *(record.fingerprints[key] for key in ("data", "split")),
        *keys,
    )


def _values(folder: Path) -> dict[str, np.ndarray]:
    values = read_tables(folder).per_user("full", [K])
    return {"recall": values[f"recall_mink@{K}"], "ndcg": values[f"ndcg@{K}"]}


def known(path: Path) -> list[Line]:
    """Lines of earlier runs."""
    return list(csv.DictReader(io.StringIO(path.read_text()))) if path.is_file() else []


def merged(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """Each run once, the newer line of it; in an order that does not depend on when they were run."""
    by_run = {line["run_id"]: line for line in (*old, *new)}
    return sorted(by_run.values(), key=lambda line: [_number(line[key]) for key in _COLUMNS[1:13]])


def _number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return math.inf, text


def relative(lines: Sequence[Line]) -> tuple[float, float]:
    """(change of NDCG@20, half its 95% interval), in percent of the autoencoder's, over the users of all folds together."""
    users = np.array([float(line["users"]) for line in lines])
    changes = np.array([float(line["change"]) for line in lines])
    base = (users * [float(line["cfae_ndcg"]) for line in lines]).sum() / users.sum()
    squares = (users - 1) * np.array(
        [float(line["change_sd"]) for line in lines]
    ) ** 2 + users * changes**2
    mean = (users * changes).sum() / users.sum()
    deviation = math.sqrt((squares.sum() - users.sum() * mean**2) / (users.sum() - 1))
    return 100 * mean / base, 196 * deviation / math.sqrt(users.sum()) / base


def page(lines: Sequence[Line]) -> str:
    """Markdown: a table for each autoencoder of one fold, and what several folds say together."""
    out = [_HEAD]
    plain = [line for line in lines if not _is_switched(line)]
    groups: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in plain:
        if line["fold"] == "0":
            groups[line["dataset"], line["model"], line["embedding_size"]].append(line)
    for (dataset, model, d), group in groups.items():
        base = group[0]
        out += [
            f"## {model} on {dataset}, d = {d}",
            "",
            f"{_CODED[model]} alone: Recall@20 {float(base['cfae_recall']):.4f}, NDCG@20 {float(base['cfae_ndcg']):.4f}, "
            f"{base['users']} users.",
            "",
            "| h | coder | loss | target | NDCG@20 | change | active | cosine | live |",
            "|---:|---|---|---|---:|---:|---:|---:|---:|",
            *(_row(line) for line in group),
            "",
        ]
    for title, chosen in (("Over folds", _folds(plain)), ("Switches", _switched(lines))):
        if chosen:
            out += [f"## {title}", "", "| what | users | change |", "|---|---:|---:|", *chosen, ""]
    return "\n".join(out).rstrip() + "\n"


_HEAD = f"""# What a coder costs: From Knots to Knobs, figure 2

Written by `python -m benchmarks.knots.accuracy` from the runs of `--suite=knots`; do not edit. Users whom training has not seen; of each a
fifth of the items is held out. `change` is that of NDCG@{K} when the coder is put in, in percent of the autoencoder's, paired over users, with
half its 95% interval. `active` neurons of a user, `cosine` of what the coder makes with what it was given; `live` neurons are those that some
training user or some item excites. One fold and one seed where nothing else is said. Recall@{K} is over min({K}, |T|).

![change of NDCG over active neurons]({PLOT.name})
"""


def _row(line: Line) -> str:
    change, half = relative([line])
    kind = f"k = {line['k']}" if line["sae"] != "basic" else f"λ₁ = {line['l1']}"
    h = f"{round(float(line['width_ratio']) * float(line['embedding_size'])):,}"
    live = float(line["live"]) / float(line["neurons"])
    return (
        f"| {h} | {line['sae']}, {kind} | {line['recon_loss']} | {line['sae_target']} | {float(line['ndcg']):.4f} | "
        f"{change:+.1f}% ±{half:.1f} | {float(line['l0']):.1f} | {float(line['cosine']):.3f} | {live:.0%} |"
    )


def _folds(lines: Sequence[Line]) -> list[str]:
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[_named(line)].append(line)
    return [
        _told(name, group) for name, group in groups.items() if len({g["fold"] for g in group}) > 1
    ]


def _is_switched(line: Line) -> bool:
    """Whether a switch of ours is on."""
    return line["rescale"] == "True" or float(line["augment"]) > 0


def _switched(lines: Sequence[Line]) -> list[str]:
    """Lines with a switch of ours, and the same without it."""
    switched = [
        line for line in lines
        if line["fold"] == "0" and _is_switched(line)
    ]  # fmt: skip
    found = []
    for line in switched:
        found.append(
            _told(f"{_named(line)}, rescale {line['rescale']}, augment {line['augment']}", [line])
        )
    return found


def _named(line: Line) -> str:
    return (
        f"{line['model']} on {line['dataset']}, d = {line['embedding_size']}, h/d = {line['width_ratio']}, {line['sae']}, "
        f"k = {line['k']}, λ₁ = {line['l1']}, {line['recon_loss']}, {line['sae_target']}"
    )


def _told(name: str, lines: Sequence[Line]) -> str:
    change, half = relative(lines)
    folds = len({line["fold"] for line in lines})
    users = sum(int(line["users"]) for line in lines)
    return f"| {name}{f' ({folds} folds)' if folds > 1 else ''} | {users:,} | {change:+.2f}% ±{half:.2f} |"


_COLOURS = {
    ("topk", "cosine"): "tab:blue",
    ("topk", "l2"): "tab:orange",
    ("basic", "l2"): "tab:green",
}
"""Kind of coder and loss -> colour, the same in every panel."""
_LOWEST = -13.0
"""Percent below which a point is drawn at the edge."""


def plot(lines: Sequence[Line]) -> str:
    """Change of NDCG over active neurons on fold 0 of ml-1m: a panel for each autoencoder and width, a curve for each kind, loss and target."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels: dict[tuple[str, int, float], dict[tuple[str, ...], list[Line]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for line in lines:
        if not _is_switched(line) and line["fold"] == "0" and line["dataset"] == "ml-1m":
            place = (line["model"], int(line["embedding_size"]), float(line["width_ratio"]))
            panels[place][line["sae"], line["recon_loss"], line["sae_target"]].append(line)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.6), layout="constrained")
        axes = figure.subplots(2, 3, sharex=True).ravel()
        named: dict[str, Any] = {}
        for axis, (place, curves) in zip(axes, sorted(panels.items()), strict=False):
            for (sae, loss, target), group in sorted(curves.items()):
                points = sorted((float(g["l0"]), relative([g])[0]) for g in group)
                label = f"{sae}, {loss}, {target}"
                (named[label],) = axis.plot(
                    [x for x, _ in points],
                    [max(y, _LOWEST) for _, y in points],
                    color=_COLOURS.get((sae, loss), "0.5"),
                    marker="o",
                    markersize=3,
                    linestyle="-" if target == "input" else ":",
                )
                for x, y in points:
                    if y < _LOWEST:
                        axis.annotate(f"{y:.0f}", (x, _LOWEST), (4, 4), textcoords="offset points", fontsize=6)  # fmt: skip
            model, d, width = place
            axis.set_title(f"{model}, d = {d}, h = {width:g}d", fontsize=8)
            axis.set_xscale("log", base=2)
            axis.axhline(0, color="0.7", linewidth=0.6)
            axis.set_ylim(_LOWEST - 1 if model == "KnotsELSA" else None)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("active neurons of a user", fontsize=8)
        figure.supylabel(f"change of NDCG@{K}, %", fontsize=8)
        if named:
            where = axes[-1] if len(panels) < len(axes) else figure
            where.legend(named.values(), named.keys(), frameon=False, fontsize=8, loc="center")
        return svg(figure)


def main(argv: Sequence[str]) -> None:
    """Read the runs of a folder, keep their lines, write the page."""
    lines = merged(known(LINES), [line for folder in argv for line in lines_of(Path(folder))])
    out = io.StringIO()
    table = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    write_atomically(LINES, out.getvalue())
    write_atomically(PAGE, page(lines))
    write_atomically(PLOT, plot(lines))
    print(f"{LINES}: {len(lines)} runs; {PAGE}, {PLOT}")


if __name__ == "__main__":
    main(sys.argv[1:])
