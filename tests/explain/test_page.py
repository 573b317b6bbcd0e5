"""The page on which knobs are turned: its lists are those of the model, its texts are harmless, and it needs nothing else."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from dataclasses import asdict, replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.explain.knobs import Turn, best_lists, steered_list
from recbole_ext.explain.page.data import Board, Card, Item, Knob, Label, Page, Turned
from recbole_ext.explain.page.make import STRONGEST, page_of
from recbole_ext.explain.page.write import LARGE, as_json, rendered, write_page
from recbole_ext.explain.top_items import held_out_of, history_of, saved_run, top_items, user_of
from tests.chromium import chromium
from tests.explain.conftest import HOSTILE, MODEL, SPLIT, write_shop
from tests.explain.test_show_concepts import blocks, refused
from tests.parsed_page import Parsed, loads_nothing, writes_text_alone
from tests.parsed_page import source as source_of

K = 12


@pytest.fixture(scope="module")
def page(view, run) -> Page:
    return page_of(view, of_test(view), Board(k=K))


def of_test(view) -> str:
    problem = view.problem
    users, _ = problem.split.pairs(problem.data, *problem.seen_at_test)
    return problem.data.user_tokens[next(int(u) for u in problem.test_task.users if u in users)]


def tokens(page: Page, places) -> list[str]:
    return [page.items[at].token for at in places]


@pytest.mark.parametrize(
    ("by", "count", "mode", "strengths"),
    [
        ("characterises", 5, "redistribute", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        ("unique", 1, "redistribute", (0.0, 0.5, 1.0)),
        ("correlation", 3, "add", (0.0, 2.0, 20.0)),
        ("f1", 2, "set", (0.0, 0.6, 1.5)),
    ],
)
def test_lists_and_marks_are_those_of_the_text_command(by, count, mode, strengths, view, test_user):
    page = page_of(view, test_user, Board(strengths, by, count, mode, K))
    for concept in page.concepts:
        carried = set(tokens(page, concept.carried))
        for alpha, places in zip(strengths, (page.before, *concept.lists), strict=True):
            turn = Turn(concept.name, alpha, by, count, mode)
            found = blocks(steered_list(view, test_user, turn, K))
            assert tokens(page, places) == [item for item, *_ in found["after"]]
            assert tokens(page, page.before) == [item for item, *_ in found["before"]]
            assert tokens(page, page.plain) == [item for item, *_ in found["without"]]
            stars = {item for rows in found.values() for item, star, _ in rows if star}
            assert stars <= carried
            listed = {item for rows in found.values() for item, *_ in rows}
            assert listed & carried == stars
        assert [knob.neuron for knob in concept.knobs] == view.neurons(Turn(concept.name, 0, by, count)).tolist()  # fmt: skip
    moved = [places for concept in page.concepts for places in concept.lists]
    assert any(places != page.before for places in moved)


def test_strength_0_is_the_models_own_list(page, view):
    own = [line.split()[2] for line in top_items(view.saved, page.user, K, None, 0.5)[1:]]
    assert tokens(page, page.before) == own


def test_the_history_and_what_is_held_out_are_the_users(page, view):
    problem, index = view.problem, user_of(view.problem, page.user)
    names = np.array(problem.data.item_tokens)
    assert set(tokens(page, page.history)) == set(names[history_of(problem, index)])
    held_out = set(names[held_out_of(problem, index)])
    assert page.held_out_in_all == len(held_out) > 0
    everything = {item.token for item in page.items}
    assert set(tokens(page, page.held_out)) == held_out & everything
    assert not set(page.history) & {at for concept in page.concepts for places in concept.lists for at in places}  # fmt: skip
    carrying = view.concepts.presence.toarray() > 0
    for t, concept in enumerate(page.concepts):
        assert concept.name == view.concepts.names[t] and concept.on == carrying[:, t].sum()
        has = set(names[carrying[:, t]])
        assert set(tokens(page, set(page.history) & set(concept.carried))) == has & set(
            names[history_of(problem, index)]
        )


def test_the_strongest_are_those_with_the_largest_shares_of_the_code(page, view):
    code = view.knobs.codes(np.array([user_of(view.problem, page.user)]))[0].double().tolist()
    share = {neuron: value / sum(code) for neuron, value in enumerate(code) if value > 0}
    by_share = sorted(share, key=lambda neuron: (-share[neuron], neuron))[:STRONGEST]
    assert list(page.strongest_neurons) == by_share and len(by_share) == 6
    for neuron in by_share:
        assert page.cards[neuron].share == pytest.approx(share[neuron], abs=5e-5)  # four digits
    of = [sum(share.get(knob.neuron, 0.0) for knob in concept.knobs) for concept in page.concepts]
    for concept, value in zip(page.concepts, of, strict=True):
        assert concept.share == pytest.approx(value, abs=5e-5)
    ordered = sorted((t for t, value in enumerate(of) if value > 0), key=lambda t: (-of[t], t))
    assert list(page.strongest_concepts) == ordered
    assert page.opened == ordered[0]


def test_cards_say_what_the_text_command_says(page, view):
    from recbole_ext.explain.knobs import neuron_card

    needed = {knob.neuron for concept in page.concepts for knob in concept.knobs}
    assert set(page.cards) == needed | set(page.strongest_neurons)
    for neuron, card in page.cards.items():
        lines = neuron_card(view, neuron)
        for line, label in zip(lines[1:3], (card.characterises, card.unique), strict=True):
            name = page.concepts[label.concept].name
            r, f1 = label.correlation, label.f1
            said = re.fullmatch(r"\w+: (.+) \(correlation (.+), F1 (.+)\)", line).groups()
            assert said[0] == name
            # A third digit against a second.
            assert float(said[1]) == pytest.approx(r, abs=0.0056)
            assert float(said[2]) == pytest.approx(f1, abs=0.0056)
        assert lines[3].startswith(f"{card.excites} item")
        assert tokens(page, card.items) == [line.split()[1] for line in lines[4:]]
        for code, line in zip(card.codes, lines[4:], strict=True):
            assert float(line.split()[0]) == pytest.approx(code, rel=6e-4, abs=1e-4)


@given(
    st.lists(
        st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.nan]), min_size=6, max_size=6),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, 5), max_size=6, unique=True),
    st.integers(1, 9),
)
def test_the_best_of_many_rows_are_those_of_a_loop(rows, history, k):
    found = best_lists(torch.tensor(rows), np.array(history, dtype=np.int64), k)
    for row, items in zip(rows, found, strict=True):
        able = [i for i in range(6) if i not in history and np.isfinite(row[i])]
        assert items.tolist() == sorted(able, key=lambda i: (-row[i], i))[:k]


def test_many_codes_of_one_user_score_as_if_each_had_its_own(view, test_user):
    one = np.array([user_of(view.problem, test_user)])
    codes = view.knobs.codes(one) * torch.tensor([[1.0], [0.5], [2.0]])
    repeated = view.knobs.scores(np.repeat(one, 3), codes)
    # float32 sums of eight terms in another order.
    torch.testing.assert_close(view.knobs.scores(one, codes), repeated, rtol=1e-5, atol=1e-5)


def test_a_concept_without_neurons_is_there_and_is_not_turned(view, test_user):
    counts = sp.hstack([view.concepts.counts, sp.csr_matrix((view.knobs.n_items, 1))]).tocsr()
    names = (*view.concepts.names, "unheard")
    seen = replace(view, concepts=replace(view.concepts, names=names, counts=counts))
    page = page_of(seen, test_user, Board(k=K))
    assert page.concepts[-1] == Turned("unheard", 0, 0.0, (), (), ())
    with pytest.raises(HarnessError, match="no neuron has anything to do with 'unheard'"):
        page_of(seen, test_user, Board(k=K), "unheard")


def test_a_user_whose_code_is_empty_has_lists_and_nothing_that_stands_out(view, test_user, monkeypatch):  # fmt: skip
    codes = view.knobs.codes
    monkeypatch.setattr(view.knobs, "codes", lambda users: torch.zeros_like(codes(users)))
    page = page_of(view, test_user, Board(k=K))
    assert page.strongest_concepts == page.strongest_neurons == () and page.opened == 0
    assert {places for concept in page.concepts for places in concept.lists} == {page.before}


def test_hostile_words_are_data_and_no_markup(page):
    text = rendered(replace(page, model="</title><script>", user="<b>&amp;\u2029"))
    parsed = Parsed(text)
    scripts = [attrs for tag, attrs in parsed.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert len([tag for tag, _ in parsed.elements if tag == "title"]) == 1
    assert parsed.title == "Knobs of </title><script> on shop, user <b>&amp;\u2029"
    _, data, script = parsed.inside
    assert not set("<>&\u2028\u2029") & set(data)
    held = json.loads(data)
    titles = {item["token"]: item["title"] for item in held["items"]}
    assert titles["i0"] == " ".join(HOSTILE.split())
    assert "</script>" in [concept["name"] for concept in held["concepts"]]
    assert script.strip() == source("page.js").strip()


def test_the_data_are_the_whole_page(page):
    def plain(value):
        if isinstance(value, dict):
            return {str(key): plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    assert json.loads(as_json(page)) == plain(asdict(page))


source = functools.partial(source_of, "recbole_ext.explain.page")


def test_the_script_writes_text_alone_and_cannot_end_its_block():
    writes_text_alone(*map(source, ("page.js", "page.html", "page.css")))
    assert "</" not in source("page.css")


def test_the_page_loads_nothing(page):
    text = rendered(page)
    parsed = Parsed(text)
    loads_nothing(parsed)
    assert "{{" not in text and ("html", {"lang": "en"}) in parsed.elements
    assert any(tag == "meta" and attrs.get("name") == "viewport" for tag, attrs in parsed.elements)


def test_every_element_that_the_script_looks_for_is_there():
    ids = {attrs["id"] for _, attrs in Parsed(source("page.html")).elements if attrs.get("id")}
    wanted = set(re.findall(r"(?:find|getElementById)\(\"([\w-]+)\"\)", source("page.js")))
    assert wanted and wanted <= ids


def test_a_large_page_is_small_enough(tmp_path, capsys):
    """400 concepts at 6 strengths with lists of 20, five neurons each, on 8,000 items: what a phone opens."""
    rng = np.random.default_rng(0)

    def places(count):
        return tuple(rng.integers(0, 8000, count).tolist())

    items = tuple(Item(str(10_000 + i), f"A title of {i}, as long as they are (1999)", "Comedy · Drama · War") for i in range(8000))  # fmt: skip
    knobs = tuple(Knob(i, 0.123, 0.123) for i in range(5))
    concepts = tuple(Turned(f"concept number {t}", 100, 0.0123, knobs, places(60), tuple(places(20) for _ in range(5))) for t in range(400))  # fmt: skip
    label = Label(123, 0.123, 0.123)
    cards = {n: Card(0.0123, label, label, 1000, places(10), tuple(rng.random(10).round(4).tolist())) for n in range(2000)}  # fmt: skip
    page = Page("M", "d", "r", "u", Board(), 2048, 2000, places(500), places(50), 50, places(20), places(20), items, cards, concepts, (0,), (0,), 0)  # fmt: skip
    assert len(rendered(page).encode()) < LARGE
    lines = write_page(page, tmp_path / "a.html")
    assert "400 concepts of 400 at 6 strengths" in lines[1] and not capsys.readouterr().err
    write_page(replace(page, items=items * 6), tmp_path / "b.html")
    assert "b.html is large" in capsys.readouterr().err


def test_a_page_from_the_command_line_is_whole_and_says_so(run, view, test_user, tmp_path, capsys):
    path = tmp_path / "knobs.html"
    path.write_text("an old one")
    asked = [f"--user={test_user}", f"--html={path}", "--concept=Lamp", "--k=7", "--map=unique", "--neurons=3"]  # fmt: skip
    capsys.readouterr()
    assert main([*run.show, *asked]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("KnotsELSA on shop, run ") and f"user {test_user}, " in out[0]
    assert out[-1] == str(path) and [*tmp_path.iterdir()] == [path]
    held = json.loads(Parsed(path.read_text("utf-8")).inside[1])
    assert held["board"] == {"strengths": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], "by": "unique", "count": 3, "mode": "redistribute", "k": 7}  # fmt: skip
    assert held["concepts"][held["opened"]]["name"] == "lamp" and len(held["before"]) == 7
    assert main([*run.show, f"--user={test_user}", f"--html={path}", "--mode=add", "--alpha=0,3,9"]) == 0  # fmt: skip
    held = json.loads(Parsed(path.read_text("utf-8")).inside[1])
    assert held["board"]["strengths"] == [0.0, 3.0, 9.0] and held["board"]["mode"] == "add"
    assert len(held["before"]) == 20


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--user=u1", "--html=/nowhere/at/all.html"], "--html=/nowhere/at/all.html: no folder /nowhere/at; make it first"),
        (["--user=u1", "--html=/tmp"], "--html=/tmp is a folder; name a file in it, e.g. /tmp/knobs.html"),
        (["--user=u1", "--html"], "--html needs a value"),
        (["--user=u1", "--html=/tmp/shop.inter"], "--html=/tmp/shop.inter: a page's name ends in .html, e.g. /tmp/knobs.html"),
        (["--html={}"], "--user=TOKEN is missing: whose list is to be turned?"),
        (["--user=uu1", "--html={}"], "user 'uu1' is not in shop, did you mean u1"),
        (["--user=u1", "--html={}", "--concept=lapm"], "no concept 'lapm', did you mean lamp?"),
        (["--user=u1", "--html={}", "--k=41"], "--k=41: shop has 40 items; ask for at most as many"),
        (["--user=u1", "--html={}", "--k=0"], "--k=0: must be a whole number from 1"),
        (["--user=u1", "--html={}", "--alpha=0,0.2,0.1"], "--alpha=0,0.2,0.1: the strengths of a slider must ascend"),
        (["--user=u1", "--html={}", "--alpha=0,0.2,0.2"], "must ascend"),
        (["--user=u1", "--html={}", "--alpha=0.1,0.2"], "--alpha=0.1,0.2: a slider has 2 to 21 strengths, the first of them 0"),
        (["--user=u1", "--html={}", "--alpha=0"], "a slider has 2 to 21 strengths"),
        (["--user=u1", "--html={}", "--alpha=0,1.5"], "takes a share from 0 to 1"),
        (["--user=u1", "--html={}", "--alpha=0,a"], "--alpha=a: must be a number from 0"),
        (["--user=u1", "--html={}", "--mode=add"], "--mode=add has no strengths of its own"),
        (["--user=u1", "--html={}", "--mode=sett"], "did you mean set?"),
        (["--user=u1", "--html={}", "--neuron=3"], "--html and --neuron are two questions"),
        (["--user=u1", "--html={}", "--concept=red", "--steering"], "--html and --steering are two questions"),
        (["--user=u1", "--html={}", "--usr=3"], "--usr is not an option of show, did you mean user?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_writes_nothing(asked, expected, run, tmp_path, capsys):
    path = tmp_path / "knobs.html"
    assert expected in refused(capsys, [*run.show, *(word.format(path) for word in asked)])
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_one_line(page, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recbole_ext.core.web_page.write_atomically", full)
    with pytest.raises(HarnessError, match=r"knobs.html: No space left on device$"):
        write_page(page, tmp_path / "knobs.html")


@pytest.mark.parametrize("column", ["tags", "genres"])
def test_items_without_titles_are_called_by_their_tokens(column, tmp_path):
    """Tags are no text of an item, genres are."""
    path = write_shop(tmp_path)
    item = path / "shop" / "shop.item"
    rows = [line.split("\t") for line in item.read_text().strip("\n").split("\n")]
    lines = [f"item_id:token\t{column}:token_seq", *(f"{row[0]}\t{row[2]}" for row in rows[1:])]
    item.write_text("\n".join(lines) + "\n")
    where = [f"--data-path={path}", f"--records={tmp_path / 'runs'}", "--dataset=shop"]
    assert main([*MODEL, *SPLIT, *where]) == 0
    html = tmp_path / "a.html"
    assert main(["show", "--model=KnotsELSA", *where, "--user=u1", f"--html={html}"]) == 0
    held = json.loads(Parsed(html.read_text("utf-8")).inside[1])
    known = {row[0]: row[2] if column == "genres" else "" for row in rows[1:]}
    for item in held["items"]:
        assert item["title"] == item["token"] and item["detail"] == known[item["token"]]


@pytest.mark.parametrize("name", ["KnotsMultVAE"])
def test_the_other_model_has_a_page_too(name, run, tmp_path, capsys):
    records = tmp_path / "runs"
    where = [f"--data-path={run.data_path}", f"--records={records}", "--dataset=shop"]
    assert main([f"--model={name}", *MODEL[1:], *SPLIT, *where]) == 0
    with saved_run(records, name, "shop", run.data_path) as saved:
        from recbole_ext.explain.knobs import Labelled

        view = Labelled.of(saved, None, None)
        user = of_test(view)
        page = page_of(view, user, Board(k=K))
        for concept in page.concepts:
            for alpha, places in zip(page.board.strengths[1:], concept.lists, strict=True):
                found = blocks(steered_list(view, user, Turn(concept.name, alpha), K))
                assert tokens(page, places) == [item for item, *_ in found["after"]]


def test_a_browser_shows_the_list_and_runs_no_title(page, view, tmp_path):
    browser = chromium()
    path = tmp_path / "knobs.html"
    write_page(replace(page, before=tuple(range(len(page.items)))), path)
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    dom = Parsed(done.stdout)
    rows = [int(a["data-item"]) for t, a in dom.elements if t == "li" and "data-item" in a]
    assert rows[len(page.history) :][: len(page.items)] == list(range(len(page.items)))
    assert len([tag for tag, _ in dom.elements if tag == "script"]) == 2
    assert "&lt;/script&gt;&lt;script&gt;alert('a &amp; b')&lt;/script&gt;" in done.stdout
    pressed = [attrs for tag, attrs in dom.elements if attrs.get("aria-pressed") == "true"]
    assert [int(attrs["data-concept"]) for attrs in pressed] == [page.opened]
