"""Bad data, through the command line: one line with the file, the line and what to do, and nothing run."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import pytest

from recbole_ext.cli import main
from tests.cli.test_cli import refused

HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
GOOD = HEAD + "".join(
    f"u{u}\ti{(u + j) % 9}\t5\t{10 * j + u}\n" for u in range(8) for j in range(6)
)
TITLES = "item_id:token\ttitle:token_seq\n" + "".join(f"i{i}\tlamp {i}\n" for i in range(9))


@dataclass
class Case:
    """Files of the dataset `bad`, what is typed beside --model and --dataset, and what the line must hold."""

    name: str
    files: dict[str, str | bytes]
    expected: tuple[str, ...]
    argv: tuple[str, ...] = ()
    model: str = "EASE"
    protocols: str = "full"


def inter(content: str | bytes, *expected: str, **more: object) -> Case:
    return Case(str(expected[0]), {"bad.inter": content}, ("bad.inter", *expected), **more)  # type: ignore[arg-type]


CASES = [
    # malformed files
    inter("", "empty", "user_id:token"),
    inter("user_id\titem_id\n1\t2\n", "line 1: 'user_id' is not name:type"),
    inter("user_id:str\titem_id:token\n1\t2\n", "line 1: 'user_id:str' is not name:type"),
    inter("user_id:token\tuser_id:token\n", "line 1", "stands twice"),
    inter("user_id:token\trating:float\nu\t1\n", "no column 'item_id'"),
    inter(GOOD + "\nu1\ti2\n", "line 51: 2 fields, but the header has 4", "one tab"),
    inter(GOOD + "u1\ti2\t1\t2\tmore\n", "line 50: 5 fields"),
    inter(GOOD + "u1\ti2\tgood\t2\n", "line 50: 'good' is not a number in rating:float", "--rating_field",
          argv=("--min_rating=3",)),
    inter(GOOD.replace("rating:float", "label:token") + "u1\ti2\tgood\t2\n",
          "line 50: 'good' is not a number in label:token, which a threshold reads", "ask for none",
          argv=("--min_label=1",)),
    inter(GOOD.replace("rating:float", "rating:token") + "u1\ti2\tgood\t2\n",
          "line 50: 'good' is not a number in rating:token", "--rating_field", argv=("--min_rating=3",)),
    inter(GOOD, "min_rating needs a column 'ratings'", "did you mean rating",
          argv=("--min_rating=3", "--rating_field=ratings")),
    inter(GOOD, "min_rating needs a column 'user_id' of numbers", argv=("--min_rating=3", "--rating_field=user_id")),
    inter(GOOD + "\n\nu1\ti2\t5\tnoon\n", "line 52: 'noon' is neither a number nor an ISO date", "timestamp:float"),
    inter(GOOD.replace("timestamp:float", "timestamp:token") + "u1\ti2\t5\t12/03/2014\n",
          "line 50: '12/03/2014' is neither a number nor an ISO date", "timestamp:token"),
    inter(GOOD + "u1\t\t5\t2\n", "line 50: empty item_id", "remove the line"),
    inter(GOOD.encode() + b"u1\tcaf\xe9\t5\t2\n", "not UTF-8 (line 50, byte 7)", "iconv"),
    inter("\ufeff".encode("utf-16-le") + GOOD.encode("utf-16-le"), "UTF-16, not UTF-8", "iconv -f utf-16 -t utf-8"),
    inter(GOOD.encode("utf-16-be"), "UTF-16, not UTF-8"),
    inter(GOOD.replace("\n", "\r"), "its lines end in a lone CR", "tr"),
    inter(GOOD.replace("\t", ","), "line 1: its fields are separated by commas", "one tab"),
    inter(GOOD.replace("\t", " "), "line 1: its fields are separated by spaces", "one tab"),
    inter("user_id,item_id\nu,i\n", "line 1: its fields are separated by commas", "one tab"),
    inter(GOOD + "u1,i2,5,2\n", "line 50: 1 fields, but the header has 4: this line is separated by commas"),
    inter("user_id:token\titem_id:token\n" + "u\ti\n" * 30_000 + "u\ti\tj\n", "line 30002: 3 fields"),
    inter(GOOD + "u1\ti\0\t5\t2\n", "line 50: a NUL byte in item_id", "tr -d"),
    inter(GOOD + "x\ti2\t5\t1\n" * 30_000 + "\0u\ti2\t5\t2\n", "line 30050: a NUL byte in user_id"),
    Case("a NUL byte in the item file", {"bad.inter": GOOD, "bad.item": TITLES + "i\0\tlamp\n"},
         ("bad.item, line 11: a NUL byte in item_id",)),
    Case("two files for one", {"bad.inter": GOOD, "bad.inter.gz": gzip.compress(GOOD.encode())},
         ("bad: bad.inter and bad.inter.gz are two files for one", "remove one")),
    Case("two item files", {"bad.inter": GOOD, "bad.item": TITLES, "bad.item.gz": gzip.compress(TITLES.encode())},
         ("bad.item and bad.item.gz are two files for one",)),
    Case("no gzip", {"bad.inter.gz": GOOD}, ("bad.inter.gz", "gzip", "fetch it again")),
    Case("cut gzip", {"bad.inter.gz": gzip.compress(GOOD.encode())[:-20]},
         ("bad.inter.gz", "damaged or truncated gzip", "fetch it again")),
    Case("item file", {"bad.inter": GOOD, "bad.item": TITLES + "i1\tagain\n"}, ("'i1' stands twice in the item file",)),
    Case("item file without ids", {"bad.inter": GOOD, "bad.item": "title:token_seq\nlamp\n"},
         ("bad.item", "no column 'item_id'")),
    Case("item text not UTF-8", {"bad.inter": GOOD, "bad.item": TITLES.encode() + b"i9\t\xff\n"},
         ("bad.item", "not UTF-8 (line 11, byte 4)")),
    Case("parts without a test file", {"bad.train.inter": GOOD}, ("no bad.test.inter",)),
    Case("parts with other columns", {"bad.train.inter": GOOD, "bad.test.inter": "user_id:token\titem_id:token\nu1\ti8\n"},
         ("bad.test.inter: no column 'timestamp', but bad.train.inter has one",)),
    Case("a part without rows", {"bad.train.inter": GOOD, "bad.test.inter": HEAD}, ("bad.test.inter: holds no interactions",)),
    Case("a filter that empties a part", {"bad.train.inter": GOOD, "bad.test.inter": HEAD + "u1\ti8\t2\t99\n"},
         ("no interaction of the test part is left after the filters (it had 1", "1 by min_rating"), ("--min_rating=3",)),
    Case("columns by names that are not there", {"bad.inter": GOOD},
         ("no column 'users', which --columns names for user_id", "did you mean user_id"), ("--columns={user_id: users}",)),
    Case("columns of no mapping", {"bad.inter": GOOD}, ("columns=uid must say which column is which",), ("--columns=uid",)),
    Case("columns that are not ours", {"bad.inter": GOOD}, ("columns: 'rating' is none of", "--rating_field"),
         ("--columns={rating: stars}",)),
    Case("one column for two", {"bad.inter": GOOD}, ("names one column for two",), ("--columns={user_id: item_id}",)),
    Case("nothing there", {"other.inter": GOOD}, ("has neither bad.inter nor bad.train.inter", "files are named as their folder is")),
    # filters and splits
    Case("no rows", {"bad.inter": HEAD}, ("no interaction is left",)),
    Case("rating", {"bad.inter": GOOD}, ("no interaction is left", "48 by min_rating"), ("--min_rating=6",)),
    Case("core", {"bad.inter": GOOD}, ("no interaction is left", "by min_user,min_item"), ("--min_user=7",)),
    Case("no ratings", {"bad.inter": "user_id:token\titem_id:token\nu\ti\n"},
         ("min_rating needs a column 'rating'", "rating_field"), ("--min_rating=3",)),
    Case("one interaction each", {"bad.inter": HEAD + "".join(f"u{i}\ti{i}\t5\t1\n" for i in range(9))},
         ("leaves the validation part empty", "the longest history has 1 interaction")),
    Case("one and two", {"bad.inter": HEAD + "".join(f"u{i // 2}\ti{i}\t5\t1\n" for i in range(9))},
         ("leaves the validation part empty", "the longest history has 2 interactions")),
    Case("no times", {"bad.inter": "user_id:token\titem_id:token\nu\ti\n"},
         ("'leave_one_out' needs a timestamp column", "use split=ratio"), ("--split=leave_one_out",)),
    Case("some times", {"bad.inter": GOOD + "u1\ti8\t5\t\n"}, ("1 interactions have no timestamp", "remove the column")),
    Case("ranks, not times",
         {"bad.inter": HEAD + "".join(f"u{u}\ti{(u + j) % 9}\t5\t{j + 1}\n" for u in range(8) for j in range(6))},
         ("ranks within each history", "use split=leave_one_out"), ("--split=global_time",)),
    Case("no own split", {"bad.inter": GOOD}, ("bad.train.inter",), ("--split=files",)),
    Case("every item", {"bad.inter": GOOD + "".join(f"glutton\ti{i}\t5\t1\n" for i in range(9))},
         ("BPR draws negatives", "user 'glutton' of bad has every item", "leave that user out"), ("--split=global_time",), "BPR"),
    Case("no times for a model of RecBole's whose name is also ours", {"bad.inter": "user_id:token\titem_id:token\nu\ti\nu\tj\nu\tk\n"},
         ("SASRec@recbole reads histories in order",), ("--split=ratio",), "SASRec@recbole"),
    Case("too little for RecBole's", {"bad.inter": GOOD},
         ("SASRec@recbole on bad: RecBole ends in ", "list SASRec@recbole"), ("--n_heads=3",), "SASRec@recbole"),
    # text
    Case("no item file", {"bad.inter": GOOD}, ("L3AE reads item text",), model="L3AE"),
    Case("no text column", {"bad.inter": GOOD, "bad.item": "item_id:token\tprice:float\ni1\t3\n"},
         ("no item column holds text", "name the text columns"), model="L3AE"),
    Case("another text column", {"bad.inter": GOOD, "bad.item": TITLES},
         ("'titel', which does not exist, did you mean title",), ("--text_fields={Title: titel}",), model="L3AE"),
    # protocols
    Case("drawn", {"bad.inter": GOOD}, ("uni5 needs 5 negatives", "choose m up to"), protocols="full,uni5"),
    Case("expected", {"bad.inter": GOOD}, ("expected@9 needs 9 negatives", "choose m up to"), protocols="expected@9"),
    Case("definite", {"bad.inter": GOOD}, ("must be a number from 0",), ("--reg_weight=-3",)),
    Case("text ridge", {"bad.inter": GOOD, "bad.item": TITLES}, ("--reg_f=0.0: must be a number above 0",), ("--reg_f=0",), "L3AE"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_data_is_one_line_that_helps(case, tmp_path, capsys):
    folder = tmp_path / "bad"
    folder.mkdir()
    for name, content in case.files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused(
        capsys, f"--model={case.model}", "--dataset=bad", f"--data-path={tmp_path}", f"--records={tmp_path / 'runs'}",
        f"--protocols={case.protocols}", "--encoder=hash:8" if case.model == "L3AE" else "--draws=2", *case.argv,
    )  # fmt: skip
    for part in case.expected:
        assert part in line
    assert not list(tmp_path.rglob("record.json"))


def test_a_user_and_an_item_of_one_interaction_are_no_fault(tmp_path, capsys):
    """Such a user is trained on and not tested; such an item, when it is tested, is a cold candidate."""
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "bad.inter").write_text(GOOD + "lonely\ti1\t5\t3\n" + "u1\trare\t5\t999\n")
    argv = [f"--data-path={tmp_path}", "--split=leave_one_out"]
    run = [
        "--model=EASE,Pop",
        "--dataset=bad",
        *argv,
        f"--records={tmp_path / 'runs'}",
        "--protocols=full",
    ]
    assert main(run) == 0
    out = capsys.readouterr().out
    assert "9 users, 10 items" in out and "8 test users" in out
    assert main(["data", "card", "bad", *argv]) == 0
    assert "cold" in capsys.readouterr().out
