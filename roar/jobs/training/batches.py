"""The order in which a training sees its images, and where its batches are cut from.

The order is a matter of the recipe and the seed alone. Whether the images are all in memory or are read window by
window is not: the same recipe gives the same batches, and on a CPU the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from roar.jobs.streaming import Streams, ahead
from roar.jobs.training.augmentation import padded
from roar.seeds.streams import derive, random_order, random_words

if TYPE_CHECKING:
    from roar.datasets.statistics import Normalization
    from roar.recipes import Recipe

BLOCK = 1_000  # images that lie together and are read together


def epoch_order(recipe: Recipe, count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of ``count`` images in one epoch, int64 ``[count]``.

    A uniform permutation; with a window that is smaller than the split, blocks of 1,000 neighbors in random order, of
    which each window is then permuted uniformly.
    """
    if recipe.window is None or recipe.window >= count:
        return random_order(derive(seed, "batches"), epoch, count)
    blocks = random_order(derive(seed, "blocks"), epoch, -(-count // BLOCK))
    order = np.concatenate([np.arange(BLOCK * block, min(BLOCK * (block + 1), count)) for block in blocks])
    words = random_words(derive(seed, "batches"), epoch, count)
    size = window_size(recipe, count)
    for start in range(0, count, size):
        here = slice(start, start + size)
        order[here] = order[here][np.argsort(words[here], kind="stable")]
    return order


def window_size(recipe: Recipe, count: int) -> int:
    """Images of a window: the recipe's, in whole batches and at least one of them."""
    batch_size = min(recipe.batch_size, count)
    return max(1, min(recipe.window or count, count) // batch_size) * batch_size


class Feed(Protocol):
    """Gives the batches of an epoch."""

    device: torch.device  # where the batches lie

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For each batch: padded images ``[M, C, H, W]`` and which of them they are, int64 ``[G * B]``.

        Args:
            order: int64 ``[G, n]``, positions of each network's images; n is a multiple of the batch size.
        """


def feed(images: Tensor | Streams, recipe: Recipe, normalization: Normalization, device: torch.device) -> Feed:
    """The feed of a training, from images uint8 ``[G, N, C, H, W]``; streamed ones are augmented on ``device``."""
    if isinstance(images, Tensor):
        return _Kept(images, recipe, normalization)
    return _Streamed(images, recipe, normalization, device)


class _Kept:
    """All images are in memory: a batch is a matter of indices."""

    def __init__(self, images: Tensor, recipe: Recipe, normalization: Normalization) -> None:
        self.device = images.device
        self.frames = padded(images.flatten(0, 1), recipe, normalization)
        self.first = images.shape[1] * torch.arange(len(images))[:, None]  # of each network's among all the frames

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        places = (self.first + order).to(self.device)
        return ((self.frames, some.flatten()) for some in torch.split(places, batch_size, 1))


class _Streamed:
    """Two windows are in memory: while batches are cut from the one, the other is read."""

    def __init__(self, images: Streams, recipe: Recipe, normalization: Normalization, device: torch.device) -> None:
        self.images, self.recipe, self.normalization, self.device = images, recipe, normalization, device
        self.buffers: dict[int, Tensor] = {}

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        networks, count, *image = self.images.shape
        size = window_size(self.recipe, count)

        def read(numbered: tuple[int, Tensor]) -> Tensor:
            number, positions = numbered
            if number % 2 not in self.buffers:
                self.buffers[number % 2] = torch.empty(networks, size, *image, dtype=torch.uint8)
            return self.images.read(positions.numpy(), self.buffers[number % 2][:, :positions.shape[1]])

        for window in ahead(read, enumerate(torch.split(order, size, 1))):
            for batch in torch.split(window, batch_size, 1):
                frames = padded(batch.flatten(0, 1).to(self.device), self.recipe, self.normalization)
                yield frames, torch.arange(len(frames), device=self.device)
