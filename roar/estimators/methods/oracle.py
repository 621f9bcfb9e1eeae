"""Estimators that know the truth, for sources that keep which pixels are informative: what a benchmark must tell apart.

Where one knows what is right to find, one knows in which order estimators must come out: the oracle before the oracle
that errs, that before chance, and the inverted oracle last.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np

from roar.errors import UsageError
from roar.estimators.kinds import TRUTH, Oracle
from roar.estimators.ranks import rank_scores
from roar.estimators.registry import maker, oracle
from roar.registry import ROAR
from roar.seeds.streams import derive, random_words

NOISY = "oracle-noisy"


@oracle("oracle", ROAR, "the informative pixels first, where the source knows them")
def informative_first(truth: np.ndarray, indices: np.ndarray, root_seed: int, split: str,
                      planes: int) -> tuple[np.ndarray, float]:
    """Ranks with every informative pixel before every other; lots decide within each of the two."""
    return _ranked(truth, indices, root_seed, split, planes)


@oracle("oracle-inverted", ROAR, "the informative pixels last, where the source knows them")
def informative_last(truth: np.ndarray, indices: np.ndarray, root_seed: int, split: str,
                     planes: int) -> tuple[np.ndarray, float]:
    """Ranks with every informative pixel behind every other; lots decide within each of the two."""
    return _ranked(~truth, indices, root_seed, split, planes)


@maker(NOISY, "q", f"{NOISY}(0.2)", TRUTH, ROAR, "the oracle with a share q of the informative pixels wrong")
def oracle_noisy(text: str) -> Oracle:
    """The oracle that errs in a share q of the informative pixels.

    Raises:
        UsageError: q is no number in [0, 1].
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"The share q of '{NOISY}' is a number from 0 to 1, not '{text}'; write {NOISY}(0.2).")

    def rank(truth: np.ndarray, indices: np.ndarray, root_seed: int, split: str,
             planes: int) -> tuple[np.ndarray, float]:
        return _ranked(erring(truth, indices, root_seed, split, share), indices, root_seed, split, planes)

    name = f"{NOISY}({repr(share + 0.0).removesuffix('.0')})"  # 0.0 is added so that -0 is 0
    words = f"the oracle with a share {share:g} of the informative pixels wrong"
    return Oracle(name, TRUTH, ROAR, words, function=rank, kind=NOISY)


def erring(truth: np.ndarray, indices: np.ndarray, root_seed: int, split: str, share: float) -> np.ndarray:
    """The truth with a share of it wrong, bool ``[N, H, W]``.

    Of the m informative pixels of an image, ``w = floor(q m + 1/2)`` count as uninformative and w of the other ones as
    informative, so there are m of them still; where there are fewer than w others, as many as there are change
    places. q counts as the decimal number it prints as. Which pixels do is drawn by lot: those with the smallest of
    ``random_words(derive(root_seed, "oracle-noisy", split), index, H W)`` among their kind. So what is wrong at a
    small q is wrong at a larger one.

    Args:
        truth: bool ``[N, H, W]``.
        indices: position of each image in its split, ``[N]``.
        share: q, in [0, 1].
    """
    count, height, width = truth.shape
    found = truth.reshape(count, height * width).copy()
    seed = derive(root_seed, NOISY, split)
    for marks, index in zip(found, indices.tolist(), strict=True):
        order = np.argsort(random_words(seed, index, len(marks)), kind="stable")
        informative, others = order[marks[order]], order[~marks[order]]
        wrong = min(floor(Fraction(repr(share)) * len(informative) + Fraction(1, 2)), len(others))
        marks[informative[:wrong]] = False
        marks[others[:wrong]] = True
    return found.reshape(truth.shape)


def _ranked(first: np.ndarray, indices: np.ndarray, root_seed: int, split: str,
            planes: int) -> tuple[np.ndarray, float]:
    """Ranks ``[N, P]`` of marks ``[N, H, W]``, what is marked first; all ``planes`` of a pixel have its mark."""
    import torch

    count, height, width = first.shape
    scores = np.tile(first.reshape(count, height * width), planes).astype(np.float32)
    ranks, tied = rank_scores(torch.from_numpy(scores), indices, derive(root_seed, "ties", split))
    return ranks, tied / max(1, scores.size)
