"""The command line. Nothing below it reads `sys.argv`, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from recbole_ext.arguments import COMMANDS, HELP, help_of, parse
from recbole_ext.commands.about import doctor, list_names
from recbole_ext.commands.board import board
from recbole_ext.commands.data import data
from recbole_ext.commands.run import run, sweep
from recbole_ext.commands.show import show
from recbole_ext.core.errors import HarnessError


def main(argv: list[str]) -> int:
    """Run a command line; returns the exit code: 0 done, 1 a check failed, 2 the user can put it right."""
    _print_anything()
    try:
        code = _answer(argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk behind `> FILE` is met here and not after the exit code is given
        return code
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
        _silence()
        return 1
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise  # a fault of ours, which wants its traceback
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {where}{error.strerror}; make room or name another place, finished runs are kept",
            file=sys.stderr,
        )
        _silence()
        return 2


_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What a disk or its owner says to a file that no part of us has been told to expect it of, such as the one behind `> FILE`."""


def _print_anything() -> None:
    """Where a terminal has fewer letters than a board, the others are question marks; after a long run it is no time to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="replace")


def _silence() -> None:
    """What could not be printed is not tried again when the process ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream that is no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer(argv: list[str]) -> int:
    if {"-h", "--help"} & set(argv) or ["help"] in (argv[:1], argv[1:]):
        print(help_of(argv[0]) if argv[0] in COMMANDS else HELP, end="")
        return 0
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
