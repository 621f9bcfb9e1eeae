"""Ranks, what can be told apart, and whether orders agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, synthetic_results

from roar.analysis.grid import grids
from roar.analysis.ranks import critical_differences, ranked_scores, ranks
from roar.analysis.stability import agreement, correlations
from roar.errors import AnalysisError


def test_ranks_follow_the_generator() -> None:
    table = ranks(synthetic_results(std=0.0))
    assert table["estimator"].tolist() == ["vargrad", "smoothgrad-squared", "random", "sobel", "gradient", "smoothgrad"]
    assert table["rank"].tolist() == table["rank_low"].tolist() == table["rank_high"].tolist() == [1, 2, 3, 4, 5, 6]


def test_keeping_turns_the_order_round() -> None:
    roar, kar = (ranks(synthetic_results(std=0.0, mode=mode))["estimator"].tolist() for mode in ("roar", "kar"))
    assert roar == kar[::-1]


def test_equal_estimators_share_a_rank_and_an_interval() -> None:
    results = synthetic_results(["gradient", "vargrad", "random"], [0.0, 50.0])
    results.loc[results["threshold"] == 50, "accuracy"] = 0.5
    assert ranks(results)["rank"].tolist() == [1, 1, 1]
    noisy = synthetic_results(TWENTY, [0.0, 50.0], std=0.0)
    at = noisy["threshold"] == 50
    noisy.loc[at, "accuracy"] = 0.5 + np.random.default_rng(0).normal(0, 0.01, at.sum())
    table = ranks(noisy)
    assert (table["rank_low"] <= table["rank"]).all()
    assert (table["rank"] <= table["rank_high"]).all()
    assert (table["rank_high"] - table["rank_low"]).mean() > 5  # twenty of a kind cannot be ranked


def test_rank_intervals_are_the_same_twice_and_need_three_seeds() -> None:
    results = synthetic_results(std=0.05)
    pd.testing.assert_frame_equal(ranks(results), ranks(results))
    few = ranks(synthetic_results(seeds=2))
    assert few["rank_low"].isna().all()
    assert few["rank"].notna().all()
    assert few["note"].str.contains("two seeds").all()


def test_an_estimator_that_failed_does_not_drag_the_others_down() -> None:
    failed = [("vargrad", 90.0, seed) for seed in range(4)]
    names, scores = ranked_scores(grids(synthetic_results(failed=failed))[0])
    assert names == tuple(name for name in SIX if name != "vargrad")
    assert scores.shape == (5, 5)
    nothing = synthetic_results().assign(status="failed")
    assert ranks(nothing)["rank"].isna().all()


def test_friedman_and_nemenyi_by_hand() -> None:
    # Ranks 1, 2, 3 in each of 5 seeds: chi2 = 12 / (5 * 3 * 4) * (5^2 + 10^2 + 15^2) - 3 * 5 * 4 = 10;
    # Demsar 2006, table 5: q = 2.343 for k = 3, so the critical difference is 2.343 sqrt(12 / 30) = 1.482.
    results = synthetic_results(["vargrad", "random", "gradient"], std=0.0)
    test = critical_differences(results)[0]
    assert test.estimators == ("vargrad", "random", "gradient")
    assert test.mean_ranks.tolist() == [1.0, 2.0, 3.0]
    assert test.statistic == pytest.approx(10.0)
    assert test.p == pytest.approx(np.exp(-5.0))  # chi2 with 2 degrees of freedom
    assert test.distance == pytest.approx(1.482, abs=5e-4)
    assert test.groups == ((0, 1), (1, 2))


def test_no_difference_joins_all() -> None:
    results = synthetic_results(["vargrad", "random", "gradient"], [0.0, 50.0])
    at = results["threshold"] == 50
    results.loc[at, "accuracy"] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.4, 0.5, 0.1, 0.2, 0.5, 0.1, 0.2, 0.3, 0.4]
    test = critical_differences(results)[0]
    assert test.p > 0.05
    assert test.groups == ((0, 2),)
    assert "Friedman's test is not significant" in test.note


def test_settings_as_blocks_take_the_mean_over_seeds() -> None:
    results = synthetic_results(models=("a", "b", "c", "d"), std=0.01)
    test = critical_differences(results, block="setting")[0]
    assert test.blocks == 4
    assert test.estimators[0] == "vargrad"
    per_seed = critical_differences(results)
    assert [one.blocks for one in per_seed] == [5, 5, 5, 5]
    assert test.here == {"mode": "roar", "fill": "mean"}


@pytest.mark.parametrize("results", [synthetic_results(["gradient", "random"]), synthetic_results(seeds=1)])
def test_too_little_for_friedman(results: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="three estimators and two seeds"):
        critical_differences(results)


def test_agreement_across_thresholds_modes_and_models() -> None:
    plain = synthetic_results(models=("a", "b"), std=0.0)
    kar = synthetic_results(models=("a",), mode="kar", std=0.0).query("estimator != 'reference'")
    table = agreement(pd.concat([plain, kar]))
    assert table["across"].value_counts().to_dict() == {"threshold": 30, "mode": 1, "model": 1}
    assert table[table["across"] == "mode"]["spearman"].item() == pytest.approx(-1)  # the same falls in both
    assert table[table["across"] == "model"]["kendall"].item() == pytest.approx(1)
    assert (table[table["across"] == "threshold"]["spearman"] > 0.99).all()


def test_correlations_by_hand() -> None:
    # 1 2 3 4 against 1 2 4 3: rho = 1 - 6 * 2 / (4 * 15) = 0.8, tau = (5 - 1) / 6
    rho, tau, n = correlations(np.array([1.0, 2, 3, 4, np.nan]), np.array([1.0, 2, 4, 3, 5]))
    assert (rho, tau, n) == (pytest.approx(0.8), pytest.approx(2 / 3), 4)
    assert np.isnan(correlations(np.array([1.0, 2]), np.array([1.0, 2]))[0])
    assert np.isnan(correlations(np.array([1.0, 1, 1]), np.array([1.0, 2, 3]))[0])
