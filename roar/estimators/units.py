"""What is ranked: pixels, by a named reduction over their channels, or channel values on their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from roar.experiment import Unit


def pixel_scores(attributions: Tensor, unit: Unit, channels: int) -> Tensor:
    """Scores ``[B, P]`` from attributions ``[B, C, H, W]`` or, of a spatial method, ``[B, 1, H, W]``.

    ``sum``, ``mean``, ``max`` and ``l2`` (the Euclidean norm) give a score per pixel, P = H W, by rows.
    ``channel`` keeps every channel value, P = C H W, by channels and then rows; a spatial method gives each
    channel of a pixel the same score, so lots decide among them.
    """
    if unit == "channel":
        return attributions.expand(-1, channels, -1, -1).flatten(1)
    if unit == "max":
        return attributions.amax(dim=1).flatten(1)
    if unit == "l2":
        return attributions.square().sum(dim=1).sqrt().flatten(1)
    total = attributions.sum(dim=1)
    return (total / attributions.shape[1] if unit == "mean" else total).flatten(1)


def pixels_ranked(shape: Sequence[int], per_channel: bool) -> int:
    """P, how many values of an image of ``[N, C, H, W]`` are ranked."""
    _, channels, height, width = shape
    return (channels if per_channel else 1) * height * width
