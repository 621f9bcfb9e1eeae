"""The mean and spread of every channel, by exact integer sums."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from roar.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor

    from roar.datasets.source import Split

CHUNK_VALUES = 2**20


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of every channel, of values in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, images: Tensor) -> Tensor:
        """``(images / 255 - mean) / std``: uint8 ``[N, C, H, W]`` to float32 of that shape, on its device."""
        import torch

        mean = torch.tensor(self.mean, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
        return images.to(torch.float32).div_(255).sub_(mean).div_(std)


def channel_mean(images: np.ndarray) -> np.ndarray:
    """The mean of every channel over every pixel, rounded to the nearest integer (halves up).

    Args:
        images: uint8 ``[N, C, H, W]``, the training split.

    Returns:
        uint8 ``[C]``.

    Raises:
        SourceError: there is no pixel.
    """
    return mean_of(histogram(images))


def mean_of(histogram: np.ndarray) -> np.ndarray:
    """As ``channel_mean``, from the images' histogram."""
    means = [(2 * total + count) // (2 * count) for count, total, _ in _moments(histogram)]
    return np.array(means, dtype=np.uint8)


def normalization(images: np.ndarray) -> Normalization:
    """The mean and the (population) standard deviation of every channel, of values in [0, 1].

    A channel that is constant gets a standard deviation of 1, so that it normalizes to 0.

    Args:
        images: uint8 ``[N, C, H, W]``, the training split.

    Raises:
        SourceError: there is no pixel.
    """
    return normalization_of(histogram(images))


def normalization_of(histogram: np.ndarray) -> Normalization:
    """As ``normalization``, from the images' histogram."""
    moments = _moments(histogram)
    means = tuple(total / (255 * count) for count, total, _ in moments)
    stds = tuple(sqrt(count * squares - total**2) / (255 * count) or 1.0 for count, total, squares in moments)
    return Normalization(means, stds)


def histogram(images: np.ndarray) -> np.ndarray:
    """How often each 8-bit value occurs in each channel, int64 ``[C, 256]``; those of parts add up to the whole's."""
    count, channels = len(images), images.shape[1]
    if images.size == 0:
        raise SourceError(f"Channel statistics need at least one pixel, not images of shape {images.shape}; "
                          "check the training split.")
    found = np.zeros((channels, 256), dtype=np.int64)
    step = max(1, CHUNK_VALUES // (images.size // count))
    for start in range(0, count, step):
        for channel in range(channels):
            found[channel] += np.bincount(images[start:start + step, channel].ravel(), minlength=256)
    return found


def is_constant(split: Split, block: int = 16) -> bool:
    """Whether every pixel of a split has one value; reads images until two differ, so hardly any as a rule."""
    values: set[int] = set()
    for start in range(0, len(split), block):
        images = split.at(np.arange(start, min(start + block, len(split)), dtype=np.int64))
        values |= {int(images.min()), int(images.max())}
        if len(values) > 1:
            return False
    return len(split) > 0


def _moments(histogram: np.ndarray) -> list[tuple[int, int, int]]:
    """Per channel: the number of pixels, their sum and the sum of their squares, all exact."""
    values = np.arange(256)
    return [(int(h.sum()), int(h @ values), int(h @ values**2)) for h in histogram]
