"""The statistics against hand-worked numbers, against scipy, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, synthetic_results
from scipy import stats
from statsmodels.stats.multitest import multipletests

from roar.analysis.contrasts import against_controls, areas, compare, pairwise
from roar.analysis.grid import grids, mean_over_thresholds
from roar.analysis.leaderboard import leaderboard
from roar.analysis.paired import bootstrap_intervals, holm, paired
from roar.errors import AnalysisError, UnknownNameError

RNG = np.random.default_rng(20190105)


def one_row(frame: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def holm_of_many(p: np.ndarray) -> np.ndarray:
    """Holm's method (1979) along the last axis, literally: (m - k) p_(k), made monotone; no NaN."""
    m = p.shape[-1]
    rising = np.argsort(p, axis=-1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, rising, -1) * np.arange(m, 0, -1), axis=-1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, rising, np.minimum(stepped, 1.0), -1)
    return corrected


def results_of(accuracy: dict[tuple[str, float], list[float]]) -> pd.DataFrame:
    """Results with exactly these accuracies per (estimator, threshold), a list over seeds."""
    names = list(dict.fromkeys(name for name, _ in accuracy if name != "reference"))
    thresholds = sorted({0.0, *(threshold for _, threshold in accuracy)})
    results = synthetic_results(names, thresholds, seeds=max(map(len, accuracy.values())))
    for (name, threshold), values in accuracy.items():
        at = (results["estimator"] == name) & (results["threshold"] == threshold)
        results.loc[at, "accuracy"] = values
    return results


def test_paired_test_is_that_of_scipy() -> None:
    d = RNG.normal(0.3, 1.0, (40, 6))
    ours = paired(d)
    theirs = stats.ttest_1samp(d, 0.0, axis=1)
    interval = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(ours.p, theirs.pvalue, rtol=1e-10)
    np.testing.assert_allclose(np.array([ours.low, ours.high]), np.array([interval.low, interval.high]), rtol=1e-10)
    a, b = RNG.normal(size=(2, 9))
    assert paired(a - b).p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-10)


def test_paired_test_on_students_own_table() -> None:
    # Student (1908), table of Cushny and Peebles: hours of sleep gained by ten patients with two drugs; R's
    # t.test(extra ~ group, sleep, paired = TRUE) gives t = -4.0621, df = 9, p = 0.002833, -2.4598858 to -0.7001142.
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = paired(first - second)
    assert found.mean == pytest.approx(-1.58)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_missing_seeds_are_left_out_of_a_pair() -> None:
    with_gaps = np.array([1.0, np.nan, 2.0, 4.0, np.nan])
    found, whole = paired(with_gaps), paired([1.0, 2.0, 4.0])
    assert found.n == 3
    for name in ("mean", "std", "low", "high", "p"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name))


@pytest.mark.parametrize(("d", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], np.nan), ([2.0], np.nan), ([], np.nan)])
def test_samples_without_spread_are_not_tested(d: list[float], p: float) -> None:
    found = paired(np.array(d))
    assert found.p == pytest.approx(p, nan_ok=True)
    assert np.isnan(found.low) == (len(d) < 2)


def test_holm_by_hand() -> None:
    # 0.01 * 4, 0.02 * 3, 0.03 * 2 lifted to 0.06, 0.5
    np.testing.assert_allclose(holm([0.02, 0.5, 0.01, 0.03]), [0.06, 0.5, 0.04, 0.06])
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    assert np.isnan(holm([np.nan])).all()
    p = RNG.random((5, 37)) ** 3
    np.testing.assert_allclose(holm_of_many(p), [holm(one) for one in p])
    np.testing.assert_allclose(holm(p[0]), multipletests(p[0], method="holm")[1])


def test_bootstrap_interval_of_a_large_sample_is_that_of_the_normal() -> None:
    d = RNG.normal(1.0, 2.0, (2, 1_000))
    low, high = bootstrap_intervals(d)
    error = d.std(axis=1, ddof=1) / np.sqrt(1_000)
    np.testing.assert_allclose(low, d.mean(axis=1) - 1.96 * error, atol=0.1 * error.max())
    np.testing.assert_allclose(high, d.mean(axis=1) + 1.96 * error, atol=0.1 * error.max())
    np.testing.assert_array_equal(bootstrap_intervals(d)[0], low)
    assert (bootstrap_intervals(d, seed=1)[0] != low).all()


def test_bootstrap_leaves_out_what_is_missing_and_says_nothing_of_two() -> None:
    whole = RNG.normal(size=(2, 4))
    ragged = np.array([[*whole[0], np.nan], [*whole[1], np.nan], [1.0, 2.0, np.nan, np.nan, np.nan], [3.0] * 5])
    low, high = bootstrap_intervals(ragged)
    np.testing.assert_array_equal(low[:2], bootstrap_intervals(whole)[0])
    assert np.isnan([low[2], high[2]]).all()
    assert (low[3], high[3]) == (3.0, 3.0)


def test_the_area_by_hand() -> None:
    results = results_of({("reference", 0.0): [0.9, 0.8], ("gradient", 50.0): [0.5, 0.5],
                          ("gradient", 100.0): [0.1, 0.3], ("random", 50.0): [0.7, 0.6],
                          ("random", 100.0): [0.5, 0.4]})
    # seed 0: gaps 0, 20, 40 points at t = 0, 50, 100: (10 * 50 + 30 * 50) / 100 = 20; seed 1: 0, 10, 10: 7.5
    row = one_row(areas(results), estimator="gradient", control="random")
    assert row["advantage"] == pytest.approx((20 + 7.5) / 2)
    assert row["std"] == pytest.approx(12.5 / np.sqrt(2))
    assert (row["n"], row["thresholds"]) == (2, 3)
    assert np.isnan([row["boot_low"], row["boot_high"]]).all()
    assert "two seeds" in row["note"]
    kar = areas(results.assign(mode=results["mode"].where(results["estimator"] == "reference", "kar")))
    assert one_row(kar, estimator="gradient", control="random")["advantage"] == pytest.approx(-13.75)


def test_mean_accuracy_by_hand() -> None:
    results = results_of({("reference", 0.0): [0.9], ("gradient", 50.0): [0.5], ("gradient", 100.0): [0.1]})
    assert grids(results)[0].mean_accuracy("gradient") == pytest.approx([50.0])
    alone = results[results["estimator"] != "reference"]
    assert grids(alone)[0].mean_accuracy("gradient") == pytest.approx([30.0])
    assert mean_over_thresholds(np.zeros((0, 3)), np.zeros(0)).shape == (3,)


def test_areas_of_a_shared_shift_are_untouched_by_it() -> None:
    plain, shifted = (synthetic_results(std=0.0) for _ in range(2))
    shifted["accuracy"] += shifted["seed"] * 0.01
    first, second = areas(plain), areas(shifted)
    np.testing.assert_allclose(first["advantage"], second["advantage"])
    np.testing.assert_allclose(second["std"], 0.0, atol=1e-12)


def test_a_failed_seed_leaves_its_area_and_a_failed_cell_shortens_it() -> None:
    failed = [("vargrad", 50.0, 2), *[("sobel", 90.0, seed) for seed in range(5)]]
    table = areas(synthetic_results(failed=failed))
    assert one_row(table, estimator="vargrad", control="random")["n"] == 4
    short = one_row(table, estimator="sobel", control="random")
    assert short["thresholds"] == 5
    assert short["note"] == "spans only t = 0, 10, 30, 50, 70"
    board = leaderboard(synthetic_results(failed=failed))
    sobel = one_row(board, estimator="sobel")
    assert sobel["rank"] is pd.NA
    assert "not ranked" in sobel["note"]
    assert sorted(board["rank"].dropna()) == [1, 2, 3, 4, 5]


def test_one_seed_claims_nothing() -> None:
    board = leaderboard(synthetic_results(seeds=1))
    assert set(board["random_verdict"]) == {"untested", ""}
    columns = [c for c in board if c.endswith(("_low", "_high", "p_holm")) and not c.startswith("sure")]
    assert board[columns].isna().all(axis=None)
    assert (board["sure_low"] == 1).all()
    assert (board["sure_high"] == len(SIX)).all()
    assert board["note"].str.contains("one seed").all()


def test_compare_gives_each_threshold_and_the_whole() -> None:
    results = synthetic_results()
    table = compare(results, "vargrad", "random")
    assert list(table["threshold"][:-1]) == [10.0, 30.0, 50.0, 70.0, 90.0]
    assert np.isnan(table["threshold"].iloc[-1])
    wide = results.pivot(index="seed", columns=["estimator", "threshold"], values="accuracy")
    gap = 100 * (wide["random"] - wide["vargrad"])
    np.testing.assert_allclose(table["advantage"][:-1], gap.mean())
    np.testing.assert_allclose(table["p"][:-1], [stats.ttest_1samp(gap[t], 0).pvalue for t in gap])
    np.testing.assert_allclose(table["p_holm"][:-1], holm(table["p"][:-1]))
    back = compare(results, "random", "vargrad")
    np.testing.assert_allclose(back["advantage"], -table["advantage"])


def test_compare_names_the_nearest_and_needs_a_common_panel() -> None:
    with pytest.raises(UnknownNameError, match="'vargrad'"):
        compare(synthetic_results(), "vargrat", "random")
    apart = pd.concat([synthetic_results(["gradient"], models=("a",)), synthetic_results(["random"], models=("b",))])
    with pytest.raises(AnalysisError, match="No panel holds both"):
        compare(apart, "gradient", "random")


def test_pairs_are_all_pairs_and_one_family() -> None:
    table = pairwise(synthetic_results())
    assert len(table) == 15
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))


def test_sure_ranks_count_the_tests_that_reject() -> None:
    results = results_of({(name, 50.0): list(level + RNG.normal(0, 0.001, 5))
                          for name, level in zip("abcd", (0.2, 0.5, 0.5, 0.8), strict=True)})
    board = leaderboard(results).set_index("estimator")
    assert board.loc["a", ["sure_low", "sure_high"]].tolist() == [1, 1]
    assert board.loc["b", ["sure_low", "sure_high"]].tolist() == [2, 3]
    assert board.loc["d", ["sure_low", "sure_high"]].tolist() == [4, 4]


def test_controls_are_not_held_against_themselves() -> None:
    table = areas(synthetic_results(["gradient", "random", "sobel"]))
    assert list(zip(table["estimator"], table["control"], strict=True)) == [
        ("gradient", "random"), ("sobel", "random"), ("gradient", "sobel")]
    assert not len(areas(synthetic_results(["gradient"])))
    assert leaderboard(synthetic_results(["gradient"]))["rank"].tolist() == [1]


def test_without_a_difference_the_corrected_tests_seldom_reject() -> None:
    # 2,000 experiments of 6 estimators x 5 thresholds x 5 seeds in which nothing matters but the seed. The
    # share of experiments with any rejection is binomial with p <= 0.05: its standard error is 0.005, and
    # 0.05 + 3 * 0.005 is passed by chance once in 700 times (the generator is seeded).
    experiments, seeds, thresholds = 2_000, 5, 5
    rng = np.random.default_rng(7)
    accuracy = 80 + rng.normal(0, 0.5, (experiments, 6, thresholds, seeds)) + rng.normal(
        0, 0.5, (experiments, 1, 1, seeds))  # points; the last term is what a seed does to all cells alike
    gaps = np.concatenate([accuracy[:, [5]] - accuracy[:, :5], accuracy[:, [4]] - accuracy[:, :4]], axis=1)
    each = paired(gaps).p.reshape(experiments, -1)
    whole = paired(mean_over_thresholds(gaps, np.array([10.0, 30.0, 50.0, 70.0, 90.0]))).p
    for p in (each, whole):
        family = np.mean(holm_of_many(p).min(axis=1) < 0.05)
        assert 0.0 < family <= 0.065
    assert np.mean(each < 0.05) == pytest.approx(0.05, abs=0.005)  # each test alone is exact


def test_a_difference_of_two_points_is_found() -> None:
    # One estimator of twenty is 2 points better than both controls; std 0.5, n = 5. Tested over t it is found
    # in nearly all of 2,000 experiments in spite of the 37 tests of its family, and seldom is another.
    rng = np.random.default_rng(11)
    accuracy = 80 + rng.normal(0, 0.5, (2_000, 20, 5, 5))
    accuracy[:, 0] -= 2.0
    gaps = np.concatenate([accuracy[:, [19]] - accuracy[:, :19], accuracy[:, [18]] - accuracy[:, :18]], axis=1)
    whole = mean_over_thresholds(gaps, np.array([10.0, 30.0, 50.0, 70.0, 90.0]))
    rejected = holm_of_many(paired(whole).p) < 0.05
    assert np.mean(rejected[:, 0] & rejected[:, 19]) >= 0.9
    assert np.mean(np.delete(rejected, [0, 19], axis=1).any(axis=1)) <= 0.05 + 0.015
    # At a single threshold, and as one of the 40 tests of an experiment with four estimators, five seeds are
    # too few to find it each time: the page says what it cannot see, and this is how often it would miss.
    single = paired(rng.normal(2.0, 0.5 * np.sqrt(2), (2_000, 5))).p
    assert 0.05 < np.mean(single * 40 < 0.05) < 0.5


def test_the_same_difference_is_found_through_the_tables() -> None:
    results = synthetic_results(TWENTY, std=0.0)
    at = results["threshold"] > 0
    results.loc[at, "accuracy"] = 0.8 + np.random.default_rng(3).normal(0, 0.005, at.sum())
    results.loc[at & (results["estimator"] == "vargrad"), "accuracy"] -= 0.02
    board = leaderboard(results).set_index("estimator")
    assert board.loc["vargrad", ["random_verdict", "sobel_verdict"]].tolist() == ["better", "better"]
    assert board.index[0] == "vargrad"
    assert (board.drop(index=["vargrad", "random", "sobel"])["random_verdict"] == "open").all()
    each = against_controls(results)
    assert set(each[each["p_holm"] < 0.05]["estimator"]) <= {"vargrad"}


def test_intervals_of_five_seeds_cover_as_the_docstrings_say() -> None:
    # 1,500 samples of five normal differences with mean 0; the bootstrap with 1,000 resamples each. Standard
    # error of a coverage of 0.83: 0.01.
    rng = np.random.default_rng(5)
    d = rng.normal(size=(1_500, 5))
    found = paired(d)
    t_covers = np.mean((found.low <= 0) & (found.high >= 0))
    draws = rng.multinomial(5, np.full(5, 0.2), size=1_000)
    low, high = np.quantile(d @ draws.T / 5, [0.025, 0.975], axis=1)
    boot_covers = np.mean((low <= 0) & (high >= 0))
    assert t_covers == pytest.approx(0.95, abs=0.02)
    assert boot_covers == pytest.approx(5 / 6, abs=0.03)
