"""A blurred image in the place of removed pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from roar.datasets.fills.base import FillContext
from roar.datasets.fills.registry import built_in

BLUR_WIDTH = 10 / 224  # standard deviation over the longer side (Fong & Vedaldi 2017, section 4.3)


@built_in("blur", "the blurred image, with a width of 10 pixels in 224 (Fong & Vedaldi 2017)")
def blur(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    """Gaussian, cut off at three standard deviations, mirrored at the border; float64, value by value."""
    sigma = BLUR_WIDTH * max(images.shape[2:])
    radius = math.ceil(3 * sigma)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    blurred = images.to(torch.float64)
    for axis in (2, 3):
        size = blurred.shape[axis]
        positions = torch.arange(-radius, size + radius, device=images.device) % (2 * size)
        mirrored = blurred.index_select(axis, torch.minimum(positions, 2 * size - 1 - positions))
        blurred = torch.zeros_like(blurred)
        for start, weight in enumerate(weights):
            blurred += mirrored.narrow(axis, start, size) * (weight / sum(weights))
    return blurred.round().clamp(0, 255).to(torch.uint8)
