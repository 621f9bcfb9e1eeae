"""What replaces pixels: each fill against its definition, and what holds of every fill."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_fills import direct_solution, slow_local_mean, split_mix
from scipy.ndimage import convolve, gaussian_filter
from torch import Tensor

from roar.datasets import degradation, open_source
from roar.datasets.degradation import degrade, replaced_mask
from roar.datasets.fills.base import FillContext
from roar.datasets.fills.blur import BLUR_WIDTH
from roar.datasets.fills.noisy_linear import chebyshev
from roar.datasets.fills.noisy_linear import imputation as noisy_linear
from roar.datasets.fills.noisy_linear.imputation import NOISE, interpolate
from roar.datasets.fills.noisy_linear.scratch import Scratch
from roar.datasets.fills.registry import fill_kinds, find_fill
from roar.errors import SourceError, UnknownNameError, UsageError
from roar.seeds.streams import random_order
from roar.seeds.tensors import random_bytes, random_normal, random_words

NAMES = ("mean", "zero", "black", "random-color", "blur", "local-mean", "noisy-linear")
MEAN = torch.tensor([120, 60, 200], dtype=torch.uint8)


def natural(count: int, size: int = 32, seed: int = 0, channels: int = 3) -> Tensor:
    """Smooth random images."""
    white = np.random.default_rng(seed).standard_normal((count, channels, size, size))
    smooth = gaussian_filter(white, (0, 0, size / 12, size / 12))
    scaled = 128 + 60 * smooth / smooth.std()
    return torch.from_numpy(scaled.clip(0, 255).astype(np.uint8))


def scattered(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.stack([random_order(seed, i, size * size) for i in range(count)]).argsort(axis=1))


def clustered(count: int, size: int, seed: int = 1) -> Tensor:
    """Ranks that fall off from blobs, as those of most estimators do."""
    return natural(count, size, seed, 1).flatten(1).to(torch.int64).argsort(dim=1, stable=True).argsort(dim=1)


def context_for(images: Tensor, split: str = "train", root_seed: int = 0) -> FillContext:
    return FillContext(MEAN[:images.shape[1]], root_seed, split, torch.arange(len(images)) * 3 + 1)


def test_the_names_that_exist() -> None:
    assert [kind.name for kind in fill_kinds()] == sorted([*NAMES, "mask-only"])
    assert all(kind.description for kind in fill_kinds())
    with pytest.raises(UnknownNameError, match="'noisylinear' is not a fill; did you mean 'noisy-linear'"):
        find_fill("noisylinear")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channel_unit", [False, True])
def test_only_what_is_under_the_mask_is_replaced(name: str, channel_unit: bool) -> None:
    images = natural(5, 12)
    ranks = scattered(5, 12)
    if channel_unit:
        ranks = torch.from_numpy(np.stack([random_order(2, i, 3 * 144) for i in range(5)]).argsort(axis=1))
    degraded = degrade(images, ranks, 40.0, "roar", find_fill(name), context_for(images))
    mask = replaced_mask(ranks, 40.0, "roar").view(5, -1, 12, 12).expand_as(images)
    assert degraded.dtype == torch.uint8
    assert torch.equal(degraded[~mask], images[~mask])
    assert not torch.equal(degraded[mask], images[mask])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_and_threads_do_not_show(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, ranks = natural(23, 15), clustered(23, 15)
    context = context_for(images)
    whole = degrade(images, ranks, 60.0, "roar", find_fill(name), context)
    monkeypatch.setattr(degradation, "CHUNK_VALUES", 5 * 3 * 15 * 15)
    for values in (noisy_linear.CHUNK_VALUES, noisy_linear.CACHED_VALUES, noisy_linear.GRADIENT_VALUES):
        monkeypatch.setitem(values, "cpu", 2 * 3 * 15 * 15)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(degrade(images, ranks, 60.0, "roar", find_fill(name), context), whole)
        single = [degrade(images[i:i + 1], ranks[i:i + 1], 60.0, "roar", find_fill(name), context.part(slice(i, i + 1)))
                  for i in range(23)]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.cat(single), whole)


@pytest.mark.parametrize("size, count", [(32, 30), (7, 300)])
def test_noisy_linear_does_not_depend_on_threads_that_divide_its_arrays(size: int, count: int) -> None:
    """Arrays long enough to be divided, and so short lines that the ends of a thread's part lie within images."""
    images = natural(count, size)
    mask = replaced_mask(scattered(count, size), 50.0, "roar").view(count, 1, size, size)
    single = torch.cat([interpolate(images[i:i + 1], mask[i:i + 1], MEAN) for i in range(count)])
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            assert torch.equal(interpolate(images, mask, MEAN), single)
        finally:
            torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_under_the_mask_leaks_into_no_fill_but_blur(name: str) -> None:
    images, ranks = natural(6, 16), scattered(6, 16)
    other = images.clone()
    mask = replaced_mask(ranks, 50.0, "roar").view(6, 1, 16, 16).expand_as(images)
    other[mask] = 255 - other[mask]
    degraded = [degrade(x, ranks, 50.0, "roar", find_fill(name), context_for(images)) for x in (images, other)]
    assert torch.equal(*degraded) == (name != "blur")


@pytest.mark.parametrize("name", NAMES)
def test_everything_replaced(name: str) -> None:
    images = natural(3, 8)
    degraded = degrade(images, scattered(3, 8), 100.0, "roar", find_fill(name), context_for(images))
    if name in ("mean", "local-mean"):
        assert (degraded == MEAN.view(1, 3, 1, 1)).all()
    if name == "noisy-linear":
        assert (degraded.double().mean(dim=(0, 2, 3)) - MEAN).abs().max() < 1


@pytest.mark.parametrize("mode", ["roar", "kar"])
@pytest.mark.parametrize("planes", [1, 3])
def test_mask_only_is_the_mask_and_nothing_of_the_image(mode: str, planes: int) -> None:
    images = natural(5, 9)
    ranks = torch.from_numpy(np.stack([random_order(4, i, planes * 81) for i in range(5)]).argsort(axis=1))
    degraded = degrade(images, ranks, 30.0, mode, find_fill("mask-only"), context_for(images)).numpy()
    count = planes * 81
    removed = round(0.3 * count)
    for image, row in zip(degraded, ranks.numpy(), strict=True):
        for channel, y, x in np.ndindex(3, 9, 9):
            rank = row[(channel * 81 if planes == 3 else 0) + 9 * y + x]
            gone = rank < removed if mode == "roar" else rank >= count - removed
            assert image[channel, y, x] == (255 if gone else 0)
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, images.shape, np.uint8))
    again = degrade(noise, ranks, 30.0, mode, find_fill("mask-only"), context_for(images, "test", 7))
    assert np.array_equal(again, degraded)


def test_mask_only_in_batches_is_mask_only(monkeypatch: pytest.MonkeyPatch) -> None:
    images, ranks = natural(23, 15), scattered(23, 15)
    whole = degrade(images, ranks, 60.0, "roar", find_fill("mask-only"), context_for(images))
    monkeypatch.setattr(degradation, "CHUNK_VALUES", 5 * 3 * 15 * 15)
    assert torch.equal(degrade(images, ranks, 60.0, "roar", find_fill("mask-only"), context_for(images)), whole)


def test_zero_and_black() -> None:
    images, ranks = natural(2, 8), scattered(2, 8)
    for name in ("zero", "black"):
        degraded = degrade(images, ranks, 30.0, "kar", find_fill(name), context_for(images))
        mask = replaced_mask(ranks, 30.0, "kar").view(2, 1, 8, 8).expand_as(images)
        assert (degraded[mask] == 0).all()


def test_random_color_depends_on_seed_split_and_index() -> None:
    images, ranks = natural(400, 4), scattered(400, 4)
    def colors(context: FillContext) -> Tensor:
        filled = degrade(images, ranks, 100.0, "roar", find_fill("random-color"), context)
        assert (filled == filled[:, :, :1, :1]).all()
        return filled[:, :, 0, 0].double()
    first = colors(context_for(images))
    assert len({tuple(color) for color in first.tolist()}) > 390
    assert (first.mean(dim=0) - 127.5).abs().max() < 20
    assert torch.equal(first, colors(context_for(images)))
    for other in (context_for(images, "test"), context_for(images, root_seed=1)):
        assert (first == colors(other)).double().mean() < 0.05


def test_a_fill_that_needs_color_says_so() -> None:
    images = natural(2, 8, channels=1)
    with pytest.raises(SourceError, match="'random-color' needs images with 3 channels, not 1; take 'mean'"):
        degrade(images, scattered(2, 8), 50.0, "roar", find_fill("random-color"), context_for(images))
    with pytest.raises(SourceError, match="needs images with 3 channels"):
        find_fill("random-color", channels=1)
    for name in NAMES:
        if name != "random-color":
            degraded = degrade(images, scattered(2, 8), 50.0, "roar", find_fill(name), context_for(images))
            assert degraded.shape == images.shape


def test_random_fills_need_indices() -> None:
    images = natural(2, 8)
    for name in ("random-color", "noisy-linear"):
        with pytest.raises(UsageError, match="needs the indices of the images"):
            degrade(images, scattered(2, 8), 50.0, "roar", find_fill(name), FillContext(MEAN))


def test_blur_is_a_gaussian() -> None:
    images = natural(3, 40)
    everything = torch.ones(3, 1, 40, 40, dtype=torch.bool)
    blurred = find_fill("blur").function(images, everything, context_for(images)).numpy()
    sigma = BLUR_WIDTH * 40
    expected = gaussian_filter(images.numpy().astype(float), (0, 0, sigma, sigma), mode="reflect",
                               radius=(0, 0, int(np.ceil(3 * sigma)), int(np.ceil(3 * sigma))))
    assert np.abs(blurred - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("threshold", [10.0, 50.0, 95.0])
def test_local_mean_equals_its_definition(threshold: float) -> None:
    images = natural(4, 11)
    for ranks in (scattered(4, 11), clustered(4, 11)):
        degraded = degrade(images, ranks, threshold, "roar", find_fill("local-mean"), context_for(images)).numpy()
        masks = replaced_mask(ranks, threshold, "roar").view(4, 11, 11).numpy()
        for image, mask, filled in zip(images.numpy(), masks, degraded, strict=True):
            np.testing.assert_array_equal(filled, slow_local_mean(image, mask, MEAN.numpy()))


@pytest.mark.parametrize("threshold", [1.0, 10.0, 50.0, 90.0, 99.0])
@pytest.mark.parametrize("size", [8, 32])
def test_noisy_linear_equals_a_direct_solution(size: int, threshold: float) -> None:
    images = natural(6, size, channels=2)
    rows = torch.arange(size * size).expand(6, -1)  # from the top: the largest hole there is
    for ranks in (scattered(6, size), clustered(6, size), rows):
        mask = replaced_mask(ranks, threshold, "roar").view(6, 1, size, size)
        if mask.flatten(1).all(dim=1).any():
            continue
        solved = interpolate(images, mask, MEAN[:2]).double().numpy()
        for image, hole, solution in zip(images.numpy(), mask[:, 0].numpy(), solved, strict=True):
            assert np.abs(solution - direct_solution(image, hole)).max() < 1e-3 * 255


@pytest.mark.parametrize("threshold", [5.0, 30.0, 50.0, 70.0])
@pytest.mark.parametrize("condition", [None, 2.0])
def test_noisy_linear_bears_hard_edges_and_wrong_forecasts(threshold: float, condition: float | None,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Random black and white, where the first guess is worst; all planes forecast as the easiest, or by their masks."""
    if condition is not None:
        monkeypatch.setattr(chebyshev, "CONDITIONS", (condition,))
        monkeypatch.setattr(chebyshev, "forecast", lambda masks, like, scratch: torch.zeros(len(masks)))
    images = (natural(6, 32, seed=3) > 128).to(torch.uint8) * 255
    for ranks in (scattered(6, 32), clustered(6, 32)):
        mask = replaced_mask(ranks, threshold, "roar").view(6, 1, 32, 32)
        solved = interpolate(images, mask, MEAN).double().numpy()
        for image, hole, solution in zip(images.numpy(), mask[:, 0].numpy(), solved, strict=True):
            assert np.abs(solution - direct_solution(image, hole)).max() < 1e-3 * 255


def test_forecasts_of_condition_numbers() -> None:
    """Against eigenvalues of m (c - S) m relative to c: never far below, and mostly above."""
    kernel = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    masks = torch.cat([replaced_mask(ranks, threshold, "roar") for threshold in (10.0, 30.0, 50.0)
                       for ranks in (scattered(4, 16), clustered(4, 16))])
    groups = chebyshev.forecast(masks.view(-1, 16, 16), torch.empty(0), Scratch())
    bounds = [*chebyshev.CONDITIONS, np.inf]
    ones = convolve(np.ones((16, 16)), kernel, mode="constant")
    sums = np.stack([convolve(unit.reshape(16, 16), kernel, mode="constant").ravel() for unit in np.eye(256)])
    scaled = sums / np.sqrt(np.outer(ones, ones))
    true = np.array([1 / (1 - np.linalg.eigvalsh(scaled[np.ix_(m, m)])[-1]) for m in masks.numpy()])
    told = np.array([bounds[group] for group in groups.tolist()])
    assert (true < 2 * told).all()
    assert (true < told).mean() > 0.6


def test_noisy_linear_on_real_images(cifar10_path: object) -> None:
    images = torch.from_numpy(open_source(f"parquet:{cifar10_path}", limit_test=12, limit_train=10).test.images)
    for threshold in (10.0, 30.0, 50.0, 70.0, 90.0):
        mask = replaced_mask(clustered(12, 32), threshold, "roar").view(12, 1, 32, 32)
        solved = interpolate(images, mask, MEAN).double().numpy()
        for image, hole, solution in zip(images.numpy(), mask[:, 0].numpy(), solved, strict=True):
            assert np.abs(solution - direct_solution(image, hole)).max() < 1e-3 * 255


@pytest.mark.parametrize("height, width", [(224, 224), (1, 9), (7, 1), (33, 10), (2, 2), (300, 299)])
def test_noisy_linear_on_images_of_any_shape(height: int, width: int) -> None:
    generator = np.random.default_rng(0)
    image = gaussian_filter(generator.uniform(0, 255, (1, height, width)), (0, 2, 2)).astype(np.uint8)
    mask = gaussian_filter(generator.standard_normal((height, width)), 3) < 0.02
    mask.ravel()[0] = False
    solved = interpolate(torch.from_numpy(image)[None], torch.from_numpy(mask)[None, None], MEAN[:1])[0]
    assert np.abs(solved.double().numpy() - direct_solution(image, mask)).max() < 1e-3 * 255


def test_noisy_linear_in_the_memory_of_images_of_another_size() -> None:
    scratch = Scratch()
    for height, width in ((12, 7), (7, 12), (9, 9), (12, 7)):
        images = natural(5, 12)[:, :, :height, :width]
        mask = torch.from_numpy(np.random.default_rng(0).random((5, 1, height, width)) < 0.5)
        assert torch.equal(interpolate(images, mask, MEAN, scratch), interpolate(images, mask, MEAN))


def test_noisy_linear_solves_every_channel_with_its_own_mask() -> None:
    images = natural(2, 9)
    mask = torch.from_numpy(np.random.default_rng(0).random((2, 3, 9, 9)) < 0.5)
    solved = interpolate(images, mask, MEAN).double().numpy()
    for n in range(2):
        for c in range(3):
            expected = direct_solution(images[n, c:c + 1].numpy(), mask[n, c].numpy())
            assert np.abs(solved[n, c:c + 1] - expected).max() < 1e-3 * 255


def test_noisy_linear_adds_noise_of_the_right_size() -> None:
    images = torch.full((60, 3, 16, 16), 100, dtype=torch.uint8)
    ranks = scattered(60, 16)
    degraded = degrade(images, ranks, 50.0, "roar", find_fill("noisy-linear"), context_for(images))
    mask = replaced_mask(ranks, 50.0, "roar").view(60, 1, 16, 16).expand_as(images)
    noise = degraded[mask].double() - 100
    assert abs(float(noise.mean())) < 0.1
    assert abs(float(noise.std()) - (NOISE**2 + 1 / 12) ** 0.5) < 0.05  # rounding adds a twelfth
    again = degrade(images, ranks, 50.0, "roar", find_fill("noisy-linear"), context_for(images, "test"))
    assert abs(float(np.corrcoef(noise, again[mask].double() - 100)[0, 1])) < 0.05


def test_random_words_are_split_mix() -> None:
    indices = torch.tensor([0, 5, 2**40])
    seed = 2**62 + 12345
    words = random_words(seed, indices, 3)
    gamma = 0x9E3779B97F4A7C15
    for index, row in zip(indices.tolist(), words.tolist(), strict=True):
        key = split_mix((index * gamma + seed) % 2**64)
        assert [word % 2**64 for word in row] == [split_mix((key + j * gamma) % 2**64) for j in (1, 2, 3)]


def test_random_numbers_are_spread_as_they_should_be() -> None:
    indices = torch.arange(200)
    normal = random_normal(3, "purpose", "train", indices, 501).double()
    assert normal.shape == (200, 501)
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.std()) - 1) < 0.01
    assert abs(float((normal**4).mean()) - 3) < 0.1
    assert abs(float(np.corrcoef(normal[:-1].flatten(), normal[1:].flatten())[0, 1])) < 0.02
    assert abs(float(np.corrcoef(normal[:, :-1].flatten(), normal[:, 1:].flatten())[0, 1])) < 0.02
    uniform = random_bytes(3, "purpose", "train", indices, 500)
    counts = torch.bincount(uniform.flatten().long(), minlength=256)
    assert counts.min() > 250
    assert counts.max() < 550
    assert torch.equal(random_normal(3, "purpose", "train", indices[7:8], 501)[0], normal[7].float())
