"""Tables that a user gives: csv (or tsv) or parquet, every mistake one line that names the file."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.files import digest_of
from recbole_ext.core.table_file import read_parquet

if TYPE_CHECKING:
    import pandas as pd

USER, ITEM = ("user", "user_id", "query_id", "q_id"), ("item", "item_id", "doc_id")


@dataclass(frozen=True)
class TableFile:
    """A file named by an option."""

    path: Path
    option: ClassVar[str]
    quotes_are_data: ClassVar[bool] = False
    """In tab-separated files, as RecBole writes them."""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the file.

        Raises:
            HarnessError: it cannot be read.
        """
        try:
            return digest_of(self.path)
        except OSError as error:
            self.refuse(f"{error.strerror}; correct the path")

    def frame(self) -> pd.DataFrame:
        """Its rows, with lower-case names of columns.

        Raises:
            HarnessError: it is no table, or an empty one.
        """
        import pandas as pd

        try:
            if self.path.suffix == ".parquet":
                frame: pd.DataFrame = read_parquet(self.path).to_pandas(use_threads=False)
            else:
                tab = self.path.suffix in (".tsv", ".txt") or ".tsv" in self.path.suffixes
                frame = pd.read_csv(
                    self.path,
                    sep="\t" if tab else ",",
                    dtype=str,
                    keep_default_na=False,
                    quoting=csv.QUOTE_NONE if tab and self.quotes_are_data else csv.QUOTE_MINIMAL,
                )
        except pd.errors.EmptyDataError:
            self.refuse("empty; its first line must name the columns")
        except pd.errors.ParserError as error:
            rows = re.search(r"Expected \d+ fields in line \d+, saw \d+", str(error))
            self.refuse(
                f"no table ({rows[0] if rows else ' '.join(str(error).split())[:160]}); separate fields by commas, in .tsv and .txt "
                "by tabs, and quote those that hold some"
            )
        except UnicodeDecodeError:
            self.refuse("not UTF-8; convert it, e.g. iconv -f latin1 -t utf-8")
        except (FileNotFoundError, IsADirectoryError) as error:
            self.refuse(f"{error.strerror}; correct the path")
        except (OSError, ValueError, ImportError) as error:
            self.refuse(" ".join(str(error).split())[:160])
        if not len(frame):
            self.refuse("it has no rows")
        frame.columns = [str(name).strip().lower().partition(":")[0] for name in frame.columns]
        return frame

    def column(self, frame: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
        """The first of the named columns that is there."""
        for name in names:
            if name in frame:
                return frame[name]
        have = ", ".join(frame.columns)
        self.refuse(
            f"no column '{names[0]}' (it has {have}){nearest(names[0], list(frame.columns))}"
        )

    def ids(
        self, frame: pd.DataFrame, names: tuple[str, ...], tokens: list[str], known: str
    ) -> Ints:
        """A column of tokens as their places in `tokens`, which are the `known`."""
        column = self.column(frame, names).astype(str)
        index = {token: i for i, token in enumerate(tokens)}
        found = column.map(index)
        missing = found.isna().to_numpy()
        if missing.any():
            row = int(np.flatnonzero(missing)[0])
            self.refuse(
                f"{int(missing.sum()):,} rows name no {known} (after its filters), first '{column.iloc[row]}' in row "
                f"{row + 1}; leave them out"
            )
        return np.asarray(found.to_numpy(np.int64))

    def refuse(self, why: str) -> NoReturn:
        """Raise what is wrong with it."""
        raise HarnessError(f"--{self.option}={self.path}: {why}")
