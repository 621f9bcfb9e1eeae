"""What estimators work on: some images of a split, the network that sees them, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from roar.experiment import EstimatorSettings
from roar.seeds.streams import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

NO_TARGET = -1  # what explains no network explains no class


class Normalization(Protocol):
    """What ``roar.datasets.statistics.Normalization`` offers."""

    def apply(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of a split, with all that is known of them.

    Attributes:
        images: uint8 ``[N, C, H, W]``.
        labels: ``[N]``; of another class than the label's where that is to be explained.
        indices: position of each image in its split, ``[N]``.
        split, root_seed: of all that is drawn for these images.
        truth: which pixels are informative, bool ``[N, H, W]``; the oracles need it.
        inputs: by the name of an estimator that needs other inputs than images: of a matched-spectrum control
            the spectrum of its estimator's rankings, float64 ``[1 or C, H, W]``; of precomputed attributions
            those of these images.
        lots: seed of the lots that break ties among the scores of a network; ``None``: derived from ``root_seed``.
    """

    images: np.ndarray | Tensor
    labels: np.ndarray
    indices: np.ndarray
    split: str
    root_seed: int = 0
    truth: np.ndarray | None = None
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    lots: int | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Explained:
    """A network that is explained, and how it sees images.

    Attributes:
        network: gives logits ``[N, K]`` from normalized images; left as it is found.
        num_classes: of the source; ``None``: labels show it.
        channel_mean: mean color of the training split in 8-bit units, ``[C]``: the reference image ``mean`` of
            integrated gradients; ``None``: the normalization's mean.
    """

    network: nn.Module
    normalization: Normalization
    num_classes: int | None = None
    channel_mean: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Passes:
    """How the work is done; the batch size moves scores by no more than float32's rounding.

    Attributes:
        device: where the network goes, as a copy where it is elsewhere.
        memory_budget: GB for the activations of a pass; ``None``: see ``rows.rows_that_fit``.
        batch_size: images per pass, instead of what the budget gives.
        on_progress: called with passes done and passes in all, counted per image.
        say: called with what a person should know once, such as that maps were upsampled.
    """

    device: str | torch.device = "cpu"
    memory_budget: float | None = None
    batch_size: int | None = None
    on_progress: Callable[[int, int], None] | None = None
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, eq=False)
class RankedImages:
    """One estimator's answer for some images.

    Attributes:
        ranks: ``[N, P]`` in ``0 .. P - 1``, 0 the most important; the smallest unsigned type that holds P - 1.
        targets: the class explained, int32 ``[N]``; -1 for what explains no network.
        tied_share: share of pixels whose score equals another's of the same image.
    """

    ranks: np.ndarray
    targets: np.ndarray
    tied_share: float


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be done with a batch, its tensors and the network on one device.

    Attributes:
        pictures: uint8 ``[N, C, H, W]``.
        indices: int64 ``[N]``.
        explained: ``None`` where nothing is asked for that explains a network.
        targets: the class explained of each image, int64 ``[N]``.
        rows: images that a pass may hold.
        count_passes: called with a number of passes, counted per image, when they are done.
    """

    pictures: Tensor
    indices: np.ndarray
    batch: Batch
    settings: EstimatorSettings
    explained: Explained | None = None
    targets: Tensor | None = None
    rows: int = 1
    count_passes: Callable[[int], None] = field(default=lambda passes: None)
    say: Callable[[str], None] = field(default=lambda text: None)

    @property
    def network(self) -> nn.Module:
        assert self.explained is not None  # checked before a task is made
        return self.explained.network

    @property
    def root_seed(self) -> int:
        return self.batch.root_seed

    @property
    def split(self) -> str:
        return self.batch.split

    @property
    def per_channel(self) -> bool:
        return self.settings.unit == "channel"

    @property
    def planes(self) -> int:
        """Values of a pixel that rank alone: C with unit ``channel``, else 1."""
        return self.pictures.shape[1] if self.per_channel else 1

    @property
    def lots(self) -> int:
        """The seed of the lots that break ties among the scores of a network."""
        lots = self.batch.lots
        return derive(self.root_seed, "ties", self.split) if lots is None else lots

    def images(self, block: slice) -> Tensor:
        """Normalized images, float32 ``[B, C, H, W]``."""
        assert self.explained is not None
        return self.explained.normalization.apply(self.pictures[block])

    def points(self, block: slice) -> Points:
        """The images themselves, to be explained together."""
        assert self.targets is not None
        return Points(self.images(block), self.targets[block], self.indices[block])


@dataclass(frozen=True, eq=False)
class Points:
    """Where a network is explained in one call: images, or copies of them with noise.

    Attributes:
        images: normalized, float32 ``[B, C, H, W]``; targets: int64 ``[B]``; indices: int64 ``[B]``.
        copies: the number of each one's copy, from 0 on; ``None``: the images themselves.
    """

    images: Tensor
    targets: Tensor
    indices: np.ndarray
    copies: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> Points:
        return Points(self.images[rows], self.targets[rows], self.indices[rows],
                      None if self.copies is None else self.copies[rows])

    @property
    def named(self) -> str:
        """``image 7`` or ``images 3 .. 9``."""
        few = len(self.indices) == 1
        return f"image {self.indices[0]}" if few else f"images {self.indices.min()} .. {self.indices.max()}"


def reference_image(task: Task) -> Tensor:
    """x' of integrated gradients, normalized, ``[C, 1, 1]``: black, the mean color, or zero once normalized."""
    import torch

    assert task.explained is not None
    channels, mean = task.pictures.shape[1], task.explained.channel_mean
    if task.settings.baseline == "zero" or (task.settings.baseline == "mean" and mean is None):
        return torch.zeros((channels, 1, 1), device=task.pictures.device)
    color = np.zeros(channels) if task.settings.baseline == "black" else np.asarray(mean)
    picture = torch.as_tensor(color, dtype=torch.uint8, device=task.pictures.device).view(1, channels, 1, 1)
    return task.explained.normalization.apply(picture)[0]
