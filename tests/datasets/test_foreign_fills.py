"""Fills that are not roar's: seeds, batches, checks, and what identifies them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from roar.datasets import open_source
from roar.datasets.degradation import degrade
from roar.datasets.fills.base import Fill, FillContext
from roar.datasets.fills.registry import FILLS, fill, find_fill
from roar.errors import UsageError
from roar.pipeline.door import try_fill

IMAGES = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
RANKS = torch.stack([torch.randperm(36, generator=torch.Generator().manual_seed(i)) for i in range(5)])
CONTEXT = FillContext(torch.tensor([1, 2, 3], dtype=torch.uint8), 7, "train", torch.arange(5) * 10)


def inverted(images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
    return 255 - images


def static(images: Tensor, removed: Tensor, context: FillContext, *, low: int = 0) -> Tensor:
    return torch.randint(low, 256, images.shape, dtype=torch.uint8)


def degraded(chosen: Fill, rows: slice = slice(0, 5), **changes: Any) -> Tensor:
    context = FillContext(**{"mean": CONTEXT.mean, "root_seed": 7, "split": "train", "indices": CONTEXT.indices,
                             **changes}).part(rows)
    return degrade(IMAGES[rows], RANKS[rows], 50.0, "roar", chosen, context)


def test_only_what_is_removed_is_replaced() -> None:
    found = degraded(FILLS.adapted(inverted))
    removed = (RANKS < 18).view(5, 1, 6, 6)
    assert torch.equal(found, torch.where(removed, 255 - IMAGES, IMAGES))


def test_a_fill_may_write_on_what_it_gets() -> None:
    def black(images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        removed.logical_not_()
        return images.mul_(removed)

    before = IMAGES.clone()
    assert torch.equal(degraded(FILLS.adapted(black)), degraded(find_fill("black")))
    assert torch.equal(IMAGES, before)


def test_draws_depend_on_root_seed_fill_split_and_image_alone() -> None:
    chosen = FILLS.adapted(static)
    state = torch.get_rng_state()
    whole = degraded(chosen)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(degraded(chosen), whole)
    parts = [degraded(chosen, slice(i, j)) for i, j in ((0, 1), (1, 4), (4, 5))]
    assert torch.equal(torch.cat(parts), whole)
    for changes in ({"root_seed": 8}, {"split": "test"}, {"indices": torch.arange(5) * 10 + 1}):
        other = degraded(chosen, **changes)
        assert all(not torch.equal(a, b) for a, b in zip(other, whole, strict=True))
    assert not torch.equal(degraded(FILLS.adapted(static, "another name")), whole)
    assert not torch.equal(whole[0], whole[1])


def test_draws_that_only_some_images_need() -> None:
    """The first image draws nothing, so the batch is tried at once; a later one draws, so it is not taken."""
    def sometimes(images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        bright = images.float().mean((1, 2, 3)) > images[0].float().mean() if len(images) > 1 else \
            images.float().mean((1, 2, 3)) > IMAGES[0].float().mean()
        noise = torch.randint(0, 256, images.shape, dtype=torch.uint8) if bright.any() else images
        return torch.where(bright.view(-1, 1, 1, 1), noise, images)

    chosen = FILLS.adapted(sometimes)
    assert torch.equal(degraded(chosen), torch.cat([degraded(chosen, slice(i, i + 1)) for i in range(5)]))


@pytest.mark.parametrize(("function", "says"), [
    (lambda images, removed, context: images.float(),
     r"returns images as it gets them, uint8 \[.*\], and 'lambda' returned float32 \["),
    (lambda images, removed, context: images[:, :1], r"returned uint8 \[.*1, 6, 6\]; round, clamp"),
    (lambda images, removed, context: images.numpy(), "returned ndarray"),
    (lambda images, removed, context: images[99], "'lambda' fails: IndexError: .*; correct its function"),
])
def test_what_it_returns_is_checked(function: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        degraded(FILLS.adapted(function))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("value", "says"), [
    (3, "A fill is a function .* is of type int"), (lambda images: images, "is called with 3 arguments by position")])
def test_what_is_no_fill_is_told_where_it_is_named(value: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FILLS.adapted(value)


class Counter:
    """A fill with a memory."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        self.calls += 1
        return torch.full_like(images, self.calls % 256)


def of_the_batch(images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
    return images.float().mean(0, keepdim=True).expand(images.shape).to(torch.uint8)


def by_numpy(images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
    return torch.from_numpy(np.random.randint(0, 256, images.shape).astype(np.uint8))


@pytest.mark.parametrize(("function", "says"), [(Counter(), "other pixels when it is called again"),
                                                (by_numpy, "other pixels when it is called again"),
                                                (of_the_batch, "other pixels image by image")])
def test_what_depends_on_more_than_the_image_is_refused(function: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        try_fill(FILLS.adapted(function), open_source("digits", limit_test=6), 0)


@pytest.mark.parametrize("function", [inverted, static])
def test_what_depends_on_the_image_alone_is_taken(function: Any) -> None:
    try_fill(FILLS.adapted(function), open_source("digits", limit_test=6), 0)


def test_its_code_and_parameters_are_part_of_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def haze(images, removed, context, *, by=1): return images\n")
    first = find_fill(f"{path}:haze")
    assert first.identity == find_fill(f"{path}:haze").identity
    assert first.identity["fill"] == "haze"
    assert find_fill(f"{path}:haze(by=2)").identity["fill"] == "haze(by=2)"
    path.write_text("def haze(images, removed, context, *, by=1): return images // 2\n")
    assert find_fill(f"{path}:haze").identity["fill_code"] != first.identity["fill_code"]
    assert find_fill("mean").identity == {"fill": "mean"}


@pytest.mark.parametrize("name", ["mean", "noisy-linear", "mask-only"])
def test_fills_travel(name: str) -> None:
    chosen = find_fill(name)
    assert pickle.loads(pickle.dumps(chosen)) == chosen


def test_a_decorator_gives_a_name_and_nothing_else() -> None:
    def haze(images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        return images

    assert fill("thin haze")(haze) is haze
    assert FILLS.adapted(haze).name == "thin haze"
