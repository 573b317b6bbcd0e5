"""What an experiment would fail at, found before anything is run: what it reads, what it is validated by, the memory that it takes."""

from __future__ import annotations

from typing import Any

from recbole_ext.core import memory
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import VALID
from recbole_ext.experiment import Experiment


def planned_bytes(experiment: Experiment, **given: Any) -> int:
    """Memory that an experiment's model plans for (with other parameters where `given`); 0 where it does not plan."""
    plan = getattr(experiment.model.load(), "planned_bytes", None)
    if plan is None:
        return 0
    data = experiment.problem.data
    params = {**experiment.settings.params, **given}
    return int(plan(len(data.user_tokens), len(data.item_tokens), params))


def check_served(experiment: Experiment) -> None:
    """Refuse a run that would have no number, could not be validated, or whose file of vectors is not one of its items.

    Raises:
        HarnessError: none of the protocols is served, there are no labels to validate by, or what is wrong with the file.
    """
    if experiment.profiles is not None:
        _ = experiment.user_vectors
    name, data = experiment.model.name, experiment.problem.spec.name
    if not experiment.served:
        asked = ",".join(experiment.unserved)
        why = "; ".join(dict.fromkeys(experiment.unserved.values()))
        raise HarnessError(f"{name} on {data} has no number under --protocols={asked}: {why}")
    if experiment.selection.protocol.labelled:
        pairs = experiment.origin.problem.labelled(VALID)
        if isinstance(pairs, str):
            raise HarnessError(
                f"{name} is selected by {experiment.selection} of the validation part, but {pairs}"
            )
    if experiment.vector_file is not None:
        _ = experiment.vector_file.of(experiment.problem.data.item_tokens)


def check_memory(experiment: Experiment) -> None:
    """Refuse a model whose item-by-item matrices do not fit, before anything is started.

    A linear model whose side is `auto` is sparse where no dense one fits (`model.linear_autoencoder`).

    Raises:
        HarnessError: the line says what is needed, what is free, the largest catalogue that fits, and the density of a sparse
            inverse that would.
    """
    if experiment.run_file is not None:
        return
    needed = planned_bytes(experiment)
    free = memory.free_memory(experiment.settings.run["device"])
    side = experiment.settings.params.get("side")
    if needed <= free or (side == "auto" and planned_bytes(experiment, side="sparse") <= free):
        return
    data = experiment.problem.data
    sizes = len(data.user_tokens), len(data.item_tokens)
    hint = ""
    if side != "sparse" and planned_bytes(experiment, precision="float32") <= free:
        hint = ", or --precision=float32"
    if side is not None:
        from recbole_ext.linear.sparse_side import density_within

        density = density_within(free, sizes[1] + 1)
        hint += f", or --side=sparse --density={density:g}" if density is not None else ""
    if side == "sparse":
        what, ways = "a sparse inverse", "raise --min_item"
    else:
        fits = int(min(sizes) * (free / needed) ** 0.5)
        what, ways = "a matrix of the smaller side", "raise --min_item or --min_user"
        ways = f"about {fits:,} fit: {ways}"
    raise HarnessError(
        f"{experiment.model.name} on {experiment.problem.spec.name} ({sizes[0]:,} users, {sizes[1]:,} items) needs about "
        f"{needed / 2**30:.1f} GiB for {what}, {free / 2**30:.1f} GiB are free; {ways}{hint}"
    )
