"""What can be turned: neurons, a post-filter, a dense embedding, TEASER; and that held-out items turn nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae import teaser
from recbole_ext.sae.steering import MODES
from recbole_ext.sae.steering_evaluation import evaluated, measured
from recbole_ext.sae.steering_systems import (
    ByTeaser,
    PostFilter,
    Steered,
    TowardsMean,
    Unsteered,
    promoted,
    steered_systems,
    tag_means,
)
from recbole_ext.sae.steering_task import steering_task
from tests.sae.steering_toys import TAGS, Toy, problems, toy, toy_task


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=20, deadline=None)
@given(case=problems())
def test_strength_0_is_the_list_of_the_autoencoder(mode, case):
    task, model, neurons = case
    plain = Unsteered("sae", lambda users: model.scores(users, model.codes(users)))
    steered = Steered("steered", model, neurons, mode)
    (wanted,) = plain.at(task.users, task.desired, (0.0,))
    (found,) = steered.at(task.users, task.desired, (0.0,))
    assert torch.equal(found, wanted)
    first, second = (measured(task, system, (0.0,)) for system in (plain, steered))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_dead_neurons_are_never_steered_by():
    rng = np.random.default_rng(0)
    h, dead = 12, [0, 3, 7]
    items = np.eye(h)
    items[dead] = 0.0
    model = Toy(torch.rand(5, h), torch.rand(h, 7), torch.from_numpy(items))
    live = np.setdiff1d(np.arange(h), dead)
    maps = {"map": torch.from_numpy(np.stack([rng.permutation(live)[:4] for _ in range(2)]))}
    systems = steered_systems(model, maps, counts=(1, 4), seed=3)
    assert [s.name for s in systems] == ["without the autoencoder", "map, 1", "map, 4", "random, 1", "random, 4"]  # fmt: skip
    for system in systems[1:]:
        assert not np.isin(system.neurons, dead).any()
        assert np.flatnonzero(system.dead).tolist() == dead
    evaluated(toy_task(), systems)
    maps["map"][1, 3] = 7
    with pytest.raises(HarnessError, match="neuron 7 is dead"):
        evaluated(toy_task(), steered_systems(model, maps, counts=(4,)))
    with pytest.raises(HarnessError, match="map 'map' has 4 neurons a tag, fewer than 10"):
        steered_systems(model, maps)


def test_a_post_filter_lifts_tagged_items_by_the_least_bonus_by_hand():
    scores = torch.tensor([[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]])
    tagged = torch.tensor([[False, True, False, False, True, True, True]])
    seen = torch.tensor([[False, False, False, False, False, False, True]])

    def order(slots, seen=seen):
        found = promoted(scores, tagged, seen, slots, k=3)
        return found.masked_fill(seen, -torch.inf).argsort(dim=1, descending=True, stable=True)[0].tolist()  # fmt: skip

    # 0 1 2 3 4 5; 1, 4 and 5 have the tag, 6 is in the history.
    assert torch.equal(promoted(scores, tagged, seen, 0, 3), scores)
    assert order(1)[:6] == [0, 1, 2, 3, 4, 5]
    # The second tagged one, 4, has to pass the second of the others, 2: a bonus just above 2, and 1 with it passes 0.
    assert order(2)[:6] == [1, 0, 4, 2, 5, 3]
    # The third, 5, has to pass the best of the others: just above 5.
    assert order(3)[:6] == [1, 4, 5, 0, 2, 3]
    # There are two tagged ones: more slots are not filled by others' loss.
    fewer = seen.clone()
    fewer[0, 5] = True
    assert order(3, fewer)[:5] == order(2, fewer)[:5] == [1, 0, 4, 2, 3]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), slots=st.integers(0, 4), size=st.sampled_from([1e-20, 1.0, 1e20])
)  # fmt: skip
def test_a_post_filter_keeps_both_orders_and_gives_just_the_slots(seed, slots, size):
    rng = np.random.default_rng(seed)
    k, n = 4, 12
    scores = torch.from_numpy(rng.permutation(n) * size - 3 * size).float()[None]
    tagged, seen = (torch.from_numpy(rng.random((1, n)) < p) for p in (0.4, 0.3))
    found = promoted(scores, tagged, seen, slots, k)

    def places(values):
        return [i for i in values[0].argsort(descending=True, stable=True).tolist() if not seen[0, i]]  # fmt: skip

    before, after = places(scores), places(found)
    for which in (True, False):
        kept = [[i for i in order if bool(tagged[0, i]) is which] for order in (before, after)]
        assert kept[0] == kept[1]
    counts = [sum(bool(tagged[0, i]) for i in order[:k]) for order in (before, after)]
    open_to = sum(bool(tagged[0, i]) for i in before)
    # Where fewer than k - q others exist, tagged items fill the rest of the list anyway.
    assert counts[1] == max(counts[0], min(slots, open_to))


def test_a_post_filters_tied_items_are_lifted_above_and_not_beside():
    scores = torch.zeros(1, 5)
    tagged = torch.tensor([[False, False, False, True, True]])
    found = promoted(scores, tagged, torch.zeros_like(tagged), 2, k=3)
    assert found[0, 3] == found[0, 4] > found[0, 0] == found[0, 1] == found[0, 2]


def test_a_post_filter_gives_a_share_of_the_list():
    task = toy_task()
    model = toy()
    system = PostFilter("filter", lambda users: model.scores(users, model.codes(users)), task)
    found = measured(task, system, (0.0, 0.4, 0.5, 1.0))
    # Of three places 0.4 is one and 0.5 is two: user 0 has one tagged, user 1 two, user 2 three to begin with.
    np.testing.assert_allclose(found["tagged"], np.array([[1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]]) / 3)  # fmt: skip
    with pytest.raises(HarnessError, match=r"alpha=1\.5: a post-filter takes a share"):
        measured(task, system, (0.0, 1.5))


def test_a_dense_embedding_moves_towards_the_mean_of_tagged_items_by_hand():
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [7.0, 7.0]])
    tags = torch.tensor([[True, False], [True, False], [False, False], [False, False]])
    means = tag_means(items, tags)
    assert means.tolist() == [[0.5, 0.5], [0.0, 0.0]]
    z = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    system = TowardsMean("mean", lambda users: z[users], lambda users, moved: moved, means)
    start, half = system.at(np.array([0, 1]), np.array([0, 1]), (0.0, 0.5))
    assert torch.equal(start, z)
    # By half of the embedding's own length, 5; a tag of no item moves nothing.
    step = 2.5 / 2**0.5
    np.testing.assert_allclose(half, [[3 + step, 4 + step], [3, 4]], rtol=1e-6)


def test_teaser_is_steered_by_its_own_history():
    rng = np.random.default_rng(1)
    model = teaser.fit(sp.csr_matrix((rng.random((20, 7)) < 0.4).astype(float)), TAGS)
    task = toy_task()
    start, end = ByTeaser("teaser", model, task).at(task.users, task.desired, (0.0, 2.0))
    history = torch.from_numpy(task.history(task.users)).double()
    np.testing.assert_allclose(start, history @ model.encoder @ model.decoder.T, atol=1e-12)
    np.testing.assert_allclose(end - start, 2.0 * TAGS[:, task.desired].T, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_held_out_items_change_nothing_but_the_targets_tag_and_the_metrics(seed):
    rng = np.random.default_rng(seed)
    tags = rng.random((14, 3)) < 0.4
    tags[0], tags[1] = True, True
    kinds = rng.choice(list("+x-"), (5, 14), p=[0.2, 0.3, 0.5])
    kinds[:, 0], kinds[:, 1] = "+", "-"
    history = np.nonzero(kinds == "x")
    x = sp.csr_matrix((rng.random((30, 14)) < 0.3).astype(float))
    fitted = teaser.fit(x, tags)
    weights, codes = (
        torch.from_numpy(rng.normal(size=(6, 14))),
        torch.from_numpy(rng.random((5, 6))),
    )
    neurons = torch.from_numpy(np.stack([rng.permutation(6)[:2] for _ in range(3)]))
    model = Toy(codes, weights, torch.eye(6))
    for tag_from in ("targets", "random"):
        tasks = [
            steering_task(
                tags, np.nonzero(kinds == held), history, list("abcde"), list("xyz"), tag_from, k=3
            )
            for held in "+-"
        ]
        systems = [
            (Steered("s", model, neurons), PostFilter("f", model.plain, task), ByTeaser("t", fitted, task))
            for task in tasks
        ]  # fmt: skip
        # Towards the same tags the lists are the same, whatever is held out.
        users = np.intersect1d(tasks[0].users, tasks[1].users)
        for pair in zip(*systems, strict=True):
            one, other = (list(system.at(users, users % 3, (0.0, 0.5))) for system in pair)
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        if tag_from == "targets":
            continue
        # And so is a random tag, and everything that is measured on lists and segments.
        assert (
            users.tolist() == tasks[0].users.tolist() == tasks[1].users.tolist() == [0, 1, 2, 3, 4]
        )
        assert tasks[0].desired.tolist() == tasks[1].desired.tolist()
        for pair in zip(*systems, strict=True):
            one, other = (measured(t, s, (0.0, 0.5)) for t, s in zip(tasks, pair, strict=True))
            for name in ("segment_recall", "segment_ndcg", "tagged", "overlap", "distinct_tags"):
                np.testing.assert_array_equal(one[name], other[name])
