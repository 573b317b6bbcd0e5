"""MovieLens, Book-Crossing, Last.fm and LightGCN's lists in their official forms, written by hand here."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.catalog import DatasetSpec
from recbole_ext.data.formats import bookcrossing, hetrec_lastfm, lightgcn, movielens
from recbole_ext.data.load import load_dataset
from recbole_ext.data.source import Supply, described

RATINGS = [("1", "10", 4.5, 1000), ("1", "20", 3.0, 1001), ("2", "10", 5.0, 999)]
MOVIES = [
    ("10", "Café &amp; Bar, The (1999)", "Drama|War"),
    ("20", 'The "Best", ever (2000)', "(no genres listed)"),
]
TAGS = [
    ("1", "10", "Slow burn"),
    ("2", "10", "slow  burn"),
    ("2", "10", "N&ouml;ir &lt;3"),
    ("3", "10", "anime"),
    ("1", "30", "x"),
]


def packed(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"folder/{name.replace('_DOT_', '.').replace('_DASH_', '-')}", content)
    return {"archive": path}


def modern(path, ratings_tail=""):
    quoted = lambda text: '"' + text.replace('"', '""') + '"'  # noqa: E731
    return packed(
        path,
        ratings_DOT_csv="userId,movieId,rating,timestamp\r\n"
        + "".join(f"{u},{i},{r},{t}\r\n" for u, i, r, t in RATINGS)
        + ratings_tail,
        movies_DOT_csv="movieId,title,genres\n"
        + "".join(f"{i},{quoted(t)},{g}\n" for i, t, g in MOVIES),
        tags_DOT_csv="userId,movieId,tag,timestamp\n"
        + "".join(f"{u},{i},{quoted(t)},5\n" for u, i, t in TAGS),
    )


def classic(path, ratings_tail=""):
    return packed(
        path,
        ratings_DOT_dat="".join(f"{u}::{i}::{r}::{t}\n" for u, i, r, t in RATINGS) + ratings_tail,
        movies_DOT_dat="".join(f"{i}::{t}::{g}\n" for i, t, g in MOVIES).encode("latin-1") + b"\n",
        tags_DOT_dat="".join(f"{u}::{i}::{t}::5\n" for u, i, t in TAGS),
    )


def flat(batches):
    return [
        row
        for batch in batches
        for row in zip(*(column for column in batch if column is not None), strict=True)
    ]


@pytest.mark.parametrize("form", [modern, classic])
def test_both_forms_of_movielens_say_the_same(form, tmp_path):
    files = form(tmp_path / "a.zip")
    assert flat(movielens.interactions(files)) == RATINGS
    one, two = movielens.items(files)
    assert one == {
        "item_id": "10",
        "title": "Café & Bar, The (1999)",
        "genre": "Drama War",
        "tags": "slow burn, anime, nöir <3",
    }
    assert two == {"item_id": "20", "title": 'The "Best", ever (2000)', "genre": "", "tags": ""}


@pytest.mark.parametrize(
    ("form", "tail", "said"),
    [
        (modern, "3,10,good,5\r\n4,10\r\n5,10,1.0,7\r\n", "2 malformed lines skipped (line"),
        (
            classic,
            "3::10::good::5\n4::10\n5::10::1.0::7\n",
            "2 malformed lines skipped (line 4: ratings",
        ),
    ],
)
def test_malformed_ratings_are_skipped_and_named(form, tail, said, tmp_path, capsys):
    assert flat(movielens.interactions(form(tmp_path / "a.zip", tail))) == [
        *RATINGS,
        ("5", "10", 1.0, 7.0),
    ]
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("form", "line"), [(modern, "1,2\r\n"), (classic, "1::2\n")])
def test_too_many_malformed_ratings_are_an_error(form, line, tmp_path):
    with pytest.raises(HarnessError, match="lines are malformed"):
        flat(movielens.interactions(form(tmp_path / "a.zip", line * 40)))


def test_archives_that_are_not_what_they_should_be(tmp_path):
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("ml/ratings.dat", "1::2::3::4\n")
        archive.writestr("../../evil", "x")
    with pytest.raises(HarnessError, match="points outside its folder"):
        flat(movielens.interactions({"archive": evil}))
    assert not (tmp_path.parent.parent / "evil").exists()
    files = packed(tmp_path / "other.zip", README="nothing")
    with pytest.raises(HarnessError, match=r"holds no ratings\.dat"):
        flat(movielens.interactions(files))
    cut = classic(tmp_path / "cut.zip")["archive"]
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(HarnessError, match="damaged or truncated"):
        flat(movielens.interactions({"archive": cut}))


def test_book_crossing_is_latin_semicolons_and_backslashes(tmp_path, capsys):
    ratings = '"User-ID";"ISBN";"Book-Rating"\r\n"7";"034X";"0"\r\n"8";"0195";"9"\r\n"9";"0195"\r\n'
    books = (
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"a";"b";"c"\r\n'
        '"034X";"Caf\xe9; \\"quoted\\" &amp; more";"A. B.";"0";"P &amp; Q";"u";"u";"u"\r\n'
    ).encode("latin-1")
    files = packed(
        tmp_path / "b.zip", BX_DASH_Book_DASH_Ratings_DOT_csv=ratings, BX_DASH_Books_DOT_csv=books
    )
    assert flat(bookcrossing.interactions(files)) == [("7", "034X", 0.0), ("8", "0195", 9.0)]
    assert "1 malformed lines skipped" in capsys.readouterr().err
    (book,) = bookcrossing.items(files)
    assert book == {
        "item_id": "034X",
        "title": 'Café; "quoted" & more',
        "author": "A. B.",
        "year": "",
        "publisher": "P & Q",
    }


def test_lastfm_counts_are_ratings(tmp_path):
    files = packed(
        tmp_path / "l.zip",
        user_artists_DOT_dat="userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n",
        artists_DOT_dat="id\tname\turl\tpictureURL\n51\tDuran  Duran &amp; X\thttp://x\thttp://y\n52\tMotörhead\thttp://x\n",
    )
    assert flat(hetrec_lastfm.interactions(files)) == [("2", "51", 13883.0), ("2", "52", 11690.0)]
    assert [item["title"] for item in hetrec_lastfm.items(files)] == [
        "Duran Duran & X",
        "Motörhead",
    ]


def test_lightgcns_lists_bring_their_own_split(tmp_path):
    (tmp_path / "train.txt").write_text(
        "".join(f"{u} " + " ".join(map(str, range(u, u + 6))) + "\n" for u in range(5)) + "5\n"
    )
    (tmp_path / "test.txt").write_text("".join(f"{u} {u + 7}\n" for u in range(5)) + "6 x\n")
    files = {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"}
    assert len(flat(lightgcn.interactions(files))) == 35
    found = described("gowalla-lightgcn")
    spec = DatasetSpec(
        "gowalla-lightgcn",
        None,
        found["options"],
        found["source"],
        Supply(tmp_path / "c", tmp_path),
    )
    data = load_dataset(spec, {"split": "files"})
    assert len(data) == 35 and (data.part == 2).sum() == 5 and (data.part == 0).sum() == 30
    assert data.time is None and not data.item_columns
    assert load_dataset(spec, {"split": "ratio"}).part is None


def frame_zip(path, **frames):
    import pickle

    with zipfile.ZipFile(path, "w") as archive:
        for name, value in frames.items():
            archive.writestr(f"ml-1m/{name}_ood2.pkl", pickle.dumps(value))
    return path


def liked(start):
    import pandas as pd

    rows = [
        (u, i, (u + i) % 2, 1000 + start + i, [0], f"Film &amp; {i}" if i != 15 else None)
        for u in range(1, 7)
        for i in range(start, start + 6)
    ]
    return pd.DataFrame(rows, columns=["uid", "iid", "label", "timestamp", "his", "title"])


def collm(tmp_path, allow=True):
    found = described("collm-ml-1m")
    return DatasetSpec(
        "collm-ml-1m",
        None,
        found["options"],
        found["source"],
        Supply(tmp_path / "c", tmp_path, allow_pickle=allow),
    )


def test_collms_pickles_are_read_only_when_that_is_asked_for(tmp_path):
    frame_zip(tmp_path / "ml-1m.zip", train=liked(1), valid=liked(7), test=liked(13))
    with pytest.raises(HarnessError, match="--allow-pickle"):
        load_dataset(collm(tmp_path, allow=False), {"split": "files", "min_rating": 1})
    data = load_dataset(collm(tmp_path), {"split": "files", "min_rating": 1})
    assert len(data) == 54 and [int((data.part == p).sum()) for p in range(3)] == [18, 18, 18]
    titles = dict(zip(data.item_tokens, data.item_columns["title"], strict=True))
    assert titles["14"] == "Film & 14" and titles["15"] == ""


def test_collms_labels_are_kept_of_official_files_where_they_are_asked_for(tmp_path):
    import pandas as pd

    twice = pd.concat([liked(1), liked(1).assign(label=1, timestamp=5000)], ignore_index=True)
    frame_zip(tmp_path / "ml-1m.zip", train=twice, valid=liked(7), test=liked(13))
    asked = {"split": "files", "keep_label": True, "duplicates": "keep"}
    for _ in range(2):  # built, and read again
        data = load_dataset(collm(tmp_path), asked)
        assert [int((data.part == p).sum()) for p in range(3)] == [72, 36, 36]
        user, item = (
            np.array([int(tokens[i]) for i in of])
            for tokens, of in ((data.user_tokens, data.user), (data.item_tokens, data.item))
        )
        wanted = np.where(data.time == 5000, 1, (user + item) % 2)
        np.testing.assert_array_equal(data.label, wanted)
    with pytest.raises(HarnessError, match="official files are read without histories"):
        load_dataset(collm(tmp_path), {**asked, "history_field": "his"})


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch evil",)


def test_a_pickle_that_wants_more_than_a_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame_zip(tmp_path / "ml-1m.zip", train=Evil(), valid=liked(7), test=liked(13))
    with pytest.raises(HarnessError, match=r"wants (posix|nt)\.system, which no table needs"):
        load_dataset(collm(tmp_path), {"split": "files", "min_rating": 1})
    assert not (tmp_path / "evil").exists()
    for wrong in ({"a": 1}, "text"):
        frame_zip(tmp_path / "ml-1m.zip", train=wrong, valid=liked(7), test=liked(13))
        with pytest.raises(HarnessError, match="no table with"):
            load_dataset(collm(tmp_path), {"split": "files", "min_rating": 1})
