"""Profiles that a language model writes: of training only, kept by writer and prompts, read by models, said in records."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from recbole_ext import experiment as experiments
from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.source import Source
from recbole_ext.pipeline.training import Training
from recbole_ext.text.written import LONGEST, Profiles, item_prompt, user_prompt
from tests.problems import make_experiment

POISON = "POISON"


@dataclass
class Parrot:
    """Answers with the prompt's words backwards, and remembers what it was asked."""

    name: str = "lm:parrot"
    source: Source = field(default=Source(Path(), "files:1", "parrot"))
    asked: list[str] = field(default_factory=list)

    def write(self, prompts, seed=None):
        self.asked += prompts
        return iter([" ".join(reversed(prompt.split())) for prompt in prompts])


@pytest.fixture
def parrot(monkeypatch, tmp_path):
    found = Parrot()
    monkeypatch.setattr(experiments, "make_writer", lambda name, device, trusted: found)
    monkeypatch.setattr(experiments, "default_cache", lambda: tmp_path / "cache")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve users; what each is tested by, its latest item, is nobody's training, and its title is poison."""
    target = tmp_path_factory.mktemp("poisoned") / "poisoned"
    target.mkdir()
    rng, rows = np.random.default_rng(2), ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(12):
        for time, item in enumerate(rng.choice(9, size=5, replace=False)):
            rows.append(f"u{user}\ti{item}\t{time}")
        rows += [f"u{user}\tv{user % 3}\t50", f"u{user}\tt{user % 3}\t60"]
    titles = [f"i{i}\tThing {i}" for i in range(9)]
    titles += [f"{kind}{i}\t{POISON} {kind}{i}" for kind in "vt" for i in range(3)]
    (target / "poisoned.inter").write_text("\n".join(rows) + "\n")
    (target / "poisoned.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *titles]) + "\n")  # fmt: skip
    return target.parent


def asked(folder, name="RLMRecCon", **given):
    keys = {
        "split": "leave_one_out",
        "encoder": "hash:8",
        "writer": "lm:parrot",
        "embedding_size": 4,
    }
    return make_experiment(name, "poisoned", folder, **{**keys, **given})


def test_what_is_said_of_a_user_is_of_its_training_alone_the_latest_first(folder, parrot):
    problem = asked(folder).problem
    assert len(problem.training_titles) == 12
    assert all(len(titles) == 5 for titles in problem.training_titles)
    prompts = asked(folder).written["users"].prompts
    assert not any(POISON in prompt for prompt in prompts) and all(prompts)
    user = problem.data.user_tokens.index("u3")
    mine = (problem.data.user == user) & (problem.split.part == 0)
    order = np.argsort(-problem.data.time[mine])
    titles = np.array(problem.titles[1])[problem.data.item[mine][order]].tolist()
    assert problem.training_titles[user] == titles
    # With the validation part trained on, its items are named, and those of the test are not.
    refitted = asked(folder, refit=True).final.written["users"].prompts
    assert all(f"{POISON} v" in prompt and f"{POISON} t" not in prompt for prompt in refitted)


def test_a_prompt_names_the_first_titles_and_nothing_is_asked_of_nothing():
    titles = [f"<{n}>" for n in range(LONGEST + 3)]
    assert [title in user_prompt(["", *titles]) for title in titles] == [True] * LONGEST + [False] * 3  # fmt: skip
    assert user_prompt([]) == user_prompt(["  "]) == item_prompt(" ") == ""
    assert '"Thing"' in item_prompt("Thing")


def test_answers_are_kept_by_writer_and_prompts_and_what_was_cut_off_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_ext.text.written._AT_ONCE", 2)
    writer, prompts = Parrot(), ["a b", "", "c d", "e f", "a b"]

    def dies(some, seed=None):
        if len(writer.asked) >= 2:
            raise KeyboardInterrupt
        return Parrot.write(writer, some)

    profiles = Profiles(writer, prompts, "users")
    monkeypatch.setattr(writer, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        profiles.written(tmp_path)
    monkeypatch.undo()
    assert profiles.written(tmp_path) == ["b a", "", "d c", "f e", "b a"]
    assert sorted(writer.asked) == ["a b", "c d", "e f"]
    assert profiles.written(tmp_path) and len(writer.asked) == 3
    (kept,) = (tmp_path / "profiles").glob("*.json")
    kept.write_text(kept.read_text()[:-9])
    assert profiles.written(tmp_path)[0] == "b a" and len(writer.asked) == 6
    other = Profiles(Parrot(source=Source(Path(), "files:2", "p")), prompts, "users")
    assert other.fingerprint != profiles.fingerprint
    assert Profiles(writer, prompts[::-1], "users").fingerprint != profiles.fingerprint


@pytest.mark.parametrize("name", ["RLMRecCon", "KAR"])
def test_models_read_what_is_written_encoded_as_items_are(name, folder, parrot, tmp_path):
    one = asked(folder, name)
    assert not parrot.asked and one.run_id != asked(folder, name, writer=None).run_id
    assert not parrot.asked  # a run's id is known before anything is written
    model, _ = Training(one, one.embeddings(), tmp_path).build(one.settings.params)
    both = (model.user_text, model.item_text) if name == "KAR" else model._parts(model.text)
    for of, found in zip(("users", "items"), both, strict=True):
        expected = one.encoder.encode(one.answers(of))
        np.testing.assert_allclose(found[1:], expected, atol=1e-6)
        assert not found[0].any() and np.ptp(found[1:], axis=0).max() > 0.1
    assert len(set(parrot.asked)) == len(parrot.asked)  # no prompt twice


def test_a_record_says_who_wrote_and_vectors_that_are_looked_up_are_not_written(folder, parrot, tmp_path, capsys):  # fmt: skip
    common = [
        "--model=RLMRecGen", "--dataset=poisoned", f"--data-path={folder}", "--encoder=hash:8", "--epochs=1",
        f"--records={tmp_path / 'runs'}", "--protocols=full", "--threads=1", "--embedding_size=4", "--split=leave_one_out",
    ]  # fmt: skip
    assert main(common) == 0 and main([*common, "--writer=lm:parrot"]) == 0
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").rglob("record.json")]
    by = {record["text"]["user_profiles"]: record for record in records}
    assert set(by) == {"mean of training items", "written by parrot from titles"}
    written = by["written by parrot from titles"]
    assert written["text"]["item_profiles"] == "written by parrot from titles"
    assert {"written_users", "written_items"} <= set(written["fingerprints"])
    assert "writer" not in by["mean of training items"]["experiment"]["params"]
    users = make_experiment("Pop", "poisoned", folder).problem.data.user_tokens
    np.savez(tmp_path / "p.npz", user=np.array(users), vector=np.ones((len(users), 8)))
    with_file = asked(folder, user_profiles=str(tmp_path / "p.npz"))
    assert set(with_file.written) == {"items"} and (with_file.user_vectors == 1).all()
    np.savez(tmp_path / "v.npz", items=np.array(["i0"]), vectors=np.ones((1, 8)))
    with pytest.raises(HarnessError, match="leave one of the two out"):
        asked(folder, encoder=f"file:{tmp_path / 'v.npz'}").fingerprints()
