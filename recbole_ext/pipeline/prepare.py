"""Settings -> an experiment whose every option can be meant: `auto` is what it is on this machine, and nothing is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from recbole_ext.config import Settings
from recbole_ext.core import environment
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.problem import Problem
from recbole_ext.data.run_file import RunFile
from recbole_ext.data.union import Union
from recbole_ext.evaluator.protocols import Protocol, protocol_of
from recbole_ext.evaluator.selection import selection, usual
from recbole_ext.experiment import Experiment, why_unserved
from recbole_ext.lm.backbone import chosen_dtype, is_encoder
from recbole_ext.registry import TRANSFER, UNSEEN_USERS, ModelSpec
from recbole_ext.registry.find import require
from recbole_ext.tune.search import Space

_EXAMPLES = {"full": "full", "candidates": "uni19", "pointwise": "ctr"}
"""Scoring -> a protocol that it serves."""


def prepare(
    model: ModelSpec,
    settings: Settings,
    problem: Problem,
    space: Space | None = None,
    run_file: RunFile | None = None,
    sources: Union | None = None,
) -> Experiment:
    """Fix what `auto` means on this machine and check what can be checked before any work."""
    run = dict(settings.run)
    run["threads"] = int(run["threads"]) or environment.usable_cpus()
    if not 0 <= run["seed"] < 2**32:
        raise HarnessError(f"--seed={run['seed']}: must be a whole number from 0 to 2^32 - 1")
    run["device"] = environment.chosen_device(run["device"])
    if not settings.evaluation["protocols"]:
        raise HarnessError("--protocols= names none, e.g. --protocols=full,uni100")
    asked = [protocol_of(name) for name in settings.evaluation["protocols"]]
    reasons = [why_unserved(protocol, model, run_file) for protocol in asked]
    if all(reasons):
        raise HarnessError(
            f"{model.name} has no number under --protocols={','.join(p.name for p in asked)}: {reasons[0]}; ask for e.g. "
            f"--protocols={_EXAMPLES[model.scoring]}"
        )
    evaluation = dict(settings.evaluation)
    evaluation["valid_metric"] = usual(evaluation["valid_metric"], model.scoring)
    try:
        selection(evaluation["valid_metric"], model.scoring, evaluation["protocols"])
    except HarnessError as error:
        raise HarnessError(f"{model.name}: {error}") from None
    if not settings.evaluation["ks"] or min(settings.evaluation["ks"]) < 1:
        raise HarnessError(f"ks={settings.evaluation['ks']} must be whole numbers from 1")
    if evaluation["valid_rows"] != "all" and model.scoring != "pointwise":
        raise HarnessError(
            f"--valid_rows={evaluation['valid_rows']} is of labelled rows, by which {model.name} is not selected: "
            "--valid_rows=all"
        )
    if settings.dataset["duplicates"] == "keep" and not all(p.labelled or p.drawn for p in asked):
        raise HarnessError(
            "--duplicates=keep leaves pairs that stand several times, but an item is ranked once: --protocols=ctr, or "
            "--duplicates=latest"
        )
    _check_users(model, settings, asked, run_file, sources)
    if sources is not None:
        require(model, TRANSFER, "--train: ")
    if run["refit"]:
        _check_refit(settings, sources, run_file)
    params = dict(settings.params)
    if "language_model" in model.inputs:
        # Written as it was: a run made on a GPU is shown on a CPU with the same weights.
        params["lm_dtype"] = chosen_dtype(params["lm_dtype"], run["device"])
        _check_language_model(model, params)
    seeded = dataclasses.replace(settings, run=run, evaluation=evaluation, params=params)
    experiment = Experiment(model, seeded, problem, space, run_file, sources)
    if sources is not None and experiment.vector_file is not None:
        raise HarnessError(
            f"--train: one file of vectors cannot tell items of several datasets apart, whose tokens may be alike "
            f"({experiment.vector_file.name}); take another encoder"
        )
    return experiment


def _check_language_model(model: ModelSpec, params: Mapping[str, Any]) -> None:
    """Refuse a backbone that cannot do what is asked of it, before it is loaded; `lm_dtype` is what `auto` means here."""
    backbone, dtype = str(params["backbone"]), str(params["lm_dtype"])
    if params.get("heal_batches", 0) and dtype == "bfloat16":
        raise HarnessError(
            f"{model.name}: --heal_batches trains the language model, which is too coarse in {dtype}: --lm_dtype=float32, or mixed"
        )
    if not is_encoder(backbone):
        return
    is_one = f"{backbone} is an encoder"
    if model.generative:
        lacks = "names no title" if model.scoring == "candidates" else "has no words to answer with"
        raise HarnessError(f"{model.name}: {is_one} and {lacks}: --backbone=smollm2")
    if params.get("loss") == "all_tokens":
        raise HarnessError(
            f"{model.name}: --loss=all_tokens predicts each next token, and {is_one}: --loss=answer"
        )
    if params.get("score") == "prob_diff":
        raise HarnessError(
            f"{model.name}: --score=prob_diff is of probabilities over a vocabulary, and {is_one}: --score=softmax_yes_no"
        )


def _check_refit(settings: Settings, sources: Union | None, run_file: RunFile | None) -> None:
    """Refuse a refit that would not be what it says."""
    if run_file is not None:
        raise HarnessError("--refit trains a model again; a run file has none")
    if sources is not None:
        raise HarnessError(
            "--refit trains on this dataset's validation part, but with --train nothing of it is trained on"
        )
    if settings.evaluation["exclude"] != "train+valid":
        raise HarnessError(
            "--refit trains on the validation part, so that its items are no candidates at test: --exclude=train+valid"
        )


def _check_users(
    model: ModelSpec,
    settings: Settings,
    protocols: list[Protocol],
    run_file: RunFile | None,
    sources: Union | None,
) -> None:
    """Refuse what `split=users` cannot be asked with, and its keys without it."""
    split, fold = settings.dataset["split"], settings.dataset["fold"]
    if any(part.options["split"] == "users" for part in (sources.parts if sources else ())):
        raise HarnessError(
            "--train: split=users holds users out, of whom nothing is left to validate on where their dataset is trained on "
            "for another; split the sources otherwise, e.g. --NAME.split=ratio"
        )
    if split != "users":
        if fold:
            raise HarnessError(f"--fold={fold} is one of split=users, not of split={split}")
        return
    by_recbole = [protocol for protocol in protocols if protocol.by_recbole]
    if by_recbole:
        raise HarnessError(
            f"{by_recbole[0].name} asks RecBole's own evaluator, which knows no user but those of training: leave it out of "
            "--protocols with --split=users"
        )
    if run_file is not None:
        return
    require(model, UNSEEN_USERS, "--split=users: ")
    if settings.params.get("knn_method") == "user":
        raise HarnessError(
            f"--split=users tests users that training has not seen, and {model.name} with knn_method=user keeps who is like "
            f"whom in training: --knn_method=item"
        )
