"""Files as people have them: what is read as it stands, what nobody reads is in nobody's way, and what it costs."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from recbole_ext.arguments import parse
from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.atomic import misfits, read_atomic
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.formats import bookcrossing, movielens
from recbole_ext.data.load import load_dataset
from recbole_ext.data.source import Supply
from recbole_ext.pipeline.plan import plan
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.results import read_record
from tests.data.test_build import ROWS, meta, place, reviews_2018

HEAD = "user_id:token\titem_id:token\ttimestamp:float\n"
PAIRS = [(f"u{u}", f"i{(u + j) % 9}", 10 * j + u) for u in range(8) for j in range(6)]
GOOD = HEAD + "".join(f"{u}\t{i}\t{t}\n" for u, i, t in PAIRS)
IDS = {"user_id": "id", "item_id": "id"}


def written(folder, content, name="mine", **others):
    """DIR/mine/mine.inter, and what else is given by its ending."""
    home = folder / name
    home.mkdir(exist_ok=True)
    for ending, text in {"inter": content, **others}.items():
        raw = text if isinstance(text, bytes) else text.encode()
        (home / f"{name}.{ending}").write_bytes(raw)
    return find_dataset(name, folder)


def tokens(path, kinds=None):
    return read_atomic(path, kinds or IDS).astype(object).to_numpy().tolist()


def test_a_nul_byte_in_text_is_in_nobodys_way(tmp_path):
    path = tmp_path / "a.item"
    path.write_text("item_id:token\ttitle:token_seq\ni1\tred\0 lamp\ni2\tchair\n")
    found = read_atomic(path, {"item_id": "id", "title": "text"})
    assert list(found["item_id"]) == ["i1", "i2"] and found["title"][0] == "red\0 lamp"


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    plain = load_dataset(written(tmp_path, GOOD), {})
    marked = load_dataset(written(tmp_path, b"\xef\xbb\xbf" + GOOD.encode(), "marked"), {})
    windows = load_dataset(written(tmp_path, GOOD.replace("\n", "\r\n"), "windows"), {})
    assert plain.fingerprint == marked.fingerprint == windows.fingerprint


def test_a_lone_cr_within_a_field_ends_no_row_and_shifts_no_line(tmp_path):
    text = "item_id:token\ttitle:token_seq\n\ni1\tred\rlamp\ni2\tblue\n"
    path = tmp_path / "x.item"
    path.write_bytes(text.encode())
    kinds = {"item_id": "id", "title": "text"}
    assert tokens(path, kinds) == [["i1", "red\rlamp"], ["i2", "blue"]]
    path.write_bytes((text + "\r\ni3\n").encode())
    with pytest.raises(HarnessError, match="line 6: 1 fields, but the header has 2"):
        read_atomic(path, kinds)


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_over_a_mebibyte_is_read(packed, tmp_path):
    long = "word " * 500_000
    raw = f"item_id:token\ttitle:token_seq\ni1\tshort\ni2\t{long}\ni3\tlast".encode()
    path = tmp_path / ("x.item.gz" if packed else "x.item")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert tokens(path, {"item_id": "id", "title": "text"}) == [
        ["i1", "short"],
        ["i2", long],
        ["i3", "last"],
    ]


def test_dates_are_times_in_utc_and_numbers_are_left_alone(tmp_path):
    times = [
        "1420070400",
        "2015-01-01",
        "2015-01-01 00:00:00",
        "2015-01-01T01:00:00+01:00",
        "2014-12-31T23:59:59.25Z",
        "",
    ]
    path = tmp_path / "x.inter"
    for kind in ("float", "token"):
        path.write_text(f"t:{kind}\tu:token\n" + "".join(f"{time}\tu\n" for time in times))
        found = read_atomic(path, {"t": "time"})["t"].tolist()
        assert found[:5] == [1420070400.0] * 4 + [1420070399.25] and np.isnan(found[5])


@pytest.mark.parametrize("value", ["—", "[3, 4]"])
def test_columns_that_nobody_reads_refuse_nothing_and_the_card_names_them(value, tmp_path, capsys):
    rows = [f"{u}\t{i}\t{t}\t5\n" for u, i, t in PAIRS] + [f"u0\ti8\t99\t{value}\n"]
    inter = HEAD.replace("\n", "\trating:float\n") + "".join(rows)
    items = "item_id:token\tprice:float\tsizes:float_seq\n" + "".join(
        f"i{i}\t{value if i in (4, 6) else i}\t1 2{' x y' * (i == 2)}\n" for i in range(9)
    )
    written(tmp_path, inter, item=items)
    home = ["--dataset=mine", f"--data-path={tmp_path}"]
    run = ["--model=Pop,EASE", "--protocols=full", f"--records={tmp_path / 'runs'}"]
    assert main([*run, *home]) == 0
    capsys.readouterr()
    assert main(["data", "card", "mine", home[1]]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if "not read" in line] == [
        f"rating:float not read: 1 values of mine.inter are no numbers, first '{value}' in line 50",
        f"price:float not read: 2 values of mine.item are no numbers, first '{value}' in line 6",
        "sizes:float_seq not read: 1 values of mine.item are no numbers, first '1 2 x y' in line 4",
    ]
    assert [of.count for of in misfits(tmp_path / "mine" / "mine.item")] == [2, 1]


def test_numbers_in_a_token_column_are_numbers_for_a_filter(tmp_path):
    rows = "".join(f"{u}\t{i}\t{n % 5 + 1}\n" for n, (u, i, _) in enumerate(PAIRS))
    spec = written(tmp_path, "user_id:token\titem_id:token\trating:token\n" + rows)
    data = load_dataset(spec, {"min_rating": 3})
    assert data.dropped["min_rating"] == sum(n % 5 + 1 < 3 for n in range(len(PAIRS)))


def test_columns_by_other_names_give_the_same_data_and_are_in_a_record_only_then(tmp_path, capsys):
    items = "sku:token\ttitle:token_seq\n" + "".join(f"i{i}\tlamp {i}\n" for i in range(9))
    plain = written(tmp_path, GOOD, item=items.replace("sku", "item_id"))
    other = GOOD.replace("user_id", "uid").replace("item_id", "sku").replace("timestamp", "ts")
    spec = written(tmp_path, other, "theirs", item=items)
    columns = {"user_id": "uid", "item_id": "sku", "timestamp": "ts"}
    one, two = load_dataset(plain, {}), load_dataset(spec, {"columns": columns})
    assert one.fingerprint == two.fingerprint and one.item_columns == two.item_columns
    records = tmp_path / "runs"
    for name, more in (
        ("mine", []),
        ("theirs", ["--columns={user_id: uid, item_id: sku, timestamp: ts}"]),
    ):
        argv = [f"--dataset={name}", f"--data-path={tmp_path}", f"--records={records}", *more]
        assert main(["--model=Pop", "--protocols=full", *argv]) == 0
    for path in records.glob("*/record.json"):
        record = read_record(path)
        asked = record.experiment["dataset"]
        assert asked["filters"].get("columns") == (columns if asked["name"] == "theirs" else None)
        assert experiment_of(record, tmp_path).run_id == record.run_id


def test_keys_of_a_dataset_whose_name_holds_a_dot(tmp_path):
    written(tmp_path, GOOD, "a.b")
    argv = ["--model=Pop", "--dataset=a.b", f"--data-path={tmp_path}", "--a.b.min_user=3"]
    assert plan(parse(argv)).problem.options["min_user"] == 3


BREAKS = [("U\t1", "B01"), ("U01", "B\r1"), ("U01\n", "B01"), ("U01\0", "B01"), ("U01", "")]


def test_ids_that_would_break_a_line_are_skipped_and_counted_in_every_format(tmp_path, capsys):
    official = tmp_path / "official"
    spoilt = [*ROWS, *((u, i or "\t", 5.0, 1_650_000_000) for u, i in BREAKS)]
    place(official, "Luxury_Beauty.json.gz", reviews_2018(spoilt))
    place(official, "meta_Luxury_Beauty.json.gz", meta("asin", {"B00": {"title": "x"}}))
    supply = Supply(tmp_path / "cache", source_dir=official)
    data = load_dataset(find_dataset("amazon-2018-Luxury_Beauty", None, supply), {})
    assert len(data) == len(ROWS)
    said = capsys.readouterr().err
    assert f"5 malformed interactions skipped (interaction {len(ROWS) + 1}: user 'U\\t1'" in said
    assert "set aside" not in said


def test_a_quote_that_nothing_closes_is_a_malformed_line(tmp_path, capsys):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        head = '"User-ID";"ISBN";"Book-Rating"\n'
        archive.writestr("BX-Book-Ratings.csv", head + "1;2;3\n" + '4;"5;6\n' + "x" * 200_000)
        archive.writestr("movies.csv", b"movieId,title,genres\n1,\xff,Drama\n")
    (batch,) = bookcrossing.interactions({"archive": path})
    assert batch.user == ["1"]
    assert "1 malformed lines skipped (line 4: " in capsys.readouterr().err
    (movie,) = movielens.items({"archive": path})
    assert movie["item_id"] == "1"


MEASURE = """
import json, resource, sys
from pathlib import Path
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.load import load_dataset
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
load_dataset(find_dataset("tiny", Path(sys.argv[1])), {})  # what is imported is not what is read
base = peak()
load_dataset(find_dataset("large", Path(sys.argv[1])), {})
print(json.dumps(peak() - base))
"""
FIXED = 32 << 20
"""Bytes that any file costs beside its own: blocks, and what allocators keep."""


def test_one_long_id_among_many_costs_no_more_than_the_file(tmp_path):
    rng = np.random.default_rng(0)
    pairs = zip(rng.integers(0, 20_000, 100_000), rng.integers(0, 5_000, 100_000), strict=True)
    rows = "".join(f"A{u:013d}\tB{i:09d}\t{t}\n" for t, (u, i) in enumerate(pairs))
    written(tmp_path, GOOD, "tiny")
    written(tmp_path, HEAD + rows + "x" * 2000 + "\ti\t1\n", "large")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    size = (tmp_path / "large" / "large.inter").stat().st_size
    assert json.loads(done.stdout) < 3 * size + FIXED
