"""Made images: the class lies in the pixels that are said to carry it, and in no others."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from roar.datasets import Source, open_source
from roar.datasets.sources.planted import DEFAULTS, _Images, _Recipe
from roar.errors import UnknownNameError, UsageError


def nearest_mean_accuracy(source: Source, keep: bool) -> float:
    """A linear classifier on the informative pixels alone (or on all others), the rest set to gray."""
    def features(split: str) -> tuple[np.ndarray, np.ndarray]:
        images = getattr(source, split)
        truth = images.truth(np.arange(len(images)))[:, None]
        shown = np.where(truth if keep else ~truth, images.images.astype(float), 128.0)
        return shown.reshape(len(images), -1), images.labels
    train, labels = features("train")
    means = np.stack([train[labels == label].mean(axis=0) for label in range(source.num_classes)])
    test, wanted = features("test")
    distances = ((test[:, None] - means) ** 2).sum(axis=2)
    return float((distances.argmin(axis=1) == wanted).mean())


def test_the_shape_of_it() -> None:
    source = open_source("planted:size=20,classes=5,patches=2,redundancy=2,train=30,test=10,channels=1")
    assert source.label == "planted"
    assert (source.channels, source.height, source.width, source.num_classes) == (1, 20, 20, 5)
    assert source.train.images.shape == (30, 1, 20, 20)
    assert np.bincount(source.train.labels).tolist() == [6] * 5
    assert source.train.truth is not None
    truth = source.train.truth(np.arange(30))
    assert truth.shape == (30, 20, 20)
    assert truth.dtype == bool
    assert (truth.sum(axis=(1, 2)) == 2 * 2 * 9).all()  # patches never overlap


def test_the_label_shows_in_the_informative_pixels_and_in_no_others() -> None:
    recipe = _Recipe(**{**DEFAULTS, "classes": 8, "patches": 3, "redundancy": 2, "size": 20})
    source = open_source("planted:classes=8,patches=3,redundancy=2,size=20")
    assert source.train.truth is not None
    positions = np.arange(20)
    truth = source.train.truth(positions)
    images = [_WithLabels(recipe, label)(positions) for label in range(8)]
    for other in range(1, 8):
        differs = (images[0] != images[other]).any(axis=1)
        assert not differs[~truth].any()
        assert differs[truth].mean() > 0.1


class _WithLabels(_Images):
    """The same images, all of them with one label."""

    def __init__(self, recipe: _Recipe, label: int) -> None:
        constant = _Constant(**vars(recipe))
        object.__setattr__(constant, "label", label)
        super().__init__(constant, "train")


class _Constant(_Recipe):
    label: int

    def labels(self, split: str) -> np.ndarray:
        return np.full(self.train, self.label)


def test_every_piece_is_needed_and_one_copy_is_enough() -> None:
    recipe = _Recipe(**{**DEFAULTS, "classes": 4, "patches": 2, "redundancy": 3, "distractors": 0})
    shown = np.array([recipe.shown(0, label, "train") for label in range(4)])
    for copy in range(3):
        pieces = shown[:, 2 * copy:2 * copy + 2]
        assert len({tuple(row) for row in pieces.tolist()}) == 4
        assert [len(set(column)) for column in pieces.T.tolist()] == [2, 2]  # one piece halves the classes


def test_a_classifier_learns_from_the_informative_pixels_alone() -> None:
    source = open_source("planted:size=12,classes=4,patches=2,fixed=1,difficulty=0.4,train=800,test=400")
    assert nearest_mean_accuracy(source, keep=True) > 0.95
    assert nearest_mean_accuracy(source, keep=False) < 0.25 + 4 * (0.25 * 0.75 / 400) ** 0.5


def test_difficulty_makes_it_difficult() -> None:
    accuracies = [nearest_mean_accuracy(open_source(
        f"planted:size=12,classes=4,patches=2,fixed=1,difficulty={d},train=600,test=400"), keep=True)
        for d in (0.5, 0.9, 1)]
    assert accuracies[0] > accuracies[1] > accuracies[2]
    assert accuracies[2] < 0.25 + 4 * (0.25 * 0.75 / 400) ** 0.5  # nothing is left


def test_the_background_is_like_that_of_photographs() -> None:
    recipe = _Recipe(**{**DEFAULTS, "size": 64})
    planes = recipe.backgrounds(np.arange(60), "train")[:, 0]
    window = np.outer(np.hanning(64), np.hanning(64))
    power = (np.abs(np.fft.fft2((planes - planes.mean(axis=(1, 2), keepdims=True)) * window)) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    inner = (frequency >= 2 / 64) & (frequency <= 0.5)
    slope = np.polyfit(np.log(frequency[inner]), np.log(power[inner]), 1)[0]
    assert -2.4 < slope < -1.6  # the power of photographs falls as 1 / f^2
    assert 30 < planes.std() < 60


def test_images_depend_on_options_split_and_index_alone() -> None:
    source = open_source("planted:train=50,test=50")
    some = source.train.decode(np.array([7, 3]))
    np.testing.assert_array_equal(some, source.train.images[[7, 3]])
    np.testing.assert_array_equal(open_source("planted:train=10,test=50", seed=9).test.images, source.test.images)
    assert not np.array_equal(source.train.images, source.test.images)
    limited = open_source("planted:train=50,test=50", limit_train=20)
    np.testing.assert_array_equal(limited.train.images, source.train.images[limited.train.indices])
    assert limited.train.truth is not None
    assert source.train.truth is not None
    np.testing.assert_array_equal(limited.train.truth(np.arange(20)), source.train.truth(limited.train.indices))
    other = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(other.test.images, source.test.images)


def test_every_option_enters_the_fingerprint() -> None:
    spellings = ["planted", "planted:seed=1", "planted:size=18", "planted:classes=3", "planted:difficulty=0.4",
                 "planted:redundancy=2", "planted:distractors=1", "planted:fixed=1", "planted:channels=1",
                 "planted:patch=4", "planted:patches=1", "planted:train=100", "hooker-toy", "hooker-toy:seed=1",
                 "hooker-toy:train=100"]
    prints = {spelling: open_source(spelling).fingerprint for spelling in spellings}
    assert len(set(prints.values())) == len(spellings)
    assert prints["planted"] == open_source("planted:size=16,difficulty=0.5").fingerprint


@pytest.mark.parametrize("options, message", [
    ("size", "spelled name=number, not 'size'; write for example 'planted:size=16'"),
    ("size=big", "'size' of 'planted' is a whole number, not 'big'"),
    ("difficulty=hard", "'difficulty' of 'planted' is a number, not 'hard'"),
    ("difficulty=nan", r"'difficulty' of 'planted' is in 0 \.\. 1, not nan"),
    ("difficulty=1.5", r"is in 0 \.\. 1, not 1\.5"), ("size=2", r"'size' of 'planted' is in 4 \.\. 1024, not 2"),
    ("classes=1", r"'classes' of 'planted' is in 2 \.\. 1000"), ("channels=2", "is 1 or 3, not 2"),
    ("size=8,size=9", "'size' is given twice"), ("size=8,redundancy=2", "6 patches of 3x3 pixels do not fit"),
    ("classes=2", "2 classes of 'planted' cannot be divided into 2 pieces"),
    ("classes=500,patches=1", "1000 patterns are more than patches of 3x3 pixels"),
    ("seed=-1", "'seed' of 'planted' is in 0")])
def test_options_that_break_the_rules(options: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(f"planted:{options}")


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'dificulty' is not an option of 'planted'; did you mean 'diff"):
        open_source("planted:dificulty=1")
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        open_source("hooker-toy:trian=1")


def test_made_images_are_not_scaled() -> None:
    with pytest.raises(UsageError, match="made in their size, 16, not scaled to 32; write planted:size=32"):
        open_source("planted", image_size=32)
    with pytest.raises(UsageError, match="have 4x4 pixels and are not scaled to 8"):
        open_source("hooker-toy", image_size=8)
    assert open_source("planted:size=32", image_size=32).height == 32


def test_the_linear_task_of_hooker() -> None:
    source = open_source("hooker-toy:train=20000,test=5000")
    assert (source.channels, source.height, source.width, source.num_classes) == (1, 4, 4, 2)
    assert abs(float(source.train.labels.mean()) - 0.5) < 0.02
    x = (source.train.images.reshape(-1, 16).astype(float) - 128) / 16
    y = source.train.labels * 2.0 - 1
    # The disturbance d eta fills one direction. Off it, the mean of x y is a E|z| / 10 up to a multiple of d.
    d = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][0]
    rest = x - np.outer(x @ d, d)
    shown = (rest * y[:, None]).mean(axis=0)
    a = shown - d * (shown[4:] @ d[4:]) / (d[4:] @ d[4:])
    assert np.abs(a[:4]).max() > 0.05
    assert np.abs(a[4:]).max() < 0.005
    assert x.var(axis=0).sum() > 3  # |d|^2, sixteen on average
    noise = rest[:, 4:].std()
    assert 0.08 < noise < 0.12  # epsilon / 10
    weights = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    test = (source.test.images.reshape(-1, 16).astype(float) - 128) / 16
    predicted = np.c_[test, np.ones(len(test))] @ weights > 0
    assert (predicted == source.test.labels).mean() > 0.8
    assert source.test.truth is not None
    truth = source.test.truth(np.arange(3))
    assert truth.shape == (3, 4, 4)
    assert truth[:, 0].all()
    assert not truth[:, 1:].any()
