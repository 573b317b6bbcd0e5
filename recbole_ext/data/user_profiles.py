"""What is said of users in words, as vectors that somebody else made: a file of one vector a user."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.tables import USER, TableFile
from recbole_ext.core.token_vectors import Form, read_by_token

_USERS = Form("user", USER, ("user", "vector"))


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
        found = read_by_token(self.path, _USERS, tokens, self.refuse)
        if found.foreign:
            self.refuse(
                f"{found.foreign:,} rows name no users of {name} (after its filters), first '{found.stranger}'; leave them out"
            )
        if not found.known.all():
            self.refuse(
                f"{int((~found.known).sum()):,} of {len(tokens):,} users of {name} have no vector, first '{found.lacking}': add "
                "them, or leave user_profiles out for the mean of their items"
            )
        return found.vectors

    def check_width(self, width: int, of_items: int, encoder: str) -> None:
        """Refuse vectors that are not as long as the items'."""
        if width != of_items:
            self.refuse(
                f"its vectors have {width} numbers, those of the item texts ({encoder}) have {of_items}: encode both alike"
            )


def checked_path(value: object) -> str:
    """The value of `--user_profiles`.

    Raises:
        HarnessError: it is no path.
    """
    if not isinstance(value, str) or not value:
        raise HarnessError(f"--user_profiles={value}: must be the path of a .parquet or .npz file")
    return value
