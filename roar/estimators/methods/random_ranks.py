"""Controls that draw lots: what any estimator has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from roar.estimators.ranks import rank_type
from roar.estimators.registry import control
from roar.estimators.units import pixels_ranked
from roar.registry import ROAR
from roar.seeds.streams import derive, random_order, random_words

if TYPE_CHECKING:
    from torch import Tensor


@control("random", ROAR, "independent uniform permutation of each image's pixels", aliases=("rand",))
def random(images: Tensor, indices: np.ndarray, root_seed: int, split: str,
           per_channel: bool) -> tuple[np.ndarray, float]:
    """A uniform permutation per image, the same whenever and wherever it is drawn."""
    pixels = pixels_ranked(images.shape, per_channel)
    ranks = np.empty((len(images), pixels), rank_type(pixels))
    seed = derive(root_seed, "random", split)
    for row, index in enumerate(indices):
        ranks[row] = random_order(seed, int(index), pixels)
    return ranks, 0.0


@control("random-bernoulli", ROAR, "each pixel replaced by chance t, independently; not a permutation",
         aliases=("bernoulli",))
def random_bernoulli(images: Tensor, indices: np.ndarray, root_seed: int, split: str,
                     per_channel: bool) -> tuple[np.ndarray, float]:
    """floor(u P) with u uniform in [0, 1), independent for each pixel.

    Not a permutation: ``rank < k`` replaces each pixel with chance k / P on its own, so the number replaced
    varies from image to image, as in the released code of the paper. The sets are still nested in t.
    """
    pixels = pixels_ranked(images.shape, per_channel)
    ranks = np.empty((len(images), pixels), rank_type(pixels))
    seed = derive(root_seed, "random-bernoulli", split)
    for row, index in enumerate(indices):
        words = random_words(seed, int(index), pixels)
        # The upper 32 bits times P, without floating point: at most (2^32 - 1) 2^32 < 2^64.
        ranks[row] = ((words >> np.uint64(32)) * np.uint64(pixels)) >> np.uint64(32)
    return ranks, 0.0

