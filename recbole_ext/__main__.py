"""`python -m recbole_ext` and the console script."""

import sys

from recbole_ext.cli import main


def run() -> int:
    """The command line of this process."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
