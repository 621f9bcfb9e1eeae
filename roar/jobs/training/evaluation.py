"""Logits and accuracy of a network on 8-bit images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from roar.errors import ModelError
from roar.jobs.streaming import Stream, Streams, alone, blocks

if TYPE_CHECKING:
    from roar.datasets.statistics import Normalization


@dataclass(frozen=True)
class Evaluation:
    """How often a network is right.

    Args:
        accuracy: in [0, 1]; the class with the largest logit counts, the first one of equals.
        n: images.
        correct: images whose class it found.
        class_accuracy: the same of the images of each class alone, ``None`` for a class without images.
    """

    accuracy: float
    n: int
    correct: int
    class_accuracy: tuple[float | None, ...] = ()


def affine(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[1, C, 1, 1]`` for which ``image * scale + shift`` is the normalized 8-bit image."""
    mean = torch.tensor(normalization.mean, dtype=torch.float64)
    std = torch.tensor(normalization.std, dtype=torch.float64)
    scale, shift = 1 / (255 * std), -mean / std
    return scale.float().view(1, -1, 1, 1).to(device), shift.float().view(1, -1, 1, 1).to(device)


def side_by_side(images: Tensor, networks: int) -> Tensor:
    """The images of G networks, ``[G * B, C, H, W]``, as channels of one: ``[B, G * C, H, W]``, channels last."""
    height, width = images.shape[2:]
    batch = len(images) // networks
    planes = images.view(networks, batch, -1, height, width).permute(1, 3, 4, 0, 2)
    return planes.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def logits(network: nn.Module, images: Tensor | Stream, normalization: Normalization,
           batch_size: int | None = None) -> Tensor:
    """Logits float32 ``[N, K]`` in evaluation mode, on the network's device.

    Args:
        images: uint8 ``[N, C, H, W]``, on any device, or a stream of them.
        batch_size: images at a time; default: 1,000 at most, fewer of large images.
    """
    return logits_side_by_side(network, alone(images), normalization, batch_size)[0]


def logits_side_by_side(network: nn.Module, images: Tensor | Streams, normalization: Normalization,
                        batch_size: int | None = None) -> Tensor:
    """Logits ``[G, N, K]`` of G networks in one, each with images ``[G, N, C, H, W]`` of its own."""
    device = next(network.parameters()).device
    scale, shift = affine(normalization, device)
    networks, values = images.shape[0], math.prod(images.shape[2:])
    size = batch_size or max(1, min(1_000, 2**24 // max(1, values)))
    was_training, parts = network.training, []
    network.eval()
    try:
        with torch.no_grad():
            for block in blocks(images, size):
                batch = block.flatten(0, 1).to(device)
                z = network(side_by_side((batch * scale).add_(shift), networks))
                parts.append(z.float().view(networks, len(batch) // networks, -1))
    finally:
        network.train(was_training)
    return torch.cat(parts, 1)


def evaluate(network: nn.Module, images: Tensor | Stream, labels: Tensor, normalization: Normalization,
             batch_size: int | None = None) -> Evaluation:
    """Accuracy over all the images.

    Raises:
        ModelError: there are no images, or the logits are not finite.
    """
    return counted(network, alone(images), labels, normalization, batch_size)[0]


def counted(network: nn.Module, images: Tensor | Streams, labels: Tensor, normalization: Normalization,
            batch_size: int | None = None) -> list[Evaluation]:
    """Accuracies of G networks in one, each with images ``[G, N, C, H, W]`` of its own."""
    count = images.shape[1]
    if not count:
        raise ModelError("An accuracy needs at least one image, not 0; raise limit_test.")
    z = logits_side_by_side(network, images, normalization, batch_size)
    if not bool(torch.isfinite(z).all()):
        raise ModelError("The network's logits are not finite; its weights or the normalization are broken.")
    labels, classes = labels.to(z.device), z.shape[2]
    right = z.argmax(2) == labels
    images_of = torch.bincount(labels, minlength=classes).tolist()
    found = []
    for row in right:
        correct_of = torch.bincount(labels[row], minlength=classes).tolist()
        shares = tuple(c / n if n else None for c, n in zip(correct_of, images_of, strict=True))
        found.append(Evaluation(sum(correct_of) / count, count, sum(correct_of), shares))
    return found
