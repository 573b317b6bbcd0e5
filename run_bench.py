"""`python run_bench.py --model=L3AE --dataset=ml-100k`; see `python run_bench.py --help`."""

import sys

from recbole_ext.__main__ import run

if __name__ == "__main__":
    sys.exit(run())
