"""What the latents of a coder of item vectors are on, as a page in markdown and a csv: after the paper's figure 1.

    python -m benchmarks.saulrec.latents RECORDS --model=SASRec --dataset=amazon-toys-2014 --out=docs/saulrec-latents.md
    python -m benchmarks.saulrec.latents RECORDS --model=SimGCL --dataset=amazon-games-2018 --out=PAGE --titles=4

takes the item vectors of the latest run (trained with --save_weights=true), and the run's own coder where it has one; else it trains one
(--sae_dim, --sae_k, --sae_beta, --sae_epochs, --sae_tied, --sae_standardise). Beside it stands the same coder over the vectors turned by a
random rotation, whose latents are directions that mean nothing. PAGE.csv has the numbers. Without --titles nothing of the data's own words
but labels' counts is written.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_ext.core.arrays import Floats
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.data.problem import Problem
from recbole_ext.explain.top_items import Saved, labels_of, saved_run
from recbole_ext.model.sasrec_sae import coder_measures, overlaps
from recbole_ext.sae.concepts import Concepts, concepts_of_columns
from recbole_ext.sae.fitting import fitted
from recbole_ext.sae.monosemanticity import measure, rotation
from recbole_ext.sae.tied import TiedCoder

_TOP = 8
"""Items of a latent that is shown."""
_FEWEST = 5
"""Items of the smallest latent that is shown."""
MEASURES = {
    "error": "share of the vectors' variance that is missed",
    "live": "share of latents that some item has",
    "items": "items of a live latent, median",
    "overlap": "items with both of two latents among those with either, mean over pairs",
    "overlap_nearest": "the same, mean over latents of the nearest other",
    "label_purity": "share of a latent's 20 strongest items that have its label, less that of all items, on the half of the items that did not choose it",
    "label_confidence": "correlation with its label, on that half",
    "labels_measured": "labels that could be measured",
}


@dataclass(frozen=True)
class Measured:
    """One coder over one set of vectors."""

    name: str
    codes: Floats
    """[n_items, h] signed."""
    measures: dict[str, float]


def item_vectors(model: Any) -> torch.Tensor:
    """[n_items, d] what a trained model knows items by: a table of items, or the final vectors of a graph model.

    Raises:
        HarnessError: it has neither.
    """
    with torch.no_grad():
        if isinstance(getattr(model, "items", None), torch.nn.Embedding):
            return torch.as_tensor(model.items.weight)[1:].detach()
        if hasattr(model, "item_embedding"):
            graph = hasattr(model, "get_ego_embeddings")
            every = model.forward()[1] if graph else model.item_embedding.weight
            return torch.as_tensor(every)[1:].detach()
    raise HarnessError(
        f"{type(model).__name__} has no table of item vectors: SASRec, SimGCL, LightGCN and BPR have"
    )


def measured(
    name: str, coder: TiedCoder, x: torch.Tensor, concepts: Concepts | None, tokens: Sequence[str]
) -> Measured:
    """All measures of a coder over vectors [n, d]; those of labels where there are concepts. Of codes below 0 labels know nothing."""
    with torch.no_grad():
        codes = coder.code(x).cpu().numpy()
    fires = codes != 0
    near = overlaps(fires)
    np.fill_diagonal(near, 0.0)
    found = dict(coder_measures(coder, x))
    counts = fires.sum(0)
    found["items"] = float(np.median(counts[counts > 0])) if counts.any() else 0.0
    found["overlap_nearest"] = float(near.max(1).mean()) if len(near) > 1 else 0.0
    if concepts is not None:
        found |= measure(concepts, np.maximum(codes, 0), tokens).means()
    return Measured(name, codes, {key: found[key] for key in MEASURES if key in found})


def systems(
    coder: TiedCoder, x: torch.Tensor, concepts: Concepts | None, tokens: Sequence[str], seed: int
) -> list[Measured]:
    """The coder, and the same over turned vectors."""
    turn = x.new_tensor(rotation(x.shape[1], seed))
    return [
        measured("latents", coder, x, concepts, tokens),
        measured("of turned vectors", coder, x @ turn, concepts, tokens),
    ]


def examples(found: Measured, names: Sequence[str], count: int, seed: int) -> list[str]:
    """Lines of some latents of at least `_FEWEST` items, drawn by the seed, with the items of their largest values."""
    having = (found.codes > 0).sum(0)
    able = np.flatnonzero(having >= _FEWEST)
    drawn = np.random.default_rng(seed).permutation(able)[:count]
    lines = []
    for latent in sorted(drawn.tolist()):
        values = found.codes[:, latent]
        best = np.argsort(-values, kind="stable")[:_TOP]
        told = "; ".join(f"{names[item]:.48} ({values[item]:.2f})" for item in best if values[item] > 0)  # fmt: skip
        lines.append(f"* {latent} ({having[latent]:,} items): {told}")
    return lines


def page(title: str, found: Sequence[Measured], shown: Sequence[str], drawn: str) -> list[str]:
    """Lines of markdown."""
    head = [one.name for one in found]
    lines = [f"# {title}", "", f"| | {' | '.join(head)} |", f"|---|{'--:|' * len(head)}"]
    for key, what in MEASURES.items():
        if key in found[0].measures:
            cells = [f"{one.measures[key]:.4g}" for one in found]
            lines.append(f"| {what} (`{key}`) | {' | '.join(cells)} |")
    lines += [
        "",
        "`of turned vectors`: the same coder over the vectors turned by a random rotation, a level of chance for latents that mean something; 0 is "
        "that of a label drawn at random for the purity.",
    ]
    return [*lines, "", drawn, "", *shown] if shown else lines


def _concepts(problem: Problem) -> Concepts | None:
    try:
        return concepts_of_columns(problem.data)
    except HarnessError as error:
        print(f"no purity: {error}", file=sys.stderr)
        return None


def _coder(saved: Saved, x: torch.Tensor, asked: argparse.Namespace) -> tuple[TiedCoder, str]:
    """The run's own, or a new one, and what it is."""
    own = getattr(saved.fitted.model, "sae", None)
    if isinstance(own, TiedCoder):
        return own, f"the run's coder, {own.encoder.shape[0]:,} latents, {own.k} of an item"
    torch.manual_seed(asked.seed)
    made = TiedCoder(x.shape[1], asked.sae_dim, asked.sae_k, asked.sae_tied, asked.sae_standardise)
    told = f"{asked.sae_dim:,} latents, {asked.sae_k} of an item, beta {asked.sae_beta:g}, {asked.sae_epochs} epochs, seed {asked.seed}"
    coder = fitted(made.to(x.device), x, asked.sae_beta, asked.sae_epochs, seed=asked.seed)
    return coder, told


def _csv(model: str, dataset: str, told: str, found: Sequence[Measured]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "dataset", "coder", "system", *found[0].measures])
    for one in found:
        values = [f"{value:.6g}" for value in one.measures.values()]
        writer.writerow([model, dataset, told, one.name, *values])
    return out.getvalue()


def main(arguments: Sequence[str]) -> None:
    """Write a page and its csv."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.saulrec.latents")
    parser.add_argument("records", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data-path", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--titles", type=int, default=0, help="latents whose items are named")
    for key, usual in {"sae_dim": 2048, "sae_k": 5, "sae_epochs": 200, "seed": 2026}.items():
        parser.add_argument(f"--{key}", type=int, default=usual)
    parser.add_argument("--sae_beta", type=float, default=0.1)
    for key in ("sae_tied", "sae_standardise"):
        parser.add_argument(f"--{key}", type=lambda text: text != "false", default=True)
    asked = parser.parse_args(arguments)
    with saved_run(asked.records, asked.model, asked.dataset, asked.data_path) as saved:
        problem = saved.experiment.problem
        x = item_vectors(saved.fitted.model)
        coder, told = _coder(saved, x, asked)
        tokens = problem.data.item_tokens
        found = systems(coder, x, _concepts(problem), tokens, asked.seed)
        shown = examples(found[0], labels_of(problem), asked.titles, asked.seed)
        title = f"Latents of {asked.model}'s items on {asked.dataset}: {told}"
    drawn = f"Latents drawn by the seed among those of at least {_FEWEST} items, none chosen, and the items of their largest values:"
    write_atomically(asked.out, "\n".join(page(title, found, shown, drawn)) + "\n")
    write_atomically(asked.out.with_suffix(".csv"), _csv(asked.model, asked.dataset, told, found))
    print(asked.out, asked.out.with_suffix(".csv"), sep="\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except HarnessError as error:
        sys.exit(f"error: {error}")
