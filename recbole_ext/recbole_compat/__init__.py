"""The only package that touches RecBole's internals, and that shims the stack under RecBole 1.2.1.

Data comes in as `Interactions` and a `Split`; what goes out is RecBole's own Config, Dataset, train loader, model and
Trainer, wired so that

* nothing reads `sys.argv`, evaluates strings, looks for files or writes a pickle;
* internal ids are canonical: id = index in `Interactions` + 1, and 0 is RecBole's padding;
* validation during training is ours (full precision, our ranks), while epochs, optimiser and early stopping are
  RecBole's.
"""

from recbole_ext.recbole_compat.bench import Bench, build_model, prepare
from recbole_ext.recbole_compat.beside import Beside
from recbole_ext.recbole_compat.evaluation import evaluate
from recbole_ext.recbole_compat.folding import families, folded_in, measures
from recbole_ext.recbole_compat.intention import Intentions
from recbole_ext.recbole_compat.knobs import Knobs
from recbole_ext.recbole_compat.latents import Latents
from recbole_ext.recbole_compat.prompting import prompt_of
from recbole_ext.recbole_compat.rows import interaction_rows, training_pairs
from recbole_ext.recbole_compat.scoring import (
    PairScorer,
    list_scorer,
    lists_by_pairs,
    pair_scorer,
    score_function,
)
from recbole_ext.recbole_compat.stack import recbole
from recbole_ext.recbole_compat.trainers import diverged, make_trainer

__all__ = [
    "Bench",
    "Beside",
    "Intentions",
    "Knobs",
    "Latents",
    "PairScorer",
    "build_model",
    "diverged",
    "evaluate",
    "families",
    "folded_in",
    "interaction_rows",
    "list_scorer",
    "lists_by_pairs",
    "make_trainer",
    "measures",
    "pair_scorer",
    "prepare",
    "prompt_of",
    "recbole",
    "score_function",
    "training_pairs",
]
