"""What replaces a pixel, by name.

A fill is a function ``(images, mask, context) -> images``; of its result only what lies under the mask is taken,
so a constant colour and a fill that computes from the image look the same (but ``mask-only`` takes the place of the
whole image: it shows where pixels are removed and nothing else). No fill's result depends on how
images are divided into batches. A new fill is one function here or in a file of its own, and one line in the
table at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from roar.errors import SourceError, UnknownNameError, UsageError
from roar.experiment import MASK_ONLY
from roar.seeds.tensors import random_bytes

BLUR_WIDTH = 10 / 224  # standard deviation over the longer side (Fong & Vedaldi 2017, section 4.3)


@dataclass(frozen=True, eq=False)
class FillContext:
    """What a fill may depend on, besides images and mask.

    Attributes:
        mean: uint8 ``[C]``, the training split's channel mean (:func:`roar.datasets.channel_mean`).
        root_seed: the experiment's root seed.
        split: ``"train"`` or ``"test"``.
        indices: int64 ``[N]``, where each image lies in the whole split.
    """

    mean: Tensor
    root_seed: int = 0
    split: str = "train"
    indices: Tensor | None = None

    def part(self, rows: slice) -> FillContext:
        """The context of some of the images."""
        return replace(self, indices=None if self.indices is None else self.indices[rows])

    def image_indices(self, device: torch.device) -> Tensor:
        """The indices on a device.

        Raises:
            UsageError: there are none.
        """
        if self.indices is None:
            raise UsageError("A random fill needs the indices of the images, not None; give them in the context.")
        return self.indices.to(device, torch.int64)


# images uint8 [n, C, H, W], mask bool [n, 1 or C, H, W] -> uint8, broadcastable to [n, C, H, W]
FillFunction = Callable[[Tensor, Tensor, FillContext], Tensor]


@dataclass(frozen=True)
class Fill:
    """A fill with its name; ``whole``: all of its result is taken, and not only what lies under the mask."""

    name: str
    description: str
    function: FillFunction
    needs_colour: bool = False
    whole: bool = False


def fill_kinds() -> list[Fill]:
    """Every fill."""
    return list(_FILLS.values())


def find_fill(name: str, channels: int | None = None) -> Fill:
    """The fill of a name, for images with this many channels if that is known already.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
        SourceError: it needs colour and there is one channel.
    """
    if name not in _FILLS:
        raise UnknownNameError("fill", name, _FILLS)
    fill = _FILLS[name]
    if fill.needs_colour and channels == 1:
        raise SourceError(f"The fill '{name}' needs images with 3 channels, not 1; take 'mean' or another fill.")
    return fill


def mean(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    return context.mean.to(images.device, torch.uint8).view(1, -1, 1, 1)


def zero(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    return images.new_zeros(1)


def random_colour(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    n, C = images.shape[:2]
    indices = context.image_indices(images.device)
    return random_bytes(context.root_seed, "random-colour", context.split, indices, C).view(n, C, 1, 1)


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


def noisy_linear(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    from roar.datasets.fills.noisy_linear.imputation import noisy_linear

    return noisy_linear(images, mask, context)


def mask_only(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    """255 where a pixel is removed and 0 where it is kept, in all channels: of the image's content nothing is left.

    A network trained on these shows what the mask alone tells of the class (Rong et al. 2022).
    """
    return mask.to(torch.uint8) * 255


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


_FILLS = {fill.name: fill for fill in (
    Fill("mean", "the training split's mean of the channel (Hooker et al. 2019)", mean),
    Fill("zero", "the value 0 in every channel", zero),
    Fill("black", "black, which is the value 0 in every channel", zero),
    Fill("random-colour", "one uniformly random colour per image", random_colour, needs_colour=True),
    Fill("blur", "the blurred image, with a width of 10 pixels in 224 (Fong & Vedaldi 2017)", blur),
    Fill("local-mean", "the mean of the nearest kept pixels", local_mean),
    Fill("noisy-linear", "the weighted mean of the neighbours, solved jointly, plus noise (Rong et al. 2022)",
         noisy_linear),
    Fill(MASK_ONLY, "the mask in the place of the whole image: 255 where a pixel is removed, 0 where it is kept",
         mask_only, whole=True),
)}
