"""The pointing game: the top pixel against a literal loop, at its known ends, and by its command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roar import pipeline
from roar.experiment import load_experiment
from roar.metrics.pointing_game.game import hit, pointing_game
from roar.report.view import Results
from roar.store.shards import read_ranks


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_a_hit_is_an_informative_pixel_of_rank_0(images: int, pixels: int, channels: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ranks = np.stack([draw.permutation(pixels * channels) for _ in range(images)]).astype(np.uint8)
    informative = draw.random((images, pixels)) < 0.5
    literal = [any(ranks[i, c * pixels + p] == 0 and informative[i, p] for c in range(channels) for p in range(pixels))
               for i in range(images)]
    assert hit(ranks, informative).tolist() == literal


def test_oracles_hit_always_and_never_and_random_as_often_as_chance(tmp_path: Path) -> None:
    session = pipeline.prepare(load_experiment(None, {
        "source": {"name": "planted:size=12,train=40,test=300,difficulty=0.2"}, "store": str(tmp_path / "store"),
        "train": {"epochs": 1}, "estimators": {"names": ["oracle", "oracle-inverted", "random", "sobel"]},
        "compute": {"executor": "serial"}}))
    folders = pointing_game(session)
    assert pointing_game(session) == folders
    hits = Results(session.store).table("pointing-game").set_index("estimator")
    assert hits.loc["oracle", "hits"] == 100
    assert hits.loc["oracle-inverted", "hits"] == 0
    assert hits.loc["random", "hits_low"] < hits.loc["random", "hits_by_chance"] < hits.loc["random", "hits_high"]
    assert (hits["n"] == 300).all()
    truth = session.source.test.truth
    assert truth is not None
    informative = truth(np.arange(300)).reshape(300, -1)
    folder = next(ranking.folder for ranking in pipeline.rank(session, ("test",)) if ranking.estimator == "sobel")
    ranks = read_ranks(session.store, f"{folder}/test")
    literal = np.mean([informative[i, int(np.flatnonzero(ranks[i] == 0)[0])] for i in range(300)])
    assert hits.loc["sobel", "hits"] == pytest.approx(100 * literal)
    assert hits.loc["sobel", "hits_by_chance"] == pytest.approx(100 * informative.mean())


def test_the_command_prints_its_table_and_a_source_without_truth_is_refused(roar: Callable[..., Any],
                                                                           tmp_path: Path) -> None:
    said = roar("pointing-game", "--source", "planted:size=12,train=40,test=20", "--train-epochs", 1, "--estimator",
                "oracle,random", "--executor", "serial")
    assert said.code == 0, said.err
    assert "oracle\t100.0" in said.out
    assert len(pd.read_csv(tmp_path / "roar-store/reports/pointing-game.csv")) == 2
    assert roar("report").code == 0
    assert "Is the top pixel informative?" in (tmp_path / "roar-store/reports/report.html").read_text()
    assert roar("verify").code == 0
    refused = roar("pointing-game", "--limit-train", 40, "--limit-test", 20, "--executor", "serial")
    assert refused.code == 2
    assert "which 'digits' does not; take 'planted' or 'hooker-toy'" in refused.err
