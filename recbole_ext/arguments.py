"""What stands on the command line: taken apart here, believed nowhere. `HELP` is what --help prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recbole_ext.core.errors import HarnessError, nearest

HELP = """\
recbole_ext: recommenders with and without language models, ranked on the same data, candidates and budget.

  python run_bench.py --model=Pop,EASE,L3AE --dataset=ml-100k     run, then print the board
  python run_bench.py --model=L3AE --dataset=ml-100k --tune       search the model's grid on validation first
  python run_bench.py --model=BPR --dataset=mine --data-path=DIR  your own atomic files: DIR/mine/mine.inter

Commands (run is the default):
  run       train, rank, write a record under runs/, print the board
  sweep     the search of --tune through Ray, here or at --ray-address=HOST:PORT: --trials=N, --cpus-per-trial=1,
            --gpus-per-trial=0.5, --scheduler=asha (ends unpromising trials early), --searcher=optuna (chooses by the
            scores so far); then the winner with --seeds=K. After a kill the same command goes on (--resume)
  board     print the board of the records; --publish into leaderboard/, --check that it is fresh,
            --verify=N re-runs N random published records and compares (narrow with --model=, --dataset=; those of a GPU
            are skipped where there is none),
            --paper=l3ae prints a paper's tables with ours beside them,
            --compare RUN RUN pairs two runs by their users (ids, or how they begin): difference, interval and p of each metric,
            and where the two differ in what was asked; --metrics=hr@5,.. or all for others than those of the board,
            --neighbours=DIR prints each record of DIR between the published rows that stand next to it,
            --html=FILE makes one page that sorts, filters, draws and says how to make a row again, and needs no network
  data      data card NAME: sizes, filters, split, cold share, leakage, text coverage; data get NAME fetches the
            official files, data build NAME makes the dataset from them and compares it with what was published,
            data queries NAME --output=FILE makes queries in words from the items' descriptions, or
            with --writer=lm:MODEL (lm:smollm2 needs no network) has a language model write them from the titles
            (--device=cpu: not on the GPU; --ask=about: for a small one)
  show      top items of a user from a finished run: show --model=EASE --dataset=ml-100k --user=196; of a model of single pairs the
            user's test rows, and what it asks a language model about each; a model that offers
            intention also takes --query="..." --alpha=0.5, and --queries=FILE for HR@5 and NDCG@5 over alpha; one that offers
            concepts: --user=196 --concept=Horror --alpha=0.3 turns the list (--map=characterises, unique, correlation or f1,
            --neurons=5, --mode=redistribute, add or set), --user=196 --html=FILE makes a page on which every concept is turned by
            a slider (--k=20, --concept=Horror seen first, --alpha=0,0.1,0.2 its stops), --neuron=17 says what a neuron stands for,
            --interpretability how selective neurons are, --steering what turning every test user does; concepts are the item
            file's genres, categories and tags, or those of --tags=FILE (columns item, tag and, where known, user;
            --own_users=true: the users are the data's); of one that offers latents --user=196 --labels shows those of the user, its
            history and its candidates, what they share, and what was chosen, --latent=48 the items that activate it most;
            --users=all --top=20 --output=FILE writes every test user's list (item, score, whether held out) as parquet or csv,
            and beside it, as FILE's name with .users, each user's value of every metric
  list      models, datasets and protocols; list MODEL shows what it offers, its keys, defaults and search space
  doctor    which versions are here, what is missing, what to type

Options of run:
  --model=A,B          names as in `list`; NAME@recbole is RecBole's where ours has the same name
  --dataset=NAME       a bundled dataset or a folder under --data-path
  --data-path=DIR      where your datasets are
  --source-dir=DIR     official files fetched by hand; with it nothing is downloaded
  --allow-pickle       read official files that are pickles (CoLLM's): tables only, nothing that could run
  --mirror=URL         take official files from here (or set RECBOLE_EXT_MIRROR)
  --protocols=A,B      full, uniM (M frozen negatives), popM (drawn by popularity), expected@M (uniM's mean over all
                       draws), recbole-uniM (RecBole's own evaluator, slow), ctr (labelled pairs)
  --run-file=FILE      csv or parquet (user, item, score or rank) of another system, named by --model, as a row here
  --train=A,B          train on these datasets together and rank --dataset's items, which they have not, with what was
                       learned there (models that offer transfer); --NAME.KEY=VALUE is a key of one dataset
  --encoder=NAME       of models that read item text: minilm, smollm2, tags, hash, st:NAME, lm:NAME, or file:PATH, vectors made
                       elsewhere (parquet with columns item and vector, or npz with arrays items and vectors)
  --tune[=N]           search the grid in the model's YAML, on validation only; N points drawn from it, else all
  --seed=N, --seeds=K  one seed, or the K seeds N, N+1, ..
  --suite=NAME         every run listed in benchmarks/suites/NAME.yaml (board: the committed leaderboard; a paper: l3ae, saulrec, ..)
  --records=DIR        where runs go (default runs/)
  --track=NAME         write what was asked, validation and results to mlflow, wandb (packages of their own) or tensorboard too
  --energy             measure the energy of a run by codecarbon (a package of its own): kWh in the record
  --force              run again what is finished
  --json               print the records as JSON lines on standard output
  --KEY=VALUE          any key of the model, dataset or protocol (see `list MODEL`); --MODEL.KEY=VALUE for one model
"""

FLAGS = (
    "force", "json", "tune", "resume", "publish", "check", "allow-pickle", "interpretability", "steering", "labels", "energy"
)  # fmt: skip
_PLACES = (
    "records", "data-path", "source-dir", "run-file", "mirror", "output", "html", "neighbours", "storage", "suite", "track"
)  # fmt: skip
"""Options that are a place or a name: given empty they would mean what they mean when they are left out."""
COMMANDS = ("run", "sweep", "board", "data", "show", "list", "doctor")


def help_of(command: str) -> str:
    """What `HELP` says of one command; of those that take keys, the options too."""
    head, options = HELP.split("Options of run:\n")
    lines = head.splitlines(keepends=True)
    begins = [i for i, line in enumerate(lines) if line[:2] == "  " and line[2:].split(" ")[0] in COMMANDS]  # fmt: skip
    ends = [*begins[1:], len(lines)]
    own = next(
        lines[begin:end]
        for begin, end in zip(begins, ends, strict=True)
        if lines[begin].split()[0] == command
    )
    keys = f"\nOptions:\n{options}" if command in ("run", "sweep") else "\n"
    return f"{''.join(own).rstrip()}\n{keys}Everything: python run_bench.py --help\n"


@dataclass
class Arguments:
    """A command line, taken apart but not yet believed."""

    command: str
    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    def take(self, name: str, default: str | None = None) -> str | None:
        return self.options.pop(name, default)

    def names(self, option: str) -> list[str]:
        """The names of `--option=A,B`.

        Raises:
            HarnessError: there are none; where another option looks like it, the line asks whether that one is a slip.
        """
        text = self.take(option)
        if text is None:
            for other in self.options:
                if nearest(other, [option]):
                    raise HarnessError(
                        f"--{option}=NAME is missing; is --{other} meant to be it? See: python run_bench.py list"
                    )
        return as_names(text, option)

    def name(self, option: str) -> str:
        """The one name of `--option=A`.

        Raises:
            HarnessError: there is none, or more than one.
        """
        names = self.names(option)
        if len(names) > 1:
            raise HarnessError(f"--{option}={','.join(names)}: one {option} per command")
        return names[0]

    def finish(self, *allowed_flags: str, words: int = 0) -> None:
        """Refuse what the command does not know, and more words than it takes."""
        known = ["model", "dataset", "data-path", "records", *allowed_flags]
        # Options before words: the second word of a mistyped `--compar RUN RUN` is not what is wrong.
        for name in [*self.options, *sorted(self.flags - set(allowed_flags))]:
            others = [one for one in known if one != name]
            raise HarnessError(
                f"--{name} is not an option of {self.command}{nearest(name, others)}"
            )
        if len(self.words) > words:
            raise HarnessError(f"'{self.words[words]}' is one word too many for {self.command}")

    def finish_part(self, part: str, *known: str) -> None:
        """Refuse what says nothing to one thing that a command does, by its own options (`known`)."""
        for name in sorted({*self.options, *self.flags}):
            raise HarnessError(f"--{name} says nothing to {part}{nearest(name, known)}")


def parse(argv: list[str]) -> Arguments:
    """Split `--key=value`, `--key value` for the options that need one, flags and words."""
    arguments = Arguments("run")
    rest = list(argv)
    if rest and not rest[0].startswith("-"):
        arguments.command = rest.pop(0)
        if arguments.command not in COMMANDS:
            raise HarnessError(
                f"command '{arguments.command}' is unknown ({', '.join(COMMANDS)})"
                f"{nearest(arguments.command, COMMANDS)}"
            )
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            arguments.words.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("_", "-") if name in ("data_path", "source_dir", "run_file") else name
        if not equals and name in FLAGS:
            arguments.flags.add(name)
            continue
        if equals and name in FLAGS and name != "tune":
            raise HarnessError(
                f"--{name}={value}: it takes no value; write --{name}, or leave it out"
            )
        if not equals and rest and not rest[0].startswith("--"):
            equals, value = "=", rest.pop(0)
        if not equals or (not value and name in _PLACES):
            raise HarnessError(f"--{name} needs a value: --{name}=...{nearest(name, FLAGS)}")
        if name in arguments.options:
            raise HarnessError(f"--{name} stands twice; give it once")
        arguments.options[name] = value
    return arguments


def as_names(text: str | None, option: str) -> list[str]:
    names = [name for name in (text or "").split(",") if name]
    if not names:
        raise HarnessError(f"--{option}=NAME is missing; see: python run_bench.py list")
    return list(dict.fromkeys(names))


def as_count(text: str, option: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise HarnessError(f"--{option}={text}: must be a whole number from 1")
    return int(text)


def as_index(text: str, option: str) -> int:
    if not text.isdigit():
        raise HarnessError(f"--{option}={text}: must be a whole number from 0")
    return int(text)


def as_share(text: str, option: str) -> float:
    """A number from 0, e.g. half a GPU."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1000:
        raise HarnessError(f"--{option}={text}: must be a number from 0, e.g. 0.5")
    return value


def as_path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()
