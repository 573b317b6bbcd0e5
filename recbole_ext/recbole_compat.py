"""The only module that touches RecBole's internals, and that shims the stack under RecBole 1.2.1.

Data comes in as `Interactions` and a `Split`; what goes out is RecBole's own Config, Dataset, train loader, model and
Trainer, wired so that

* nothing reads `sys.argv`, evaluates strings, looks for files or writes a pickle;
* internal ids are canonical: id = index in `Interactions` + 1, and 0 is RecBole's padding;
* validation during training is ours (full precision, our ranks), while epochs, optimiser and early stopping are
  RecBole's.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.data.interactions import Interactions, Ints
from recbole_ext.data.splits import TEST, TRAIN, VALID, Split
from recbole_ext.errors import HarnessError

RECBOLE_VERSION = "1.2.1"
INSTALL_RECBOLE = f"pip install --no-deps recbole=={RECBOLE_VERSION}"
_KINDS = {"general_recommender": "general", "sequential_recommender": "sequential"}


def recbole_root() -> Path:
    """RecBole's folder, found without importing it.

    Raises:
        HarnessError: it is not installed, or another version is.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise HarnessError(f"RecBole is not installed; type: {INSTALL_RECBOLE}")
    version = importlib.metadata.version("recbole")
    if version != RECBOLE_VERSION:
        raise HarnessError(
            f"RecBole {version} is installed, {RECBOLE_VERSION} is needed; type: {INSTALL_RECBOLE}"
        )
    return Path(spec.origin).parent


@functools.cache
def recbole_models() -> dict[str, str]:
    """RecBole's models by name -> `general` or `sequential`; other kinds are not ranked by this harness."""
    root = recbole_root()
    kind_of = {
        path.stem: kind
        for folder, kind in _KINDS.items()
        for path in (root / "model" / folder).glob("*.py")
    }
    names = (path.stem for path in (root / "properties" / "model").glob("*.yaml"))
    return {name: kind_of[name.lower()] for name in sorted(names) if name.lower() in kind_of}


def bundled_ml_100k() -> Path:
    """Folder of the MovieLens-100K that RecBole carries."""
    return recbole_root() / "dataset_example" / "ml-100k"


@functools.cache
def recbole() -> ModuleType:
    """Import RecBole on today's stack.

    NumPy 2 dropped aliases and SciPy 1.11 dropped `dok_matrix._update`, both of which RecBole uses.
    """
    import scipy.sparse

    recbole_root()
    for name, now in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if name not in np.__dict__:
            setattr(np, name, now)
    if not hasattr(scipy.sparse.dok_matrix, "_update"):
        setattr(  # noqa: B010
            scipy.sparse.dok_matrix, "_update", lambda self, data: self._dict.update(data)
        )
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    # RecBole logs to the root logger; its tables and hints are not for our readers.
    logging.getLogger().addFilter(
        lambda entry: "recbole_ext" in entry.pathname or "/recbole/" not in entry.pathname
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (
            "config",
            "data",
            "data.dataset",
            "data.utils",
            "data.interaction",
            "trainer",
            "utils",
        ):
            importlib.import_module(f"recbole.{module}")
    trainer_module: Any = importlib.import_module("recbole.trainer.trainer")
    trainer_module.get_tensorboard = lambda logger: _NoTensorboard()
    return importlib.import_module("recbole")


class _NoTensorboard:
    """RecBole opens an event file in the working directory for every run; this one writes nothing."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None: ...

    def add_hparams(self, *args: Any, **kwargs: Any) -> None: ...


@dataclass(frozen=True)
class Bench:
    """What a model needs to be built and trained, all of it RecBole's."""

    config: Any
    dataset: Any
    """Training part. Has `item_vectors` [n_items + 1, d] (row 0 is padding) when the model reads text."""
    train_loader: Any
    built: tuple[Any, Any, Any] | None
    """RecBole's (train, valid, test) datasets; None for sequential models."""


def prepare(
    model: type | str,
    params: Mapping[str, Any],
    data: Interactions,
    split: Split,
    *,
    seed: int,
    device: str,
    scratch: Path,
    item_vectors: npt.NDArray[np.float32] | None = None,
) -> Bench:
    """Seed everything and build config, dataset and training loader.

    Args:
        model: a RecBole model subclass, or a RecBole model name.
        params: model and training parameters, already checked; they win over RecBole's files.
        data: interactions in canonical order.
        split: their parts.
        seed: of every random generator.
        device: `cpu` or `cuda`.
        scratch: a folder for whatever RecBole insists on creating.
        item_vectors: [n_items, d] text embeddings in item order, or None.
    """
    recbole()
    import torch
    from recbole.data.utils import create_samplers, get_dataloader
    from recbole.utils import ModelType, get_model, init_seed

    if isinstance(model, str):
        model = get_model(model)
    config = _config_class()(
        model=model,
        dataset=data.name,
        config_dict={
            **_fixed(seed, scratch),
            **params,
            "harness_device": device,
        },
    )
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    if sequential and data.time is None:
        raise HarnessError(
            f"{config['model']} reads histories in order, but {data.name} has no timestamp column"
        )
    init_seed(seed, True)
    dataset = _dataset_class(sequential)(config, data, split)
    built = dataset.build()
    if item_vectors is not None:
        padded = np.vstack([np.zeros((1, item_vectors.shape[1]), np.float32), item_vectors])
        for part in built:
            part.item_vectors = torch.from_numpy(padded)
    sampler, _, _ = create_samplers(config, dataset, built)
    loader = get_dataloader(config, "train")(config, built[0], sampler, shuffle=config["shuffle"])
    return Bench(config, built[0], loader, None if sequential else (built[0], built[1], built[2]))


def _fixed(seed: int, scratch: Path) -> dict[str, Any]:
    """Settings that are ours to fix: everything around the model that RecBole would read from its files."""
    return {
        "seed": seed,
        "reproducibility": True,
        "state": "WARNING",
        "show_progress": False,
        "checkpoint_dir": str(scratch),
        "data_path": str(scratch),
        "normalize_all": False,
        "eval_args": {
            "split": {"RS": [0.8, 0.1, 0.1]},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
        "metrics": ["Recall"],
        "topk": [20],
        "valid_metric": "Recall@20",
        "metric_decimal_place": 10,
    }


@functools.cache
def _config_class() -> type:
    import torch
    from recbole.config import Config
    from recbole.data.utils import get_dataloader
    from recbole.utils import ModelType

    class HarnessConfig(Config):  # type: ignore[misc]
        """RecBole's Config fed by one dictionary: no command line, no eval of strings, no mutation of arguments."""

        def _load_cmd_line(self) -> dict[str, Any]:
            return {}

        def _load_variable_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
            return dict(config_dict)

        def _set_default_parameters(self) -> None:
            final = self.final_config_dict
            final["repeatable"] = final["MODEL_TYPE"] == ModelType.SEQUENTIAL
            full_softmax = final["repeatable"] and final.get("loss_type") == "CE"
            final.setdefault("eval_args", {})
            final["model"] = self.model
            # Loaders of whole user rows and the full softmax take no sampled negatives; RecBole's default would raise.
            if full_softmax or get_dataloader(self, "train").__name__ == "UserDataLoader":
                final["train_neg_sample_args"] = None
            super()._set_default_parameters()

        def _init_device(self) -> None:
            # RecBole's own would overwrite CUDA_VISIBLE_DEVICES, which a scheduler may have set.
            self.final_config_dict.update(
                single_spec=True,
                local_rank=0,
                device=torch.device(self.final_config_dict.pop("harness_device")),
            )

    return HarnessConfig


@functools.cache
def _dataset_class(sequential: bool) -> type:
    import pandas as pd
    from recbole.data import dataset as datasets
    from recbole.utils import FeatureSource, FeatureType

    parent = datasets.SequentialDataset if sequential else datasets.Dataset

    class HarnessDataset(parent):  # type: ignore[misc, valid-type]
        """RecBole's Dataset filled from memory, with canonical ids and our split."""

        def __init__(self, config: Any, data: Interactions, split: Split) -> None:
            self._given = data, split
            super().__init__(config)
            del self._given

        def _load_data(self, token: str, dataset_path: str) -> None:
            data, split = self._given
            # Sequential models build their prefixes from what they may train on, and from nothing else.
            rows = (
                np.flatnonzero(split.part == TRAIN)
                if sequential
                else np.argsort(split.part, kind="stable")
            )
            columns: dict[str, npt.NDArray[Any]] = {
                self.uid_field: data.user[rows] + 1,
                self.iid_field: data.item[rows] + 1,
            }
            for field in columns:
                self.set_field_property(field, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
            if data.time is not None:
                columns[self.time_field] = data.time[rows]
                self.set_field_property(
                    self.time_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1
                )
            self.inter_feat = pd.DataFrame(columns)
            self.user_feat = self.item_feat = None
            self.file_size_list = [int((split.part == part).sum()) for part in (TRAIN, VALID, TEST)]

        def _data_filtering(self) -> None:
            """Filters have run; see `recbole_ext.data.interactions`."""

        def _remap_ID_all(self) -> None:
            data, _ = self._given
            for field, tokens in (
                (self.uid_field, data.user_tokens),
                (self.iid_field, data.item_tokens),
            ):
                names = np.array(["[PAD]", *tokens])
                self.field2id_token[field] = names
                self.field2token_id[field] = {token: i for i, token in enumerate(names)}

        def _fill_nan(self) -> None:
            """Nothing is missing; RecBole's version writes to a copy under pandas 3."""

        def build(self) -> list[Any]:
            self._change_feat_format()
            if sequential:
                return [self.copy(self.inter_feat)] * 3
            ends = np.cumsum(self.file_size_list)
            return [
                self.copy(self.inter_feat[int(end - size) : int(end)])
                for size, end in zip(self.file_size_list, ends, strict=True)
            ]

    return HarnessDataset


def build_model(model: type | str, bench: Bench) -> Any:
    """The model on its device. RecBole's own models are found by name."""
    from recbole.utils import get_model

    cls = get_model(model) if isinstance(model, str) else model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cls(bench.config, bench.dataset).to(bench.config["device"])


def score_function(
    model: Any, bench: Bench, data: Interactions, history: tuple[Ints, Ints]
) -> Callable[[Ints], Any]:
    """users [B] -> scores [B, n_items] of every item, without RecBole's padding column.

    Args:
        model: trained.
        bench: what it was built from.
        data: the interactions.
        history: (user, item) pairs that a sequential model may see, ordered here by time; general models carry their
            training history with them.
    """
    import torch
    from recbole.data.interaction import Interaction
    from recbole.utils import ModelType

    config, n_items = bench.config, len(data.item_tokens)
    device = config["device"]
    sequences = (
        _Sequences(config, data, history) if config["MODEL_TYPE"] == ModelType.SEQUENTIAL else None
    )

    def interaction_of(users: Ints) -> Any:
        columns = {config["USER_ID_FIELD"]: torch.from_numpy(users + 1)}
        if sequences is not None:
            columns.update(sequences.of(users))
        return Interaction(columns).to(device)

    @torch.no_grad()
    def scores(users: Ints) -> Any:
        model.eval()
        batch = interaction_of(users)
        try:
            found = model.full_sort_predict(batch)
        except NotImplementedError:
            found = _score_pairs(model, batch, config["ITEM_ID_FIELD"], n_items + 1)
        return found.view(len(users), n_items + 1)[:, 1:]

    return scores


def _score_pairs(model: Any, batch: Any, item_field: str, n_items: int) -> Any:
    """[B * n_items] scores of a model that only knows `predict`."""
    import torch

    rows = []
    for row in range(len(batch)):
        pairs = batch[row : row + 1].repeat(n_items)
        pairs.update(
            {item_field: torch.arange(n_items, device=pairs[next(iter(pairs.interaction))].device)}
        )
        rows.append(model.predict(pairs))
    return torch.cat(rows)


class _Sequences:
    """Each user's latest items, right-padded with 0, in the columns that RecBole's sequential models read."""

    def __init__(self, config: Any, data: Interactions, history: tuple[Ints, Ints]) -> None:
        assert data.time is not None
        longest = config["MAX_ITEM_LIST_LENGTH"]
        self.item_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        n = len(data.item_tokens)
        keys = data.user * n + data.item  # ascending: rows are in canonical order
        rows = np.searchsorted(keys, history[0] * n + history[1])
        order = np.lexsort((data.item[rows], data.time[rows], data.user[rows]))
        user, item = data.user[rows][order], data.item[rows][order]
        length = np.bincount(user, minlength=len(data.user_tokens))
        place = np.arange(len(user)) - (np.cumsum(length) - length)[user]
        skipped = np.maximum(length - longest, 0)  # older items than the model can hold
        kept = place >= skipped[user]
        self.items = np.zeros((len(length), longest), dtype=np.int64)
        self.items[user[kept], (place - skipped[user])[kept]] = item[kept] + 1
        self.lengths = np.minimum(length, longest)

    def of(self, users: Ints) -> dict[str, Any]:
        import torch

        return {
            self.item_field: torch.from_numpy(self.items[users]),
            # A user without history is given length 1 over the padding item, as RecBole's gather needs an index.
            self.length_field: torch.from_numpy(np.maximum(self.lengths[users], 1)),
        }


def make_trainer(bench: Bench, model: Any, validate: Callable[[], float]) -> Any:
    """RecBole's trainer for this model, validating by `validate` and keeping the best weights in memory.

    Args:
        bench: what the model was built from.
        model: to be trained.
        validate: the validation score, larger is better; called by RecBole every `eval_step` epochs.
    """
    from recbole.utils import get_trainer

    parent = get_trainer(bench.config["MODEL_TYPE"], bench.config["model"])

    class HarnessTrainer(parent):  # type: ignore[misc, valid-type]
        best_state: tuple[dict[str, Any], dict[str, Any]] | None = None

        def _valid_epoch(
            self, valid_data: Any, show_progress: bool = False
        ) -> tuple[float, dict[str, float]]:
            score = validate()
            return score, {"score": score}

        def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
            state = {
                name: value.detach().cpu().clone()
                for name, value in self.model.state_dict().items()
            }
            self.best_state = state, _copied(self.model.other_parameter())

        def run(self, loader: Any, tick: Callable[[float], None]) -> tuple[float, int]:
            """Train with early stopping and put the best weights back: (best validation score, epochs trained)."""
            self.fit(
                loader,
                valid_data=True,
                verbose=False,
                saved=True,
                show_progress=False,
                callback_fn=lambda epoch, score: tick(score),
            )
            if self.best_state is not None:
                self.model.load_state_dict(self.best_state[0])
                self.model.load_other_parameter(self.best_state[1])
            return float(self.best_valid_score), len(self.train_loss_dict)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = HarnessTrainer(bench.config, model)
    return trainer


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.clone() if hasattr(value, "clone") else value for name, value in values.items()
    }
