"""Queries in words: made from descriptions, put at a user's start, and measured."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.explain.intention import (
    alphas_of,
    queries_by,
    query_of,
    remark,
    sweep_alpha,
    written,
)
from recbole_ext.recbole_compat import Intentions
from tests.conftest import write_tiny
from tests.problems import make_experiment, train

GIVEN = {
    "encoder": "hash:32",
    "epochs": 10,
    "num_neg": 8,
    "protocols": "full",
    "valid_metric": "recall@5",
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("intention"))
    experiment = make_experiment("AlphaRec", "tiny", path, **GIVEN)
    return experiment, train(experiment, tmp_path_factory.mktemp("scratch"))


def test_a_query_has_no_word_of_the_title_and_no_year():
    text = "In 1995, Woody's toys live happily; toy-box heroes (2nd story) since 1899s."
    assert query_of("Toy Story (1995)", text) == (
        "I am looking for In Woody's toys live happily heroes 2nd since"
    )
    assert query_of("Heat", "heat in 2001") is None and query_of("", "") is None
    long = query_of("x", " ".join(f"w{i}" for i in range(100)))
    assert len(long.split()) == 44 and long.endswith("w39")


def test_other_letters_are_said_and_no_word_is_refused():
    assert remark("игрушки для детей", ["red lamp"]) == (
        "the query is in CYRILLIC letters, the item texts in LATIN: the encoder may not know what it says"
    )
    assert remark("a lamp", ["red lamp"]) is None and remark("1984", ["red lamp"]) is None
    for blank in ("", "  ", "?!"):
        with pytest.raises(HarnessError, match="has no word"):
            remark(blank, ["red lamp"])


@pytest.mark.parametrize("text", ["1.1", "-0.1", "a", "0,,1", "nan"])
def test_alpha_is_from_0_to_1(text):
    with pytest.raises(HarnessError, match="must be numbers from 0 to 1"):
        alphas_of(text)
    assert alphas_of("0,0.25,1") == [0.0, 0.25, 1.0]


def test_alpha_0_changes_nothing_and_alpha_1_forgets_the_history(fitted):
    _, (model) = fitted[0], fitted[1].model
    torch.manual_seed(0)
    users, queries = torch.tensor([3, 7]), torch.randn(2, 32)
    with torch.no_grad():
        plain, same = model(), model.intending(users, queries, 0.0)
        torch.testing.assert_close(same, plain, rtol=0, atol=1e-6)
        layers, model.n_layers = model.n_layers, 0
        asked, _ = model.intending(users, queries, 1.0)
        wanted = torch.nn.functional.normalize(model.map(queries), dim=1)
        torch.testing.assert_close(asked[users], wanted, rtol=0, atol=1e-6)
        others = torch.ones(model.n_users, dtype=torch.bool)
        others[users] = False
        torch.testing.assert_close(asked[others], model()[0][others])
        model.n_layers = layers


def test_the_table_is_that_of_a_loop(fitted):
    experiment, trained = fitted
    problem, data = experiment.problem, experiment.problem.data
    items = np.arange(0, len(data.item_tokens), 2)  # every other item has a query
    vectors = np.random.default_rng(0).normal(size=(len(items), 32)).astype(np.float32)
    asked = Intentions(trained.model, trained.bench)
    found, users = sweep_alpha(asked, problem, items, vectors, [0.3])
    task = problem.test_task
    seen = set(zip(*problem.split.pairs(data, *problem.seen_at_test), strict=True))
    of_user = {}
    for user, item in zip(task.users[task.row_of_positive], task.pos_items, strict=True):
        of_user.setdefault(int(user), []).append(int(item))
    askers = {u: [i for i in own if i in items] for u, own in of_user.items()}
    askers = {u: own for u, own in askers.items() if own}
    assert users == len(askers)
    # With one test item a user, the target is that item; the tiny dataset's ratio split gives one.
    assert all(len(own) == 1 for own in of_user.values())
    ids = torch.tensor([u + 1 for u in askers])
    text = torch.from_numpy(np.stack([vectors[own[0] // 2] for own in askers.values()]))
    with torch.no_grad():
        left, right = trained.model.intending(ids, text, 0.3)
    hits, gains = [], []
    for user, (target,) in askers.items():
        row = (right[1:] @ left[user + 1]).tolist()
        above = sum(
            row[i] > row[target] for i in range(len(row)) if i != target and (user, i) not in seen
        )
        hits.append(above < 5)
        gains.append(1 / np.log2(above + 2) if above < 5 else 0.0)
    assert found[0].hit == pytest.approx(np.mean(hits)) and found[0].ndcg == pytest.approx(
        np.mean(gains)
    )


def test_the_plot_is_the_same_bytes(fitted, tmp_path):
    experiment, trained = fitted
    found, _ = sweep_alpha(
        Intentions(trained.model, trained.bench), experiment.problem, np.arange(30), np.eye(32, dtype=np.float32)[:30],
        [0.0, 1.0],
    )  # fmt: skip
    first = [path.read_bytes() for path in written(found, "a run", tmp_path)]
    assert first == [path.read_bytes() for path in written(found, "a run", tmp_path)]
    assert first[0].decode().splitlines()[0] == "alpha,hr@5,ndcg@5" and b"</svg>" in first[1]


def test_from_the_command_line(tmp_path, capsys):
    path = write_tiny(tmp_path)
    item = tmp_path / "tiny" / "tiny.item"
    rows = item.read_text().splitlines()
    colour = ["scarlet thing that glows warmly", "azure thing that cools down"]
    told = [f"{row}\t{colour[n % 2]} for 1999 rooms" for n, row in enumerate(rows[1:])]
    item.write_text("\n".join([f"{rows[0]}\tdescription:token_seq", *told]) + "\n")
    where = [
        f"--data-path={path}",
        f"--records={tmp_path / 'runs'}",
        "--model=AlphaRec",
        "--dataset=tiny",
    ]
    asked = [f"--{key}={value}" for key, value in GIVEN.items()]
    assert main([*where, *asked, "--text_fields={Title: title}"]) == 0
    assert (
        main(["data", "queries", "tiny", f"--data-path={path}", f"--output={tmp_path / 'q.csv'}"])
        == 0
    )
    assert "queries for 30 of 30 items" in capsys.readouterr().out
    assert (
        (tmp_path / "q.csv")
        .read_text()
        .splitlines()[1]
        .endswith("thing that glows warmly for rooms")
    )
    assert main(["show", *where, f"--queries={tmp_path / 'q.csv'}", "--alpha=0,1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("users ask for one test item each") and out[3].endswith("retrieval only")
    assert out[-1].endswith("intention.svg")
    assert main(["show", *where, "--user=u3", "--query=a scarlet lamp", "--alpha=1", "--k=3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "before:" and out[5] == 'after "a scarlet lamp" (alpha 1, retrieval only):'
    assert len(out) == 9

    for argv, said in (
        (["--user=u3", "--query=lamp", "--alpha=2"], "--alpha=2: must be numbers from 0 to 1"),
        (["--user=u3", "--query="], "has no word"),
        (["--user=u3", "--alpha=0.5"], "--alpha is the weight of a --query"),
        ([], "--user=TOKEN is missing"),
        ([f"--queries={tmp_path / 'no.csv'}"], "No such file"),
        ([f"--queries={tmp_path / 'bad.csv'}"], "the query in row 1 is empty"),
        ([f"--queries={tmp_path / 'twice.csv'}"], "item 'i1' stands more than once"),
        ([f"--queries={tmp_path / 'other.csv'}"], "1 rows name no items of tiny"),
    ):  # fmt: skip
        (tmp_path / "bad.csv").write_text("item,query\ni1,\n")
        (tmp_path / "twice.csv").write_text("item,query\ni1,a\ni1,b\n")
        (tmp_path / "other.csv").write_text("item,query\nx,a\n")
        assert main(["show", *where, *argv]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1, err

    item.write_text(item.read_text().replace("red", "green"))
    assert main(["show", *where, "--user=u3"]) == 2
    assert "was trained with another text than is here now" in capsys.readouterr().err


def test_the_harness_own_labels_are_no_letters_of_the_items(tmp_path, capsys):
    path = write_tiny(tmp_path)
    titles = "".join(f"i{i}\tлампа\n" for i in range(30))
    (tmp_path / "tiny" / "tiny.item").write_text("item_id:token\ttitle:token_seq\n" + titles)
    where = [
        "--model=AlphaRec",
        "--dataset=tiny",
        f"--data-path={path}",
        f"--records={tmp_path / 'runs'}",
    ]
    assert main([*where, *(f"--{key}={value}" for key, value in GIVEN.items())]) == 0
    capsys.readouterr()
    assert main(["show", *where, "--user=u3", "--query=лампа"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "before:"
    assert main(["show", *where, "--user=u3", "--query=lamp"]) == 0
    assert "the query is in LATIN letters" in capsys.readouterr().out


class Says:
    """Stands for a language model: what it says to each title, first without and then with a seed."""

    name = "lm:stub"

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def write(self, prompts, seed=None):
        for prompt in prompts:
            (title,) = re.findall(r"ITEM: (.*)\nQUERY:$", prompt)
            said = self.answers[0 if seed is None else min(seed + 1, len(self.answers) - 1)]
            self.asked.append((title, seed))
            yield said.format(title.split()[1])


def test_a_model_writes_queries_in_the_first_person_or_none(tiny_path):
    data = make_experiment("Pop", "tiny", tiny_path).problem.data
    writer = Says('QUERY: "I want a {}."')
    found = queries_by(writer, data)
    assert len(found) == len(data.item_tokens) == len(writer.asked)
    assert found[0] == ("i0", "I want a lamp.")
    assert queries_by(Says("A {}.", "It is one.", "For my {}"), data)[0] == ("i0", "For my lamp")
    silent = Says("A {}.")
    assert queries_by(silent, data) == [] and {seed for _, seed in silent.asked} == {None, 0, 1, 2}


def test_a_model_that_repeats_what_it_was_asked_has_said_nothing(tiny_path):
    data = make_experiment("Pop", "tiny", tiny_path).problem.data
    copied = (
        "i need something for long hikes that keeps my tea hot all day, and does not leak in my bag"
    )
    assert queries_by(Says(copied, "For my {}"), data)[0] == ("i0", "For my lamp")
    assert queries_by(Says(copied), data) == []


def test_a_model_that_says_what_an_item_is_about_is_quoted_without_the_title(tiny_path):
    class Knows:
        name = "lm:stub"

        def write(self, prompts, seed=None):
            for prompt in prompts:
                (title,) = re.findall(r'what is "(.*)" about', prompt)
                yield f"{title} is a story of two rivals" if title.endswith(" 0") else "A story."

    data = make_experiment("Pop", "tiny", tiny_path).problem.data
    found = queries_by(Knows(), data, "about")
    assert found == [("i0", "I am looking for is a story of two rivals")]


def test_options_of_queries_are_not_those_of_a_card(tiny_path, capsys):
    for option in ("--output=x.csv", "--writer=lm:x"):
        assert main(["data", "card", "tiny", f"--data-path={tiny_path}", option]) == 2
        assert "is not a key of a dataset" in capsys.readouterr().err


def test_other_models_take_no_query(tiny_path, tmp_path, capsys):
    where = [f"--data-path={tiny_path}", f"--records={tmp_path}", "--model=EASE", "--dataset=tiny"]
    assert main([*where, "--protocols=full"]) == 0
    capsys.readouterr()
    assert main(["show", *where, "--user=u3", "--query=lamp"]) == 2
    assert capsys.readouterr().err == "error: EASE takes no query; take AlphaRec or UniSRec\n"
    assert main(["list", "UniSRec"]) == 0
    assert "offers intention: a query in words" in capsys.readouterr().out
    assert main(["list", "EASE"]) == 0
    assert "offers intention" not in capsys.readouterr().out
