"""CTRL: what its first stage contrasts, what that stage trains, and that the second is DIN's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.training import Training, score_test
from recbole_ext.testing.tiny_data import labelled, write_tiny
from recbole_ext.trainer.setup import Fitted
from tests.problems import make_experiment

SMALL = {"embedding_size": 12, "align_size": 5, "align_batch_size": 16, "align_epochs": 2, "epochs": 2,
         "train_batch_size": 64, "learning_rate": 0.01, "MAX_ITEM_LIST_LENGTH": 3}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Labelled rows with times and titles; the first item has none."""
    folder = labelled(write_tiny(tmp_path_factory.mktemp("ctrl")), "tiny")
    path = folder / "tiny" / "tiny.item"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, first.split("\t")[0] + "\t", *rest]) + "\n")
    return folder


def experiment(data, name="CTRL", **given):
    given = {**SMALL, "encoder": "hash:8", "keep_label": "true", "threads": 1, **given}
    if name == "DIN":
        given = {key: v for key, v in given.items() if not key.startswith(("align", "enc", "tau"))}
    return make_experiment(name, "tiny", data, **given)


def built(of, scratch):
    return Training(of, of.embeddings(), scratch).build(of.settings.params)


def trained(of, scratch):
    training = Training(of, of.embeddings(), scratch, scratch / "records")
    return training.fit(of.settings.params, "test")


def rows_of(model, count=24):
    chosen = slice(0, count)
    label = torch.from_numpy(model.label[chosen]).float()
    user, item, row = (torch.from_numpy(of[chosen]) for of in (model.user, model.item, model.row))
    return user, item, label, row


def test_the_text_of_a_row_is_the_mean_of_its_history_and_its_target(data, tmp_path):
    of = experiment(data)
    model, bench = built(of, tmp_path)
    _, item, _, row = rows_of(model, 60)
    fast = model.text_of(item, row)
    raw = bench.dataset.item_vectors.double().numpy()
    unit = [v / np.linalg.norm(v) if v.any() else v for v in raw]
    lengths = set()
    for place, (target, at) in enumerate(zip(item.tolist(), row.tolist(), strict=True)):
        before = (model.histories.of(at)[-3:] + 1).tolist()
        lengths.add(len(before))
        mean = sum((unit[i] for i in before), np.zeros(8)) / max(1, len(before))
        slow = np.concatenate([mean, unit[target]])
        # Single precision, at most three unit vectors.
        np.testing.assert_allclose(fast[place].double().numpy(), slow, atol=1e-6)
    assert {0, 1, 3} <= lengths


def test_the_first_loss_is_that_of_a_loop_over_both_directions(data, tmp_path):
    model, _ = built(experiment(data, tau=0.3), tmp_path)
    batch = user, item, _, row = rows_of(model)
    model.eval()
    with torch.no_grad():
        fast = float(model.align_loss(batch))
        side = model.of_sample(model.sample(user, item, row)).double().numpy()
        text = model.of_text(model.text_of(item, row)).double().numpy()
    b, total = len(user), 0.0
    for i in range(b):
        for one, two in ((side, text), (text, side)):
            cosines = [one[i] @ two[j] / np.linalg.norm(one[i]) / np.linalg.norm(two[j]) for j in range(b)]  # fmt: skip
            powers = [np.exp(c / 0.3) for c in cosines]
            total -= np.log(powers[i] / sum(powers))
    # Single precision over 24 rows.
    assert fast == pytest.approx(total / (2 * b), rel=1e-5)


def test_labels_do_not_enter_the_first_loss_and_one_row_alone_teaches_nothing(data, tmp_path):
    model, _ = built(experiment(data), tmp_path)
    user, item, label, row = rows_of(model)
    with torch.no_grad():
        model.eval()
        one, two = (model.align_loss((user, item, y, row)) for y in (label, 1 - label))
    assert torch.equal(one, two)
    model.train()
    alone = model.align_loss(tuple(of[:1] for of in (user, item, label, row)))
    assert float(alone.detach()) == pytest.approx(0.0, abs=1e-6)


def test_each_stage_trains_what_it_names_and_the_first_lowers_its_loss(data, tmp_path):
    of = experiment(data, align_epochs=8, align_learning_rate=0.01)
    model, _ = built(of, tmp_path / "a")
    align, tune = model.stages()
    assert align.name == "align" and tune.name == "fine-tune" and tune.after == ("align",)
    assert set(tune.trainable) == {"users", "items", "liked", "attention", "head"}
    assert "head" not in align.trainable and align.validate is None and tune.validate is not None
    fitted = trained(of, tmp_path / "b")
    start, end = model.state_dict(), fitted.model.state_dict()
    assert not torch.equal(start["of_text.weight"], end["of_text.weight"])
    assert not torch.equal(start["head.0.weight"], end["head.0.weight"])
    folders = (tmp_path / "b" / "records" / ".stages").glob("*/stage.json")
    told = {(facts := json.loads(path.read_text()))["stage"]: facts for path in folders}
    assert told["align"]["epochs"] == 8 and set(told) == {"align", "fine-tune"}
    batch = rows_of(model, 40)
    with torch.no_grad():
        before = float(model.eval().align_loss(batch))
        aligned, _ = built(experiment(data), tmp_path / "c")
        from safetensors.torch import load_file

        path = next(p for p in (tmp_path / "b" / "records" / ".stages").glob("*/weights.safetensors")
                    if json.loads((p.parent / "stage.json").read_text())["stage"] == "align")  # fmt: skip
        aligned.load_state_dict(load_file(path), strict=False)
        after = float(aligned.eval().align_loss(batch))
    assert after < before - 0.1


def test_without_the_first_stage_it_is_din(data, tmp_path):
    """The same start of the shared modules, the same rows in the same order: the same scores."""
    own, plain = experiment(data, align_epochs=0), experiment(data, "DIN")
    model, bench = built(own, tmp_path / "a")
    din, other = built(plain, tmp_path / "b")
    assert [stage.name for stage in model.stages()] == ["fine-tune"]
    model.load_state_dict(din.state_dict(), strict=False)
    model.eval(), din.eval()
    one, two = (
        score_test(Fitted(m, b, float("nan"), None), e).scored.score
        for m, b, e in ((model, bench, own), (din, other, plain))
    )
    np.testing.assert_array_equal(one, two)
    for side in (
        model.of_sample,
        model.of_text,
    ):  # as the stage does, so that no penalty is on them
        side.requires_grad_(False)
    batch = rows_of(model)
    assert torch.equal(model.loss(batch), din.loss(batch))


def test_text_moves_the_result_and_data_without_it_is_one_line(data, tmp_path):
    one = trained(experiment(data), tmp_path / "a")
    two = trained(experiment(data, encoder="hash:9"), tmp_path / "b")
    assert not torch.equal(one.model.state_dict()["items.weight"], two.model.state_dict()["items.weight"])  # fmt: skip
    bare = labelled(write_tiny(tmp_path / "bare"), "tiny")
    (bare / "tiny" / "tiny.item").unlink()
    with pytest.raises(HarnessError, match="CTRL reads item text"):
        experiment(bare).fingerprints()
