"""Scores to ranks: permutations, nested sets, ties by lot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import references
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from roar.datasets.degradation import replaced_mask
from roar.estimators.ranks import rank_scores, rank_type
from roar.estimators.units import pixel_scores, pixels_ranked

# Few different values, so that ties are common, and the odd ones: zeros of both signs, the smallest, the largest.
VALUES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38]),
                   st.floats(width=32, allow_nan=False, allow_infinity=False))
SCORES = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=VALUES)
FEW = settings(max_examples=60, deadline=None)


def ranks(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    return rank_scores(torch.from_numpy(scores), np.arange(len(scores)), seed)[0]


@FEW
@given(SCORES, st.integers(0, 2**63 - 1))
def test_ranks_are_those_of_a_stable_sort_after_a_shuffle(scores: np.ndarray, seed: int) -> None:
    found, tied = rank_scores(torch.from_numpy(scores), 10 + np.arange(len(scores)), seed)
    expected = [references.ranks(row, 10 + index, seed) for index, row in enumerate(scores)]
    np.testing.assert_array_equal(found, expected)
    assert tied == sum(int((row == value).sum() > 1) for row in scores for value in row)


@FEW
@given(SCORES)
def test_every_row_is_a_permutation_and_a_higher_score_comes_first(scores: np.ndarray) -> None:
    for row, score in zip(ranks(scores), scores, strict=True):
        assert sorted(row) == list(range(len(score)))
        falling = score[np.argsort(row)]
        assert (falling[1:] <= falling[:-1]).all()


@FEW
@given(arrays.arrays(np.float32, (3, 30), elements=st.integers(-50, 50).map(float)))
def test_a_strictly_rising_transform_changes_nothing(scores: np.ndarray) -> None:
    expected = ranks(scores)
    for rising in (scores * 2, scores - 7, scores**3, np.exp(scores / 10), np.arctan(scores)):
        np.testing.assert_array_equal(ranks(rising.astype(np.float32)), expected)


@FEW
@given(SCORES, st.sampled_from(["roar", "kar"]), st.lists(st.floats(0, 100), min_size=2, max_size=6))
def test_what_is_replaced_is_nested_in_the_threshold(scores: np.ndarray, mode: str, thresholds: list[float]) -> None:
    ranked = torch.from_numpy(ranks(scores).astype(np.int64))
    masks = [replaced_mask(ranked, threshold, mode) for threshold in sorted(thresholds)]
    for fewer, more in pairwise(masks):
        assert bool((more | ~fewer).all())


def test_ties_depend_on_the_image_and_the_seed_and_not_on_the_position() -> None:
    flat = np.zeros((2000, 8), np.float32)
    found = ranks(flat)
    assert (found[0] != found[1]).any() and (ranks(flat, seed=1) != found).any()
    np.testing.assert_array_equal(ranks(flat), found)
    # The mean rank of each place is that of a uniform draw: 3.5, with a standard error of 2.29 / sqrt(2000).
    assert np.abs(found.mean(axis=0) - 3.5).max() < 5 * 2.29 / 2000**0.5


@pytest.mark.parametrize(("pixels", "expected"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"),
                                                  (65537, "uint32"), (2**32, "uint32")])
def test_the_type_is_the_smallest_that_holds_the_last_rank(pixels: int, expected: str) -> None:
    assert rank_type(pixels) == expected


@pytest.mark.parametrize("pixels", [1, 256, 257, 65537])
def test_ranks_have_that_type(pixels: int) -> None:
    scores = torch.randn(2, pixels, generator=torch.Generator().manual_seed(0))
    found, tied = rank_scores(scores, np.arange(2), 0)
    assert found.dtype == rank_type(pixels)
    order = scores.argsort(dim=1, descending=True)
    if not tied:
        np.testing.assert_array_equal(np.argsort(found, axis=1), order)


def test_units_reduce_channels_or_keep_them() -> None:
    attributions = torch.tensor([[[[3.0, -1.0]], [[-4.0, 2.0]]]])  # [1, 2, 1, 2]
    expected = {"sum": [-1, 1], "mean": [-0.5, 0.5], "max": [3, 2], "l2": [5, 5**0.5], "channel": [3, -1, -4, 2]}
    for unit, scores in expected.items():
        torch.testing.assert_close(pixel_scores(attributions, unit, 2), torch.tensor([scores], dtype=torch.float32))
        assert pixels_ranked(attributions.shape, unit == "channel") == len(scores)


def test_a_spatial_method_gives_every_channel_the_same_score() -> None:
    spatial = torch.tensor([[[[1.0, 2.0]]]])
    assert pixel_scores(spatial, "channel", 3).tolist() == [[1, 2, 1, 2, 1, 2]]
    assert pixel_scores(spatial, "sum", 3).tolist() == [[1, 2]]
