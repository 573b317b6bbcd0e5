"""The paper's tables: the gate, the rules, pairs of informative rows only, and what is read from finished runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.saulrec import ablations, places, tables
from benchmarks.saulrec.gate import gate_of
from benchmarks.saulrec.rows import Row, Run, read_rows
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import holm
from recbole_ext.evaluator.list_places import by_place
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.ranks_file import write_lists, write_ranks
from recbole_ext.evaluator.stats import paired_tests
from tests.leaderboard.factory import record

USERS, M = 300, 19
TOKENS = tuple(f"u{place:03d}" for place in range(USERS))
ITEMS = [f"i{place}" for place in range(USERS)]


def table(share, seed, valid=1.0):
    """One list a user; a share of them is right, and of the others some outputs name nothing."""
    rng = np.random.default_rng(seed)
    right = rng.random(USERS) < share
    fine = right | (rng.random(USERS) < valid)
    above = np.where(right, 0, np.where(fine, 1, M))[:, None]
    tied = np.where(~right & fine, M - 1, 0)[:, None]
    at = rng.integers(1, M + 2, (USERS, 1))
    chosen = np.where(right[:, None], at, np.where(fine[:, None], at % (M + 1) + 1, 0))
    part = right[:, None] | (rng.random((USERS, 1)) < 0.1)
    rules = {"substring": (part, part | fine[:, None]), "llara": (right[:, None] & False, fine[:, None])}  # fmt: skip
    lists = {"uni19": (above, tied)}
    return ListTable(np.arange(USERS), np.arange(USERS), lists, {"uni19": fine[:, None]}, 1, {"uni19": rules}, {"uni19": (at, chosen)})  # fmt: skip


def asked(**given):
    usual = {"backbone": "small", "id_source": "latent", "shuffle_vectors": False, "shuffle_text": False, "projection_epochs": 1}  # fmt: skip
    return {**usual, "chosen_by": "generated", **given}


def row(model, share, seed, title="", valid=1.0, **given):
    params = asked(**given)
    of = record(model, None, {"uni19": share}, params=params, dataset="amazon-toys-2014")
    run = Run(of, "uni19", TOKENS, table(share, seed, valid))
    switched = bool(params["shuffle_vectors"])
    return Row(title or f"{model}{' permuted' * switched}", (run,), params, switched)


def plain(share, seed=9):
    right = np.random.default_rng(seed).random(USERS) < share
    above = np.where(right, 0, 3)[:, None]
    lists = {"uni19": (above, np.zeros_like(above))}
    of = record("SASRec", 0.1, {"uni19": share}, params={"loss": "bce"})
    zero = np.zeros(USERS, dtype=np.int64)
    ranks = RankTable(np.arange(USERS), np.arange(USERS), zero, zero, zero + 100, lists)
    return Row("SASRec", (Run(of, "uni19", TOKENS, ranks),), {"loss": "bce"})


def gate(*rows):
    return gate_of(("small", "generated"), rows, 1 / (M + 1))


def test_the_gate_is_passed_above_chance_and_above_permuted_vectors_only():
    control = row("ALLMRec", 0.06, 2, shuffle_vectors=True)
    good, weak = row("ALLMRec", 0.3, 1), row("ALLMRec", 0.07, 3)
    assert gate(good, control).failures == ()
    assert gate(good, row("ALLMRec", 0.3, 1, shuffle_vectors=True)).failures == (
        "ALLMRec is not above itself with its vectors permuted",
    )
    assert "ALLMRec is not above 0.05" in gate(weak, control).failures
    assert gate(good).failures == ("no run of ALLMRec with --shuffle_vectors=true",)
    assert gate(control).failures == ("no run of ALLMRec",)
    # A control of a longer training is no control of this one.
    longer = row("ALLMRec", 0.06, 2, shuffle_vectors=True, projection_epochs=2)
    assert gate(good, longer).failures == ("no run of ALLMRec with --shuffle_vectors=true",)


def test_a_row_that_mostly_names_nothing_says_nothing_though_the_gate_is_passed():
    found = gate(row("ALLMRec", 0.3, 1), row("ALLMRec", 0.06, 2, shuffle_vectors=True))
    assert found.why(row("SAULD", 0.3, 5)) is None
    assert "valid share" in found.why(row("SAULD", 0.3, 5, valid=0.5))


def test_pairs_are_those_of_informative_rows_adjusted_over_all_of_them():
    rows = [
        plain(0.5),
        row("ALLMRec", 0.3, 1),
        row("ALLMRec", 0.06, 2, shuffle_vectors=True),
        row("SAULD", 0.31, 5),
        row("SAULA", 0.3, 6, valid=0.4),
    ]
    lines = tables.of_users(rows, TOKENS, "uni19")
    begin, end = lines.index("### Pairs"), lines.index("Where p is above .05 no order is claimed.")
    pairs = [line for line in lines[begin:end] if line.startswith("|")][2:]
    assert len(pairs) == 6 and not any("SAULA" in line for line in pairs)
    tested = paired_tests(np.column_stack([one.hit for one in rows[:4]]))
    adjusted = sorted(holm([one.p for one in tested.values()]))
    assert [line.split("|")[4].strip() for line in pairs] == [f"{p:.4f}" for p in adjusted]
    text = "\n".join(lines)
    assert text.count("uninformative: valid share") == 1 and "| Random | | 0.0500 |" in text
    (last,) = [line for line in lines if line.startswith("| SAULA") and "valid share" in line]
    assert lines.index(last) == max(i for i, line in enumerate(lines) if line.endswith("|") and i < lines.index("### Table 3, after one epoch"))  # fmt: skip
    (base,) = [line for line in lines if line.startswith("| ALLMRec |") and "0.3609" in line]
    rule = rows[1].runs[0].listed.rules["uni19"]["substring"][0].mean()
    assert f"| {rule:.4f} |" in base
    assert "### Hit@1 by the place of the right title in the prompt" in lines


def test_without_a_gate_passed_no_pair_has_a_language_model():
    rows = [plain(0.5), plain(0.4, 3), row("ALLMRec", 0.3, 1), row("SAULD", 0.31, 5)]
    text = "\n".join(tables.of_users(rows, TOKENS, "uni19"))
    assert text.count("uninformative: no run of ALLMRec with --shuffle_vectors=true |") == 2
    assert text[text.index("### Pairs") : text.index("### Hit@1 by")].count("SAULD") == 0


@pytest.fixture
def records(tmp_path):
    """Two seeds of one model, one of which has scores beside its titles, a model of every item with more users, and another data set."""
    for seed, model, params in [(1, "ALLMRec", asked()), (2, "ALLMRec", asked()), (1, "SASRec", {"loss": "bce"}), (1, "Pop", {})]:  # fmt: skip
        of = record(model, None, {"uni19": 0.2}, params=params, dataset="toys" if model != "Pop" else "d", seed=seed)  # fmt: skip
        folder = tmp_path / of.run_id
        folder.mkdir()
        (folder / "record.json").write_text(of.to_json())
        if model == "ALLMRec":
            write_lists(table(0.2, seed), TOKENS, ITEMS, folder / "lists.parquet")
        else:
            write_ranks(plain(0.4).runs[0].table, TOKENS, ITEMS, folder / "ranks.parquet")
    return tmp_path


def test_seeds_are_one_row_and_values_are_those_of_the_files(records):
    rows = read_rows(records, "toys", "uni19")
    assert [(one.title, len(one.runs)) for one in rows] == [("ALLMRec, small", 2), ("SASRec", 1)]
    each = [(table(0.2, seed).lists["uni19"][0] == 0)[:, 0] for seed in (1, 2)]
    np.testing.assert_allclose(rows[0].hit, np.mean(each, axis=0))
    text = "\n".join(tables.tables(records, "toys", "uni19"))
    assert "sd of seeds" in text and "300 test users" in text


def test_a_coders_row_stands_beside_the_sasrec_of_its_own_settings(tmp_path):
    measures = {"error": 0.25, "live": 0.5, "overlap": 0.125}
    coder = {"sae_dim": 8, "sae_k": 2, "sae_beta": 0.1, "sae_tied": True, "sae_standardise": True, "coded": "all", "sae_epochs": 3}  # fmt: skip
    shares = {"SASRec": 0.5, "other": 0.9, "SASRecSAE": 0.4}
    for name, share in shares.items():
        params = {"hidden_size": 9 if name == "other" else 8, **(coder if name == "SASRecSAE" else {})}  # fmt: skip
        model = "SASRec" if name == "other" else name
        of = record(model, 0.1, {"uni19": share}, params=params, dataset="toys")
        of = dataclasses.replace(of, measures=measures if name == "SASRecSAE" else {})
        folder = tmp_path / name
        folder.mkdir()
        (folder / "record.json").write_text(of.to_json())
        write_ranks(plain(share).runs[0].table, TOKENS, ITEMS, folder / "ranks.parquet")
    base, rows = ablations.ablations(tmp_path, "toys", "uni19")
    hits = {name: plain(share).hit for name, share in shares.items()}
    assert base["Hit@1"] == pytest.approx(hits["SASRec"].mean()) and base["NDCG@10"] == 1
    (one,) = rows
    apart = one.differences["Hit@1"].difference
    assert apart == pytest.approx((hits["SASRecSAE"] - hits["SASRec"]).mean())
    (line,) = [line for line in ablations.lines_of(base, rows, "t") if line.startswith("| 8 |")]
    assert "| 0.2500 | 0.5000 | 0.1250 |" in line and f"{apart:+.4f}" in line
    assert (
        len({text.count("|") for text in ablations.lines_of(base, rows, "t") if text[:1] == "|"})
        == 1
    )
    with pytest.raises(HarnessError, match="no SASRecSAE on books"):
        ablations.ablations(tmp_path, "books", "uni19")


def test_places_are_told_of_each_run_that_kept_them_and_of_no_other(records):
    text = "\n".join(places.tables(records))
    assert text.count("| place of the right item | lists |") == 2 and "SASRec" not in text
    found = by_place(table(0.2, 2), "uni19")
    assert "ALLMRec, small, toys, uni19, seed 2" in text and f"Hit@1 {found.hit:.4f}" in text
    one = found.places[4]
    assert f"| 5 | {one.lists} | {one.hit:.3f} [{one.low:.3f}, {one.high:.3f}] |" in text
