"""Item vectors from a file: what is looked up, what is said, and every file that is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.results import read_record
from recbole_ext.testing import write_tiny
from recbole_ext.text import VectorFile, embed, look_up, make_encoder, vectors
from tests.problems import make_experiment

ROWS = [[1.0, 2.0], [3.0, 4.0], [0.5, -1.0]]


def parquet(path: Path, items: Any, vectors: Any, kind: Any = None, item: str = "item") -> Path:
    """A file of two columns; `kind` is the vectors' type."""
    columns = {
        item: items if isinstance(items, pa.Array) else pa.array(items),
        "vector": pa.array(vectors, kind or pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def npz(path: Path, items: Any, vectors: Any) -> Path:
    np.savez(path, items=items, vectors=vectors)
    return path


def refused(path: Path | str, tokens: Sequence[str] = ("a", "b")) -> str:
    with pytest.raises(HarnessError) as caught:
        VectorFile.at(str(path)).of(tokens)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(f"encoder file:{path}: ")
    return line


WRITERS = {
    "lists": lambda p, items, rows: parquet(p / "v.parquet", items, rows),
    "doubles of fixed size": lambda p, items, rows: parquet(
        p / "v.parquet", items, rows, pa.list_(pa.float64(), 2)
    ),
    "long lists": lambda p, items, rows: parquet(
        p / "v.PARQUET", items, rows, pa.large_list(pa.float32())
    ),
    "item_id": lambda p, items, rows: parquet(p / "v.parquet", items, rows, item="item_id"),
    "a dictionary": lambda p, items, rows: parquet(
        p / "v.parquet", pa.array(items).dictionary_encode(), rows
    ),
    "npz": lambda p, items, rows: npz(p / "v.npz", np.array(items, dtype=str), np.array(rows)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_rows_are_in_the_order_of_the_tokens_whatever_wrote_them(writer: str, tmp_path: Path):
    path = WRITERS[writer](tmp_path, ["c", "a", "x"], ROWS)
    found = VectorFile.at(str(path)).of(["a", "b", "c"])
    np.testing.assert_array_equal(found.vectors, np.float32([[3, 4], [0, 0], [1, 2]]))
    assert found.vectors.dtype == np.float32
    assert found.known.tolist() == [True, False, True]
    assert (found.lacking, found.foreign) == ("b", 1)


@pytest.mark.parametrize(
    "items", [pa.array([7, 10]), pa.array(["7", "10"]), pa.array(["7", "10"], pa.large_string())]
)
def test_numbers_are_tokens_as_they_are_spelled(items: pa.Array, tmp_path: Path):
    path = parquet(tmp_path / "v.parquet", items, ROWS[:2])
    assert VectorFile.at(str(path)).of(["10", "07"]).vectors.tolist() == [[3, 4], [0, 0]]
    stored = npz(tmp_path / "v.npz", np.array([7, 10]), np.array(ROWS[:2]))
    assert VectorFile.at(str(stored)).of(["10", "07"]).vectors.tolist() == [[3, 4], [0, 0]]


@settings(deadline=None)
@given(st.data())
def test_a_lookup_is_that_of_a_dictionary(tmp_path_factory: Any, data: Any):
    token = st.text("ab:1é", min_size=1, max_size=3)
    items = data.draw(st.lists(token, min_size=1, max_size=8, unique=True))
    others = data.draw(st.lists(token, max_size=8, unique=True))
    tokens = list(dict.fromkeys([items[0], *others]))
    rows = np.arange(1, 3 * len(items) + 1, dtype=np.float32).reshape(-1, 3)
    path = parquet(tmp_path_factory.mktemp("v") / "v.parquet", items, rows.tolist())
    found = VectorFile.at(str(path)).of(tokens)
    slow = dict(zip(items, rows.tolist(), strict=True))
    assert found.vectors.tolist() == [slow.get(t, [0.0] * 3) for t in tokens]
    assert found.foreign == len(set(items) - set(tokens))
    assert found.known.tolist() == [t in slow for t in tokens]


def test_what_does_not_meet_is_told_and_what_does_is_not(tmp_path: Path):
    path = npz(tmp_path / "v.npz", np.array(["a", "x", "y"]), np.array(ROWS))
    file = VectorFile.at(str(path))
    _, told = look_up(["a", "b", "c"], file)
    assert told == (
        "file:v.npz: 2 of 3 items have no vector (zeros), e.g. 'b'; 2 vectors are of no item here"
    )
    assert look_up(["a", "x", "y"], file)[1] == ""
    assert look_up(["a", "x"], file)[1] == "file:v.npz: 1 vector is of no item here"
    assert look_up(["a", "x", "y", "z"], file)[1] == (
        "file:v.npz: 1 of 4 items has no vector (zeros), e.g. 'z'"
    )


def test_the_content_is_the_fingerprint_and_a_record_holds_no_folder(tmp_path: Path):
    path = npz(tmp_path / "v.npz", np.array(["a"]), np.array(ROWS[:1]))
    encoder = make_encoder(f"file:{path}")
    assert encoder.name == "file:v.npz"
    assert encoder.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "copies").mkdir()
    copy = tmp_path / "copies" / "w.npz"
    copy.write_bytes(path.read_bytes())
    assert make_encoder(f"file:{copy}").fingerprint == encoder.fingerprint
    npz(path, np.array(["a"]), np.array(ROWS[1:2]))
    assert make_encoder(f"file:{path}").fingerprint != encoder.fingerprint


def test_no_text_is_encoded(tmp_path: Path):
    encoder = make_encoder(f"file:{npz(tmp_path / 'v.npz', np.array(['a']), np.array(ROWS[:1]))}")
    with pytest.raises(HarnessError, match="none can be made of a text or a query"):
        embed(["a"], encoder, tmp_path)


def test_names_of_files_that_are_none(tmp_path: Path):
    assert "there is no such file" in refused(tmp_path / "v.npz")
    assert "must end in .parquet or .npz" in refused(tmp_path / "v.csv")
    (tmp_path / "d.parquet").mkdir()
    assert "there is no such file" in refused(tmp_path / "d.parquet")
    with pytest.raises(HarnessError, match=r"write file:<\.\.\.>"):
        make_encoder("file:")
    with pytest.raises(HarnessError, match="pooling=last is for lm:"):
        make_encoder(f"file:{tmp_path / 'v.npz'}", pooling="last")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("items", "rows", "said"),
    [
        (["a", "b", "a"], ROWS, "item 'a' has two vectors"),
        (["a", "b", "a"], [ROWS[0], ROWS[1], ROWS[0]], "item 'a' has two vectors"),
        (["a", "b", "c"], [[1.0, NAN], [2.0, 1.0], [INF, 1.0]], "of item 'a', and 1 more holds NaN or infinity"),
        (["a", "b", "c"], [[1.0, 2.0], [2.0, -INF], [1.0, 1.0]], "of item 'b' holds NaN or infinity"),
        (["x", "y", "z"], ROWS, "none of its 3 items is one of this dataset's 2: it has e.g. 'x', the dataset e.g. 'a'"),
        (["a", "b", "c"], [[], [], []], "it has no vectors"),
        ([], [], "it has no vectors"),
    ],
)  # fmt: skip
def test_content_that_is_refused_in_both_forms(
    items: list[str], rows: list[list[float]], said: str, tmp_path: Path
):
    path = parquet(tmp_path / "v.parquet", pa.array(items, pa.string()), rows)
    assert said in refused(path)
    shape = (len(rows), -1 if rows and rows[0] else 0)
    path = npz(tmp_path / "v.npz", np.array(items, dtype=str), np.reshape(np.array(rows), shape))
    assert said in refused(path)


def test_a_number_beyond_single_precision_is_infinite(tmp_path: Path):
    path = npz(tmp_path / "v.npz", np.array(["a", "b"]), np.array([[1.0, 1.0], [1e300, 0.0]]))
    assert "of item 'b' holds NaN or infinity" in refused(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"itm": ["a"], "vector": [[1.0]]}, ["no column 'item' (it has itm, vector)", "did you mean"]),
        ({"item": ["a"], "embedding": [[1.0]]}, ["no column 'vector' (it has item, embedding)"]),
        ({"item": ["a"], "vector": [1.0]}, ["column 'vector' holds double", "a list of float"]),
        ({"item": ["a"], "vector": [["1"]]}, ["lists of string", "lists of float"]),
        ({"item": [1.5], "vector": [[1.0]]}, ["column 'item' holds double", "as text"]),
        ({"item": ["a", None], "vector": [[1.0], [1.0]]}, ["1 rows that name no item"]),
        ({"item": ["a", "b"], "vector": [[1.0], None]}, ["item 'b' has no vector"]),
        ({"item": ["a", "b"], "vector": [[1.0, 2.0], [1.0, None]]}, ["vector of item 'b' lacks a number"]),
        ({"item": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, ["item 'b' has 2 numbers", "'a' 1"]),
    ],
)  # fmt: skip
def test_parquet_files_that_are_refused(columns: dict[str, Any], said: list[str], tmp_path: Path):
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    line = refused(tmp_path / "v.parquet")
    for words in said:
        assert words in line


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"items": np.array(["a"], dtype=object), "vectors": np.ones((1, 2))}, ["'items'", "numpy.savez(PATH, items="]),
        ({"items": np.array(["a"]), "vectors": np.array([[1.0], None], dtype=object)}, ["'vectors'", "not opened"]),
        ({"items": np.array(["a"])}, ["no array 'vectors' (it has items)"]),
        ({"item": np.array(["a"]), "vectors": np.ones((1, 2))}, ["no array 'items'", "did you mean item"]),
        ({"items": np.array(["a"]), "vectors": np.ones((2, 2))}, ["1 items and 2 vectors"]),
        ({"items": np.array([["a"]]), "vectors": np.ones((1, 2))}, ["of shape (1, 1)"]),
        ({"items": np.array([1.5]), "vectors": np.ones((1, 2))}, ["'items' is float64"]),
        ({"items": np.array(["a"]), "vectors": np.ones(1)}, ["write [n, d] numbers"]),
        ({"items": np.array(["a"]), "vectors": np.array([["1"]])}, ["'vectors' is <U1"]),
    ],
)  # fmt: skip
def test_npz_files_that_are_refused(arrays: dict[str, Any], said: list[str], tmp_path: Path):
    np.savez(tmp_path / "v.npz", **arrays)
    line = refused(tmp_path / "v.npz")
    for words in said:
        assert words in line


def test_files_of_another_kind_and_cut_ones_are_refused_and_nothing_pickled_is_opened(
    tmp_path: Path,
):
    class Opened:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "opened",))

    whole = npz(tmp_path / "v.npz", np.array(["a"]), np.ones((1, 3))).read_bytes()
    for content in (b"", b"text", pickle.dumps(Opened()), whole[: len(whole) // 2]):
        (tmp_path / "v.npz").write_bytes(content)
        assert "no npz file" in refused(tmp_path / "v.npz")
        (tmp_path / "v.parquet").write_bytes(content)
        assert "no readable parquet file" in refused(tmp_path / "v.parquet")
    spoilt = bytearray(whole)
    spoilt[len(whole) // 3] ^= 255
    (tmp_path / "v.npz").write_bytes(spoilt)
    assert "npz" in refused(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", items=np.array(["a"]), vectors=np.array([[Opened()]]))
    assert "not opened" in refused(tmp_path / "v.npz")
    assert not (tmp_path / "opened").exists()


# --- with a dataset ------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Tiny data whose items have no text."""
    path = write_tiny(tmp_path / "data")
    (path / "tiny" / "tiny.item").unlink()
    return path


def vectors_of(path: Path, tokens: Sequence[str], seed: int = 0) -> Path:
    rows = np.random.default_rng(seed).normal(size=(len(tokens), 6))
    return npz(path, np.array(tokens, dtype=str), rows)


def test_data_without_text_will_do_and_only_the_vectors_are_read(bare: Path, tmp_path: Path):
    plain = make_experiment("L3AE", "tiny", bare, encoder="hash:8", protocols="full")
    with pytest.raises(HarnessError, match="L3AE reads item text"):
        plain.fingerprints()
    tokens = plain.problem.data.item_tokens
    path = vectors_of(tmp_path / "v.npz", tokens[1:])
    of = make_experiment("L3AE", "tiny", bare, encoder=f"file:{path}", protocols="full")
    assert set(of.fingerprints()) == {"data", "split", "encoder"}
    found = of.embeddings()
    assert found is not None and found.encoder == "file:v.npz" and found.seconds == 0.0
    assert not found.vectors[0].any() and found.vectors[1:].any(axis=1).all()
    before = of.run_id
    vectors_of(tmp_path / "v.npz", tokens[1:], seed=1)
    again = make_experiment("L3AE", "tiny", bare, encoder=f"file:{path}", protocols="full")
    assert again.run_id != before


def test_a_run_says_what_lacks_a_vector_and_its_record_what_was_read(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tokens = make_experiment("Pop", "tiny", bare).problem.data.item_tokens
    path = vectors_of(tmp_path / "v.npz", [*tokens[1:], "elsewhere"])
    argv = ["--model=CosineText", "--dataset=tiny", f"--data-path={bare}", "--protocols=full", "--threads=1",
            f"--encoder=file:{path}", f"--records={tmp_path / 'runs'}", "--json"]  # fmt: skip
    assert main(argv) == 0
    out = capsys.readouterr()
    n = len(tokens)
    line = f"file:v.npz: 1 of {n} items has no vector (zeros), e.g. '{tokens[0]}'; 1 vector is of no item here"
    assert out.err.count(line) == 1
    written = json.loads(out.out.strip().splitlines()[-1])
    record = read_record(tmp_path / "runs" / written["run_id"] / "record.json")
    assert record.text == {
        "encoder": "file:v.npz", "dim": 6, "fields": {}, "coverage": round(1 - 1 / n, 4)
    }  # fmt: skip
    assert record.fingerprints["encoder"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "text" not in record.fingerprints
    show = ["show", "--model=CosineText", "--dataset=tiny", f"--data-path={bare}", f"--records={tmp_path / 'runs'}"]  # fmt: skip
    user = make_experiment("Pop", "tiny", bare).problem.data.user_tokens[0]
    assert main([*show, f"--user={user}"]) == 0
    vectors_of(path, tokens, seed=3)
    assert main([*show, f"--user={user}"]) == 2
    assert "was trained with another encoder" in capsys.readouterr().err


def test_a_file_is_hashed_and_read_once_for_all_models_of_a_command(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tokens = make_experiment("Pop", "tiny", bare).problem.data.item_tokens
    path, asked = vectors_of(tmp_path / "v.npz", tokens), list[str]()
    for name in ("digest_of", "read_by_token"):
        real = getattr(vectors, name)
        monkeypatch.setattr(
            vectors, name, lambda *args, real=real, name=name: asked.append(name) or real(*args)
        )
    argv = ["--model=CosineText,SemanticEASE", "--dataset=tiny", f"--data-path={bare}", "--protocols=full", "--threads=1",
            "--refit=true", "--exclude=train+valid", f"--encoder=file:{path}", f"--records={tmp_path / 'runs'}"]  # fmt: skip
    assert main(argv) == 0
    assert sorted(asked) == ["digest_of", "read_by_token"]


def test_a_query_cannot_be_encoded_and_a_wrong_file_stops_before_any_model(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    problem = make_experiment("Pop", "tiny", bare).problem
    path = vectors_of(tmp_path / "v.npz", problem.data.item_tokens)
    common = ["--dataset=tiny", f"--data-path={bare}", f"--records={tmp_path / 'runs'}"]
    argv = [*common, "--protocols=full", "--threads=1", f"--encoder=file:{path}"]
    assert main(["--model=AlphaRec", *argv, "--epochs=1", "--num_neg=2"]) == 0
    user = problem.data.user_tokens[0]
    assert main(["show", "--model=AlphaRec", *common, f"--user={user}", "--query=a lamp"]) == 2
    assert "none can be made of a text or a query" in capsys.readouterr().err
    vectors_of(path, ["not", "here"])
    assert main(["--model=Pop,CosineText", *argv]) == 2
    said = capsys.readouterr().err
    assert "none of its 2 items is one of this dataset's" in said and "Pop: seed" not in said
    assert main(["--model=AlphaRec", *argv[1:], "--dataset=tiny", "--train=ml-100k"]) == 2
    assert "one file of vectors cannot tell items of several datasets apart" in (
        capsys.readouterr().err
    )
