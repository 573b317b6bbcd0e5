"""What is said of users in words, as vectors that somebody else made: a file of one vector a user."""

from __future__ import annotations

import zipfile

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.tables import USER, TableFile


class UserProfiles(TableFile):
    """A parquet file with columns user and vector (a list of numbers), or an npz file with arrays `user` [n] and `vector` [n, d].

    Every user of the data has one; encoded as the item texts are, since models compare the two.
    """

    option = "user_profiles"

    def read(self, tokens: list[str], name: str) -> npt.NDArray[np.float32]:
        """[n_users, d] in the order of `tokens`, the users of the data set `name`.

        Raises:
            HarnessError: no such file or table, a user that is unknown, there twice or missing, vectors of several lengths, or a
                value that is no finite number.
        """
        user, vectors = self._npz() if self.path.suffix == ".npz" else self._table()
        import pandas as pd

        place = self.ids(pd.DataFrame({"user": user}), USER, tokens, f"users of {name}")
        counts = np.bincount(place, minlength=len(tokens))
        if (counts > 1).any():
            self.refuse(f"user '{tokens[int(np.argmax(counts > 1))]}' stands more than once")
        if (counts == 0).any():
            self.refuse(
                f"{int((counts == 0).sum()):,} of {len(tokens):,} users of {name} have no vector, first "
                f"'{tokens[int(np.argmax(counts == 0))]}': add them, or leave user_profiles out for the mean of their items"
            )
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
            self.refuse(f"the vector of user '{user[row]}' has values that are no finite numbers")
        found = np.empty((len(tokens), vectors.shape[1]), np.float32)
        found[place] = vectors
        return found

    def check_width(self, width: int, of_items: int, encoder: str) -> None:
        """Refuse vectors that are not as long as the items'."""
        if width != of_items:
            self.refuse(
                f"its vectors have {width} numbers, those of the item texts ({encoder}) have {of_items}: encode both alike"
            )

    def _table(self) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float32]]:
        """Users and vectors of a parquet file."""
        if self.path.suffix != ".parquet":
            self.refuse("must be a .parquet or .npz file")
        frame = self.frame()
        user = self.column(frame, USER).astype(str).to_numpy(str)
        return user, self._matrix(list(self.column(frame, ("vector",))))

    def _npz(self) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float32]]:
        """Users and vectors of an npz file; nothing pickled is read."""
        try:
            with np.load(self.path, allow_pickle=False) as found:
                missing = {"user", "vector"} - set(found)
                if missing:
                    self.refuse(f"no array '{min(missing)}' (it has {', '.join(found)})")
                user, vectors = found["user"].astype(str), self._matrix(found["vector"])
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            self.refuse(" ".join(str(error).split())[:160])
        if user.ndim != 1 or len(user) != len(vectors):
            self.refuse(f"{user.size:,} users, {len(vectors):,} vectors: one for each")
        return user, vectors

    def _matrix(self, vectors: object) -> npt.NDArray[np.float32]:
        """[n, d] numbers."""
        try:
            # A number beyond float32 becomes infinite here and is told as such.
            with np.errstate(over="ignore"):
                found = np.asarray(np.stack(vectors), np.float32)  # type: ignore[call-overload]
        except (ValueError, TypeError):
            self.refuse("'vector' must hold lists of numbers, all of one length")
        if found.ndim != 2 or not found.size:
            self.refuse("'vector' must hold lists of numbers, all of one length")
        return found


def checked_path(value: object) -> str:
    """The value of `--user_profiles`.

    Raises:
        HarnessError: it is no path.
    """
    if not isinstance(value, str) or not value:
        raise HarnessError(f"--user_profiles={value}: must be the path of a .parquet or .npz file")
    return value
