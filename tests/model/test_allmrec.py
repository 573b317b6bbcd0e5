"""A-LLMRec: what its stages share and train, what its loss covers, and how titles are chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.lists import rule_measures
from recbole_ext.model.allmrec import ALLMRec
from recbole_ext.pipeline.training import score_test
from recbole_ext.testing import write_tiny
from tests.model.listed_data import assert_repeats, fit, training
from tests.model.test_matching import fit as fit_below

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def built(tiny_path, tmp_path, listing_llama):
    """An untrained model and a batch of its last stage."""
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama)
    model, _ = made.build(of.settings.params)
    return model.eval(), model.stages()[-1].loader.batch(np.arange(5))


def titles_of(folder, change):
    """The tiny data set with other titles, by their place."""
    path = write_tiny(folder / "titled")
    file = path / "tiny" / "tiny.item"
    head, *rows = file.read_text().splitlines()
    rows = [
        f"{row.split(chr(9))[0]}\t{change(i, row.split(chr(9))[1])}" for i, row in enumerate(rows)
    ]
    file.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_its_lower_stages_are_those_of_models_without_a_language_model(
    tiny_path, tmp_path, listing_llama, capsys
):
    below, _ = fit_below(tiny_path, tmp_path, match_epochs=2)
    capsys.readouterr()
    fitted, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama)
    told = capsys.readouterr().err
    assert "'collaborative': trained before" in told and "'matching': trained before" in told
    for name, value in below.model.state_dict().items():
        assert torch.equal(value, fitted.model.state_dict()[name]), name
    named = [json.loads(p.read_text())["stage"] for p in tmp_path.glob(".stages/*/stage.json")]
    assert sorted(named) == ["collaborative", "matching", "projection"]


def test_only_the_projectors_move_and_the_language_model_does_not(
    tiny_path, tmp_path, listing_llama
):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama)
    model, _ = made.build(of.settings.params)
    stages = model.stages()
    assert [stage.name for stage in stages] == ["collaborative", "matching", "projection"]
    frozen = {name: value.clone() for name, value in model.backbone.model.state_dict().items()}
    fitted, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama)
    start = {name: value for name, value in model.state_dict().items()}
    for name, value in fitted.model.state_dict().items():
        if name.startswith(("user_token", "item_token")):
            assert not torch.equal(value, start[name]), name
    for name, value in fitted.model.backbone.model.state_dict().items():
        assert torch.equal(value, frozen[name]), name
    assert not any(p.requires_grad for p in fitted.model.backbone.model.parameters())
    below, _ = fit_below(tiny_path, tmp_path / "alone", match_epochs=2)
    for name, value in below.model.state_dict().items():
        assert torch.equal(value, fitted.model.state_dict()[name]), name


def test_the_loss_is_that_of_the_titles_and_the_ends_tokens_in_a_loop(built):
    model, batch = built
    users, seen, following = batch
    torch.manual_seed(4)
    with torch.no_grad():
        fast = float(model.projection_loss(batch))
    torch.manual_seed(4)
    total, count = 0.0, 0
    candidates = [
        model.candidates_of(u, t)
        for u, t in zip(users.tolist(), following[:, -1].tolist(), strict=True)
    ]
    for row, among in enumerate(candidates):
        history = [item for item in seen[row].tolist() if item]
        with torch.no_grad():
            state = model.user_states([history])
            (one,) = model.asked([history], [among], state)
            embeds = model.backbone.embed(torch.tensor([one.prompt.ids]))
            z = model.matching.items.encode(model.items.weight)
            for place, item in zip(one.prompt.slots.values(), one.items, strict=True):
                embeds[0, place] = model.item_token(z[item]) if item else model.user_token(state)[0]
            answer = model.filler.answer(model.titles[int(following[row, -1])])
            assert answer[-1] == model.backbone.tokenizer.eos_token_id
            for token in answer:
                state_of = model.backbone.states(embeds, torch.ones(embeds.shape[:2]))[0, -1]
                scores = model.backbone.vocabulary(state_of)
                total += float(
                    functional.cross_entropy(scores[None].double(), torch.tensor([token]))
                )
                count += 1
                embeds = torch.cat([embeds, model.backbone.embed(torch.tensor([[token]]))], 1)
    assert fast == pytest.approx(total / count, rel=1e-4)  # float32 sums of other shapes


def test_the_target_is_among_the_candidates_once_and_nothing_else_of_the_user_is(built):
    model, batch = built
    places = set()
    for user, target in zip(batch[0].tolist(), batch[2][:, -1].tolist(), strict=True):
        for _ in range(20):
            among = model.candidates_of(user, target)
            own = set(model.item[model.user == user].tolist())
            assert len(among) == len(set(among)) == 6 and among.count(target) == 1
            assert set(among) & own == {target} and 0 not in among
            places.add(among.index(target))
    assert places == set(range(6))


def test_the_history_is_the_latest_items_before_the_target_and_each_slot_has_its_own(built):
    model, batch = built
    users, seen, following = batch
    candidates = [[3, 9], [1, 2], [5, 6], [7, 8], [4, 10]]
    histories = [[item for item in row if item] for row in seen.tolist()]
    with torch.no_grad():
        asked = model.asked(histories, candidates, model.states(seen, 1)[:, 0])
    for row, one in enumerate(asked):
        own = model.item[model.user == int(users[row])].tolist()
        assert int(following[row, -1]) == own[-1]
        assert one.items == [0, *own[:-1][-3:], *candidates[row]]
        assert next(iter(one.prompt.slots)) == "user" and list(one.prompt.slots)[-1] == "candidate2"


@pytest.mark.parametrize("chosen_by", ["generated", "likelihood"])
def test_it_repeats_and_its_weights_make_a_round_trip(
    chosen_by, tiny_path, tmp_path, listing_llama
):
    table = assert_repeats("ALLMRec", tiny_path, tmp_path, listing_llama, chosen_by=chosen_by)
    assert table.depth == (1 if chosen_by == "generated" else None)
    assert (table.rules != {}) == (chosen_by == "generated")


def interaction_of(model, users, histories):
    longest = max(map(len, histories))
    rows = [[*history, *[0] * (longest - len(history))] for history in histories]
    return {
        model.USER_ID: torch.tensor(users),
        model.ITEM_SEQ: torch.tensor(rows),
        model.ITEM_SEQ_LEN: torch.tensor([max(1, len(history)) for history in histories]),
    }


def test_a_titles_likelihood_does_not_depend_on_what_is_scored_beside_it(built):
    model, _ = built
    given = interaction_of(model, [1, 2], [[3, 4, 5], [9]])
    items = torch.tensor([[1, 2, 6, 7], [8, 10, 11, 12]])
    found = model.score_candidates(given, items)
    asked, states = model._at_test(given, items)
    from recbole_ext.lm.likelihood import Prefix

    with torch.no_grad():
        for row in range(2):
            embeds, _, _ = model.embedded([asked[row]], states[row : row + 1])
            for column, item in enumerate(items[row].tolist()):
                alone = Prefix(model.backbone, embeds[0]).likelihood(
                    [model.filler.answer(model.titles[item])]
                )
                assert float(found[row, column]) == pytest.approx(float(alone.mean), abs=1e-4)


def test_a_user_without_history_is_asked_for_too(built):
    model, _ = built
    given = interaction_of(model, [3], [[0]])
    found = model.score_candidates(given, torch.tensor([[1, 2]]))
    assert (
        bool(torch.isfinite(found).all())
        and len(model.answers(given, torch.tensor([[1, 2]]), True, False)[0]) == 1
    )


def test_candidates_of_one_title_are_tied_under_both_ways_of_choosing(tmp_path, listing_llama):
    path = titles_of(tmp_path, lambda i, title: "red lamp number 0" if i < 2 else title)
    made, of = training("ALLMRec", path, tmp_path, listing_llama)
    model, _ = made.build(of.settings.params)
    model.eval()
    given, items = interaction_of(model, [1], [[3, 4, 5]]), torch.tensor([[1, 2, 6]])
    scores = model.score_candidates(given, items)
    assert scores[0, 0] == scores[0, 1] != scores[0, 2]
    model.answers = lambda *_: (['"Red lamp number 0"'], scores)
    place, alike, rules = model.choose_candidates(given, items)
    assert place.tolist() == [0] and alike.tolist() == [[True, True, False]]
    assert rules["substring"].tolist() == alike.tolist() and not rules["llara"].any()


def test_outputs_are_read_by_their_title_and_counted_by_each_rule(
    tiny_path, tmp_path, listing_llama
):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama)
    fitted = made.fit(of.settings.params, "ALLMRec")
    model = fitted.model
    right = of.problem.test_task
    wanted = {int(u) + 1: int(i) + 1 for u, i in zip(right.users[right.row_of_positive], right.pos_items, strict=True)}  # fmt: skip

    def oracle(interaction, items, *_):
        """Every third user: the title; the title with words around it in the quotes; nothing of use."""
        said = []
        for user in interaction[model.USER_ID].tolist():
            title = model.titles[wanted[user]]
            said.append([f'"{title}"', f'"the {title} please"', "no idea"][user % 3])
        return said, torch.empty(0)

    model.answers = oracle
    table = score_test(fitted, of).ranked
    shares = np.bincount([u % 3 for u in wanted], minlength=3) / len(wanted)
    found = rule_measures(table)
    assert table.valid["uni5"].mean() == pytest.approx(shares[0])
    assert found["uni5 hit1_substring"] >= shares[:2].sum() - 1e-12
    assert found["uni5 valid_llara"] <= shares[:2].sum() + 1e-12
    assert found["uni5 hit1_llara"] == pytest.approx(found["uni5 valid_llara"])
    assert found["uni5 hit1_llara_of_valid"] == pytest.approx(1.0)


def test_the_likeliest_title_is_told_beside_the_written_one(
    tiny_path, tmp_path, listing_llama, monkeypatch
):
    asked = []
    likelihoods = ALLMRec._likelihoods
    monkeypatch.setattr(ALLMRec, "_likelihoods", lambda *a: asked.append(1) or likelihoods(*a))
    both, of = fit("ALLMRec", tiny_path, tmp_path, listing_llama, chosen_by="both")
    assert not asked  # validation reads what is written only
    scored, other = fit("ALLMRec", tiny_path, tmp_path, listing_llama, chosen_by="likelihood")
    found = score_test(both, of).ranked
    above, tied = score_test(scored, other).ranked.lists["uni5"]
    assert not tied.any()
    np.testing.assert_array_equal(found.rules["uni5"]["score"][0], above == 0)
    assert found.rules["uni5"]["score"][1].all() and 0 < (above == 0).mean() < 1


def test_the_place_in_the_prompt_says_nothing_of_the_place_in_the_list(built):
    model, _ = built
    users = list(range(1, 40))
    given = interaction_of(model, users, [[3, 4]] * 39)
    with torch.no_grad():
        asked, _ = model._at_test(given, torch.arange(5, 11).expand(39, -1))
        again, _ = model._at_test(given, torch.arange(5, 11).expand(39, -1))
    first = [one.items[-6:].index(5) for one in asked]
    assert set(first) == set(range(6)) and all(
        sorted(one.items[-6:]) == [5, 6, 7, 8, 9, 10] for one in asked
    )
    assert [one.items for one in asked] == [one.items for one in again]


def test_vectors_and_titles_are_permuted_for_the_controls_only(tiny_path, tmp_path, listing_llama):
    def of(**given):
        made, one = training("ALLMRec", tiny_path, tmp_path, listing_llama, **given)
        return made.build(one.settings.params)[0]

    plain, vectors, texts, recon = (
        of(),
        of(shuffle_vectors=True),
        of(shuffle_text=True),
        of(id_source="recon"),
    )
    assert plain.vector_of.tolist() == list(range(31)) and plain.titles == vectors.titles
    order = vectors.vector_of.tolist()
    assert order[0] == 0 and sorted(order) == list(range(31)) and order != list(range(31))
    assert sorted(texts.titles) == sorted(plain.titles) and texts.titles != plain.titles
    assert plain.item_token[0].in_features == 6 and recon.item_token[0].in_features == 8
    named = {
        repr(sorted(m.stages()[-1].fingerprint.items(), key=str))
        for m in (plain, vectors, texts, recon)
    }
    assert len(named) == 4


def test_some_users_are_learnt_from_where_that_is_asked_for(tiny_path, tmp_path, listing_llama):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, projection_users=7)
    model, _ = made.build(of.settings.params)
    loader = model.stages()[-1].loader
    assert len(loader.lengths) == 7 and len(model.stages()[1].loader.lengths) == 40


def test_what_cannot_be_prompted_is_said_in_a_line(tiny_path, tmp_path, listing_llama):
    def build(**given):
        made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, **given)
        return made.build(of.settings.params)

    with pytest.raises(HarnessError, match="a prompt that lists items has"):
        build(prompt="tallrec")
    model, _ = build(max_length=60)
    with pytest.raises(HarnessError, match=r"does not fit into 60 tokens.* --title_length"):
        model.asked([[1, 2]], [list(range(3, 13))], torch.zeros(1, 8))
    bare = titles_of(tmp_path, lambda i, title: "" if i < 3 else title)
    made, of = training("ALLMRec", bare, tmp_path, listing_llama)
    assert made.build(of.settings.params)[0].titles[1:].count("untitled") == 3


@pytest.mark.parametrize("chosen_by", ["generated", "likelihood"])
def test_a_run_keeps_at_which_place_of_its_prompt_the_right_title_stood(
    chosen_by, tiny_path, tmp_path, listing_llama
):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, chosen_by=chosen_by)
    fitted = made.fit(of.settings.params, "ALLMRec")
    model, prompts = fitted.model, []
    asked = model.asked

    def noting(histories, candidates, states):
        prompts.extend(candidates)
        return asked(histories, candidates, states)

    model.asked = noting
    table = score_test(fitted, of).ranked
    places, chosen = table.placed["uni5"]
    first = [row.index(item + 1) + 1 for row, item in zip(prompts[: len(table)], table.item, strict=True)]  # fmt: skip
    assert places[:, 0].tolist() == first and set(first) == set(range(1, 7))
    right = (table.lists["uni5"][0] == 0) & table.valid["uni5"]
    np.testing.assert_array_equal(right, places == chosen)


@pytest.mark.parametrize(("name", "source"), [("ALLMRec", "latent"), ("SAULD", "recon")])
def test_vectors_are_as_long_as_tokens_and_read_what_differs_between_items(
    name, source, tiny_path, tmp_path, listing_llama
):
    given = {"vector_norm": "tokens", "id_source": source}
    made, of = training(name, tiny_path, tmp_path, listing_llama, **given)
    model, _ = made.build(of.settings.params)
    items = torch.arange(1, model.n_items)
    table = model.backbone.model.get_input_embeddings().weight
    length = float(table.norm(dim=1).mean())
    read = model.item_reads(items).double()
    expected = torch.stack([(c - c.mean()) / c.std() for c in read.T], dim=1)
    raw = model.item_token(expected.float())
    with torch.no_grad():
        found = model.item_vectors(items)
        # Norms of 16 float32 numbers, and standardised columns: 1e-5 is some tens of ulp.
        torch.testing.assert_close(
            found, length * raw / raw.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4
        )
        # A vector is the item's alone, whatever is asked for beside it.
        torch.testing.assert_close(model.item_vectors(items[3:4]), found[3:4], atol=1e-6, rtol=1e-5)
        users = model.user_vectors(torch.randn(5, model.items.embedding_dim))
    torch.testing.assert_close(users.norm(dim=1), torch.full((5,), length), atol=1e-5, rtol=1e-5)
    assert model.measures()["length"] == pytest.approx(1, abs=1e-5)


def test_the_share_that_differs_between_items_is_told(built):
    model, _ = built
    items = torch.arange(1, model.n_items)
    with torch.no_grad():
        vectors = model.item_vectors(items).double().numpy()
    mean = vectors.mean(0)
    expected = sum(((v - mean) ** 2).sum() for v in vectors) / sum((v**2).sum() for v in vectors)
    assert model.measures()["spread"] == pytest.approx(expected, rel=1e-4)  # sums in float32
    with torch.no_grad():
        for parameter in model.item_token[0].parameters():
            parameter.zero_()  # one vector for all
    assert model.measures()["spread"] == pytest.approx(0, abs=1e-6)


def test_how_vectors_are_sized_is_a_stage_of_its_own_and_nothing_below_it(
    tiny_path, tmp_path, listing_llama, capsys
):
    free, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama)
    capsys.readouterr()
    sized, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama, vector_norm="tokens")
    told = capsys.readouterr().err
    assert "'matching': trained before" in told and "'projection': trained before" not in told
    assert not torch.equal(free.model.item_token[0].weight, sized.model.item_token[0].weight)
