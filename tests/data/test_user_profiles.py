"""Files of user vectors: both forms reach the model in its order, and every mistake is one line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.user_profiles import UserProfiles
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

TOKENS = ["u", "v", "w"]


def written(path, users, vectors):
    if path.suffix == ".npz":
        np.savez(path, user=np.array(users), vector=np.array(vectors))
    else:
        pd.DataFrame({"user": users, "vector": list(vectors)}).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_vectors_come_back_in_the_order_of_the_data(kind, tmp_path):
    path = written(tmp_path / f"a.{kind}", ["w", "u", "v"], [[5.0, 6.0], [1.0, 2.0], [3.0, 4.0]])
    found = UserProfiles(path).read(TOKENS, "tiny")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("kind", ["npz", "parquet"])
@pytest.mark.parametrize(
    ("users", "vectors", "said"),
    [
        (["u", "v"], [[1.0], [2.0]], "1 of 3 users of tiny have no vector, first 'w'"),
        (["u", "v", "x"], [[1.0]] * 3, "1 rows name no users of tiny .* first 'x'; leave them out"),
        (["u", "v", "w", "v"], [[1.0]] * 4, "user 'v' has two vectors"),
        (
            TOKENS,
            [[1.0], [np.nan], [2.0]],
            "vector of user 'v' (holds NaN or infinity|lacks a number)",
        ),
        (TOKENS, [[1.0], [1e39], [2.0]], "vector of user 'v' holds NaN or infinity"),
        (
            TOKENS,
            ["a", "b", "c"],
            "'vector' (holds string; write a list|is <U1 of shape .* numbers)",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(kind, users, vectors, said, tmp_path):
    path = written(tmp_path / f"a.{kind}", users, vectors)
    with pytest.raises(HarnessError, match=f"^--user_profiles=.*{said}") as error:
        UserProfiles(path).read(TOKENS, "tiny")
    assert "\n" not in str(error.value)


def test_no_table_of_vectors_is_one_line(tmp_path):
    (tmp_path / "a.npz").write_text("no zip")
    np.savez(tmp_path / "b.npz", user=np.array(TOKENS))
    np.savez(tmp_path / "c.npz", user=np.array(TOKENS), vector=np.ones((2, 2)))
    pd.DataFrame({"user": TOKENS, "vector": [[1.0], [1.0, 2.0], [3.0]]}).to_parquet(
        tmp_path / "d.parquet"
    )
    (tmp_path / "e.csv").write_text("user,vector\n")
    for name, said in (
        ("a.npz", "it is no npz file; write it with .* user=.* vector="),
        ("b.npz", r"no array 'vector' \(it has user\)"),
        ("c.npz", "3 users and 2 vectors"),
        ("d.parquet", "that of user 'v' has 2 numbers, that of 'u' 1"),
        ("e.csv", r"must end in \.parquet or \.npz"),
        ("f.parquet", "there is no such file"),
        ("f.npz", "there is no such file"),
    ):
        with pytest.raises(HarnessError, match=f"^--user_profiles=.*{name}.*{said}"):
            UserProfiles(tmp_path / name).read(TOKENS, "tiny")


def asked(tiny_path, path, **given):
    return make_experiment(
        "RLMRecCon",
        "tiny",
        tiny_path,
        encoder="hash:4",
        user_profiles=path,
        embedding_size=4,
        **given,
    )


def test_a_model_reads_the_file_and_its_content_is_in_the_runs_identity(tiny_path, tmp_path):
    plain = make_experiment("RLMRecCon", "tiny", tiny_path, encoder="hash:4")
    users = plain.problem.data.user_tokens
    path = written(tmp_path / "p.npz", users[::-1], np.arange(4.0 * len(users)).reshape(-1, 4))
    one = asked(tiny_path, path)
    model, _ = Training(one, one.embeddings(), tmp_path).build(one.settings.params)
    assert torch.equal(model.text[1], torch.arange(4.0) + 4 * (len(users) - 1))
    assert (model.text[0] == 0).all() and (model.text[len(users)] == torch.arange(4.0)).all()
    assert "user_profiles" not in plain.fingerprints()
    before = one.run_id
    written(path, users, np.ones((len(users), 4)))
    assert asked(tiny_path, path).run_id != before
    narrow = asked(tiny_path, written(tmp_path / "n.npz", users, np.ones((len(users), 3))))
    with pytest.raises(HarnessError, match=r"3 numbers, those of the item texts \(hash:4\) have 4"):
        Training(narrow, narrow.embeddings(), tmp_path).build(narrow.settings.params)


def test_a_record_says_which_and_a_wrong_file_stops_before_any_work(tiny_path, tmp_path, capsys):
    common = [
        "--model=RLMRecCon", "--dataset=tiny", f"--data-path={tiny_path}", "--encoder=hash:4", "--epochs=3",
        f"--records={tmp_path / 'runs'}", "--protocols=full", "--threads=1", "--embedding_size=4",
    ]  # fmt: skip
    users = make_experiment("Pop", "tiny", tiny_path).problem.data.user_tokens
    path = written(tmp_path / "p.npz", users, np.random.default_rng(0).normal(size=(len(users), 4)))
    assert main(common) == 0 and main([*common, f"--user_profiles={path}"]) == 0
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").rglob("record.json")]
    assert {r["text"]["user_profiles"] for r in records} == {"mean of training items", "file p.npz"}
    written(path, users[1:], np.ones((len(users) - 1, 4)))
    capsys.readouterr()
    assert main([*common, f"--user_profiles={path}"]) != 0
    assert "have no vector" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 2
    with pytest.raises(HarnessError, match="--user_profiles=7: must be the path"):
        asked(tiny_path, 7).fingerprints()
