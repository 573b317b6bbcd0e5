"""Every model on data sets that break models: it ranks, or says in one line what to change; nothing hangs."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from recbole_ext.config import model_defaults
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.recbole_package import recbole_models
from recbole_ext.pipeline.training import rank_test
from recbole_ext.recbole_compat import recbole
from recbole_ext.registry import MODELS, find_model
from tests.problems import make_experiment, train

EVERY = (*MODELS, *(f"{name}@recbole" if name in MODELS else name for name in recbole_models()))
SECONDS = 60
SMALL = {
    "encoder": "hash:8",
    "epochs": 1,
    "eval_step": 1,
    "embedding_size": 8,
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "num_neg": 4,
    "mlp_hidden_size": "[8]",
    "MAX_ITEM_LIST_LENGTH": 5,
    "hidden_dimension": 8,
    "latent_dimension": 4,
    "encoder_hidden_size": "[8]",
    "n_enc_epochs": 1,
    "dims_dnn": "[8]",
    "block_num": 1,
    "n_iterations": 1,
    "gcn_output_dim": 8,
    "num_conv_kernel": 8,
    "n_experts": 2,
}
NEEDED = {
    "ConvNCF": {"embedding_size": 64},
    "FEARec": {"n_layers": 2},
}
"""What the small sizes must not be for a model."""
REMEDIES = ("leave that", "lower --", "raise --")
REFUSED_ON = ("a user with everything", "one item")
"""Where a model that draws negatives, or learns what follows what, cannot be trained; on the others all but `REFUSED` are."""
REFUSED = ("DGCF", "LINE", "BERT4Rec")
"""Of DGCF the sample of nodes is larger than the catalogue, LINE draws users without an item, BERT4Rec a batch without masks."""


def pairs(*of: tuple[int, range]) -> list[tuple[int, int]]:
    return [(user, item) for user, items in of for item in items]


def some(users: int, items: int, each: int = 5) -> list[tuple[int, range]]:
    """`each` items for each user, none of which all have."""
    return [(u, [(u * 3 + j) % items for j in range(each)]) for u in range(users)]


NASTY = {
    "a user with everything": (pairs(*some(8, 9), (8, range(9))), {"split": "global_time"}),
    "an item of everybody": (pairs(*((u, [0, *(1 + (u + j) % 8 for j in range(4))]) for u in range(8))), {"split": "global_time"}),
    "test users unseen in training": (pairs(*some(8, 9)), {"split": "global_time"}),
    "more users than pairs in a batch": (pairs(*some(12, 9)), {"train_batch_size": 8}),
    "one item": (pairs(*((u, [0]) for u in range(6))), {"split": "global_time"}),
}  # fmt: skip


def written(name, folder):
    found, _ = NASTY[name]
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for place, (user, item) in enumerate(found):
        time = 1000 + place if name.startswith("test users") else 1000 + (place * 7) % len(found)
        if name in ("a user with everything", "an item of everybody"):
            # What must be in training is early.
            time = 1 + place if (user == 8 or item == 0) else 1000 + (place * 7) % 101
        lines.append(f"u{user}\ti{item}\t{time}.5")
    titles = [f"i{item}\tlamp {item}" for item in sorted({item for _, item in found})]
    place = folder / "nasty"
    place.mkdir(parents=True, exist_ok=True)
    (place / "nasty.inter").write_text("\n".join(lines) + "\n")
    (place / "nasty.item").write_text("item_id:token\ttitle:token_seq\n" + "\n".join(titles) + "\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Steps as small as these wait longer for threads than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def nasty(tmp_path_factory):
    return {name: written(name, tmp_path_factory.mktemp("nasty")) for name in NASTY}


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """A step that ends, by force if need be; what takes its time once, the imports, is before it."""
    recbole()
    importlib.import_module("torch._dynamo")

    def stop(*_: object) -> None:
        raise TimeoutError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("data", NASTY)
@pytest.mark.parametrize("name", EVERY)
def test_it_ranks_or_says_in_one_line_what_to_change(name, data, nasty, tmp_path):
    if name == "NCL":
        pytest.importorskip("faiss", reason="NCL clusters with faiss, which is not installed")
    known = model_defaults(find_model(name)).params
    small = {**SMALL, **NEEDED.get(name, {}), **NASTY[data][1]}
    given = {k: v for k, v in small.items() if k in known or k == "split"}
    with within(SECONDS):
        try:
            experiment = make_experiment(name, "nasty", nasty[data], protocols="full", **given)
            table = rank_test(train(experiment, tmp_path), experiment.problem)
        except HarnessError as error:
            line = str(error)
            assert len(line.splitlines()) == 1 and any(said in line for said in REMEDIES), line
            assert data in REFUSED_ON or name in REFUSED, line
        else:
            assert len(table) == len(experiment.problem.test_task.pos_items)
