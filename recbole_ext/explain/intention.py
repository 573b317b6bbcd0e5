"""What a user says it wants, in a sentence, beside what it did: AlphaRec's section 4.3."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.hashing import pair_hashes, token_hashes
from recbole_ext.core.plotting import STYLE, svg
from recbole_ext.core.progress import progress
from recbole_ext.core.tables import ITEM, TableFile
from recbole_ext.data.interactions import Interactions
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.ranks import RankTask, make_task, rank
from recbole_ext.text import choose_fields

if TYPE_CHECKING:
    from recbole_ext.data.problem import Problem
    from recbole_ext.recbole_compat import Intentions
    from recbole_ext.text.writer import Writer

K = 5
"""The paper's cut-off for intention."""
_LONGEST = 40
"""Words of a query that is made from a description."""
_TRIES = 3
_RUN = 6
"""Words in a row that are no accident."""
_PROMPT = """\
Someone is looking for a certain item without knowing its name. Write what they would say, in one sentence and in the first
person, without the name.
ITEM: Insulated Steel Bottle 750 ml
QUERY: I need something for long hikes that keeps my tea hot all day and does not leak in my bag.
ITEM: {}
QUERY:"""
"""One shot, as in the paper's figure 7."""
_ABOUT = 'In one sentence, what is "{}" about?'
"""What a model is asked that is too small for the other."""
ASKED = ("query", "about")
"""What a writer is asked for."""


class QueryFile(TableFile):
    """A csv (or tsv) or parquet file with columns item and query, a sentence for each item."""

    option = "queries"

    def read(self, data: Interactions) -> tuple[Ints, list[str]]:
        """(items, their queries).

        Raises:
            HarnessError: a column is missing, an item is unknown or stands twice, or a query is empty.
        """
        frame = self.frame()
        items = self.ids(frame, ITEM, data.item_tokens, f"items of {data.name}")
        queries = [str(text).strip() for text in self.column(frame, ("query",))]
        if len(np.unique(items)) < len(items):
            twice = Counter(items.tolist()).most_common(1)[0][0]
            self.refuse(f"item '{data.item_tokens[twice]}' stands more than once")
        if "" in queries:
            self.refuse(f"the query in row {queries.index('') + 1} is empty; leave the row out")
        return items, queries


def query_of(title: str, description: str) -> str | None:
    """A first-person query made from a description, without the words of the title and without years.

    None where fewer than three words are left. The paper has a language model write them.
    """
    own = {word.casefold() for word in re.findall(r"\w+", title)}
    words = [
        word
        for word in re.findall(r"\w[\w'-]*", description)
        if not {part.casefold() for part in re.findall(r"\w+", word)} & own
        and not re.fullmatch(r"(18|19|20)\d\d\w*", word)
    ]
    return f"I am looking for {' '.join(words[:_LONGEST])}" if len(words) >= 3 else None


def queries_from_descriptions(data: Interactions) -> list[tuple[str, str]]:
    """(item token, query) of each item with a title and a description that says enough.

    Raises:
        HarnessError: the dataset has no titles or no descriptions.
    """
    titles, descriptions = (_column(data, name) for name in ("Title", "Description"))
    items = zip(data.item_tokens, titles, descriptions, strict=True)
    return [(token, query) for token, *texts in items if (query := query_of(*texts))]


def queries_by(writer: Writer, data: Interactions, ask: str = "query") -> list[tuple[str, str]]:
    """(item token, query) of each item with a title, written by a language model as the paper's are.

    What is not in the first person, or is the example that the model was given, is asked for again, drawn, and left out after three times.

    Args:
        writer: the model.
        data: with titles.
        ask: `query`, as the paper asks; or `about`, ours for small models, which repeat the example: what the item is about, of which a
            query is made as of a description (`query_of`).

    Raises:
        HarnessError: the dataset has no titles.
    """
    titles = dict(zip(data.item_tokens, _column(data, "Title"), strict=True))
    without = [token for token, title in titles.items() if title.strip()]
    queries: dict[str, str] = {}
    asked, taken = (_PROMPT, _spoken) if ask == "query" else (_ABOUT, query_of)
    with progress(f"queries by {writer.name}", len(without)) as advance:
        for seed in (None, *range(_TRIES)):
            prompts = [asked.format(titles[token]) for token in without]
            for token, text in zip(without, writer.write(prompts, seed), strict=True):
                if (query := taken(titles[token], text)) is not None:
                    queries[token] = query
                    advance(1)
            without = [token for token in without if token not in queries]
            if not without:
                break
    return sorted(queries.items())


def _spoken(_: str, text: str) -> str | None:
    """What a model said, if that is a query: in the first person, and without a run of words of what it was asked."""
    query = text.removeprefix("QUERY:").strip().strip('"')
    if not re.search(r"\b(I|I'm|I'd|my|me)\b", query):
        return None
    words, asked = (re.findall(r"\w+", said.casefold()) for said in (query, _PROMPT))
    whole = f" {' '.join(asked)} "
    runs = (words[start : start + _RUN] for start in range(max(1, len(words) - _RUN + 1)))
    return None if any(f" {' '.join(run)} " in whole for run in runs) else query


def write_queries(queries: Sequence[tuple[str, str]], path: Path) -> None:
    """Write a file that `QueryFile` reads."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerows([("item", "query"), *queries])
    write_atomically(path, out.getvalue())


def _column(data: Interactions, label: str) -> Sequence[str]:
    fields = choose_fields(list(data.item_columns))
    if label not in fields:
        raise HarnessError(f"{data.name} has no {label.lower()} column to make queries from")
    return data.item_columns[fields[label]]


def remark(query: str, texts: Sequence[str]) -> str | None:
    """A line for the reader when a query is in other letters than the item texts.

    Raises:
        HarnessError: the query has no letter or digit.
    """
    if not any(c.isalnum() for c in query):
        raise HarnessError(f"--query='{query}' has no word: say what the user is looking for")
    own, theirs = _script(query), _script(" ".join(texts[:1000]))
    if own in (None, theirs) or theirs is None:
        return None
    return f"the query is in {own} letters, the item texts in {theirs}: the encoder may not know what it says"


def _script(text: str) -> str | None:
    """The script of most letters, e.g. LATIN."""
    names = Counter(unicodedata.name(c, "?").split()[0] for c in text[:20_000] if c.isalpha())
    return names.most_common(1)[0][0] if names else None


def alphas_of(text: str) -> list[float]:
    """`0,0.5,1` as numbers.

    Raises:
        HarnessError: one is no number from 0 to 1.
    """
    alphas = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise HarnessError(f"--alpha={text}: must be numbers from 0 to 1, e.g. 0,0.25,0.5")
        alphas.append(value)
    return alphas


@dataclass(frozen=True)
class AtAlpha:
    """How well queries do at one weight."""

    alpha: float
    hit: float
    """HR@5."""
    ndcg: float
    """NDCG@5."""


def sweep_alpha(
    model: Intentions,
    problem: Problem,
    items: Ints,
    vectors: npt.NDArray[np.float32],
    alphas: Sequence[float],
) -> tuple[list[AtAlpha], int]:
    """(HR@5 and NDCG@5 for each α, users): every test user asks for one of its test items.

    The item is drawn by a hash of (user, item) among those that have a query. A user's other test items are no candidates,
    since the paper leaves one target to a user. All users ask at once, as in the paper; the model is frozen.

    Args:
        model: that takes queries.
        problem: the test part.
        items: [q] items that have a query.
        vectors: [q, d] text vectors of the queries.
        alphas: weights of the query.
    """
    task, data = problem.test_task, problem.data
    users, positives = task.users[task.row_of_positive], task.pos_items
    described = np.isin(positives, items)
    order = pair_hashes(
        token_hashes(data.user_tokens, "intention")[users],
        token_hashes(data.item_tokens, "intention")[positives],
    )
    chosen = np.lexsort((order, users))
    chosen = chosen[described[chosen]]
    _, first = np.unique(users[chosen], return_index=True)
    targets = chosen[first]
    others = np.setdiff1d(np.arange(len(positives)), targets)
    seen = problem.split.pairs(data, *problem.seen_at_test)
    asking = make_task(
        len(data.item_tokens),
        (users[targets], positives[targets]),
        (np.append(seen[0], users[others]), np.append(seen[1], positives[others])),
    )
    if not len(asking.users):
        raise HarnessError("--queries: no test item has a query")
    row = {int(item): place for place, item in enumerate(items)}
    queries = vectors[[row[int(item)] for item in asking.pos_items]]
    points = [_at(alpha, model, asking, queries) for alpha in alphas]
    return points, len(asking.users)


def _at(
    alpha: float, model: Intentions, asking: RankTask, queries: npt.NDArray[np.float32]
) -> AtAlpha:
    """Users of a task with one positive each, who ask for it by queries [U, D]."""
    scores = model.scores(asking.users, queries, alpha)
    (table,) = rank(asking, lambda users: [scores(users)])
    return AtAlpha(alpha, *(summary.mean_of(table, f"{name}@{K}") for name in ("hr", "ndcg")))


def written(points: Sequence[AtAlpha], title: str, folder: Path) -> list[Path]:
    """The points as intention.csv and intention.svg in a folder."""
    lines = [f"{p.alpha:g},{p.hit:.6f},{p.ndcg:.6f}" for p in points]
    table, plot = folder / "intention.csv", folder / "intention.svg"
    write_atomically(table, "\n".join([f"alpha,hr@{K},ndcg@{K}", *lines]) + "\n")
    write_atomically(plot, _plot(points, title))
    return [table, plot]


def _plot(points: Sequence[AtAlpha], title: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.2), layout="constrained")
        axis = figure.subplots()
        alphas = [point.alpha for point in points]
        axis.plot(alphas, [point.hit for point in points], marker="o", label=f"HR@{K}")
        axis.plot(alphas, [point.ndcg for point in points], marker="s", label=f"NDCG@{K}")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("α, weight of the query at the user's start (1: retrieval only)")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)
        return svg(figure)
