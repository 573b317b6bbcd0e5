"""Parquet read whole: what Arrow's own reader gives, and a process that can end afterwards."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from recbole_ext.core.table_file import read_parquet

THREADS = """
import os, sys
from pathlib import Path
from recbole_ext.core.table_file import read_parquet
read_parquet(Path(sys.argv[1]))
print(sum("jemalloc" not in Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")))
"""


@pytest.fixture
def file(tmp_path):
    rows = np.arange(5000)
    table = pa.table(
        {
            "user": pa.array([f"u{i % 7}" for i in rows]).dictionary_encode(),
            "count": pa.array(rows, pa.int32(), mask=rows % 5 == 0),
            "list": pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(rows, 3)), 3),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=700, compression="zstd")
    return tmp_path / "t.parquet"


def test_a_table_is_what_arrow_reads(file):
    table = read_parquet(file)
    assert table.equals(parquet.read_table(file)) and table.schema == parquet.read_schema(file)
    assert read_parquet(pa.BufferReader(file.read_bytes())).equals(table)
    assert read_parquet(file, ["list", "user"]).equals(table.select(["list", "user"]))


def test_a_column_that_is_not_there_is_said(file):
    with pytest.raises(KeyError, match="item"):
        read_parquet(file, ["user", "item"])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"user,item\n1,2\n"])
def test_what_is_no_parquet_is_said(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises((pa.ArrowException, OSError)):
        read_parquet(tmp_path / "t.parquet")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_reading_starts_no_workers_that_could_outlive_the_process(file, monkeypatch):
    # Arrow's scanner starts two or more; one that still comes up while the process ends aborts it, in one of ten here.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(file)], check=True, capture_output=True, text=True
    )
    # The first is the process itself, the second Arrow's that reads the file's footer.
    assert int(done.stdout) <= 2
