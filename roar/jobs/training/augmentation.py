"""Random changes of training images, drawn for a whole epoch and applied to a batch where the images are.

All draws come from a CPU generator seeded by (seed, epoch): they are the same on every device, and a training
that resumes sees what it would have seen. They belong to an image, not to its place in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from roar.errors import TrainingError
from roar.seeds.streams import derive

if TYPE_CHECKING:
    from roar.datasets.statistics import Normalization
    from roar.recipes import Recipe

CROP_AREA = 0.08, 1.0  # share of the plane that a resized crop keeps (Szegedy et al. 2015, arXiv:1409.4842)
CROP_RATIO = 3 / 4, 4 / 3  # its width over its height


@dataclass(frozen=True)
class Draws:
    """What happens to each of N images in one epoch.

    Args:
        flip: bool ``[N]``, left to right.
        corner: int64 ``[2, N]``, row and column at which the crop of a padded image begins.
        box: float32 ``[4, N]``, a resized crop's half height, half width, center row and center column, in
            the coordinates of ``grid_sample``, where the plane is -1 .. 1.
    """

    flip: Tensor | None = None
    corner: Tensor | None = None
    box: Tensor | None = None


def padded(images: Tensor, recipe: Recipe, normalization: Normalization) -> Tensor:
    """The images ``[N, C, H, W]``, with ``recipe.padding`` pixels on every side if the recipe crops.

    Raises:
        TrainingError: the images are too small to be reflected that far.
    """
    if "crop" not in recipe.augmentation:
        return images
    p = recipe.padding
    count, channels, height, width = images.shape
    if recipe.padding_mode == "reflect":
        if p >= min(height, width):
            raise TrainingError(f"Images of {width}x{height} pixels cannot be reflected over {p} pixels; "
                                "lower padding or set padding_mode = \"fill\".")
        out = images.new_empty(count, channels, height + 2 * p, width + 2 * p)
        out[:, :, p:p + height, p:p + width] = images
        for axis, size in ((2, height), (3, width)):  # mirrored at the first and the last pixel
            out.narrow(axis, 0, p).copy_(out.narrow(axis, p + 1, p).flip(axis))
            out.narrow(axis, p + size, p).copy_(out.narrow(axis, size - 1, p).flip(axis))
        return out
    fill = torch.tensor([round(255 * m) for m in normalization.mean], dtype=torch.uint8, device=images.device)
    out = fill.view(1, channels, 1, 1).repeat(count, 1, height + 2 * p, width + 2 * p)
    out[:, :, p:p + height, p:p + width] = images
    return out


def draw(recipe: Recipe, count: int, seeds: Sequence[int], epoch: int, device: torch.device) -> Draws:
    """The draws of one epoch for ``count`` images of each seed, one seed after another."""
    draws = {seed: _draw(recipe, count, seed, epoch) for seed in set(seeds)}
    return Draws(**{name: torch.cat([draws[seed][name] for seed in seeds], -1).to(device)
                    for name in draws[seeds[0]]})


def _draw(recipe: Recipe, count: int, seed: int, epoch: int) -> dict[str, Tensor]:
    """The fields of ``Draws`` that the recipe asks for."""
    generator = torch.Generator().manual_seed(derive(seed, "augmentation", epoch))
    draws = {}
    if "alternating-flip" in recipe.augmentation:  # every two epochs show both sides (Jordan 2024)
        first = torch.Generator().manual_seed(derive(seed, "augmentation", 0))
        draws["flip"] = (torch.rand(count, generator=first) < 0.5) ^ (epoch % 2 == 1)
    elif "flip" in recipe.augmentation:
        draws["flip"] = torch.rand(count, generator=generator) < 0.5
    if "crop" in recipe.augmentation:
        draws["corner"] = torch.randint(0, 2 * recipe.padding + 1, (2, count), generator=generator)
    if "resized-crop" in recipe.augmentation:
        draws["box"] = _boxes(count, generator)
    return draws


def _boxes(count: int, generator: torch.Generator) -> Tensor:
    """Resized crops: uniform in area, log-uniform in ratio, anywhere in the plane."""
    area = torch.empty(count).uniform_(*CROP_AREA, generator=generator)
    ratio = torch.empty(count).uniform_(*map(math.log, CROP_RATIO), generator=generator).exp_()
    half = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()]).clamp_(max=1)
    center = (2 * torch.rand(2, count, generator=generator) - 1) * (1 - half)
    return torch.cat([half, center])


def augmented(images: Tensor, index: Tensor, draws: Draws, height: int, width: int,
              drawn: Tensor | None = None) -> Tensor:
    """A batch of augmented images, uint8 ``[B, C, height, width]``.

    Args:
        images: uint8 ``[N, C, H, W]``, as ``padded`` returned them.
        index: int64 ``[B]``, which of them.
        drawn: int64 ``[B]``, which of the draws; default: ``index``.
    """
    drawn = index if drawn is None else drawn
    if draws.corner is not None:
        top, left = draws.corner[:, drawn]
        windows = images.unfold(2, height, 1).unfold(3, width, 1)  # a view: each corner's crop of each image
        batch = windows[index, :, top, left]
    else:
        batch = images.index_select(0, index)
    if draws.box is not None:
        batch = _resampled(batch, draws.box[:, drawn])
    if draws.flip is not None:
        chosen = draws.flip[drawn].to(torch.uint8).neg_().view(-1, 1, 1, 1)  # all bits or none
        batch = (batch.flip(3) ^ batch).bitwise_and_(chosen).bitwise_xor_(batch)  # `where` takes bytes one by one
    return batch


def _resampled(images: Tensor, box: Tensor) -> Tensor:
    """Each image's box, stretched to the whole plane with bilinear interpolation."""
    half_height, half_width, row, column = box
    zero = torch.zeros_like(row)
    theta = torch.stack([half_width, zero, column, zero, half_height, row], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    sampled = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return sampled.round_().to(torch.uint8)
