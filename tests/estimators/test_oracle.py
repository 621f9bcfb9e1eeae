"""Estimators that are told the truth: their ranks against loops, their names, and what is said without a truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import references
from explained import pictures
from ranked import group, identity, names_of, rank_images

from roar import pipeline
from roar.datasets import open_source
from roar.datasets.statistics import Normalization
from roar.errors import EstimatorError, SourceError, UnknownNameError, UsageError
from roar.estimators import ESTIMATORS, TRUTH, Oracle, RankedImages
from roar.estimators.methods.oracle import erring
from roar.experiment import EstimatorSettings, load_experiment
from roar.metrics.retraining.forecast import overview
from roar.metrics.retraining.tasks import retrain
from roar.report.view import Results
from roar.seeds.streams import derive, random_words
from roar.store.shards import read_ranks

IMAGES = pictures(9)
MASKS = pictures(9, channels=1, seed=3)[:, 0] > 150


def ranked(name: str, truth: np.ndarray | None = MASKS, unit: str = "sum", rows: slice = slice(None),
           split: str = "test", root_seed: int = 0) -> RankedImages:
    images = IMAGES[:len(truth)] if truth is not None else IMAGES
    part = None if truth is None else truth[rows]
    return rank_images(None, images[rows], np.zeros(len(images[rows])), np.arange(len(images))[rows],
                       Normalization((0.0,) * 3, (1.0,) * 3), [name], EstimatorSettings(unit=unit), root_seed, split,
                       truth=part)[name]


@pytest.mark.parametrize(("name", "inverted"), [("oracle", False), ("oracle-inverted", True)])
@pytest.mark.parametrize(("unit", "planes"), [("sum", 1), ("channel", 3)])
def test_oracles_rank_by_the_truth_with_lots_within_it(name: str, inverted: bool, unit: str, planes: int) -> None:
    found = ranked(name, unit=unit)
    for index in range(9):
        scores = np.array([float(MASKS[index, y, x] != inverted) for _ in range(planes) for y in range(8)
                           for x in range(8)], np.float32)
        np.testing.assert_array_equal(found.ranks[index], references.ranks(scores, index, derive(0, "ties", "test")))
    assert found.tied_share == 1
    marks = MASKS.reshape(9, -1).repeat(planes, axis=0).reshape(9, -1)
    for row, mark in zip(found.ranks, marks, strict=True):
        informative = np.sort(row[mark])
        first = 0 if not inverted else len(row) - mark.sum()
        np.testing.assert_array_equal(informative, np.arange(first, first + mark.sum()))


def slow_noise(truth: np.ndarray, index: int, seed: int, share: float) -> np.ndarray:
    """The docstring of ``erring``, pixel by pixel, for one image ``[H, W]``."""
    marks, words = truth.flatten().tolist(), random_words(seed, index, truth.size).tolist()
    wrong = floor(Fraction(repr(share)) * sum(marks) + Fraction(1, 2))
    inside = sorted((word, pixel) for pixel, word in enumerate(words) if marks[pixel])
    outside = sorted((word, pixel) for pixel, word in enumerate(words) if not marks[pixel])
    for (_, lost), (_, won) in zip(inside[:wrong], outside[:wrong], strict=False):
        marks[lost], marks[won] = False, True
    return np.array(marks).reshape(truth.shape)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 0.9, 1.0])
def test_a_share_of_the_truth_is_wrong_as_defined(share: float) -> None:
    masks = np.concatenate([MASKS, np.ones((1, 8, 8), bool), np.zeros((1, 8, 8), bool)])
    masks[0, :, :] = np.arange(64).reshape(8, 8) < 10  # 0.05 of 10 is a half, which is rounded up
    masks[1, :, :] = np.arange(64).reshape(8, 8) < 60  # 4 others are fewer than 0.2 of 60
    found = erring(masks, np.arange(11), 5, "train", share)
    for index, (mask, marks) in enumerate(zip(masks, found, strict=True)):
        np.testing.assert_array_equal(marks, slow_noise(mask, index, derive(5, "oracle-noisy", "train"), share))
        assert marks.sum() == mask.sum()
        wanted = floor(Fraction(repr(share)) * int(mask.sum()) + Fraction(1, 2))
        assert (mask & ~marks).sum() == min(wanted, (~mask).sum())
    if share == 0.05:
        assert (masks[0] & ~found[0]).sum() == 1
    if share == 0.2:
        assert (masks[1] & ~found[1]).sum() == 4
    np.testing.assert_array_equal(erring(masks[4:7], np.arange(4, 7), 5, "train", share), found[4:7])


def test_what_is_wrong_at_a_small_share_is_wrong_at_a_larger_one() -> None:
    indices = np.arange(9)
    few, many = (erring(MASKS, indices, 0, "test", share) != MASKS for share in (0.2, 0.6))
    assert (few & ~many).sum() == 0 and few.sum() < many.sum()
    assert (erring(MASKS, indices, 0, "train", 0.2) != erring(MASKS, indices, 0, "test", 0.2)).any()
    assert (erring(MASKS, indices, 1, "test", 0.2) != erring(MASKS, indices, 0, "test", 0.2)).any()


def test_no_noise_is_the_oracle_and_noise_ranks_what_it_marks_first() -> None:
    np.testing.assert_array_equal(ranked("oracle-noisy(0)").ranks, ranked("oracle").ranks)
    marks = erring(MASKS, np.arange(9), 0, "test", 0.5).reshape(9, -1)
    for row, mark in zip(ranked("oracle-noisy(0.5)").ranks, marks, strict=True):
        assert row[mark].max(initial=0) < row[~mark].min(initial=64)


def test_shards_of_an_oracle_are_those_of_the_whole() -> None:
    for name in group("oracles"):
        parts = [ranked(name, rows=rows).ranks for rows in (slice(0, 4), slice(4, 9))]
        np.testing.assert_array_equal(np.concatenate(parts), ranked(name).ranks)


@pytest.mark.parametrize(("given", "canonical"), [
    ("oracle-noisy(.2)", "oracle-noisy(0.2)"), ("Oracle_Noisy( 0.20 )", "oracle-noisy(0.2)"),
    ("oracle-noisy(1)", "oracle-noisy(1)"), ("oracle-noisy(1.0)", "oracle-noisy(1)"),
    ("oracle-noisy(-0)", "oracle-noisy(0)"), ("oracle-noisy(2e-1)", "oracle-noisy(0.2)"), ("ORACLE", "oracle")])
def test_one_estimator_has_one_spelling(given: str, canonical: str) -> None:
    assert names_of([given]) == (canonical,) and ESTIMATORS.find(given).name == canonical
    assert ESTIMATORS.find(given).family == TRUTH and isinstance(ESTIMATORS.find(given), Oracle)
    assert identity(given, EstimatorSettings()) == {"estimator": canonical, "per_channel": False}


@pytest.mark.parametrize(("given", "said"), [
    ("oracle-noisy", r"'oracle-noisy' takes its parameter q in brackets.*write oracle-noisy\(0\.2\)"),
    ("oracle-noisy()", "takes its parameter q in brackets"), ("oracle-noisy(0.2", "takes its parameter q in brackets"),
    ("oracle-noisy(1.5)", r"from 0 to 1, not '1\.5'"), ("oracle-noisy(nan)", "from 0 to 1, not 'nan'"),
    ("oracle-noisy(much)", "from 0 to 1, not 'much'"), ("oracle-noisy(-.1)", r"from 0 to 1, not '-\.1'")])
def test_a_share_that_is_none_is_refused_in_one_sentence(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        names_of([given])


def test_names_groups_and_lists(roar: Callable[..., Any]) -> None:
    assert names_of(["oracles"]) == ("oracle", "oracle-noisy(0.2)", "oracle-noisy(0.5)", "oracle-inverted")
    assert not set(names_of(["controls", "paper"])) & set(names_of(["oracles"]))
    assert {name for name, e in ESTIMATORS.values.items() if e.family == TRUTH} == {"oracle", "oracle-inverted"}
    said = roar("list", "estimators").out
    assert "oracle-noisy(q)\t\ttruth" in said and "oracle-inverted\t\ttruth" in said
    assert "Group oracles: oracle, oracle-noisy(0.2)" in said
    with pytest.raises(UnknownNameError, match=r"did you mean .*'oracle-noisy\(q\)'"):
        names_of(["oracle-nosy(0.2)"])


def test_masks_of_another_size_and_none_at_all_are_refused() -> None:
    with pytest.raises(SourceError, match=r"are bool \[9, 8, 8\].*not bool \[9, 4, 4\]"):
        ranked("oracle", MASKS[:, ::2, ::2])
    with pytest.raises(SourceError, match=r"not uint8 \[9, 8, 8\]"):
        ranked("oracle-noisy(0.2)", MASKS.astype(np.uint8))
    with pytest.raises(SourceError, match="take one such as planted"):
        ranked("oracle-inverted", None)


def tiny(store: Path, **settings: Any) -> Any:
    return load_experiment(None, {
        "source": {"name": "planted:size=9,train=50,test=30,classes=3", "limit_train": 40},
        "estimators": {"names": ["oracles", "random"], "shard_size": 15}, "train": {"epochs": 1, "batch_size": 20},
        "retrain": {"seeds": 1, "epochs": 1, "batch_size": 20, "window": 20}, "degrade": {"thresholds": [25]},
        "compute": {"executor": "serial"}, "store": str(store), **settings})


def test_a_source_without_truth_is_refused_before_anything_is_made(tmp_path: Path, roar: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"'oracle' needs a source .* 'digits' is not; take one such as"):
        pipeline.prepare(tiny(tmp_path / "store", source={"name": "digits"}))
    assert not (tmp_path / "store").exists()
    said = roar("rank", "--estimator", "oracle-noisy(.5)", "--executor", "serial")
    assert said.code == 2 and said.err.startswith("Error: 'oracle-noisy(0.5)' needs a source")


def test_the_truth_reaches_every_shard_and_models_share_its_rankings(tmp_path: Path) -> None:
    session = pipeline.prepare(tiny(tmp_path / "store", model=[{"seeds": 2}]))
    rankings = pipeline.rank(session)
    assert [r.estimator for r in rankings] == [*names_of(["oracles"]), "random"]
    assert all(r.model is None for r in rankings) and all("/truth/oracle" in r.folder for r in rankings[:4])
    found = overview(session)
    assert found.rankings == 5 and found.models == 2
    for split in ("train", "test"):
        images = getattr(session.source, split)
        assert len(images) == (40 if split == "train" else 30)
        truth = images.truth(np.arange(len(images)))
        expected = rank_images(None, images.images, images.labels, images.indices, Normalization((0.0,), (1.0,)),
                               ["oracles"], EstimatorSettings(), 0, split, truth=truth)
        for ranking in rankings[:4]:
            np.testing.assert_array_equal(read_ranks(session.store, f"{ranking.folder}/{split}"),
                                          expected[ranking.estimator].ranks)


def test_streamed_truth_and_streamed_masks_give_the_same_bytes(tmp_path: Path) -> None:
    once = {"seeds": 1, "epochs": 1, "batch_size": 20, "window": 20, "controls": ["mask-only"]}
    kept = []
    for name, compute in (("kept", {}), ("streamed", {"image_budget": 1e-6})):
        root = tmp_path / name
        session = pipeline.prepare(tiny(root, compute={"executor": "serial", **compute},
                                        train={"epochs": 1, "batch_size": 20, "window": 20}, retrain=once))
        retrain(session)
        assert tuple(map(str, pipeline.ranked_estimators(session))) == (
            "oracle", "oracle-inverted", "random", "oracle-noisy(0.2)", "oracle-noisy(0.5)")
        kept.append(({path.relative_to(root): path.read_bytes() for path in root.rglob("part-*.parquet")},
                     Results(session.store).results().drop(columns="train_seconds")))
    assert kept[0][0] == kept[1][0] and len(kept[0][0]) == 5 * (3 + 2)
    assert kept[0][1].equals(kept[1][1]) and (kept[0][1]["fill"] == "mask-only").sum() == 4


def test_a_mask_of_another_size_stops_ranking_in_one_sentence(tmp_path: Path) -> None:
    session = pipeline.prepare(tiny(tmp_path / "store"))

    def small(positions: np.ndarray) -> np.ndarray:
        return np.zeros((len(positions), 4, 4), bool)

    session.source = replace(session.source, train=replace(session.source.train, truth=small))
    with pytest.raises(EstimatorError, match=r"are bool \[15, 9, 9\], as the images are, not bool \[15, 4, 4\]"):
        pipeline.rank(session)
    assert not list((tmp_path / "store").rglob("truth/**/part-*.parquet"))


def test_show_draws_an_oracle(tmp_path: Path) -> None:
    from roar.report.heatmaps import strips

    session = pipeline.prepare(tiny(tmp_path / "store", estimators={"names": ["oracle", "gradient"]}))
    strip = strips(session, [3])[3]
    scores = strip.columns[0].scores["oracle"]
    truth = open_source(session.source.name).test.truth(np.array([3]))[0]
    assert scores.shape == truth.shape and scores[truth].min() > scores[~truth].max()
