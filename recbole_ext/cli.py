"""The command line. Nothing below it reads `sys.argv`, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys

from recbole_ext.arguments import HELP, parse
from recbole_ext.commands.about import doctor, list_names
from recbole_ext.commands.board import board
from recbole_ext.commands.data import data
from recbole_ext.commands.run import run, sweep
from recbole_ext.commands.show import show
from recbole_ext.core.errors import HarnessError


def main(argv: list[str]) -> int:
    """Run a command line; returns the exit code: 0 done, 1 a check failed, 2 the user can put it right."""
    if {"-h", "--help", "help"} & set(argv):
        print(HELP, end="")
        return 0
    try:
        arguments = parse(argv)
        return {
            "run": run,
            "sweep": sweep,
            "board": board,
            "data": data,
            "show": show,
            "list": list_names,
            "doctor": doctor,
        }[arguments.command](arguments)
    except HarnessError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; finished runs are kept, and the same command goes on from them",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
