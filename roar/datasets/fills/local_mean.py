"""The mean of the nearest kept pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from roar.datasets.fills.base import FillContext
from roar.datasets.fills.constant import mean
from roar.datasets.fills.registry import built_in


@built_in("local-mean", "the mean of the nearest kept pixels")
def local_mean(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    """The mean of the kept pixels in the smallest window of 3, 5, 9, 17, ... pixels that holds one.

    Windows are square and end at the border; where no pixel is kept at all the training mean is taken.
    """
    n, C, H, W = images.shape
    kept = (~mask).to(torch.int32)
    totals, counts = _integral(images * kept), _integral(kept)
    filled = mean(images, mask, context).expand(n, C, H, W).clone()
    empty = mask.expand(n, C, H, W)
    radius = 1
    while radius < 2 * max(H, W) and bool(empty.any()):
        total, count = (_window_sums(integral, radius) for integral in (totals, counts))
        means = torch.div(2 * total + count, (2 * count).clamp(min=1), rounding_mode="floor").to(torch.uint8)
        found = empty & (count > 0)
        filled = torch.where(found, means, filled)
        empty = empty & ~found
        radius *= 2
    return filled


def _integral(values: Tensor) -> Tensor:
    """Sums over all pixels above and to the left: int64 ``[n, C, H + 1, W + 1]``."""
    sums = values.to(torch.int64).cumsum(dim=2).cumsum(dim=3)
    return torch.nn.functional.pad(sums, (1, 0, 1, 0))


def _window_sums(integral: Tensor, radius: int) -> Tensor:
    """Sums over windows of ``2 * radius + 1`` pixels, cut off at the border."""
    for axis in (2, 3):
        size = integral.shape[axis] - 1
        places = torch.arange(size, device=integral.device)
        low, high = (places - radius).clamp(min=0), (places + radius + 1).clamp(max=size)
        integral = integral.index_select(axis, high) - integral.index_select(axis, low)
    return integral
