"""Datasets from their official files: read, cleaned, filtered, built once, and compared with what was published."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pytest

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.build import build, published_beside
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.formats.amazon import AMAZON_2018, AMAZON_2023, clean
from recbole_ext.data.formats.text import Page
from recbole_ext.data.load import load_dataset
from recbole_ext.data.source import FORMATS, Supply, described, described_names
from recbole_ext.data.splits import TEST, TRAIN, VALID, make_split

RNG = np.random.default_rng(0)
PAIRS = [(f"U{u:02d}", f"B{i:02d}") for u in range(30) for i in RNG.choice(20, 8, replace=False)]
ROWS = [(u, i, float(1 + n % 5), 1_600_000_000 + 60 * n) for n, (u, i) in enumerate(PAIRS)]
LATER = (PAIRS[0][0], PAIRS[0][1], 5.0, 1_700_000_000)  # the same pair once more


def reviews_2018(rows):
    return b"".join(
        json.dumps(
            {"reviewerID": u, "asin": i, "overall": r, "unixReviewTime": t, "reviewText": "x" * 50}
        ).encode()
        + b"\n"
        for u, i, r, t in rows
    )


def reviews_2023(rows):
    return b"".join(
        json.dumps(
            {"user_id": u, "parent_asin": i, "asin": "other", "rating": r, "timestamp": t * 1000}
        ).encode()
        + b"\n"
        for u, i, r, t in rows
    )


def ratings_2023(rows):
    lines = [f"{u},{i},{r},{t * 1000}" for u, i, r, t in rows]
    return ("user_id,parent_asin,rating,timestamp\n" + "\n".join(lines) + "\n").encode()


def meta(key, rows):
    return b"".join(json.dumps({key: i, **fields}).encode() + b"\n" for i, fields in rows.items())


META_2018 = {
    "B00": {
        "title": "Lamp &amp; <b>Shade</b>\n\tred",
        "category": ["Toys &amp; Games", "Lamps", '</span></span></span><i class="a-icon">'],
        "brand": "by\n    Acme",
        "description": ["First\n line", "<p>second</p>", "", "<span>third</span>"],
    },
    "B01": {
        "title": "var aPageStart = (new Date()).getTime();",
        "category": [],
        "brand": None,
        "description": None,
    },
    "B02": {"title": 'He said "tab\there"', "brand": "B"},
    "unknown": {"title": "not reviewed"},
}


def place(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(
        gzip.compress(content, mtime=0) if name.endswith(".gz") else content
    )


@pytest.fixture
def official(tmp_path):
    """Luxury Beauty of 2018 and Digital Music of 2023 as their official files."""
    folder = tmp_path / "official"
    place(folder, "Luxury_Beauty.json.gz", reviews_2018([*ROWS, LATER]))
    place(folder, "meta_Luxury_Beauty.json.gz", meta("asin", META_2018))
    place(folder, "Digital_Music.csv.gz", ratings_2023(ROWS))
    of_2023 = {
        "B03": {"title": "Song", "categories": ["Music", "Pop"], "main_category": "Digital", "store": "Band",
                "features": ["loud"], "description": []},
        "B04": {"title": None, "categories": [], "main_category": "Digital Music", "store": None, "description": ["d"]},
    }  # fmt: skip
    place(folder, "meta_Digital_Music.jsonl.gz", meta("parent_asin", of_2023))
    return folder


def supply(tmp_path, official):
    return Supply(tmp_path / "cache", source_dir=official)


def test_2018_is_read_cleaned_filtered_and_built_once(tmp_path, official, monkeypatch, capsys):
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    data = load_dataset(spec, {})
    assert (len(data.user_tokens), len(data.item_tokens), len(data)) == (30, 20, len(ROWS))
    assert (
        data.dropped["duplicates"] == 1 and data.time.max() == LATER[3]
    )  # the latest of duplicates stays
    text = {
        name: dict(zip(data.item_tokens, column, strict=True))
        for name, column in data.item_columns.items()
    }
    assert text["title"]["B00"] == "Lamp & Shade red"
    assert text["category"]["B00"] == "Toys & Games, Lamps"
    assert (
        text["brand"]["B00"] == "Acme" and text["description"]["B00"] == "First line, second, third"
    )
    assert text["title"]["B01"] == "" and text["title"]["B02"] == 'He said "tab here"'
    assert text["title"]["B19"] == "" and "unknown" not in data.item_tokens
    assert (
        "meta_Luxury_Beauty.json.gz: 2 texts left out as markup (entries of category lists from </span> on: 1, scripts: 1; "
        "first: </span></span></span><i class" in capsys.readouterr().err
    )
    # Built once: what reads the files is not called again.
    monkeypatch.setattr("recbole_ext.data.build._make", None)
    again = load_dataset(
        find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official)), {}
    )
    assert again.fingerprint == data.fingerprint and again.dropped == data.dropped


def test_other_filters_are_another_build_and_counts_run_once(tmp_path, official):
    few = [*ROWS, ("lonely", "B00", 5.0, 1.0)]
    place(official, "Luxury_Beauty.json.gz", reviews_2018(few))
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    once = {"min_user": 2, "min_item": 12, "k_core": False}
    data = load_dataset(spec, once)
    counts = np.bincount(data.item)
    popular = {i for i in {i for _, i, *_ in few} if sum(row[1] == i for row in few) >= 12}
    assert set(data.item_tokens) == popular
    # A core would go on until this holds; one pass need not.
    assert load_dataset(spec, {}).fingerprint != data.fingerprint
    assert len(list((tmp_path / "cache" / "datasets" / spec.name).glob("[0-9a-f]*"))) == 2
    assert counts.min() >= 1


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (
            {},
            {
                "min_user": 0,
                "min_item": 0,
                "k_core": True,
                "min_rating": None,
                "rating_field": "rating",
            },
            True,
        ),
        ({"min_user": 2, "min_item": 12}, {"min_user": 2, "min_item": 12, "k_core": True}, True),
        ({"min_user": 2, "min_item": 12}, {"min_user": 2, "min_item": 12, "k_core": False}, False),
        ({}, {"min_rating": 0}, False),
        ({}, {"min_label": None}, True),
    ],
)
def test_filters_that_do_nothing_are_no_other_build(one, two, same, tmp_path, official):
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    a, b = (build(spec.source, filters, spec.supply) for filters in (one, two))
    assert (a.folder == b.folder) == same


def test_2023_csv_and_json_lines_say_the_same(tmp_path, official):
    spec = find_dataset("amazon-2023-Digital_Music", None, supply(tmp_path, official))
    data = load_dataset(spec, {"min_rating": 4})
    assert len(data) == sum(r >= 4 for _, _, r, _ in ROWS)
    assert (
        data.time.min() >= 1_600_000_000 and data.time.max() < 1_700_000_000
    )  # seconds, not milliseconds
    text = {
        name: dict(zip(data.item_tokens, column, strict=True))
        for name, column in data.item_columns.items()
    }
    assert [text[n]["B03"] for n in ("title", "category", "brand", "description")] == [
        "Song",
        "Music, Pop",
        "Band",
        "loud",
    ]
    assert [text[n]["B04"] for n in ("title", "category", "description")] == [
        "",
        "Digital Music",
        "d",
    ]
    jsonl = tmp_path / "x.jsonl.gz"
    jsonl.write_bytes(gzip.compress(reviews_2023(ROWS), mtime=0))
    headless = tmp_path / "y.csv"
    headless.write_bytes(ratings_2023(ROWS).split(b"\n", 1)[1])
    read = [
        [tuple(map(tuple, batch)) for batch in AMAZON_2023.interactions({"reviews": path})]
        for path in (official / "Digital_Music.csv.gz", jsonl, headless)
    ]
    assert read[0] == read[1] == read[2]


def test_milliseconds_and_ratings_keep_their_digits(tmp_path, official):
    """Three ratings within a second: the last by time is tested, whatever the order of the items' names."""
    begin = 1_600_000_000_000
    places = {"B2": 100, "B1": 250, "B0": 990}
    lines = [f"U{u},{i},4.7,{begin + ms}\n" for u in range(3) for i, ms in places.items()]
    place(official, "Digital_Music.csv.gz", "".join(lines).encode())
    spec = find_dataset("amazon-2023-Digital_Music", None, supply(tmp_path, official))
    data = load_dataset(spec, {"min_rating": 4.7})
    assert [data.item_tokens[i] for i in data.item[:3]] == ["B0", "B1", "B2"]
    assert data.time[:3].tolist() == [1600000000.99, 1600000000.25, 1600000000.1]
    part = make_split(data, {"split": "leave_one_out", "split_seed": 1}).part
    assert part.tolist() == [TEST, VALID, TRAIN] * 3
    folder = build(spec.source, {"min_rating": 4.7}, spec.supply).folder
    written = gzip.decompress((folder / f"{spec.name}.inter.gz").read_bytes()).decode()
    assert written.splitlines()[1] == "U0\tB2\t4.7\t1600000000.1"


def test_the_csv_of_2018_has_the_item_first(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("B1,U1,5.0,1500000000\n")
    (batch,) = AMAZON_2018.interactions({"reviews": path})
    assert (batch.user, batch.item, batch.rating, batch.time) == (["U1"], ["B1"], [5.0], [1.5e9])


def test_order_of_lines_does_not_matter(tmp_path, official):
    one = load_dataset(
        find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official)), {}
    )
    place(official, "Luxury_Beauty.json.gz", reviews_2018([LATER, *ROWS[::-1]]))
    two = load_dataset(
        find_dataset(
            "amazon-2018-Luxury_Beauty", None, Supply(tmp_path / "other", source_dir=official)
        ),
        {},
    )
    assert one.fingerprint == two.fingerprint and one.item_columns == two.item_columns


def test_a_few_malformed_lines_are_counted_and_named(tmp_path, official, capsys):
    bad = (
        b'{"reviewerID": "U1"\n'
        + b'{"asin": "B1", "overall": 5.0, "unixReviewTime": 1}\n'
        + b'{"reviewerID": 7, "asin": "B", "overall": 1, "unixReviewTime": 1}\n'
    )
    place(official, "Luxury_Beauty.json.gz", reviews_2018(ROWS) + bad)
    data = load_dataset(
        find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official)), {}
    )
    assert len(data) == len(ROWS)
    said = capsys.readouterr().err
    assert f"3 malformed lines skipped (line {len(ROWS) + 1}: " in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gzip.compress(b"not json\n" * 50, mtime=0), "11 of 11 lines are malformed (line 1:"),
        (gzip.compress(reviews_2018(ROWS), mtime=0)[:-30], "damaged or truncated"),
        (b"plain text, no gzip", "damaged or truncated"),
        (gzip.compress(b"", mtime=0), "hold no interactions"),
    ],
)
def test_a_bad_file_is_one_line_and_leaves_no_dataset(content, expected, tmp_path, official):
    (official / "Luxury_Beauty.json.gz").write_bytes(content)
    with pytest.raises(HarnessError) as caught:
        load_dataset(
            find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official)), {}
        )
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    left = [
        p
        for p in (tmp_path / "cache" / "datasets").rglob("*")
        if p.is_dir() and p.parent.name != "datasets"
    ]
    assert not left


def test_files_given_by_hand_that_changed_are_built_anew(tmp_path, official):
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    assert len(load_dataset(spec, {})) == len(ROWS)
    place(official, "Luxury_Beauty.json.gz", reviews_2018(ROWS[:-9]))
    assert len(load_dataset(spec, {})) == len(ROWS) - 9


def test_a_damaged_manifest_is_not_trusted(tmp_path, official):
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    built = build(spec.source, {}, spec.supply)
    (built.folder / "manifest.json").write_text("{")
    assert len(load_dataset(spec, {})) == len(ROWS)


def test_a_split_that_the_source_does_not_bring_is_one_line(tmp_path, official):
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    with pytest.raises(HarnessError, match="bring no split of their own"):
        load_dataset(spec, {"split": "files"})
    assert not (tmp_path / "cache" / "datasets").exists()


def test_a_damaged_build_is_named_set_aside_and_made_again(tmp_path, official, capsys):
    spec = find_dataset("amazon-2018-Luxury_Beauty", None, supply(tmp_path, official))
    folder = build(spec.source, {}, spec.supply).folder
    path = folder / f"{spec.name}.inter.gz"
    path.write_bytes(path.read_bytes()[:100])
    assert len(load_dataset(spec, {})) == len(ROWS)
    said = capsys.readouterr().err
    assert f"set aside as {folder.name}.corrupt" in said and str(path) in said
    assert (folder.parent / f"{folder.name}.corrupt" / path.name).stat().st_size == 100


def test_published_sizes_stand_beside(tmp_path, official):
    spec = find_dataset("amazon-luxury-2018", None, supply(tmp_path, official))
    assert spec.options["min_user"] == 4 and spec.options["split"] == "leave_one_out"
    built = build(spec.source, spec.options, spec.supply)
    lines = published_beside(spec.source, built.manifest)
    assert lines[0] == "users: published 11,690 (SAULREC), here 30: -99.74%"
    assert len(lines) == 2


def test_the_command_line_builds_runs_and_shows(tmp_path, official, capsys, monkeypatch):
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "cache"))
    given = ["--dataset=amazon-luxury-2018", f"--source-dir={official}"]
    assert main(["data", "build", "amazon-luxury-2018", f"--source-dir={official}"]) == 0
    out = capsys.readouterr().out
    assert "published 11,690 (SAULREC)" in out and "addresses opened         never" in out
    assert main(["data", "get", "amazon-luxury-2018", f"--source-dir={official}"]) == 0
    assert str(official / "meta_Luxury_Beauty.json.gz") in capsys.readouterr().out
    run = [
        "--model=L3AE",
        *given,
        "--encoder=hash:8",
        "--protocols=full",
        f"--records={tmp_path / 'runs'}",
    ]
    assert main([*run, "--split=ratio"]) == 0
    assert "amazon-luxury-2018: 30 users, 20 items" in capsys.readouterr().out
    # Files that are built need no source any more.
    assert (
        main(["data", "card", "amazon-luxury-2018", f"--mirror=http://127.0.0.1:9/{official.name}"])
        == 0
    )


def test_offline_is_one_line_with_every_file_and_where_to_put_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("recbole_ext.data.fetch.BACKOFF", 0.0)
    assert main(["--model=EASE", "--dataset=amazon-toys", "--mirror=http://127.0.0.1:9"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    for part in ("Toys_and_Games.csv.gz", "meta_Toys_and_Games.jsonl.gz", "--source-dir="):
        assert part in line
    assert main(["--model=EASE", "--dataset=amazon-toys", f"--source-dir={tmp_path}"]) == 2
    assert "meta_Toys_and_Games.jsonl.gz" in capsys.readouterr().err


def test_every_described_dataset_can_be_resolved():
    named, families = described_names()
    for name in [*named, *(family.replace("CATEGORY", "Digital_Music") for family in families)]:
        found = described(name)
        assert found is not None and found["title"]
        if name == "ml-100k":
            continue
        source = found["source"]
        assert source.format in FORMATS and source.licence != "none stated" and source.verified
        assert all(
            remote.url.startswith("http") and "{" not in remote.url
            for remote in source.remote().values()
        )
        source.reader()
        find_dataset(name)
    with pytest.raises(HarnessError, match="did you mean amazon-2023-Digital_Music"):
        find_dataset("amazon-2023-Digital_Musik")


def test_a_movielens_archive_through_the_whole_path(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        ratings = "".join(f"{u[1:]}::{i[1:]}::{int(r)}::{t}\n" for u, i, r, t in ROWS)
        archive.writestr("ml-1m/ratings.dat", ratings)
        movies = "".join(f"{i:02d}::Café, The ({1990 + i})::Drama|War\n" for i in range(20))
        archive.writestr("ml-1m/movies.dat", movies.encode("latin-1"))
    found = find_dataset("ml-1m", None, Supply(tmp_path / "cache", source_dir=tmp_path))
    from dataclasses import replace

    # The archive is not the official one, and its checksum says so.
    with pytest.raises(HarnessError, match="c4d9eecf"):
        load_dataset(found, {})
    files = {"archive": {"url": found.source.files["archive"]["url"]}}
    data = load_dataset(replace(found, source=replace(found.source, files=files)), {})
    assert len(data) == len(ROWS) and data.item_columns["title"][3] == "Café, The (1993)"
    assert data.item_columns["genre"][3] == "Drama War"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), ("  a\n\tb ", "a b"), (["x", "<span>y</span>", "", "z"], "x, y, z"), ({"Size": ["1", "2"]}, "Size: 1, 2"),
     (3.5, "3.5"), ("by the sea", "by the sea"), ("by\n  Acme", "Acme")],
)  # fmt: skip
def test_cleaning(value, expected, tmp_path):
    assert clean(value, Page(tmp_path)) == expected


@pytest.mark.parametrize(
    "text",
    ["Trimmer with lock function (black)", "var pack = 3", "Set of 2, function(al) art", "I <3 NY mug -> white", "a < b > c",
     "1<2, 3>2", "Hits <Limited Edition>", "JavaScript: (new Date()).getTime() explained", "pens &notebooks; &more", "R&B",
     "<http://x.org>", "x <b and c> d", f"&#{'9' * 5000};"],
)  # fmt: skip
def test_what_is_no_tag_and_no_script_stays(text, tmp_path):
    page = Page(tmp_path)
    assert page.text(text) == text and not page.emptied


@pytest.mark.parametrize(
    ("of_page", "text"),
    [("AT&amp;T &#39;s &#x3C;3&nbsp;&eacute;", "AT&T 's <3 é"), ("I &lt;3 NY mug -&gt; white", "I <3 NY mug -> white"),
     ("The &lt;b&gt; tag", "The <b> tag"), ("<div>bold<br/>text</DIV>", "bold text"), ('a <img src="x.png" alt=y> b', "a b"),
     ("x<!-- 1 > 0 -->y<o:p></o:p>", "x y"), ('<script type="a">if (1 < 2) {}</script>Lamp<style>p {}</style>', "Lamp")],
)  # fmt: skip
def test_tags_go_before_entities_are_decoded(of_page, text, tmp_path):
    page = Page(tmp_path)
    assert page.text(of_page) == text and not page.emptied


def test_texts_that_are_markup_are_counted_and_the_first_is_named(tmp_path, capsys):
    page = Page(tmp_path / "meta.json.gz")
    page.report()
    assert capsys.readouterr().err == ""
    scripts = (
        "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();",
        "(function(a, b) { return a })();",
        "<script>window.ue_ihb = (window.ue_ihb || 0) + 1;",
    )
    assert [page.text(text) for text in (*scripts, "<br><br>", " ", "&nbsp;")] == [""] * 6
    page.report()
    assert capsys.readouterr().err == (
        "meta.json.gz: 4 texts left out as markup (nothing but tags: 2, scripts: 2; "
        "first: var aPageStart = (new Date()).getTime(); var ue_t0=ue_t0||+n)\n"
    )


def test_the_anchor_of_movielens_1m(real_data):
    """Items with at least 20 ratings: the sizes of AlphaRec's Table 7, exactly."""
    options = {"min_item": 20, "k_core": False}
    data = load_dataset(find_dataset("ml-1m", real_data), options)
    assert (len(data.user_tokens), len(data.item_tokens), len(data)) == (6040, 3043, 995_492)
