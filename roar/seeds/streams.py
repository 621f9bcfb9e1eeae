"""Named seeds from one root seed.

Every random draw has a purpose and an index; its seed is a hash of both and of the root seed. So a draw
depends on what it is for and never on what was drawn before it, on the number of workers or on their order.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(root: int, purpose: str, *index: int | str) -> int:
    """The seed of one purpose, in ``0 .. 2**63 - 1`` (what ``torch.Generator.manual_seed`` takes).

    >>> derive(0, "batches", 3) == derive(0, "batches", 3) != derive(0, "batches", 4)
    True
    """
    text = "\x1f".join([str(root), purpose, *map(str, index)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def noise_root(root: int, noise_seed: int) -> int:
    """The root of all that estimators draw under a noise seed; that of noise seed 0 is the root seed itself."""
    return derive(root, "estimator seed", noise_seed) if noise_seed else root


def random_words(seed: int, index: int, size: int) -> np.ndarray:
    """Uniform 64-bit words for one index, uint64 ``[size]``.

    Raw Philox words: NumPy promises that stream for every version, which it does not for what
    ``numpy.random.Generator`` makes of it.
    """
    return np.random.Philox(key=np.array([seed, index], dtype=np.uint64)).random_raw(size)


def random_order(seed: int, index: int, size: int) -> np.ndarray:
    """A uniform permutation of ``0 .. size - 1`` for one index, int64 ``[size]``: the order of its words."""
    return np.argsort(random_words(seed, index, size), kind="stable")
