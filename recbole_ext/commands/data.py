"""`data`: datasets fetched, built and described, and queries written for their items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.arguments import Arguments, as_path
from recbole_ext.core.errors import HarnessError, nearest, one_of

if TYPE_CHECKING:
    from recbole_ext.data.catalog import DatasetSpec


def data(arguments: Arguments) -> int:
    """`get`, `build`, `card` or `queries` of a dataset."""
    from recbole_ext.config import dataset_settings
    from recbole_ext.data.build import build, get, published_beside
    from recbole_ext.data.card import card
    from recbole_ext.data.catalog import dataset_names, find_dataset
    from recbole_ext.data.load import load_dataset, unread
    from recbole_ext.data.splits import make_split
    from recbole_ext.pipeline.plan import supply_of

    data_path, supply = as_path(arguments.take("data-path")), supply_of(arguments)
    actions = ("get", "build", "card", "queries")
    if len(arguments.words) != 2 or arguments.words[0] not in actions:
        word = arguments.words[0] if arguments.words else ""
        close = "" if word in actions else nearest(word, actions)
        raise HarnessError(
            f"data {{get,build,card,queries}} NAME{close}; which? (known: {', '.join(dataset_names(data_path))})"
        )
    action, name = arguments.words
    dataset = find_dataset(name, data_path, supply)
    if action == "get":
        arguments.finish(words=2)
        if dataset.source is None:
            raise HarnessError(f"{name} is there ({dataset.folder}); nothing to fetch")
        for role, path in get(dataset.source, supply).items():
            print(f"{role}: {path}")
        return 0
    if action == "queries":
        return _queries(arguments, dataset)
    options = dataset_settings(dataset.options, arguments.options)
    found = load_dataset(dataset, options)
    print("\n".join(card(found, make_split(found, options), str(options["split"]))))
    for column, what in unread(dataset, options):
        print(f"  {column:<24} {what}")
    if dataset.source is not None:
        built = build(dataset.source, options, supply)
        about = {
            "licence": dataset.source.licence,
            "from": dataset.source.page,
            "folder": built.folder,
        }
        for what, value in {**about, "addresses opened": dataset.source.verified}.items():
            print(f"  {what:<24} {value}")
        for line in published_beside(dataset.source, built.manifest):
            print(f"  {line}")
    return 0


def _queries(arguments: Arguments, dataset: DatasetSpec) -> int:
    from recbole_ext.config import dataset_settings
    from recbole_ext.core.environment import chosen_device
    from recbole_ext.core.values import parse_value
    from recbole_ext.data.load import load_dataset
    from recbole_ext.explain.every_user import checked_output
    from recbole_ext.explain.intention import (
        ASKED,
        queries_by,
        queries_from_descriptions,
        write_queries,
    )
    from recbole_ext.text.writer import make_writer

    path = as_path(arguments.take("output")) or Path(f"{dataset.name}.queries.csv")
    checked_output(path, (".csv",))  # before a language model writes for hours
    writer = arguments.take("writer")
    if writer is None and {"device", "trust_remote_code", "ask"} & set(arguments.options):
        raise HarnessError("--device, --trust_remote_code and --ask are of a --writer=lm:NAME")
    ask = one_of("--ask", arguments.take("ask") or ASKED[0], ASKED)
    device = chosen_device(arguments.take("device") or "auto") if writer else "cpu"
    trusted = parse_value(
        "trust_remote_code", arguments.take("trust_remote_code") or "false", False
    )
    data = load_dataset(dataset, dataset_settings(dataset.options, arguments.options))
    if writer:
        made = queries_by(make_writer(writer, device, trusted), data, ask)
    else:
        made = queries_from_descriptions(data)
    write_queries(made, path)
    print(f"{path}: queries for {len(made):,} of {len(data.item_tokens):,} items")
    return 0
