"""Models that score lists or pairs only, beside those that score every item: one command, one board, dashes with reasons."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.data import problem as problems
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.tables import read_tables
from recbole_ext.leaderboard.analysis import Analysis, pair_key
from recbole_ext.leaderboard.board import load_records
from recbole_ext.leaderboard.from_ranks import analyse
from recbole_ext.leaderboard.rows import sections
from recbole_ext.leaderboard.terminal import render_text
from recbole_ext.pipeline.replay import experiment_of
from tests.leaderboard.factory import lines, pages
from tests.problems import make_experiment

PROTOCOLS = "--protocols=full,uni5,expected@5,ctr", "--split_ratio=0.4,0.2,0.4"
LISTS, PAIRS = "the model scores given lists only", "the model scores single pairs only"


@pytest.fixture
def labels(monkeypatch):
    """The tiny dataset with labels: an item is liked or not, but for one pair in five."""
    plain = problems.load_dataset

    def labelled(spec, options):
        data = plain(spec, options)
        noise = np.random.default_rng(0).random(len(data)) < 0.2
        return dataclasses.replace(data, label=((data.item % 3 == 0) ^ noise).astype(np.float64))

    monkeypatch.setattr(problems, "load_dataset", labelled)


@pytest.fixture
def run(installed, tiny_path, tmp_path, capsys):
    def of(models, *given, records=tmp_path / "runs"):
        argv = [f"--model={models}", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={records}", *given]  # fmt: skip
        code = main(argv)
        told = capsys.readouterr()
        found = {r.experiment["model"]: r for r in load_records(records)[0]}
        return code, told, found

    return of


def row_of(page, heading, model):
    """The cells of a model's line in the table below a heading, from its name on."""
    for line in page[page.index(heading) :].splitlines():
        cells = [cell.strip() for cell in line.replace("|", "  ").split("  ") if cell.strip()]
        if model in cells:
            return cells[cells.index(model) :]
    raise AssertionError(f"no {model} below {heading}")


def page_of(found):
    """The page of the one dataset that some runs are on."""
    made = pages(found.values())
    (name,) = (n for n in made if n.endswith("-protocols.md"))
    return made[name.replace("-protocols", "")]


def test_four_kinds_of_models_stand_on_one_board_with_dashes_and_reasons(run, labels, tmp_path):
    code, told, found = run("TwoStages,Chooser,Clicks,Pop", *PROTOCOLS)
    assert code == 0, told.err
    assert {name: set(r.metrics) for name, r in found.items()} == {
        "TwoStages": {"full", "uni5", "expected@5", "ctr"},
        "Pop": {"full", "uni5", "expected@5", "ctr"},
        "Chooser": {"uni5"},
        "Clicks": {"uni5", "ctr"},
    }
    assert found["Chooser"].unserved == dict.fromkeys(["full", "expected@5", "ctr"], LISTS)
    assert found["Clicks"].unserved == dict.fromkeys(["full", "expected@5"], PAIRS)
    assert {n: r.validation["metric"] for n, r in found.items()} == {
        "TwoStages": "recall@20",
        "Pop": "recall@20",
        "Chooser": "hit_pp@1",
        "Clicks": "auc",
    }
    # What every record has always had is all that a model of every item writes.
    written = {n: json.loads((tmp_path / "runs" / r.run_id / "record.json").read_text()) for n, r in found.items()}  # fmt: skip
    assert "unserved" not in written["Pop"] and "scoring" not in written["Pop"]["experiment"]
    assert found["Chooser"].beyond == {} and found["Clicks"].strata == {} and found["Pop"].strata
    reasons = (
        f"no ctr, expected@5 and full: {LISTS} (Chooser)",
        f"no expected@5 and full: {PAIRS} (Clicks)",
    )
    page = page_of(found)
    for text in (told.out, page):
        for reason in reasons:
            assert reason in " ".join(text.split())
    for name in ("Chooser", "Clicks"):
        cells = row_of(told.out, "Full ranking", name)
        assert cells[1:6] == ["–"] * 5  # rank, and the four metrics
    main, lists, labels_ = (
        page.split(f"### {heading}")[1].split("###")[0]
        for heading in (
            "Models\n",
            "Models that choose from given lists",
            "Models on labelled pairs",
        )
    )
    assert "| Chooser" not in main + labels_ and "| Clicks" not in main
    for name in ("Chooser", "Clicks"):  # a model of single pairs scores the pairs of a list
        cells = row_of(lists, "Model", name)
        assert cells[1] == "–" and cells[2] == "–" and cells[3].startswith("0.")
    labelled = "### Models on labelled pairs"
    for name in ("Pop", "Clicks"):
        assert row_of(page, labelled, name)[1].startswith("0.")
    assert row_of(page, labelled, "Pop")[-1] == "–"  # its scores are no probabilities
    assert "log_loss" in found["Clicks"].metrics["ctr"]
    assert found["Clicks"].metrics["ctr"]["auc"]["mean"] > 0.6 > 0.55
    why = [x for x in lines(found.values()) if (x["protocol"], x["metric"]) == ("full", "unserved")]
    assert any(x["model"] == "Chooser" and x["part"] == LISTS for x in why)


def test_without_a_number_of_full_ranking_there_is_no_table_of_it(run, labels):
    code, told, _ = run("Clicks,Pop", "--protocols=ctr")
    assert code == 0, told.err
    assert "Full ranking" not in told.out and "Recall@20" not in told.out
    runs = row_of(told.out, "Runs", "Clicks")
    assert runs[1:3] == ["untuned", "1"] and runs[3] == "–"  # nothing was tuned
    assert row_of(told.out, "Labelled pairs", "Clicks")[1].startswith("0.")
    _, told, _ = run("Pop", "--protocols=full")
    assert "Full ranking" in told.out and "Recall@20" in told.out


def test_rows_are_compared_only_where_both_have_numbers(run, labels, tmp_path):
    _, _, found = run("Chooser,Clicks,Pop,EASE", *PROTOCOLS)
    (section,) = sections(found.values())
    rows = {row.model: row for row in section.rows}
    made, damaged = analyse(section, tmp_path / "runs", Analysis())
    assert not damaged
    pairs = {
        (one, two): {
            (protocol, metric)
            for a, b, protocol, metric in made.pairs
            if {a, b} == {*pair_key(rows[one], rows[two], "", "")[0][:2]}
        }
        for one, two in [
            ("Pop", "EASE"),
            ("Pop", "Chooser"),
            ("Pop", "Clicks"),
            ("Chooser", "Clicks"),
        ]
    }
    assert {p for p, _ in pairs["Pop", "EASE"]} == {"full", "uni5", "expected@5", "ctr"}
    assert {p for p, _ in pairs["Pop", "Chooser"]} == {"uni5"}
    assert {p for p, _ in pairs["Pop", "Clicks"]} == {"uni5", "ctr"}
    assert {p for p, _ in pairs["Chooser", "Clicks"]} == {"uni5"}
    ids = {row: rows[row].first.run_id for row in rows}
    assert {key[0] for key in made.corrected} == {ids["Pop"], ids["EASE"]}
    assert made.taus
    # Popularity is what the toy counts: the two have one order in every list.
    key, _ = pair_key(rows["Pop"], rows["Chooser"], "uni5", "ndcg_pp@10")
    assert made.pairs[key].difference == 0 and made.pairs[key].p == 1
    # What is known is not looked for again, and without tables nothing is wanted.
    again, _ = analyse(section, tmp_path / "runs", made)
    assert not again.pairs


def test_without_labels_a_model_of_every_item_has_a_dash_and_one_of_pairs_is_a_line(run):
    code, told, found = run("Pop", "--protocols=full,ctr")
    assert code == 0 and found["Pop"].unserved == {"ctr": "the data has no labels"}
    assert "no ctr: the data has no labels (Pop)" in " ".join(told.out.split())
    code, told, _ = run("Clicks", "--protocols=ctr")
    assert code == 2
    line = told.err.strip().splitlines()[-1]
    assert line == "error: Clicks on tiny has no number under --protocols=ctr: the data has no labels"  # fmt: skip


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        ("Chooser", ["--protocols=full,expected@5"], f"Chooser has no number under --protocols=full,expected@5: {LISTS}; ask for e.g. --protocols=uni19"),
        ("Clicks", ["--protocols=full"], f"{PAIRS}; ask for e.g. --protocols=ctr"),
        ("Chooser", ["--protocols=uni5", "--valid_metric=recall@20"], "Chooser: valid_metric 'recall@20' must be hit_pp@20, ndcg_pp@20 or mrr_pp"),
        ("Pop", ["--protocols=uni5", "--valid_metric=hit_pp@1"], "Pop: valid_metric 'hit_pp@1' must be recall@1"),
        ("Generator", ["--protocols=uni5", "--valid_metric=hit_pp@3"], "answers with one item of a list, of which hit_pp@3 says nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_line(run, model, given, told):
    code, out, _ = run(model, *given)
    assert code == 2 and told in out.err.strip().splitlines()[-1]


def test_a_model_of_lists_is_tuned_on_lists_of_the_validation_part(run):
    code, told, found = run("Chooser", "--protocols=full,uni5", "--tune")
    record = found["Chooser"]
    assert code == 0, told.err
    assert record.tuning["metric"] == "hit_pp@1" and record.params["taste"] == 1.0
    values = {trial["point"]["taste"]: trial["value"] for trial in record.tuning["trials"]}
    assert values[1.0] == record.validation["value"] > values[-1.0]


def test_a_generator_is_judged_by_its_first_place_over_all_users(run, tmp_path):
    code, told, found = run("Generator,Chooser", "--protocols=uni5", "--mute=12")
    assert code == 0, told.err
    record = found["Generator"]
    entry = record.metrics["uni5"]
    assert entry.keys() == {"hit_pp@1", "ndcg_pp@1", "valid_pp"}
    table = read_tables(tmp_path / "runs" / record.run_id).ranked
    bad = ~table.valid["uni5"]
    assert 0 < bad.sum() < bad.size and table.depth == 1
    assert len(set(table.user)) == record.data["test_users"]
    above, tied = table.lists["uni5"]
    right = (above == 0) & (tied == 0) & ~bad
    by_user = [right[table.user == user].mean() for user in range(40)]
    assert entry["hit_pp@1"]["mean"] == pytest.approx(np.mean(by_user), abs=1e-8)
    assert 0 < entry["hit_pp@1"]["mean"] < right[~bad].mean()
    flag = f"uni5: {bad.sum():,} of {bad.size:,} outputs name no candidate and count as misses"
    assert record.flags == ["untuned", flag] and flag in " ".join(told.out.split())
    assert "Hit@1 per positive, sampled beside full" in told.out
    heading = "### Models that choose from given lists: Hit@1 per positive, sampled beside full"
    assert row_of(page_of(found), heading, "Generator")[2].startswith("0.")


def test_tables_are_kept_and_give_the_numbers_again(run, labels, tmp_path):
    _, _, found = run("Chooser,Clicks,Pop", *PROTOCOLS)
    files = {
        name: {p.name for p in (tmp_path / "runs" / r.run_id).glob("*.parquet")}
        for name, r in found.items()
    }
    assert files == {
        "Chooser": {"lists.parquet"},
        "Clicks": {"lists.parquet", "scores.parquet"},
        "Pop": {"ranks.parquet", "scores.parquet"},
    }
    for record in found.values():
        tables = read_tables(tmp_path / "runs" / record.run_id)
        assert tables.summarise([*record.metrics], record.experiment["ks"]) == record.metrics


def test_a_damaged_table_is_set_aside(run, labels, tmp_path):
    _, _, found = run("Clicks,Pop", *PROTOCOLS)
    path = tmp_path / "runs" / found["Clicks"].run_id / "scores.parquet"
    path.write_bytes(b"no table")
    (section,) = sections(found.values())
    _, damaged = analyse(section, tmp_path / "runs", Analysis())
    assert "scores.parquet.corrupt, Clicks is compared with nothing" in str(damaged[0])
    assert path.with_suffix(".parquet.corrupt").is_file()


def test_a_record_leads_back_to_its_experiment(run, labels, tiny_path):
    _, _, found = run("Chooser,Clicks,Pop", *PROTOCOLS)
    for record in found.values():
        assert experiment_of(record, tiny_path).run_id == record.run_id


def test_the_default_of_selection_leaves_what_is_described_of_models_of_every_item(tiny_path):
    described = make_experiment("EASE", "tiny", tiny_path).describe()
    assert described["valid_metric"] == "recall@20" and "scoring" not in described


def test_recboles_evaluator_is_a_dash_for_a_sequential_model(tiny_path):
    experiment = make_experiment("SASRec", "tiny", tiny_path, protocols="full,recbole-uni5")
    assert experiment.served == ["full"]
    assert "general models only" in experiment.unserved["recbole-uni5"]


def test_there_is_no_list_to_show_of_a_model_without_a_score_of_every_item(run, tiny_path, tmp_path, capsys):  # fmt: skip
    run("Chooser", "--protocols=uni5")
    argv = ["show", "--model=Chooser", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path / 'runs'}", "--user=u0"]  # fmt: skip
    assert main(argv) == 2
    assert "Chooser has no score of every item" in capsys.readouterr().err


def test_a_row_that_claims_another_scoring_is_refused(installed, monkeypatch):
    import recbole_ext_toys

    from recbole_ext.registry.find import find_model

    wrong = dataclasses.replace(recbole_ext_toys.CHOOSER, scoring="candidate")
    monkeypatch.setattr(recbole_ext_toys, "CHOOSER", wrong)
    with pytest.raises(HarnessError, match=r"scoring of 'Chooser'=candidate must be .*did you mean candidates"):  # fmt: skip
        find_model("Chooser")


def test_a_narrow_terminal_still_says_why(run):
    _, _, found = run("Chooser,Pop", "--protocols=full,uni5")
    told = render_text(found.values(), width=60)
    assert f"no full: {LISTS} (Chooser)" in " ".join(told.split())
    assert protocol_of("full").unserved("candidates") == LISTS
