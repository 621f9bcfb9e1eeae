"""Degradation against its literal definition, and what must hold of any images and ranks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_degradation import slow_count, slow_degrade

from roar.datasets import channel_mean, open_source
from roar.datasets import degradation as degradation_module
from roar.datasets.degradation import degrade, replaced_count, replaced_mask
from roar.datasets.fills.base import FillContext
from roar.datasets.fills.registry import find_fill
from roar.errors import SourceError, UnknownNameError, UsageError

THRESHOLDS = (10.0, 30.0, 50.0, 70.0, 90.0)
INTEGERS = ("uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64")


def random_ranks(seed: int, count: int, pixels: int, kind: str = "int64") -> np.ndarray:
    return np.random.default_rng(seed).random((count, pixels)).argsort(axis=1).argsort(axis=1).astype(kind)


def real_images(name: str, request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Some test images of a source and its training split's channel mean."""
    if name == "cifar10":
        name = f"parquet:{request.getfixturevalue('cifar10_path')}"
    source = open_source(name, limit_train=200, limit_test=6)
    return source.test.images, channel_mean(source.train.images)


@pytest.mark.parametrize("mode", ["roar", "kar"])
@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_equals_the_literal_definition(name: str, mode: str, request: pytest.FixtureRequest) -> None:
    images, mean = real_images(name, request)
    _, channels, height, width = images.shape
    for pixels in {height * width, channels * height * width}:
        ranks = random_ranks(1, len(images), pixels, "uint16")
        for threshold in THRESHOLDS:
            degraded = degrade(torch.from_numpy(images), torch.from_numpy(ranks), threshold, mode,
                               torch.from_numpy(mean))
            expected = slow_degrade(images, ranks, threshold, mode, mean)
            np.testing.assert_array_equal(degraded.numpy(), expected)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_exactly_k_pixels_differ_or_equal_the_fill(name: str, request: pytest.FixtureRequest) -> None:
    images, mean = real_images(name, request)
    count, _, height, width = images.shape
    pixels = height * width
    ranks = random_ranks(2, count, pixels, "uint16")
    for threshold in THRESHOLDS:
        degraded = degrade(torch.from_numpy(images), torch.from_numpy(ranks), threshold, "roar",
                           torch.from_numpy(mean)).numpy()
        inside = ranks.reshape(count, height, width) < replaced_count(threshold, pixels)
        assert (inside.sum(axis=(1, 2)) == replaced_count(threshold, pixels)).all()
        assert (degraded.transpose(0, 2, 3, 1)[inside] == mean).all()
        np.testing.assert_array_equal(degraded.transpose(0, 2, 3, 1)[~inside],
                                      images.transpose(0, 2, 3, 1)[~inside])
        visible = (images != mean[:, None, None]).any(axis=1)  # replacing shows only where the fill differs
        changed = (degraded != images).any(axis=1)
        np.testing.assert_array_equal(changed, inside & visible)


def test_nothing_at_0_and_everything_at_100() -> None:
    images = torch.from_numpy(open_source("digits", limit_test=20).test.images)
    ranks = torch.from_numpy(random_ranks(3, len(images), 64, "uint8"))
    fill = torch.tensor([78], dtype=torch.uint8)
    for mode in ("roar", "kar"):
        assert torch.equal(degrade(images, ranks, 0.0, mode, fill), images)
        assert (degrade(images, ranks, 100.0, mode, fill) == 78).all()


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("mode", ["roar", "kar"])
def test_every_integer_type_gives_the_same_mask(kind: str, mode: str) -> None:
    pixels = 100 if kind in ("uint8", "int8") else 200
    ranks = random_ranks(4, 5, pixels)
    expected = replaced_mask(torch.from_numpy(ranks), 37.0, mode)
    assert torch.equal(replaced_mask(torch.from_numpy(ranks.astype(kind)), 37.0, mode), expected)


@pytest.mark.parametrize("kind, pixels", [("uint8", 256), ("uint16", 65_536)])
def test_ranks_that_fill_their_unsigned_type(kind: str, pixels: int) -> None:
    ranks = torch.from_numpy(np.arange(pixels).astype(kind)[None])
    for threshold in (0.0, 10.0, 50.0, 80.0, 100.0):
        k = replaced_count(threshold, pixels)
        assert replaced_mask(ranks, threshold, "roar")[0].nonzero().flatten().tolist() == list(range(k))
        assert replaced_mask(ranks, threshold, "kar")[0].sum() == k
        assert not replaced_mask(ranks, threshold, "kar")[0, :pixels - k].any()


def test_ranks_above_32_bits_signed() -> None:
    ranks = torch.from_numpy(np.array([[0, 1, 2, 2**31, 2**32 - 1]], dtype=np.uint32))
    assert replaced_mask(ranks, 60.0, "roar").tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize("threshold, pixels, k", [
    (0, 1024, 0), (10, 1024, 102), (30, 1024, 307), (50, 1024, 512), (70, 1024, 717), (90, 1024, 922),
    (100, 1024, 1024), (12.5, 4, 1), (12.5, 1024, 128), (0.7, 500, 4), (0.3, 500, 2), (50, 1, 1),
    (49.9, 1, 0), (1.15, 1000, 12), (0.1, 64, 0), (99.9, 50_176, 50_126)])
def test_counts_round_halves_up(threshold: float, pixels: int, k: int) -> None:
    assert replaced_count(threshold, pixels) == k == slow_count(threshold, pixels)


@given(st.decimals(0, 100, places=3), st.integers(1, 50_176))
def test_counts_are_exact_for_decimal_thresholds(threshold: object, pixels: int) -> None:
    exact = Fraction(str(threshold)) * pixels / 100 + Fraction(1, 2)
    k = replaced_count(float(str(threshold)), pixels)
    assert k <= exact < k + 1
    assert 0 <= k <= pixels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([1, 2, 3]), st.integers(1, 9),
       st.integers(1, 9), st.booleans(), st.sampled_from(["roar", "kar"]), st.floats(0, 100),
       st.floats(0, 100), st.sampled_from(["uint16", "int32", "int64"]))
def test_properties(seed: int, count: int, channels: int, height: int, width: int, per_channel: bool,
                    mode: str, first: float, second: float, kind: str) -> None:
    pixels = height * width * (channels if per_channel else 1)
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    fill = generator.integers(0, 256, channels, dtype=np.uint8)
    ranks = torch.from_numpy(random_ranks(seed, count, pixels, kind))
    low, high = sorted((first, second))
    some, more = (replaced_mask(ranks, t, mode) for t in (low, high))
    assert (some.sum(dim=1) == replaced_count(low, pixels)).all()
    assert not (some & ~more).any()  # nested
    other = replaced_mask(ranks, low, "kar" if mode == "roar" else "roar")
    assert (some & other).sum() == count * max(0, 2 * replaced_count(low, pixels) - pixels)
    given_images = torch.from_numpy(images)
    degraded = degrade(given_images, ranks, low, mode, torch.from_numpy(fill))
    np.testing.assert_array_equal(degraded.numpy(), slow_degrade(images, ranks.numpy(), low, mode, fill))
    again = degrade(degraded, ranks, low, mode, torch.from_numpy(fill))
    assert torch.equal(again, degraded)
    np.testing.assert_array_equal(given_images.numpy(), images)  # left as it was


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(17 * 3 * 4 * 5).to(torch.uint8).view(17, 3, 4, 5)
    ranks = torch.from_numpy(random_ranks(5, 17, 20, "uint16"))
    fill = torch.tensor([1, 2, 3], dtype=torch.uint8)
    whole = degrade(images, ranks, 40.0, "roar", fill)
    monkeypatch.setattr(degradation_module, "CHUNK_VALUES", 200)
    assert torch.equal(degrade(images, ranks, 40.0, "roar", fill), whole)


def test_images_that_are_not_contiguous_and_none_at_all() -> None:
    images = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3).permute(0, 3, 1, 2)
    ranks = torch.from_numpy(random_ranks(6, 2, 20))
    fill = torch.tensor([9, 9, 9], dtype=torch.uint8)
    assert torch.equal(degrade(images, ranks, 50.0, "kar", fill),
                       degrade(images.contiguous(), ranks, 50.0, "kar", fill))
    assert degrade(images[:0], ranks[:0], 50.0, "kar", fill).shape == (0, 3, 4, 5)


def test_the_train_mean_is_used_for_both_splits() -> None:
    source = open_source("digits")
    mean = channel_mean(source.train.images)
    assert mean.tolist() != channel_mean(source.test.images[source.test.labels == 1]).tolist()
    context = FillContext(torch.from_numpy(mean))
    for split in (source.train, source.test):
        ranks = torch.from_numpy(random_ranks(7, len(split), 64, "uint8"))
        degraded = degrade(torch.from_numpy(split.images), ranks, 100.0, "roar", find_fill("mean"), context)
        assert (degraded == int(mean[0])).all()


def test_what_does_not_fit_is_said() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    ranks = torch.from_numpy(random_ranks(8, 2, 16))
    fill = torch.zeros(3, dtype=torch.uint8)
    with pytest.raises(SourceError, match=r"that is \[2, 16\] or \[2, 48\], not \[2, 15\]"):
        degrade(images, ranks[:, :15], 10.0, "roar", fill)
    with pytest.raises(SourceError, match=r"not \[1, 16\]"):
        degrade(images, ranks[:1], 10.0, "roar", fill)
    with pytest.raises(SourceError, match=r"Ranks are integers, not torch\.float32"):
        degrade(images, ranks.float(), 10.0, "roar", fill)
    with pytest.raises(SourceError, match="uint8 images"):
        degrade(images.float(), ranks, 10.0, "roar", fill)
    with pytest.raises(SourceError, match=r"fill color is uint8 \[3\]"):
        degrade(images, ranks, 10.0, "roar", fill[:1])
    with pytest.raises(UnknownNameError, match="'raor' is not a mode; did you mean 'roar'"):
        degrade(images, ranks, 10.0, "raor", fill)
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        find_fill("maen")
    with pytest.raises(UsageError, match="needs a context"):
        degrade(images, ranks, 10.0, "roar", find_fill("mean"))
    for threshold in (-0.1, 100.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"0 \.\. 100 percent"):
            degrade(images, ranks, threshold, "roar", fill)
