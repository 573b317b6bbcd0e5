"""What `show` is asked of a model that offers concepts: a command line, taken apart into who answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recbole_ext.arguments import Arguments, as_count, as_index, as_path, as_share
from recbole_ext.core.errors import HarnessError, one_of
from recbole_ext.core.values import parse_value
from recbole_ext.core.web_page import checked_path
from recbole_ext.explain import knobs
from recbole_ext.explain.intention import alphas_of
from recbole_ext.explain.page.data import STRENGTHS, Board
from recbole_ext.explain.page.make import page_of
from recbole_ext.explain.page.write import write_page
from recbole_ext.explain.steering import steering
from recbole_ext.explain.top_items import saved_run
from recbole_ext.sae.mapping import MAPS
from recbole_ext.sae.steering import MODES

Answer = Callable[[knobs.Labelled], list[str]]
"""Lines of a labelled run."""


def answered(arguments: Arguments, asked: list[str]) -> list[str]:
    """The lines that answer what is asked, once the whole command line is understood.

    Args:
        arguments: of `show`.
        asked: the questions that stand in them, one or more of those of `_ANSWERS`.

    Raises:
        HarnessError: two questions, an option that the question does not take, or what the answer says.
    """
    if asked[:1] == ["html"]:  # the concept is the one that is seen first
        asked = [what for what in asked if what != "concept"]
    if len(asked) > 1:
        raise HarnessError(f"--{asked[0]} and --{asked[1]} are two questions: ask one at a time")
    records = Path(arguments.take("records") or "runs").expanduser()
    model = arguments.name("model")
    dataset = arguments.name("dataset")
    data_path, tags = as_path(arguments.take("data-path")), as_path(arguments.take("tags"))
    own = arguments.take("own_users")
    own_users = None if own is None else bool(parse_value("own_users", own, False))
    answer, options = _ANSWERS[asked[0]](arguments)
    arguments.finish(*options, "tags", "own_users")
    with saved_run(records, model, dataset, data_path) as saved:
        return answer(knobs.Labelled.of(saved, tags, own_users))


def _turned(arguments: Arguments) -> tuple[Answer, list[str]]:
    user, k = arguments.take("user"), as_count(arguments.take("k") or "10", "k")
    mode, alpha = _mode(arguments), arguments.take("alpha") or "0.3"
    if "," in alpha:
        raise HarnessError(f"--alpha={alpha}: a list is turned by one strength")
    turn = knobs.Turn(
        concept=str(arguments.take("concept")),
        alpha=alphas_of(alpha)[0] if mode == MODES[0] else as_share(alpha, "alpha"),
        by=_map(arguments),
        count=_neurons(arguments),
        mode=mode,
    )
    options = ["user", "concept", "alpha", "map", "neurons", "mode", "k"]
    arguments.finish(*options, "tags", "own_users")
    if user is None:
        raise HarnessError("--user=TOKEN is missing: whose list is to be turned?")
    return lambda view: knobs.steered_list(view, user, turn, k), options


def _page(arguments: Arguments) -> tuple[Answer, list[str]]:
    path = Path(str(arguments.take("html"))).expanduser()
    user, opened = arguments.take("user"), arguments.take("concept")
    k, mode = as_count(arguments.take("k") or "20", "k"), _mode(arguments)
    alphas, by, count = arguments.take("alpha"), _map(arguments), _neurons(arguments)
    options = ["html", "user", "concept", "alpha", "map", "neurons", "mode", "k"]
    arguments.finish(*options, "tags", "own_users")
    if user is None:
        raise HarnessError("--user=TOKEN is missing: whose list is to be turned?")
    if alphas is None:
        if mode not in STRENGTHS:
            raise HarnessError(
                f"--mode={mode} has no strengths of its own, for they are in the units of the code: name the slider's, e.g. --alpha=0,1,2,5,10"
            )
        strengths = STRENGTHS[mode]
    else:
        strengths = tuple(as_share(alpha, "alpha") for alpha in alphas.split(","))
    board = Board(strengths, by, count, mode, k)
    checked_path(path, "knobs.html")
    return lambda view: write_page(page_of(view, user, board, opened), path), options


def _neuron(arguments: Arguments) -> tuple[Answer, list[str]]:
    neuron = as_index(str(arguments.take("neuron")), "neuron")
    return lambda view: knobs.neuron_card(view, neuron), ["neuron"]


def _interpretability(arguments: Arguments) -> tuple[Answer, list[str]]:
    return knobs.interpretability, ["interpretability"]


def _steering(arguments: Arguments) -> tuple[Answer, list[str]]:
    mode = _mode(arguments)
    return lambda view: steering(view, mode), ["steering", "mode"]


_ANSWERS = {
    "html": _page,
    "concept": _turned,
    "neuron": _neuron,
    "interpretability": _interpretability,
    "steering": _steering,
}


def _mode(arguments: Arguments) -> str:
    return one_of("--mode", arguments.take("mode") or MODES[0], MODES)


def _map(arguments: Arguments) -> str:
    return one_of("--map", arguments.take("map") or MAPS[0], MAPS)


def _neurons(arguments: Arguments) -> int:
    return as_count(arguments.take("neurons") or "5", "neurons")
