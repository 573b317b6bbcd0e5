"""What `show` says of a model with neurons: lists turned by concepts, neurons, how selective they are, and everybody turned."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.explain.knobs import Turn, best_of, neuron_card, steered_list
from recbole_ext.explain.steering import steering
from recbole_ext.explain.top_items import user_of
from tests.conftest import write_tiny
from tests.explain.conftest import GENRES, MODEL, SPLIT, write_shop

ROW = re.compile(r"^ *(\d+) ([* ])(?: (new|=|[+-]\d+))? +(i\d+) ")


def shown(capsys, run, *asked: str) -> list[str]:
    """Lines of a question that is answered."""
    capsys.readouterr()
    code = main([*run.show, *asked])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out.splitlines()


def refused(capsys, argv: list[str]) -> str:
    capsys.readouterr()
    code = main(argv)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.startswith("error: ")
    assert err.count("\n") == 1 + err.count("left out")
    return err


def blocks(lines: list[str]) -> dict[str, list[tuple[str, bool, str]]]:
    """Heading's first word -> (item, whether it has the concept, how it moved) in the order of the list."""
    found, heading = {}, ""
    for line in lines[2:]:
        if row := ROW.match(line):
            place, star, moved, item = row.groups()
            found[heading].append((item, star == "*", moved or ""))
            assert int(place) == len(found[heading])
        else:
            heading = line.split()[0].rstrip(":")
            found[heading] = []
    return found


def test_a_list_is_turned_and_says_how(run, view, test_user, capsys):
    lines = shown(capsys, run, f"--user={test_user}", "--concept=RED", "--alpha=0.4", "--k=12")
    assert lines[0].endswith(f"user {test_user}") and "'red' is on 20 items" in lines[1]
    assert re.findall(r"(\d+) \(", lines[1]) == [str(n) for n in view.neurons(Turn("red", 0.4))]
    assert "after 'red' (alpha 0.4, redistribute):" in lines
    found = blocks(lines)
    before, after = found["before"], found["after"]
    assert len(before) == len(after) == 12 and before != after
    place = {item: at for at, (item, _, _) in enumerate(before, 1)}
    for at, (item, star, moved) in enumerate(after, 1):
        assert star == (int(item[1:]) % 2 == 0)
        was = place.get(item)
        expected = "new" if was is None else "=" if was == at else f"{was - at:+d}"
        assert moved == expected
    assert {moved for *_, moved in before} == {""}
    assert "new" in {moved for *_, moved in after}
    history = view.problem.split.pairs(view.problem.data, *view.problem.seen_at_test)
    known = set(history[1][history[0] == user_of(view.problem, test_user)])
    assert not known & {view.problem.data.item_tokens.index(item) for item, *_ in after}


def test_the_list_without_the_autoencoder_and_before_are_those_of_the_model(run, view, test_user, capsys):  # fmt: skip
    found = blocks(shown(capsys, run, f"--user={test_user}", "--concept=lamp", "--k=15"))
    one = np.array([user_of(view.problem, test_user)])
    problem, model = view.problem, view.saved.fitted
    ranked = model.scorer(problem, *problem.seen_at_test)(one)
    for heading, scores in (("without", view.knobs.plain(one)), ("before", ranked)):
        row = scores[0].double().numpy()
        row = np.where(np.isfinite(row), row, -np.inf)
        best = best_of(view, int(one[0]), torch.from_numpy(row[None]), 15)
        assert [item for item, *_ in found[heading]] == [
            problem.data.item_tokens[item] for item in best
        ]
    capsys.readouterr()
    assert main([*run.show, f"--user={test_user}", "--k=15"]) == 0
    own = [line.split()[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert own == [item for item, *_ in found["before"]]


@pytest.mark.parametrize("mode", ["redistribute", "add", "set"])
def test_a_strength_of_0_changes_nothing(mode, run, test_user, capsys):
    asked = [f"--user={test_user}", "--concept=blue", "--alpha=0", f"--mode={mode}"]
    found = blocks(shown(capsys, run, *asked))
    assert [row[:2] for row in found["after"]] == [row[:2] for row in found["before"]]
    assert {moved for *_, moved in found["after"]} == {"="}


@pytest.mark.parametrize("count", [1, 3])
def test_a_strength_of_1_gives_the_whole_activation_to_the_neurons(count, view, test_user):
    one = np.array([user_of(view.problem, test_user)])
    turn = Turn("red", 1.0, count=count)
    neurons = view.neurons(turn)
    code = torch.zeros(view.item_codes.shape[1])
    for neuron in neurons.tolist():
        code[neuron] += float(view.knobs.codes(one).sum()) / count
    torch.testing.assert_close(
        view.steered_scores(one, neurons, turn), view.knobs.scores(one, code[None])
    )
    lines = steered_list(view, test_user, turn, 5)
    expected = best_of(view, int(one[0]), view.knobs.scores(one, code[None]), 5)
    tokens = view.problem.data.item_tokens
    assert [item for item, *_ in blocks(lines)["after"]] == [tokens[i] for i in expected]


def test_maps_and_numbers_of_neurons_reach_the_list(run, view, test_user, capsys):
    asked = [f"--user={test_user}", "--concept=chair", "--map=correlation", "--neurons=2"]
    line = shown(capsys, run, *asked)[1]
    wanted = view.mapping.neurons_of(view.concepts.index("chair"), "correlation", 2)
    assert re.findall(r"(\d+) \(", line) == [str(n) for n in wanted] and len(wanted) == 2


def test_a_neuron_says_what_it_stands_for_and_how_surely(run, view, capsys):
    live = int((view.item_codes.numpy() > 0).sum(axis=0).argmax())
    lines = shown(capsys, run, f"--neuron={live}")
    assert lines[0].endswith(f"neuron {live}")
    codes = view.item_codes[:, live].numpy().astype(np.float64)
    for line, by in zip(lines[1:3], ("characterises", "unique"), strict=True):
        label = view.mapping.names(by)[live]
        has = view.concepts.presence[:, [view.concepts.index(label)]].toarray().ravel() > 0
        r = np.corrcoef(codes, has)[0, 1]
        f1 = max(
            2 * (has & (codes >= cut)).sum() / (has.sum() + (codes >= cut).sum())
            for cut in codes[codes > 0]
        )
        assert line == f"{by}: {label} (correlation {r:.2f}, F1 {f1:.2f})"
    assert lines[3] == f"{(codes > 0).sum()} items excite it, most:"
    found = [float(line.split()[0]) for line in lines[4:]]
    assert found == sorted(found, reverse=True) and len(found) == min(10, (codes > 0).sum())
    assert lines[4].split()[1] == view.problem.data.item_tokens[int(codes.argmax())]


def test_a_neuron_whose_items_have_no_concept_has_no_label(view):
    """A concept is on ten items or more; here it is on none that this neuron fires for."""
    live = int(np.flatnonzero(view.mapping.live)[0])
    silent = view.item_codes[:, live].numpy() == 0
    counts = view.concepts.counts.multiply(silent[:, None]).tocsr()
    lines = neuron_card(replace(view, concepts=replace(view.concepts, counts=counts)), live)
    assert lines[1:3] == [f"{by}: no label, its items have no concept" for by in ("characterises", "unique")]  # fmt: skip


def test_a_neuron_that_cannot_be_shown_is_named(run, view, capsys):
    dead = int(np.flatnonzero(~view.mapping.live)[0])
    live = int(view.mapping.live.sum())
    said = refused(capsys, [*run.show, f"--neuron={dead}"])
    assert f"--neuron={dead} is dead" in said and f"({live} of 64 live)" in said
    assert "has neurons 0 to 63" in refused(capsys, [*run.show, "--neuron=64"])
    assert "must be a whole number from 0" in refused(capsys, [*run.show, "--neuron=-1"])


def test_how_selective_neurons_are_is_printed_and_written(run, view, capsys):
    lines = shown(capsys, run, "--interpretability")
    table, plot = lines[-2:]
    assert plot.endswith("interpretability.svg") and "</svg>" in (run.folder / "interpretability.svg").read_text()  # fmt: skip
    with (run.folder / "interpretability.csv").open() as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert table == str(run.folder / "interpretability.csv")
    names = ["neurons", "coordinates", "neurons of a turned embedding"]
    assert list(rows) == names
    assert re.split(r"\s{2,}", lines[1].strip()) == names
    live = next(line for line in lines if line.startswith("live "))
    assert live.split()[1:] == [f"{float(rows[name]['live']):.4f}" for name in names]
    assert float(rows["neurons"]["live"]) == pytest.approx(view.mapping.live.mean(), abs=1e-6)
    most = lines.index("concepts, most selective first, the least last:")
    told = [line.split(" entropy")[0].strip() for line in lines[most + 1 : -2]]
    assert sorted(told) == sorted(GENRES)
    numbers = [float(line.rsplit(" ", 1)[1]) for line in lines[most + 1 : -2]]
    assert numbers == sorted(numbers, reverse=True)


def test_turning_everybody_is_printed_and_written(run, capsys):
    lines = shown(capsys, run, "--steering", "--mode=set")
    assert lines[0].endswith("5 concepts, 5 of them with 10 neurons")
    for source in ("targets", "random"):
        with (run.folder / f"steering-{source}.csv").open() as file:
            rows = list(csv.DictReader(file))
        first = next(i for i, line in enumerate(lines) if line.startswith(f"tags from {source}"))
        systems = list(dict.fromkeys(row["system"] for row in rows))
        told = [line[:26].strip() for line in lines[first + 2 : first + 2 + len(systems)]]
        assert told == systems
        assert {"characterises, 5", "random, 1", "post-filter", "TEASER"} <= set(systems)
        assert "</svg>" in (run.folder / f"steering-{source}.svg").read_text()
        assert str(run.folder / f"steering-{source}.csv") in lines
    assert lines[-1] == str(run.folder / "movement.svg")
    assert "</svg>" in (run.folder / "movement.svg").read_text()


def test_turning_everybody_needs_a_concept_with_ten_neurons(view):
    """One item alone makes six fire."""
    counts = view.concepts.counts.tolil()
    counts[1:] = 0
    few = replace(view, concepts=replace(view.concepts, counts=counts.tocsr()))
    with pytest.raises(HarnessError, match=r"no concept has 10 neurons .*; train with more: --k, --width_ratio"):  # fmt: skip
        steering(few, "redistribute")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--user=u1", "--concept=lapm"], "no concept 'lapm', did you mean lamp?"),
        (["--user=u1", "--concept=zzz"], "the 5 concepts are e.g. </script>, blue, chair"),
        (["--user=uu1", "--concept=lamp"], "user 'uu1' is not in shop, did you mean u1"),
        (["--concept=lamp"], "--user=TOKEN is missing: whose list is to be turned?"),
        (["--user=u1", "--concept=lamp", "--alpha=1.5"], "must be numbers from 0 to 1"),
        (["--user=u1", "--concept=lamp", "--alpha=0.1,0.5"], "--alpha=0.1,0.5: a list is turned by one strength"),
        (["--user=u1", "--concept=lamp", "--mode=set", "--alpha=a"], "--alpha=a: must be a number from 0"),
        (["--user=u1", "--concept=lamp", "--map=characterizes"], "did you mean characterises?"),
        (["--user=u1", "--concept=lamp", "--mode=sett"], "did you mean set?"),
        (["--user=u1", "--concept=lamp", "--neurons=0"], "--neurons=0: must be a whole number from 1"),
        (["--user=u1", "--concept=lamp", "--k=0"], "--k=0: must be a whole number from 1"),
        (["--user=u1", "--concept=lamp", "--own_users=maybe"], "must be true or false"),
        (["--user=u1", "--concept=lamp", "--query=a"], "--query is not an option of show"),
        (["--user=u1", "--concept=lamp", "--tags=/nowhere.csv"], "/nowhere.csv"),
        (["--user=u1", "--concept=lamp", "--neuron=3"], "--concept and --neuron are two questions: ask one at a time"),
        (["--interpretability", "--steering"], "are two questions"),
        (["--neuron=3", "--user=u1"], "--user is not an option of show"),
        (["--interpretability", "--mode=set"], "--mode is not an option"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(asked, expected, run, capsys):
    assert expected in refused(capsys, [*run.show, *asked])


def test_tags_of_a_file_are_concepts_too(run, test_user, tmp_path, capsys):
    tags = tmp_path / "tags.csv"
    rows = [f"i{item},round" for item in range(12) for _ in range(2)]
    tags.write_text("\n".join(["item,tag", *rows]) + "\n")
    lines = shown(capsys, run, f"--user={test_user}", "--concept=round", f"--tags={tags}", "--k=30")
    assert "'round' is on 12 items" in lines[1]
    stars = {item for item, star, _ in blocks(lines)["after"] if star}
    assert stars == {item for item, *_ in blocks(lines)["after"] if int(item[1:]) < 12}


def test_a_model_without_concepts_is_refused(tmp_path, capsys):
    where = [f"--data-path={write_tiny(tmp_path)}", f"--records={tmp_path / 'runs'}", "--dataset=tiny"]  # fmt: skip
    assert main(["--model=Pop", "--protocols=full", *where]) == 0
    for asked in (["--user=u1", "--concept=red"], ["--neuron=3"], ["--interpretability"], ["--steering"]):  # fmt: skip
        said = refused(capsys, ["show", "--model=Pop", *where, *asked])
        assert "Pop has no sparse autoencoder" in said and "take KnotsELSA" in said


def test_a_run_without_an_autoencoder_has_no_neurons(tmp_path, capsys):
    where = [f"--data-path={write_shop(tmp_path)}", f"--records={tmp_path / 'runs'}", "--dataset=shop"]  # fmt: skip
    assert main([*MODEL, *SPLIT, "--sae=none", *where]) == 0
    said = refused(capsys, ["show", "--model=KnotsELSA", *where, "--user=u1", "--concept=red"])
    assert "was trained with --sae=none: it has no neurons" in said


def test_data_without_concepts_say_where_they_could_come_from(tmp_path, capsys):
    where = [f"--data-path={write_tiny(tmp_path)}", f"--records={tmp_path / 'runs'}", "--dataset=tiny"]  # fmt: skip
    assert main([*MODEL, *SPLIT, *where]) == 0
    said = refused(capsys, ["show", "--model=KnotsELSA", *where, "--neuron=1"])
    assert "tiny has no concepts" in said and "--tags=FILE" in said


def test_a_user_without_items_has_a_list_that_turns_and_a_page(tmp_path, capsys):
    """By global time a user may be in the test part alone."""
    path = write_shop(tmp_path)
    inter = path / "shop" / "shop.inter"
    late = [f"late\ti{item}\t{9000 + item}" for item in range(6)]
    inter.write_text(inter.read_text() + "\n".join(late) + "\n")
    where = [f"--data-path={path}", f"--records={tmp_path / 'runs'}", "--dataset=shop"]
    split = ["--split=global_time", "--protocols=full", "--ks=5", "--threads=1"]
    assert main([*MODEL, *split, *where]) == 0
    capsys.readouterr()
    show = ["show", "--model=KnotsELSA", *where, "--user=late"]
    assert main([*show]) == 0
    assert "0 items in the history" in capsys.readouterr().out
    assert main([*show, "--concept=red", "--alpha=0.5"]) == 0
    found = blocks(capsys.readouterr().out.splitlines())
    assert len(found["before"]) == len(found["after"]) == 10
    assert main([*show, f"--html={tmp_path / 'late.html'}"]) == 0
    assert "user late, 0 items in the history" in capsys.readouterr().out
