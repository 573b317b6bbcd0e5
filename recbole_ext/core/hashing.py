"""Hashes that are the same on every machine: the source of all randomness that must not depend on row order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def splitmix64(x: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words with good avalanche."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def token_hashes(tokens: Sequence[str], key: str) -> Words:
    """[n] 64-bit keyed BLAKE2b of each token: stable across machines and Python versions."""
    secret = hashlib.sha256(key.encode()).digest()
    digests = b"".join(
        hashlib.blake2b(token.encode(), digest_size=8, key=secret).digest() for token in tokens
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def pair_hashes(users: Words, items: Words) -> Words:
    """[P] one word per (user, item) from the two token hashes; not symmetric in its arguments."""
    return splitmix64(splitmix64(users + np.uint64(0x9E3779B97F4A7C15)) + items)
