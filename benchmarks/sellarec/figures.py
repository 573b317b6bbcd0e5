"""The paper's Table 6 and figures 5 to 8, from finished runs of SeLLa-Rec.

    python -m benchmarks.sellarec.figures RECORDS --data-path=DIR

RECORDS holds runs with the default switches and `weights.safetensors`, of any backbones: `--model=SeLLaRec` alone and with `--align=false`, and each
again with `--projection_epochs=0`, one also with `--proj_init=random`; what is not there is left out. Runs of a GPU are asked on one where there is
one. Lines of runs that are no longer there stay in benchmarks/sellarec/*.csv; the pictures, docs/sella-rec-*.svg, are drawn of all lines,
figure 6 of the runs of this call. What is printed is for docs/sella-rec.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sellarec import drawn
from benchmarks.sellarec.attention import attended
from benchmarks.sellarec.embeddings import Both, both_of, cosines, counts, flat, sample, told
from benchmarks.sellarec.parts import before_the_last_stage, warm_and_cold
from benchmarks.sellarec.runs import ALIGNED, DATASET, NEITHER, Line, Run, grown, sella_runs
from recbole_ext.core.files import write_atomically
from recbole_ext.core.progress import say
from recbole_ext.explain.top_items import loaded_run

_WARM, _STEP0, _NEAR, _COSINES, _ATTENTION = (
    "warm-cold.csv", "step-0.csv", "embeddings.csv", "cosines.csv", "attention.csv",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Read a folder of records, write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path)
    parser.add_argument("--data-path", type=Path)
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--rows", type=int, default=500, help="of each part, of which attention is read")  # fmt: skip
    parser.add_argument("--tables", type=Path, default=Path("benchmarks", "sellarec"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args(argv)
    runs = sella_runs(given.records, given.dataset)

    parts = grown(given.tables / _WARM, warm_and_cold(given.records, given.dataset))
    if parts:
        _picture(given.docs / "sella-rec-warm-cold.svg", drawn.warm_and_cold(parts))
    step0 = grown(given.tables / _STEP0, before_the_last_stage(runs, given.data_path))
    both, near, bins, attention = _of_weights(runs, given.data_path, given.rows)
    near_all = grown(given.tables / _NEAR, near)
    if every := grown(given.tables / _COSINES, bins):
        _picture(given.docs / "sella-rec-cosines.svg", drawn.cosines(every))
    attended_all = grown(given.tables / _ATTENTION, attention)
    if attended_all:
        _picture(given.docs / "sella-rec-attention.svg", drawn.attention(attended_all))
    for backbone, panels in both.items():
        chosen = sample(min(len(one.collab) for one in panels.values()), len(panels))
        points = {what: flat(one, chosen) for what, one in panels.items()}
        _picture(given.docs / f"sella-rec-embeddings-{backbone}.svg", drawn.embeddings(points))
    print("\n".join([*table6(step0), *table_of(near_all), *table8(attended_all)]))


def _of_weights(
    runs: Sequence[Run], data_path: Path | None, rows: int
) -> tuple[
    dict[str, dict[str, Both]],
    list[dict[str, object]],
    list[dict[str, object]],
    list[dict[str, object]],
]:
    """(Backbone -> title -> vectors of items that were trained on, lines of embeddings.csv, of cosines.csv, of attention.csv)."""
    ended = {run.backbone for run in runs if run.aligned and not run.begins}
    both: dict[str, dict[str, Both]] = defaultdict(dict)
    near: list[dict[str, object]] = []
    bins: list[dict[str, object]] = []
    attention: list[dict[str, object]] = []
    for run in runs:
        if run.variant not in (ALIGNED, NEITHER):
            continue
        if not run.weights.is_file():
            say(f"{run.path.parent} has no weights: left out of figures 6 to 8")
            continue
        first: dict[str, object] = {"run": run.name, "backbone": run.backbone, "what": run.what}
        with loaded_run(run.path, run.record, data_path) as saved:
            trained, untrained = both_of(saved)
            both[run.backbone][run.what] = trained
            for which, vectors in (("trained", trained), ("without rows", untrained)):
                if len(vectors.collab) > 1:
                    near.append({**first, "items": which, "n": len(vectors.collab), **told(vectors)})  # fmt: skip
            for pair, values in zip(("own", "random"), cosines(trained), strict=True):
                for low, count in counts(values).items():
                    bins.append({**first, "pair": pair, "low": low, "count": count})
            if run.aligned and not (run.begins and run.backbone in ended):
                attention += [{**first, **line} for line in attended(saved, rows)]
    return both, near, bins, attention


def _picture(path: Path, content: str) -> None:
    write_atomically(path, content)
    print(f"{path}: {len(content.encode()) / 1000:.0f} kB")


def table6(lines: Sequence[Line]) -> list[str]:
    """Markdown of Table 6."""
    out = ["", "| backbone | before the last stage | rows | AUC | less | UAUC | less |", "|---|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for line in lines:
        gaps = [
            f"{float(line[f'{key}_less']):+.4f} [{float(line[f'{key}_low']):+.4f}, {float(line[f'{key}_high']):+.4f}]"
            if line[f"{key}_less"]
            else ""
            for key in ("auc", "uauc")
        ]
        cells = [line["backbone"], line["variant"], f"{line['part']}, {int(line['rows']):,}"]
        cells += [f"{float(line['auc']):.4f}", gaps[0], f"{float(line['uauc']):.4f}", gaps[1]]
        out.append(f"| {' | '.join(cells)} |")
    return out


def table_of(lines: Sequence[Line]) -> list[str]:
    """Markdown of what is beside figures 6 and 7."""
    out = ["", "| backbone | run | items | cosine, one item | two items | of its own kind | found |", "|---|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for line in lines:
        number = {key: float(line[key]) for key in ("own", "own_sd", "random", "random_sd", "apart", "found")}  # fmt: skip
        cells = [line["backbone"], line["what"], f"{line['items']}, {int(line['n']):,}"]
        cells += [f"{number[key]:.3f} (sd {number[f'{key}_sd']:.3f})" for key in ("own", "random")]
        cells += [f"{number[key]:.1%}" for key in ("apart", "found")]
        out.append(f"| {' | '.join(cells)} |")
    return out


def table8(lines: Sequence[Line]) -> list[str]:
    """Markdown of figure 8, each as a multiple of an even share."""
    out = ["", "| backbone | run | layer | rows | token | attention | of an even share |", "|---|---|--:|---|---|--:|--:|"]  # fmt: skip
    for line in lines:
        mean = float(line["mean"])
        cells = [line["backbone"], line["what"], line["layer"], f"{line['part']}, {line['rows']}", line["token"]]  # fmt: skip
        cells += [f"{mean:.4f}", f"{mean / float(line['even']):.2f}"]
        out.append(f"| {' | '.join(cells)} |")
    return out


if __name__ == "__main__":
    main()
