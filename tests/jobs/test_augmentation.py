"""Augmentation: every batched form against the literal one, image by image."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from roar.datasets.statistics import Normalization
from roar.errors import TrainingError
from roar.jobs.training.augmentation import CROP_AREA, CROP_RATIO, Draws, augmented, draw, padded
from roar.recipes import Recipe

CPU = torch.device("cpu")
GRAY = Normalization((0.5, 0.2, 0.1), (1.0, 1.0, 1.0))


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (30, 3, 7, 9), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def recipe(*names: str, **more: Any) -> Recipe:
    return Recipe(augmentation=names, **more)


def test_nothing_asked_nothing_done(images: Tensor) -> None:
    draws = draw(recipe(), 30, [0], epoch=0, device=CPU)
    index = torch.tensor([3, 1, 1])
    assert draws == Draws()
    assert torch.equal(augmented(padded(images, recipe(), GRAY), index, draws, 7, 9), images[index])


def test_reflection_is_torchs(images: Tensor) -> None:
    expected = F.pad(images.float(), (3, 3, 3, 3), mode="reflect").to(torch.uint8)
    assert torch.equal(padded(images, recipe("crop", padding=3), GRAY), expected)


def test_fill_is_the_channel_mean(images: Tensor) -> None:
    out = padded(images, recipe("crop", padding=2, padding_mode="fill"), GRAY)
    assert out.shape == (30, 3, 11, 13)
    assert torch.equal(out[:, :, 2:-2, 2:-2], images)
    assert out[:, :, 0, 0].unique(dim=0).tolist() == [[128, 51, 26]]


def test_too_much_padding(images: Tensor) -> None:
    with pytest.raises(TrainingError, match="9x7 pixels cannot be reflected over 7 pixels"):
        padded(images, recipe("crop", padding=7), GRAY)


def test_crops_and_flips_are_those_drawn(images: Tensor) -> None:
    both = recipe("flip", "crop", padding=2)
    draws, frames = draw(both, 30, [1], epoch=2, device=CPU), padded(images, both, GRAY)
    assert draws.flip is not None
    assert draws.corner is not None
    index = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    for image, i in zip(augmented(frames, index, draws, 7, 9), index.tolist(), strict=True):
        top, left = draws.corner[:, i].tolist()
        literal = frames[i, :, top:top + 7, left:left + 9]
        assert torch.equal(image, literal.flip(2) if draws.flip[i] else literal)


def test_draws_are_seeded_and_differ_between_epochs() -> None:
    crops = recipe("crop", "flip")
    first, again, later, other = (draw(crops, 50, [seed], epoch, CPU).corner
                                  for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1)))
    assert first is not None and again is not None and later is not None and other is not None
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)
    assert (first.min(), first.max()) == (0, 8)


def test_alternating_flips_show_both_sides_in_every_two_epochs() -> None:
    flips = [draw(recipe("alternating-flip"), 100, [0], epoch, CPU).flip for epoch in range(4)]
    assert all(torch.equal(a, ~b) for a, b in pairwise(flips))
    assert 30 < int(flips[0].sum()) < 70


def test_resized_crops_have_the_areas_and_ratios_asked_for() -> None:
    box = draw(recipe("resized-crop"), 5000, [0], 0, CPU).box
    assert box is not None
    half_height, half_width, row, column = box
    area, ratio = half_height * half_width, half_width / half_height
    assert area.min() >= 0.9 * CROP_AREA[0]
    assert area.max() <= CROP_AREA[1]
    inside = (half_height < 1) & (half_width < 1)  # a box that would stick out is cut off
    assert ratio[inside].min() >= CROP_RATIO[0] - 1e-4
    assert ratio[inside].max() <= CROP_RATIO[1] + 1e-4
    assert (row.abs() + half_height).max() <= 1 + 1e-6
    assert (column.abs() + half_width).max() <= 1 + 1e-6


def test_a_resized_crop_of_everything_is_the_image_and_of_a_corner_its_color(images: Tensor) -> None:
    whole = Draws(box=torch.tensor([[1.0], [1.0], [0.0], [0.0]]).expand(4, 30))
    assert torch.equal(augmented(images, torch.arange(30), whole, 7, 9), images)
    flat = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    flat[:, :, :4, :4] = 200
    corner = Draws(box=torch.tensor([[0.25], [0.25], [-0.5], [-0.5]]))
    assert augmented(flat, torch.tensor([0]), corner, 8, 8).unique().tolist() == [200]
