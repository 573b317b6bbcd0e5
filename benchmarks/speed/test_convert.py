"""A log of reviews converted and 10-cored, with time and peak memory, beside RecBole's own loader on the same rows.

Ours starts from the official gzipped json lines; RecBole cannot read them and is given the finished atomic file.
Each runs in a process of its own.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.speed.measure import FULL, size

OURS = """
import json, sys, time
from pathlib import Path
from recbole_ext.data.build import build
from recbole_ext.data.source import Supply
from recbole_ext.data.catalog import find_dataset
from recbole_ext.core.environment import peak_memory_mb
start = time.process_time()
folder = Path(sys.argv[1])
spec = find_dataset("amazon-2018-Video_Games", None, Supply(folder / "cache", source_dir=folder))
built = build(spec.source, {"min_user": 10, "min_item": 10}, spec.supply)
print(json.dumps({"seconds": time.process_time() - start, "peak": peak_memory_mb(),
                  "rows": built.manifest["interactions"]}))
"""
THEIRS = """
import json, sys, time
from recbole_ext.core.environment import peak_memory_mb
from recbole_ext.recbole_compat import recbole
recbole()
import logging
sys.argv, folder = sys.argv[:1], sys.argv[1]
from recbole.config import Config
from recbole.data import create_dataset
start = time.process_time()
config = Config(model="Pop", dataset="log", config_dict={
    "data_path": folder, "user_inter_num_interval": "[10,inf)", "item_inter_num_interval": "[10,inf)", "state": "ERROR",
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, "rm_dup_inter": "last"})
data = create_dataset(config)
print(json.dumps({"seconds": time.process_time() - start, "peak": peak_memory_mb(),
                  "rows": data.inter_num}))
"""


def run(code: str, folder: Path) -> dict[str, float]:
    """What a process says of itself that has nothing cached."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_convert_and_core(figure, tmp_path):
    n = size(5_000_000, 100_000)
    rng = np.random.default_rng(0)
    users = rng.zipf(1.6, n) % (n // 8)
    items = rng.zipf(1.3, n) % (n // 20)
    times = 1_400_000_000 + rng.integers(0, 10**8, n)
    with gzip.open(tmp_path / "Video_Games.json.gz", "wb", compresslevel=1) as out:
        for start in range(0, n, 100_000):
            rows = zip(
                *(c[start : start + 100_000].tolist() for c in (users, items, times)), strict=True
            )
            out.write(
                b"".join(
                    b'{"overall": 5.0, "verified": true, "reviewTime": "01 1, 2015", "reviewerID": "A%013d", "asin": "B%09d", '
                    b'"reviewText": "%b", "summary": "good", "unixReviewTime": %d}\n'
                    % (u, i, b"word " * 40, t)
                    for u, i, t in rows
                )
            )
    with gzip.open(tmp_path / "meta_Video_Games.json.gz", "wb", compresslevel=1) as out:
        out.write(
            b"".join(b'{"asin": "B%09d", "title": "Item %d"}\n' % (i, i) for i in range(n // 20))
        )
    (tmp_path / "log").mkdir()
    with (tmp_path / "log" / "log.inter").open("w") as out:
        out.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        for u, i, t in zip(users.tolist(), items.tolist(), times.tolist(), strict=True):
            out.write(f"A{u:013d}\tB{i:09d}\t5.0\t{t}\n")

    turns = [(run(OURS, tmp_path), run(THEIRS, tmp_path)) for _ in range(size(1, 3))]
    ours, theirs = (min(of, key=lambda turn: turn["seconds"]) for of in zip(*turns, strict=True))
    assert ours["rows"] == theirs["rows"]
    figure(
        f"million reviews a minute of a processor, {n:,} of gzipped json to {ours['rows']:,} rows",
        n / 1e6 / (ours["seconds"] / 60),
        above=1,
    )
    figure(
        f"reading {n:,} reviews from gzipped json, in readings of the atomic file by RecBole",
        ours["seconds"] / theirs["seconds"],
        # At a small size a second of work, of which a busy neighbour takes a third more.
        below=2.6 if FULL else 3.5,
    )
    figure(
        f"peak memory of reading {n:,} reviews, in GB",
        ours["peak"] / 1024,
        below=size(6, 1),
    )
