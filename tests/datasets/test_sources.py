"""Sources by name: digits, limits, fingerprints and names that do not exist."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roar.datasets import open_source, source_kinds
from roar.datasets.limits import stratified
from roar.datasets.source import safe_label
from roar.errors import UnknownNameError, UsageError


def test_digits() -> None:
    source = open_source("digits")
    assert (len(source.train), len(source.test), source.num_classes) == (1437, 360, 10)
    assert (source.channels, source.height, source.width) == (1, 8, 8)
    assert source.label == "digits"
    for split in (source.train, source.test):
        assert split.images.shape == (len(split), 1, 8, 8)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == split.indices.dtype == np.int64
        counts = np.bincount(split.labels, minlength=10)
        assert counts.max() - counts.min() <= 0.1 * counts.max()
        np.testing.assert_array_equal(split.images, split.decode(np.arange(len(split))))
    every = np.concatenate([source.train.images, source.test.images])
    assert every.min() == 0
    assert every.max() == 255


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    source = open_source("digits")
    scaled = {(label, *np.floor(image * 255 / 16 + 0.5).astype(int).ravel())
              for image, label in zip(load_digits().images, load_digits().target, strict=True)}
    held = {(label, *image.astype(int).ravel()) for split in (source.train, source.test)
            for image, label in zip(split.images, split.labels, strict=True)}
    assert held == scaled


def test_the_division_of_digits_is_fixed() -> None:
    source = open_source("digits")
    assert source.fingerprint == open_source("digits", seed=5).fingerprint
    assert source.test.labels[:12].tolist() == [1, 9, 0, 1, 7, 5, 6, 9, 6, 1, 0, 8]


def test_opening_costs_no_torch() -> None:
    code = ("import sys; from roar.datasets import open_source; open_source('digits').train.images; "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name, near", [("digit", "'digits'"), ("CIFAR10", "'cifar10'"), ("parket:x", "'parquet'"),
                                        ("imagenet", "parquet:PATH or folder:PATH")])
def test_an_unknown_source_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        open_source(name)


@pytest.mark.parametrize("name, message", [
    ("digits:8", "takes no argument such as '8'"), ("parquet", "needs its PATH; write 'parquet:PATH'"),
    ("folder:", "needs its PATH; write 'folder:PATH'")])
def test_a_spelling_that_breaks_the_rules(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(name)


@pytest.mark.parametrize("option", ["limit_train", "limit_test", "image_size"])
def test_numbers_are_positive(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} = 0 is not at least 1"):
        open_source("digits", **{option: 0})


def test_kinds_say_how_they_are_spelled() -> None:
    kinds = {kind.name: kind for kind in source_kinds()}
    assert {"digits", "cifar10", "cifar100", "svhn", "fashion-mnist", "parquet", "folder"} <= set(kinds)
    assert kinds["parquet"].spelling == "parquet:PATH"
    assert kinds["digits"].spelling == "digits"
    assert all(kind.description for kind in kinds.values())


def test_limits_take_every_class_in_proportion_and_keep_the_order() -> None:
    whole = open_source("digits")
    part = open_source("digits", limit_train=100, limit_test=25)
    assert (len(part.train), len(part.test)) == (100, 25)
    assert np.bincount(part.train.labels, minlength=10).tolist() == [10] * 10
    assert (np.diff(part.train.indices) > 0).all()
    np.testing.assert_array_equal(part.train.images, whole.train.images[part.train.indices])
    np.testing.assert_array_equal(part.train.labels, whole.train.labels[part.train.indices])
    np.testing.assert_array_equal(part.test.decode(np.array([3, 1])), whole.test.images[part.test.indices[[3, 1]]])


def test_a_limit_beyond_the_split_takes_all() -> None:
    whole = open_source("digits")
    assert open_source("digits", limit_train=10_000, limit_test=360).fingerprint == whole.fingerprint


def test_a_limit_below_the_number_of_classes() -> None:
    part = open_source("digits", limit_train=4)
    assert len(set(part.train.labels.tolist())) == 4


def test_limits_and_their_seed_enter_the_fingerprint() -> None:
    prints = [open_source("digits", **options).fingerprint for options in (
        {}, {"limit_train": 100}, {"limit_train": 101}, {"limit_test": 100}, {"limit_train": 100, "seed": 1},
        {"image_size": 16})]
    assert len(set(prints)) == len(prints)
    assert prints[1] == open_source("digits", limit_train=100).fingerprint


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(1, 220), st.integers(0, 3))
def test_stratified(labels: list[int], size: int, seed: int) -> None:
    array = np.array(labels)
    chosen = stratified(array, size, seed, "test")
    assert len(chosen) == min(size, len(labels))
    assert (np.diff(chosen) > 0).all()
    for label in set(labels):
        share = min(size, len(labels)) * labels.count(label) / len(labels)
        assert abs((array[chosen] == label).sum() - share) < 1
    smaller = stratified(array, max(1, size // 2), seed, "test")
    for label in set(labels):
        small, large = (set(c[array[c] == label].tolist()) for c in (smaller, chosen))
        assert small <= large or large <= small


def test_image_size_scales_what_lies_in_memory() -> None:
    source = open_source("digits", image_size=16, limit_train=50)
    assert (source.height, source.width) == (16, 16)
    assert source.train.images.shape == (50, 1, 16, 16)
    small = open_source("digits", limit_train=50).train.images
    assert abs(source.train.images.mean() - small.mean()) < 5


def test_a_source_travels_between_processes() -> None:
    source = open_source("digits", limit_train=30)
    other = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(other.train.images, source.train.images)
    assert other.fingerprint == source.fingerprint


@pytest.mark.parametrize("text, label", [("Flowers (my own)", "flowers-my-own"), ("", "images"), ("ÄÖ", "images"),
                                         ("a" * 60, "a" * 40), ("../..", "images")])
def test_labels_are_safe_in_paths(text: str, label: str) -> None:
    assert safe_label(text) == label


def test_decoding_in_blocks_is_decoding() -> None:
    split, told = open_source("digits", limit_test=50).test, []
    expected = split.decode(np.arange(50, dtype=np.int64))
    assert not split.is_decoded
    split.decode_all(told.append, block=20)
    assert told == [20, 20, 10]
    assert split.is_decoded
    assert np.array_equal(split.images, expected)
