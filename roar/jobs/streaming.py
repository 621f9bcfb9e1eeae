"""Images that are read when they are needed and are never all in memory.

A stream takes positions and gives images: decoded in parallel, joined with their ranks by index, degraded. It holds a
chunk of images with their ranks and one shard of ranks, whatever the size of the split. What it gives for a position is
what the split in memory would hold there, bit for bit.

What one worker holds at most is :func:`ceiling`, besides the network and the activations of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from roar.datasets import Split
from roar.datasets.degradation import degrade
from roar.datasets.fills.base import Fill, FillContext
from roar.datasets.sources.encoded import BLOCK
from roar.store.shards import RankReader

T = TypeVar("T")
U = TypeVar("U")

CHUNK = 250  # images that are decoded and degraded at a time


@dataclass(frozen=True, eq=False)
class Cell:
    """What is done to the images of a split, before they are given out.

    Attributes:
        ranks: by position.
        context: what fills may depend on; its indices are those of the whole split.
    """

    ranks: RankReader
    threshold: float
    mode: str
    fill: Fill
    context: FillContext

    def __call__(self, images: Tensor, positions: np.ndarray, indices: np.ndarray) -> Tensor:
        """The degraded images, uint8 ``[n, C, H, W]``."""
        ranks = torch.from_numpy(self.ranks(positions, indices))
        context = replace(self.context, indices=torch.from_numpy(indices))
        return degrade(images, ranks, self.threshold, self.mode, self.fill, context)


@dataclass(frozen=True, eq=False)
class Stream:
    """The images of one split by position; small, so that it can travel to a worker.

    Attributes:
        image: ``(C, H, W)``.
        cell: what is done to them; ``None``: nothing.
    """

    split: Split
    image: tuple[int, int, int]
    cell: Cell | None = None

    @property
    def shape(self) -> torch.Size:
        """``[N, C, H, W]``, as of the tensor that it stands for."""
        return torch.Size([len(self.split), *self.image])

    def __len__(self) -> int:
        return len(self.split)

    def read(self, positions: np.ndarray, out: Tensor | None = None) -> Tensor:
        """The images at positions int64 ``[n]`` in any order, uint8 ``[n, C, H, W]``, written to ``out`` if given.

        Raises:
            SourceError: a picture cannot be read.
            DamagedArtifactError: ranks cannot be read, or are not those of these images.
        """
        if out is None:
            out = torch.empty(len(positions), *self.image, dtype=torch.uint8)
        order = np.argsort(positions, kind="stable")  # files are read from front to back
        for start in range(0, len(order), CHUNK):
            slots = order[start:start + CHUNK]
            chunk = positions[slots]
            images = torch.from_numpy(self.split.decode(chunk))
            if self.cell is not None:
                images = self.cell(images, chunk, self.split.indices[chunk])
            out[torch.from_numpy(slots)] = images
        return out


@dataclass(frozen=True, eq=False)
class Streams:
    """The streams of G networks that are trained side by side, in the place of a tensor ``[G, N, C, H, W]``."""

    members: tuple[Stream, ...]

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.members), *self.members[0].shape])

    def read(self, positions: np.ndarray, out: Tensor | None = None) -> Tensor:
        """The images at positions ``[G, n]``, each network's own: uint8 ``[G, n, C, H, W]``."""
        if out is None:
            out = torch.empty(*positions.shape, *self.members[0].image, dtype=torch.uint8)
        for member, places, images in zip(self.members, positions, out, strict=True):
            member.read(places, images)
        return out


def ceiling(count: int, image: int, ranks: int, window: int, shard_size: int, row_group: int, picture: float,
            networks: int = 1) -> float:
    """Bytes that a worker holds at most of a split while it trains or ranks, whatever the size of the split.

    Besides: the network, its optimizer and the activations of a batch; in evaluation the logits of the test split. For
    a family of m estimators, ranking holds m shards.

    Args:
        count: images of the split, of which only labels, indices, order and draws are kept.
        image, ranks: bytes of one decoded image and of its ranks.
        window: images, of ``Recipe.window``; one is trained on while the other is read.
        shard_size: images in a shard of ranks.
        row_group: pictures in a row group of the source.
        picture: bytes of an encoded one.
        networks: that are trained side by side.
    """
    windows = 2 * networks * min(window, count) * image
    chunk = CHUNK * (4 * image + 2 * ranks)  # decoded, degraded, the mask and the fill; ranks cut out and compared
    shard = shard_size * (image + 4 * ranks)  # the images to be ranked; bytes of the file, pages, table, values
    encoded = (4 * row_group + 2 * max(CHUNK, min(shard_size, BLOCK))) * picture  # as pages and columns; as objects
    return windows + chunk + shard + encoded + 100 * count * networks


def together(images: Sequence[Tensor | Stream] | Tensor) -> Tensor | Streams:
    """The images of several networks as one: ``[G, N, C, H, W]``."""
    if isinstance(images, Tensor):
        return images
    streams = tuple(one for one in images if isinstance(one, Stream))
    return Streams(streams) if streams else torch.stack([one for one in images if isinstance(one, Tensor)])


def alone(images: Tensor | Stream) -> Tensor | Streams:
    """The images of one network, ``[1, N, C, H, W]``."""
    return images[None] if isinstance(images, Tensor) else Streams((images,))


def part(images: Tensor | Stream, start: int, stop: int) -> Tensor:
    """The images from one position up to another, ``[n, C, H, W]``."""
    return images[start:stop] if isinstance(images, Tensor) else images.read(_span(images, start, stop))


def blocks(images: Tensor | Streams, size: int) -> Iterator[Tensor]:
    """All images ``[G, N, C, H, W]`` in order, ``size`` of them at a time; of streams the next ones are read ahead."""
    starts = range(0, images.shape[1], size)
    if isinstance(images, Tensor):
        return (images[:, start:start + size] for start in starts)
    streams = images

    def read(start: int) -> Tensor:
        return streams.read(np.stack([_span(member, start, start + size) for member in streams.members]))

    return ahead(read, starts)


def ahead(make: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """``make`` of every item, in a thread: the next one is made while the present one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for item in items:
            present, waiting = waiting, thread.submit(make, item)
            if present is not None:
                # The order matters to those who make into two buffers in turn: whoever asks for this one has done
                # with the one before it.
                yield present.result()
        if waiting is not None:
            yield waiting.result()


def _span(stream: Stream, start: int, stop: int) -> np.ndarray:
    return np.arange(start, min(stop, len(stream)), dtype=np.int64)
