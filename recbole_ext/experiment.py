"""One run, from settings to a record: load, split, encode, tune, fit, rank, write.

`Experiment` is everything that determines a run; with the fingerprints of what it reads it hashes to the run's id.
"""

from __future__ import annotations

import dataclasses
import datetime
import errno
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext import environment, recbole_compat
from recbole_ext.config import Settings
from recbole_ext.data.catalog import DatasetSpec, load_dataset
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import TEST, TRAIN, VALID, Split, make_split
from recbole_ext.errors import HarnessError
from recbole_ext.evaluator import protocols
from recbole_ext.evaluator.candidates import lists_sha256
from recbole_ext.evaluator.ranks import RankTable, RankTask, make_task, rank
from recbole_ext.progress import progress, say
from recbole_ext.registry import ModelSpec
from recbole_ext.results import ResultRecord, read_record, run_id, write_atomically
from recbole_ext.text import (
    Embeddings,
    choose_fields,
    default_cache,
    embed,
    item_texts,
    make_encoder,
    texts_fingerprint,
)
from recbole_ext.tune.search import Search, search, size

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
}
_SPLIT_KEYS = ("split", "split_ratio", "split_seed")
_FILTER_KEYS = ("min_rating", "min_user", "min_item")
_RARE_FILTERS = {"k_core": True, "rating_field": "rating"}
"""Named in a record only where they differ from these."""


@dataclass(frozen=True)
class Ground:
    """Data, split and ranking tasks: the same for every model of a command, each part made when first needed."""

    spec: DatasetSpec
    options: dict[str, Any]
    evaluation: dict[str, Any]

    @cached_property
    def data(self) -> Interactions:
        return load_dataset(self.spec, self.options)

    @cached_property
    def split(self) -> Split:
        return make_split(self.data, self.options)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        return {"data": self.data.fingerprint, "split": self.split.fingerprint}

    @property
    def seen_at_test(self) -> tuple[int, ...]:
        """Parts that are no candidates at test."""
        excludes = {"train": (TRAIN,), "train+valid": (TRAIN, VALID)}
        if self.evaluation["exclude"] not in excludes:
            raise HarnessError(f"exclude={self.evaluation['exclude']} must be train or train+valid")
        return excludes[self.evaluation["exclude"]]

    @cached_property
    def valid_task(self) -> RankTask:
        return self._task(VALID, (TRAIN,))

    @cached_property
    def test_task(self) -> RankTask:
        exclude = self.evaluation["exclude"]
        return protocols.with_lists(
            self._task(TEST, self.seen_at_test),
            self.evaluation["protocols"],
            self.data.user_tokens,
            self.data.item_tokens,
            int(self.evaluation["draws"]),
            f"{self.data.fingerprint}|{exclude}",
        )

    @cached_property
    def candidates(self) -> dict[str, str]:
        return {name: lists_sha256(lists) for name, lists in self.test_task.lists.items()}

    def _task(self, part: int, excluded: tuple[int, ...]) -> RankTask:
        pairs = self.split.pairs
        return make_task(
            len(self.data.item_tokens), pairs(self.data, part), pairs(self.data, *excluded)
        )

    def sizes(self) -> dict[str, Any]:
        part = self.split.part
        return {
            "users": len(self.data.user_tokens),
            "items": len(self.data.item_tokens),
            "interactions": len(self.data),
            "train": int((part == TRAIN).sum()),
            "valid": int((part == VALID).sum()),
            "test": int((part == TEST).sum()),
            "test_users": len(self.test_task.users),
        }


@dataclass(frozen=True)
class Experiment:
    """A model with its parameters on a ground."""

    model: ModelSpec
    settings: Settings
    ground: Ground
    tune: bool = False

    def describe(self) -> dict[str, Any]:
        """Canonical JSON form: what was asked for."""
        run, evaluation, dataset = (
            self.settings.run,
            self.settings.evaluation,
            self.settings.dataset,
        )
        return {
            "model": self.model.name,
            "model_revision": self.model.revision,
            "evaluator_revision": protocols.REVISION,
            "dataset": {
                "name": self.ground.spec.name,
                "filters": {
                    **{key: dataset[key] for key in _FILTER_KEYS},
                    **{
                        key: dataset[key]
                        for key, usual in _RARE_FILTERS.items()
                        if dataset[key] != usual
                    },
                },
                "split": {key: dataset[key] for key in _SPLIT_KEYS},
            },
            "protocols": evaluation["protocols"],
            "draws": evaluation["draws"],
            "exclude": evaluation["exclude"],
            "ks": evaluation["ks"],
            "valid_metric": evaluation["valid_metric"],
            "seed": run["seed"],
            "threads": run["threads"],
            "device": run["device"],
            "params": self.settings.params,
            "tune": {"stages": self.settings.space, "trials": size(self.settings.space)}
            if self.tune
            else None,
        }

    @cached_property
    def texts(self) -> tuple[dict[str, str], list[str]] | None:
        """(fields, [n] item texts), None for a model that reads none."""
        if "item_text" not in self.model.inputs:
            return None
        columns = self.ground.data.item_columns
        try:
            fields = choose_fields(list(columns), self.settings.dataset["text_fields"])
        except HarnessError as error:
            raise HarnessError(
                f"{self.ground.spec.name}: {error}; {self.model.name} reads item text"
            ) from None
        return fields, item_texts(columns, fields)

    @cached_property
    def encoder(self) -> Any:
        params = self.settings.params
        return make_encoder(
            params["encoder"],
            revision=params["encoder_revision"],
            pooling=params["encoder_pooling"],
            device=self.settings.run["device"],
            trust_remote_code=params["trust_remote_code"],
        )

    def fingerprints(self) -> dict[str, str]:
        found = dict(self.ground.fingerprints)
        if self.texts is not None:
            found["text"] = texts_fingerprint(self.texts[1])
            found["encoder"] = self.encoder.fingerprint
        return found

    @cached_property
    def run_id(self) -> str:
        return run_id(self.describe(), self.fingerprints())

    def embeddings(self) -> Embeddings | None:
        if self.texts is None:
            return None
        texts = self.texts[1]
        with progress(
            f"encoding {len(texts)} item texts with {self.encoder.name}", len(texts)
        ) as advance:
            done = 0

            def to(count: int) -> None:
                nonlocal done
                advance(count - done)
                done = count

            return embed(texts, self.encoder, default_cache(), to)


def prepare(model: ModelSpec, settings: Settings, ground: Ground, tune: bool = False) -> Experiment:
    """Fix what `auto` means on this machine and check what can be checked before any work."""
    import torch

    run = dict(settings.run)
    run["threads"] = int(run["threads"]) or environment.usable_cpus()
    if run["device"] == "auto":
        run["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    if run["device"] == "cuda" and not torch.cuda.is_available():
        raise HarnessError("--device=cuda: torch sees no GPU here; use --device=cpu")
    if run["device"] not in ("cpu", "cuda"):
        raise HarnessError(f"--device={run['device']} must be auto, cpu or cuda")
    for protocol in settings.evaluation["protocols"]:
        protocols.negatives_of(protocol)
    protocols.check_metric(settings.evaluation["valid_metric"], ())
    if not settings.evaluation["ks"] or min(settings.evaluation["ks"]) < 1:
        raise HarnessError(f"ks={settings.evaluation['ks']} must be whole numbers from 1")
    if tune and not settings.space:
        raise HarnessError(
            f"--tune: {model.name} has no search space; add `space:` to properties/model/{model.name}.yaml"
        )
    return Experiment(model, dataclasses.replace(settings, run=run), ground, tune)


def check_memory(experiment: Experiment) -> None:
    """Refuse a model whose item-by-item matrices do not fit, before anything is started.

    Raises:
        HarnessError: the line says what is needed, what is free, and the largest catalogue that fits.
    """
    model = experiment.model.load()
    plan = getattr(model, "planned_bytes", None)
    if plan is None:
        return
    precision = experiment.settings.params["precision"]
    items = len(experiment.ground.data.item_tokens)
    needed, free = (
        plan(items, precision),
        environment.free_memory(experiment.settings.run["device"]),
    )
    if needed > free:
        fits = int(items * (free / needed) ** 0.5)
        hint = ", or --precision=float32" if plan(items, "float32") <= free else ""
        raise HarnessError(
            f"{experiment.model.name} on {experiment.ground.spec.name} ({items:,} items) needs about "
            f"{needed / 2**30:.1f} GiB for item-by-item matrices, {free / 2**30:.1f} GiB are free; about {fits:,} items "
            f"fit: raise --min_item{hint}"
        )


def finished(experiment: Experiment, records: Path) -> ResultRecord | None:
    """The record of an earlier run of the same id, None when there is none that can be read."""
    path = records / experiment.run_id / "record.json"
    if not path.is_file():
        return None
    try:
        return read_record(path)
    except HarnessError as error:
        path.replace(path.with_suffix(".json.corrupt"))
        say(f"set aside as record.json.corrupt, and run again: {error}")
        return None


def execute(experiment: Experiment, records: Path, force: bool = False) -> ResultRecord:
    """Run, unless it has been run, and write `records/<run_id>/`.

    A lock on the id makes a second process wait and then find the first one's result. The record is written last, so
    that a folder without one is an unfinished run, which is done again.
    """
    from filelock import FileLock

    folder = records / experiment.run_id
    try:
        (records / ".locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(records / ".locks" / f"{experiment.run_id}.lock")
        with lock:
            done = None if force else finished(experiment, records)
            return done or _run(experiment, folder)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise HarnessError(
            f"--records={records}: {error.strerror}; this run was not recorded, finished ones are kept: make room, "
            "or choose another folder"
        ) from None


@dataclass(frozen=True)
class Fitted:
    """A trained model with what is needed to score."""

    model: Any
    bench: recbole_compat.Bench
    value: float
    """Validation score at the chosen point or epoch."""
    epochs: int | None


def _run(experiment: Experiment, folder: Path) -> ResultRecord:
    import torch

    settings, ground = experiment.settings, experiment.ground
    torch.set_num_threads(settings.run["threads"])
    environment.reset_peak_memory()
    embeddings = experiment.embeddings()
    vectors = embeddings.vectors if embeddings is not None else None
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:

        def train(params: dict[str, Any], what: str) -> Fitted:
            return fit(experiment, params, vectors, Path(scratch), what)

        begun = time.perf_counter()
        tuning, params = None, dict(settings.params)
        if experiment.tune:
            found = _tune(experiment, vectors, Path(scratch), train)
            params.update(found.best)
            tuning = {
                "metric": settings.evaluation["valid_metric"],
                "points": len(found.trials),
                "seconds": round(time.perf_counter() - begun, 3),
                "best": found.best,
                "trials": [
                    {"point": point, "value": round(value, 8)} for point, value in found.trials
                ],
            }
        begun = time.perf_counter()
        fitted = train(params, experiment.model.name)
        fit_seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        table = rank_test(fitted, ground)
        metrics = protocols.summarise(
            table, settings.evaluation["protocols"], settings.evaluation["ks"]
        )
        evaluate_seconds = time.perf_counter() - begun
        flags = ["untuned"] if params and not experiment.tune else []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").unlink(missing_ok=True)
        if settings.run["save_weights"]:
            flags += _save_weights(fitted.model, folder)
    write_ranks(table, ground.data, folder / "ranks.parquet")
    record = ResultRecord(
        run_id=experiment.run_id,
        experiment=experiment.describe(),
        fingerprints=experiment.fingerprints(),
        data=ground.sizes(),
        candidates=ground.candidates,
        metrics=metrics,
        validation={"metric": settings.evaluation["valid_metric"], "value": round(fitted.value, 8)},
        params=params,
        tuning=tuning,
        text=_text(experiment, embeddings),
        cost={
            "fit_seconds": round(fit_seconds, 3),
            "evaluate_seconds": round(evaluate_seconds, 3),
            "encode_seconds": round(embeddings.seconds, 3) if embeddings else None,
            "peak_memory_mb": environment.peak_memory_mb(),
            "parameters": sum(v.numel() for v in fitted.model.state_dict().values()),
            "epochs": fitted.epochs,
        },
        environment=environment.describe(settings.run["device"]),
        flags=flags,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    write_atomically(folder / "record.json", record.to_json())
    return record


def fit(
    experiment: Experiment,
    params: dict[str, Any],
    vectors: npt.NDArray[np.float32] | None,
    scratch: Path,
    what: str,
    saved: Path | None = None,
) -> Fitted:
    """Build a model and train it, or, with `saved`, load its weights instead."""
    cls = experiment.model.load()
    bench = recbole_compat.prepare(
        cls,
        params,
        experiment.ground.data,
        experiment.ground.split,
        seed=experiment.settings.run["seed"],
        device=experiment.settings.run["device"],
        scratch=scratch,
        item_vectors=vectors,
    )
    model = recbole_compat.build_model(cls, bench)
    if saved is not None:
        from recbole_ext.weights import load_weights

        load_weights(model, saved)
        return Fitted(model, bench, float("nan"), None)
    validate = _validation(experiment, model, bench)
    if experiment.model.trainer == "closed_form":
        from recbole_ext.trainer.closed_form import ClosedFormTrainer

        return Fitted(model, bench, ClosedFormTrainer(model, validate).fit(), None)
    trainer = recbole_compat.make_trainer(bench, model, validate)
    with progress(f"{what} epochs", trainer.epochs) as advance:
        value, epochs = trainer.run(
            bench.train_loader, lambda score: advance(1, f"validation {score:.4f}")
        )
    return Fitted(model, bench, value, epochs)


def rank_test(fitted: Fitted, ground: Ground) -> RankTable:
    """Rank the test positives."""
    history = ground.split.pairs(ground.data, *ground.seen_at_test)
    scores = recbole_compat.score_function(fitted.model, fitted.bench, ground.data, history)
    with progress("ranking test users", len(ground.test_task.users)) as advance:

        def counted(users: Any) -> Iterator[Any]:
            yield scores(users)
            advance(len(users))

        (table,) = rank(ground.test_task, counted)
    return table


def _validation(
    experiment: Experiment, model: Any, bench: recbole_compat.Bench
) -> Callable[[], float]:
    ground, metric = experiment.ground, experiment.settings.evaluation["valid_metric"]
    history = ground.split.pairs(ground.data, TRAIN)
    scores = recbole_compat.score_function(model, bench, ground.data, history)

    def validate() -> float:
        (table,) = rank(ground.valid_task, lambda users: [scores(users)])
        return protocols.mean_of(table, metric)

    return validate


def _tune(
    experiment: Experiment,
    vectors: npt.NDArray[np.float32] | None,
    scratch: Path,
    train: Callable[[dict[str, Any], str], Fitted],
) -> Search:
    """Search the model's space: as families where it has them, else one training per point."""
    settings, name = experiment.settings, experiment.model.name
    metric = settings.evaluation["valid_metric"]
    with progress(f"{name} tuning", size(settings.space)) as advance:

        def families(points: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
            from recbole_ext.trainer.closed_form import ClosedFormTrainer

            cls = experiment.model.load()
            bench = recbole_compat.prepare(
                cls,
                settings.params,
                experiment.ground.data,
                experiment.ground.split,
                seed=settings.run["seed"],
                device=settings.run["device"],
                scratch=scratch,
                item_vectors=vectors,
            )
            model = recbole_compat.build_model(cls, bench)
            trainer = ClosedFormTrainer(model, lambda: 0.0)
            for point, value in trainer.evaluate_family(
                points, experiment.ground.valid_task, metric
            ):
                advance(1, f"{metric} {value:.4f}")
                yield point, value

        def one_by_one(points: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
            for point in points:
                value = train({**settings.params, **point}, f"{name} {point}").value
                advance(1, f"{metric} {value:.4f}")
                yield point, value

        return search(
            settings.space, families if experiment.model.trainer == "closed_form" else one_by_one
        )


def _save_weights(model: Any, folder: Path) -> list[str]:
    from recbole_ext.weights import save_weights

    temporary = folder / ".weights.safetensors"
    try:
        save_weights(model, temporary)
    except HarnessError as error:
        return [f"weights not saved: {error}"]
    temporary.replace(folder / "weights.safetensors")
    return []


def write_ranks(table: RankTable, data: Interactions, path: Path) -> None:
    """The RankTable with tokens for ids, as parquet, atomically."""
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "user": pa.array([data.user_tokens[u] for u in table.user]).dictionary_encode(),
        "item": pa.array([data.item_tokens[i] for i in table.item]).dictionary_encode(),
        "above": table.above,
        "tied": table.tied,
        "negatives": table.negatives,
    }
    for name, (above, tied) in table.lists.items():
        columns[f"{name}_above"] = pa.array(above.tolist(), pa.list_(pa.int32(), above.shape[1]))
        columns[f"{name}_tied"] = pa.array(tied.tolist(), pa.list_(pa.int32(), tied.shape[1]))
    temporary = path.with_name(f".{path.name}")
    parquet.write_table(pa.table(columns), temporary, compression="zstd")
    temporary.replace(path)


def _text(experiment: Experiment, embeddings: Embeddings | None) -> dict[str, Any] | None:
    if experiment.texts is None or embeddings is None:
        return None
    fields, texts = experiment.texts
    return {
        "encoder": embeddings.encoder,
        "dim": int(embeddings.vectors.shape[1]),
        "fields": fields,
        "coverage": round(sum(bool(text) for text in texts) / len(texts), 4),
    }
