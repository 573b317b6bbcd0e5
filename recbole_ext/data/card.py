"""A dataset's card: what it is after filters, and what its split does to it."""

from __future__ import annotations

import numpy as np

from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import HISTORY, TEST, TRAIN, VALID, Split, shared_latest


def card(data: Interactions, split: Split, split_name: str) -> list[str]:
    """Lines of text: sizes, histories, text coverage, filters, parts, cold share, leakage, sample items."""
    users, items, n = len(data.user_tokens), len(data.item_tokens), len(data)
    lines = [
        f"{data.name}",
        _line("users", f"{users:,}"),
        _line("items", f"{items:,}"),
        _line("interactions", f"{n:,}"),
        _line("density", f"{n / (users * items):.3%}"),
        _line("history length", _quantiles(np.bincount(data.user, minlength=users))),
        _line("item popularity", _quantiles(np.bincount(data.item, minlength=items))),
        *(
            _line("removed by " + name, f"{count:,} rows")
            for name, count in data.dropped.items()
            if count
        ),
        _line("time", _time(data)),
        _line("latest time", _latest(data)),
        *(
            _line(f"text: {name}", f"{sum(map(bool, column)) / items:.1%} of items")
            for name, column in data.item_columns.items()
        ),
        _line("fingerprint", data.fingerprint[:16]),
        _line("split", f"{split_name}, fingerprint {split.fingerprint[:16]}"),
    ]
    parts = ((TRAIN, "train"), (VALID, "valid"), (TEST, "test"), (HISTORY, "folded in"))
    for part, name in parts:
        user, _ = split.pairs(data, part)
        if part == HISTORY and not len(user):
            continue
        lines.append(
            _line(f"  {name}", f"{len(user):,} interactions of {len(np.unique(user)):,} users")
        )
    lines += [_line("cold", _cold(data, split)), _line("leakage", _leakage(data, split))]
    for item in np.argsort(-np.bincount(data.item, minlength=items), kind="stable")[:3]:
        text = "; ".join(column[item] for column in data.item_columns.values() if column[item])
        lines.append(_line("popular item", f"{data.item_tokens[item]} {text}"[:100]))
    return lines


def _line(name: str, value: str) -> str:
    return f"  {name:<24} {value}"


def _quantiles(counts: np.ndarray) -> str:
    low, middle, high = np.quantile(counts, [0.25, 0.5, 0.75])
    return f"min {counts.min()}, quartiles {low:g} {middle:g} {high:g}, max {counts.max()}, mean {counts.mean():.1f}"


def _time(data: Interactions) -> str:
    if data.time is None:
        return "none: only split=ratio, users or files"
    if data.time_is_order:
        return "order within each history only, no times: no global_time split"
    return f"{data.time.min():.0f} to {data.time.max():.0f}"


def _latest(data: Interactions) -> str:
    if data.time is None:
        return "none"
    users, shared = len(data.user_tokens), shared_latest(data)
    return f"shared by several interactions of {shared:,} users ({shared / users:.1%}): their order is drawn by split_seed"


def _cold(data: Interactions, split: Split) -> str:
    train_user, train_item = split.pairs(data, TRAIN)
    test_user, test_item = split.pairs(data, TEST)
    cold_item = ~np.isin(test_item, train_item)
    cold_user = ~np.isin(test_user, train_user)
    return f"{cold_item.mean():.2%} of test interactions are with items, {cold_user.mean():.2%} of users, unseen in training"


def _leakage(data: Interactions, split: Split) -> str:
    """How much of training happened after what is tested."""
    if data.time is None or data.time_is_order:
        return "cannot be measured without times"
    train, test = data.time[split.part == TRAIN], data.time[split.part == TEST]
    later = 1 - np.searchsorted(np.sort(train), test, side="right") / len(train)
    return f"for a test interaction, {later.mean():.1%} of the training interactions lie in its future (mean)"
