"""Steering's measures by hand and against loops over their definitions; systems, tables and pictures."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import Paired
from recbole_ext.sae import steering_evaluation, teaser
from recbole_ext.sae.steering import MODES
from recbole_ext.sae.steering_evaluation import ALPHAS, evaluated, measured
from recbole_ext.sae.steering_plots import curves, movement, movement_map, written
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
from recbole_ext.sae.steering_table import Point, SteeringTable, Value
from recbole_ext.sae.steering_task import steering_task

SECOND = 1 / np.log2(3)
"""What a hit in the second place gains; in the first it is 1, in the third 1/2."""


@dataclass
class Toy:
    """Scores that are codes times a matrix; it writes down what it was asked."""

    of_users: torch.Tensor
    weights: torch.Tensor
    items: torch.Tensor
    asked: list = field(default_factory=list)

    def codes(self, users):
        self.asked.append(users.tolist())
        return self.of_users[users]

    def scores(self, users, codes):
        self.asked.append((users.tolist(), codes.tolist()))
        return codes @ self.weights

    def plain(self, users):
        return self.of_users[users] @ self.weights.flip(0)

    def item_codes(self):
        return self.items


# Seven items, tags a and b: 0 a, 1 a, 2 b, 3 b, 4 a and b, 5 and 6 neither.
TAGS = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [0, 0], [0, 0]], dtype=bool)
# Neuron 0 is a's, 1 is b's, 2 is neither's and 3 is dead.
WEIGHTS = torch.tensor(
    [
        [0.9, 0.8, 0.0, 0.0, 0.7, 0.0, 0.1],
        [0.0, 0.0, 0.9, 0.75, 0.6, 0.0, 0.2],
        [0.1, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)
CODES = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 1, 0]]).float()
HELD_OUT = (np.array([0, 0, 1, 1, 2, 3]), np.array([2, 5, 0, 1, 4, 5]))
HISTORY = (np.array([0, 1, 1, 2, 3, 4]), np.array([0, 2, 3, 5, 0, 1]))
NEURONS = torch.tensor([[0], [1]])
USERS, NAMES = [f"u{i}" for i in range(5)], ["a", "b"]


def toy() -> Toy:
    return Toy(CODES, WEIGHTS, torch.eye(4)[[0, 0, 1, 1, 0, 2, 2]])


def toy_task(**changes):
    given = {"held_out": HELD_OUT, "history": HISTORY, "k": 3} | changes
    return steering_task(TAGS, user_tokens=USERS, tag_names=NAMES, **given)


def test_the_desired_tag_is_what_held_out_items_have_more_of_than_input_items():
    task = toy_task()
    # 0: a 0 - 1, b 1 - 0. 1: a 2 - 0, b 0 - 2. 2: one of each, the lower index. 3: item 5 has no tag. 4: nothing held out.
    assert task.users.tolist() == [0, 1, 2]
    assert task.desired.tolist() == [1, 0, 0]
    assert task.left_out == 1 and task.tag_from == "targets"
    assert task.personal.pos_items.tolist() == [2, 5, 0, 1, 4]
    # All items with the tag that are not in the history.
    assert task.segment.pos_items.tolist() == [2, 3, 4, 0, 1, 4, 0, 1, 4]
    assert task.segment.users.tolist() == [0, 1, 2]
    assert task.history(np.array([2, 0])).nonzero()[1].tolist() == [5, 0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_desired_tag_is_that_of_a_loop_over_tags(seed):
    rng = np.random.default_rng(seed)
    tags = rng.random((15, 4)) < 0.5
    tags[0] = [True, False, False, False]
    kinds = rng.choice(list("+x-"), (5, 15), p=[0.3, 0.2, 0.5])
    kinds[0] = ["+", *"-" * 14]
    wanted = {}
    for user, row in enumerate(kinds):
        gains = [int(tags[row == "+", t].sum()) - int(tags[row == "x", t].sum()) for t in range(4)]
        if max(gains) > 0:
            wanted[user] = gains.index(max(gains))
    task = steering_task(tags, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"), list("uvwxy"), list("abcd"), k=3)  # fmt: skip
    assert dict(zip(task.users.tolist(), task.desired.tolist(), strict=True)) == wanted
    assert task.left_out == (kinds == "+").any(axis=1).sum() - len(wanted)


def test_a_held_out_item_of_the_history_counts_nowhere():
    extra = (np.append(HELD_OUT[0], [3, 0]), np.append(HELD_OUT[1], [0, 0]))
    again = toy_task(held_out=extra)
    assert again.desired.tolist() == [1, 0, 0] and again.left_out == 1
    assert again.personal.pos_items.tolist() == toy_task().personal.pos_items.tolist()


def test_a_tag_that_is_not_usable_is_nobodys():
    task = toy_task(usable=np.array([False, True]))
    # User 1 wants nothing of b, user 2 takes b in place of a.
    assert task.users.tolist() == [0, 2] and task.desired.tolist() == [1, 1]
    assert task.left_out == 2


def test_measures_are_those_worked_out_by_hand():
    found = measured(toy_task(), Steered("steered", toy(), NEURONS), (0.0, 0.5))
    # User 0 sees 6 5 4, then 2 3 4. User 1 sees 4 6 and one of the tied 0, 1 and 5, then 4 0 1. User 2 sees 4 0 1, then 0 4 1.
    two, three = 1 + SECOND, 1.5 + SECOND
    wanted = {
        "personal_recall": [[1 / 2, 1 / 2], [(2 / 3) / 2, 1], [1, 1]],
        "personal_ndcg": [[SECOND / two, 1 / two], [(2 / 3) / 2 / two, (SECOND + 0.5) / two], [1, SECOND]],
        "segment_recall": [[1 / 3, 1], [(1 + 2 / 3) / 3, 1], [1, 1]],
        "segment_ndcg": [[0.5 / three, 1], [(1 + (2 / 3) / 2) / three, 1], [1, 1]],
        # Without 5 user 0's 2 is fourth, then first; the others want all that is held out.
        "wanted_ndcg": [[0, 1], [(2 / 3) / 2 / two, (SECOND + 0.5) / two], [1, SECOND]],
        "tagged": [[1 / 3, 1], [2 / 3, 1], [1, 1]],
        "overlap": [[1, 1 / 3], [1, 2 / 3], [1, 1]],
        "distinct_tags": [[2, 2], [2, 2], [2, 2]],
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


@st.composite
def problems(draw):
    """A random task with its systems' pieces; every score is distinct."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    users, items, n_tags, h = (
        draw(st.integers(*span)) for span in ((2, 6), (12, 20), (1, 5), (4, 8))
    )
    tags = rng.random((items, n_tags)) < 0.4
    tags[0, 0] = True
    kinds = rng.choice(list("+x-"), (users, items), p=[0.2, 0.2, 0.6])
    kinds[0, 0] = "+"
    kinds[0, 1:] = np.where(kinds[0, 1:] == "x", "-", kinds[0, 1:])
    codes = rng.gamma(1.0, 1.0, (users, h)) * (rng.random((users, h)) < 0.6)
    codes[:, 0] += 0.1  # a code of zeros would tie all items
    model = Toy(
        *(torch.from_numpy(x) for x in (codes, rng.normal(size=(h, items)), np.eye(h)[:, :h]))
    )
    neurons = torch.from_numpy(np.stack([rng.permutation(h)[:3] for _ in range(n_tags)]))
    task = steering_task(
        tags, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"), [f"{u}" for u in range(users)],
        [f"{t}" for t in range(n_tags)], draw(st.sampled_from(["targets", "random"])), k=4,
    )  # fmt: skip
    return task, model, neurons


def looped(task, scores: np.ndarray, first: np.ndarray) -> list[dict[str, float]]:
    """Every measure of every user by sorting its candidates; scores [U, n] at a strength and at 0."""
    out = []
    for row in range(len(task.users)):
        held, segment = (
            set(t.pos_items[t.pos_indptr[row] : t.pos_indptr[row + 1]].tolist())
            for t in (task.personal, task.segment)
        )
        seen = set(np.flatnonzero(task.history(task.users[row : row + 1])[0]).tolist())
        has = task.tags[:, task.desired[row]]

        def order(values, without=frozenset(), seen=seen):
            return sorted(set(range(len(values))) - seen - without, key=lambda i: -values[i])[: task.k]  # fmt: skip

        def ndcg(places, hits):
            gained = sum(1 / np.log2(p + 2) for p, item in enumerate(places) if item in hits)
            return gained / sum(1 / np.log2(p + 2) for p in range(min(task.k, len(hits))))

        top, wanted = order(scores[row]), {item for item in held if has[item]}
        out.append(
            {
                "personal_recall": len(held & set(top)) / min(task.k, len(held)),
                "personal_ndcg": ndcg(top, held),
                "segment_recall": len(segment & set(top)) / min(task.k, len(segment)),
                "segment_ndcg": ndcg(top, segment),
                "wanted_ndcg": ndcg(order(scores[row], held - wanted), wanted)
                if wanted
                else np.nan,
                "tagged": np.mean([has[item] for item in top]),
                "overlap": len(set(top) & set(order(first[row]))) / task.k,
                "distinct_tags": task.tags[top].any(axis=0).sum(),
            }
        )
    return out


@settings(max_examples=60, deadline=None)
@given(case=problems(), rows=st.integers(1, 4))
def test_measures_are_those_of_loops_over_their_definitions(case, rows):
    task, model, neurons = case
    system = Steered("steered", model, neurons)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering_evaluation, "_BLOCK_BYTES", rows * 4 * task.personal.n_items)
        found = measured(task, system, (0.0, 0.3, 1.0))
    matrices = [m.numpy() for m in system.at(task.users, task.desired, (0.0, 0.3, 1.0))]
    for i, matrix in enumerate(matrices):
        for row, values in enumerate(looped(task, matrix, matrices[0])):
            for name, value in values.items():
                np.testing.assert_allclose(found[name][row, i], value, rtol=1e-12, err_msg=name)


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


def test_random_tags_are_drawn_among_those_of_candidates_and_depend_on_nothing_else():
    rng = np.random.default_rng(2)
    tags = rng.random((30, 6)) < 0.3
    tags[:, 5] = False
    tags[0] = [True, False, False, False, False, False]
    users = [f"user {i}" for i in range(40)]
    kinds = rng.choice(list("+x-"), (40, 30), p=[0.2, 0.3, 0.5])
    kinds[:, 0] = "+"
    # User 7 has every item of tag 1 in its history.
    kinds[7, tags[:, 1]] = "x"

    def desired(order, names=tuple("abcdef"), columns=slice(None), held="+"):
        of = kinds[order]
        task = steering_task(
            tags[:, columns], np.nonzero(of == held), np.nonzero(of == "x"), [users[i] for i in order],
            names, "random", k=2,
        )  # fmt: skip
        return dict(zip([users[order[u]] for u in task.users], task.desired.tolist(), strict=True))

    order = list(range(40))
    found = desired(order)
    assert len(found) == 40 and 5 not in found.values() and found["user 7"] != 1
    assert set(found.values()) == {0, 1, 2, 3, 4}
    assert desired(order[::-1]) == found == desired(order)
    few = desired(order[5:9])
    assert few == {user: found[user] for user in few}
    # Without tag 4 those who have another keep it.
    fewer = desired(order, "abcdf", [0, 1, 2, 3, 5])
    assert all(fewer[user] == tag for user, tag in found.items() if tag < 4)
    # Another held-out part moves no draw.
    assert desired(order, held="-") == found


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


def evaluate_toy() -> SteeringTable:
    return evaluated(toy_task(), steered_systems(toy(), {"map": NEURONS}, counts=(1,)))


def test_points_hold_means_intervals_and_differences_to_strength_0():
    table = evaluate_toy()
    assert list(table.systems) == ["without the autoencoder", "map, 1", "random, 1"]
    assert [p.alpha for p in table.systems["without the autoencoder"]] == [0.0]
    points = table.systems["map, 1"]
    assert [p.alpha for p in points] == list(ALPHAS)
    assert (table.users, table.left_out, table.k, table.tag_from) == (3, 1, 3, "targets")
    values = measured(toy_task(), Steered("s", toy(), NEURONS), ALPHAS)
    for i, point in enumerate(points):
        for name, value in point.values.items():
            column, start = values[name][:, i], values[name][:, 0]
            assert value.mean == pytest.approx(column.mean()) and value.users == 3
            assert value.low <= value.mean + 1e-12 and value.high >= value.mean - 1e-12
            # Three users: the interval lies within their values.
            assert column.min() - 1e-12 <= value.low and value.high <= column.max() + 1e-12
            if i == 0:
                assert value.change is None
            else:
                assert value.change.difference == pytest.approx((column - start).mean())
        assert point.lift == pytest.approx((values["tagged"][:, i] - values["tagged"][:, 0]).mean())


def test_a_measure_that_some_users_lack_is_the_mean_of_the_others():
    tags = np.array([[1, 0], [0, 1], [0, 1], [1, 1], [0, 0]], dtype=bool)
    held, seen = (np.array([0, 1]), np.array([0, 4])), (np.array([0, 1]), np.array([4, 0]))
    task = steering_task(tags, held, seen, ["x", "y"], ["a", "b"], "random", np.array([True, False]), k=2)  # fmt: skip
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]] * 2)
    (point,) = evaluated(task, [Unsteered("flat", lambda users: scores[: len(users)])]).points
    # User 0 wants item 0, which is first; user 1 holds nothing of tag a out.
    assert point.values["wanted_ndcg"].users == 1 and point.values["wanted_ndcg"].mean == 1.0
    assert point.values["personal_ndcg"].users == 2 and point.values["personal_ndcg"].mean == 0.5
    only = steering_task(tags, (held[0][1:], held[1][1:]), seen, ["x", "y"], ["a", "b"], "random", np.array([True, False]), k=2)  # fmt: skip
    (point,) = evaluated(only, [Unsteered("flat", lambda users: scores[: len(users)])]).points
    assert "wanted_ndcg" not in point.values


def test_a_curve_of_strengths_can_be_chosen_and_must_ascend_from_0():
    system = Steered("s", toy(), NEURONS, "add")
    points = evaluated(toy_task(), [system], (0, 3, 100)).points
    assert [p.alpha for p in points] == [0.0, 3.0, 100.0]
    for alphas in ((), (0.1, 0.2), (0.0, 0.2, 0.2), (0.0, 0.3, 0.1)):
        with pytest.raises(HarnessError, match="strengths must ascend from 0"):
            evaluated(toy_task(), [system], alphas)
    with pytest.raises(HarnessError, match="two systems are called 's'"):
        evaluated(toy_task(), [system, system])


def point(alpha: float, segment: float, personal: float, tagged: float) -> Point:
    change = None if alpha == 0 else Paired(tagged, tagged, tagged, 0.0, 1.0)
    means = {"segment_ndcg": segment, "personal_ndcg": personal, "tagged": 0.1 + tagged}
    return Point("s", alpha, {k: Value(v, v, v, 9, change) for k, v in means.items()})


def test_a_summary_takes_the_largest_lift_at_little_loss_and_the_area_by_hand():
    points = (
        point(0.0, 0.1, 0.40, 0.0),
        point(0.1, 0.3, 0.41, 0.2),
        point(0.2, 0.2, 0.385, 0.3),
        point(0.3, 0.5, 0.30, 0.7),
    )
    table = SteeringTable(points, 20, "targets", 9, 0)
    (found,) = table.summaries()
    # 0.95 x 0.40 = 0.38: the third still counts, the fourth does not.
    assert (found.system, found.lift, found.alpha) == ("s", 0.3, 0.2)
    # Up to 0.30 as far as 0.5, from there to 0.41 as far as 0.3; the first and the third lie below.
    assert found.area == pytest.approx(0.5 * 0.30 + 0.3 * 0.11)
    (all_of_it,) = table.summaries(most_loss=1.0)
    assert (all_of_it.lift, all_of_it.alpha) == (0.7, 0.3)
    (nothing,) = SteeringTable(points[:1], 20, "targets", 9, 0).summaries()
    assert (nothing.lift, nothing.alpha, nothing.area) == (0.0, 0.0, pytest.approx(0.04))


def test_the_csv_has_a_row_for_each_system_strength_and_measure(tmp_path):
    table = evaluate_toy()
    rows = list(csv.DictReader(io.StringIO(table.csv_text())))
    assert len(rows) == sum(len(p.values) for p in table.points)
    by = {(r["system"], r["alpha"], r["measure"]): r for r in rows}
    start, end = (by["map, 1", alpha, "tagged@3"] for alpha in ("0", "0.5"))
    assert start["change"] == start["p"] == "" and float(end["mean"]) == 1.0
    assert float(end["change"]) == pytest.approx(1 - 2 / 3, rel=1e-5) and 0 < float(end["p"]) <= 1
    table.to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == table.csv_text()


def test_a_task_that_cannot_be_says_so_in_one_line():
    cases = [
        ({"tag_from": "target"}, "tag_from=target must be targets or random, did you mean targets?"),
        ({"held_out": (np.array([3]), np.array([5]))}, "of 1 users with held-out items none has a tag"),
        ({"held_out": (np.zeros(0, int), np.zeros(0, int))}, "of 0 users with held-out items none"),
        ({"usable": np.array([False, False]), "tag_from": "random"}, "none has a tag"),
        ({"k": 6}, "user index 1 has 5 candidates, fewer than the 6 of a list"),
    ]  # fmt: skip
    for changes, says in cases:
        with pytest.raises(HarnessError) as refused:
            toy_task(**changes)
        assert says in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(HarnessError, match="1 names for 2 tags"):
        steering_task(TAGS, HELD_OUT, HISTORY, USERS, ["a"])


def test_a_system_that_gives_too_few_matrices_is_caught():
    class Short:
        name, steers = "short", True

        def at(self, users, tags, alphas):
            yield torch.rand(len(users), 7)

    with pytest.raises(ValueError, match="'short' gave 1 matrices for 2 strengths"):
        measured(toy_task(), Short(), (0.0, 0.1))


def test_the_curves_are_one_picture_of_every_system(tmp_path):
    table = evaluate_toy()
    text = curves(table, "a title")
    ElementTree.fromstring(text)
    assert text == curves(table, "a title")
    assert all(words in text for words in ("a title", "map, 1", "without the autoencoder", "segment NDCG@3", "α = 0.5"))  # fmt: skip
    paths = written(table, "a title", tmp_path)
    assert [p.name for p in paths] == ["steering-targets.csv", "steering-targets.svg"]
    assert paths[1].read_text() == text and paths[0].read_text() == table.csv_text()


def test_a_map_keeps_the_distances_of_users_items_and_centroid_that_lie_in_a_plane():
    rng = np.random.default_rng(0)
    # Vectors in a plane of ten dimensions: two components hold everything.
    basis = np.linalg.qr(rng.normal(size=(10, 2)))[0].T
    start, end, items = (rng.normal(size=(n, 2)) for n in (6, 6, 9))
    found = movement([start @ basis, end @ basis], items @ basis)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    middle = unit(unit(items).mean(axis=0, keepdims=True))
    truth = np.concatenate([unit(start), unit(end), unit(items), middle])
    seen = np.concatenate([*found.users, found.items, found.centroid[None]])
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (truth, seen)]
    np.testing.assert_allclose(*gaps, atol=1e-12)
    assert found.explained.sum() == pytest.approx(1.0) and found.explained[0] >= found.explained[1]
    # Longer embeddings of the same directions are the same picture.
    again = movement([5 * start @ basis, end @ basis], items @ basis)
    np.testing.assert_allclose(again.users, found.users, atol=1e-12)


def test_a_map_is_a_picture_that_says_it_is_of_principal_components():
    rng = np.random.default_rng(0)
    found = movement([rng.normal(size=(300, 5)) for _ in range(2)], rng.normal(size=(9, 5)))
    text = movement_map(found, (0.0, 0.5), "towards a tag")
    ElementTree.fromstring(text)
    assert text == movement_map(found, (0.0, 0.5), "towards a tag")
    assert "(PCA)" in text and "users, α = 0.5" in text and "towards a tag" in text


def test_vectors_of_zeros_and_too_little_for_a_map_are_seen_to():
    found = movement([np.zeros((3, 4))], np.zeros((2, 4)))
    assert np.isfinite(found.users).all() and found.explained.tolist() == [0.0, 0.0]
    for steps, items in (([], np.ones((2, 4))), ([np.ones((3, 1))], np.ones((2, 1))), ([np.ones((3, 4))], np.ones((0, 4)))):  # fmt: skip
        with pytest.raises(HarnessError, match="a map needs users at a strength"):
            movement(steps, items)
