"""Channel means and spreads, exact, and CIFAR-10's published ones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from roar.datasets import Normalization, channel_mean, normalization, open_source
from roar.datasets import statistics as statistics_module
from roar.errors import SourceError


def test_published_numbers_of_cifar10(cifar10_path: object) -> None:
    images = open_source(f"parquet:{cifar10_path}").train.images
    statistics = normalization(images)
    np.testing.assert_allclose(statistics.mean, (0.49139968, 0.48215841, 0.44653091), rtol=0, atol=1e-8)
    np.testing.assert_allclose(statistics.std, (0.24703223, 0.24348513, 0.26158784), rtol=0, atol=1e-8)
    assert channel_mean(images).tolist() == [125, 123, 114]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_equal_to_exact_fractions(seed: int, count: int, channels: int, height: int, width: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    statistics = normalization(images)
    for c in range(channels):
        values = [Fraction(int(v)) for v in images[:, c].ravel()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        assert channel_mean(images)[c] == int(mean + Fraction(1, 2))
        assert statistics.mean[c] == pytest.approx(float(mean) / 255, abs=1e-15)
        if variance:
            assert statistics.std[c] == pytest.approx(float(variance) ** 0.5 / 255, rel=1e-12)


def test_halves_round_up_and_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.array([[[[0, 1]]], [[[2, 3]]], [[[2, 1]]]], dtype=np.uint8)  # the mean is 1.5
    assert channel_mean(images).tolist() == [2]
    whole = normalization(images)
    monkeypatch.setattr(statistics_module, "CHUNK_VALUES", 1)
    assert normalization(images) == whole


def test_normalized_images_have_mean_0_and_spread_1() -> None:
    source = open_source("digits")
    normalized = normalization(source.train.images).apply(torch.from_numpy(source.train.images))
    assert normalized.dtype == torch.float32
    assert normalized.shape == source.train.images.shape
    assert abs(float(normalized.double().mean())) < 1e-6
    assert abs(float(normalized.double().std(correction=0)) - 1) < 1e-6


def test_apply_leaves_its_input_alone_and_goes_by_channel() -> None:
    images = torch.full((1, 2, 1, 1), 255, dtype=torch.uint8)
    result = Normalization((0.5, 0.0), (0.25, 2.0)).apply(images)
    assert result.flatten().tolist() == [2.0, 0.5]
    assert (images == 255).all()


def test_a_constant_channel_normalizes_to_zero() -> None:
    images = np.full((3, 1, 2, 2), 7, dtype=np.uint8)
    statistics = normalization(images)
    assert statistics.std == (1.0,)
    assert statistics.apply(torch.from_numpy(images)).abs().max() < 1e-6


def test_no_pixel_no_mean() -> None:
    with pytest.raises(SourceError, match="at least one pixel"):
        channel_mean(np.zeros((0, 3, 4, 4), dtype=np.uint8))
