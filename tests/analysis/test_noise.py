"""Noise seeds: the interval of an area covers the estimator's noise, and the samples that would mend it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from roar.analysis.contrasts import areas
from roar.analysis.curves import curves
from roar.analysis.noise import crossed, over_noise, prophesied, samples_for

FACTS = {name: {"family": family, "base": base, "ensemble": ensemble, "control_of": "", "architecture": "simplecnn",
                "model_seed": 0, "variant": "scratch"}
         for name, family, base, ensemble in (
             ("reference", "reference", "reference", "base"), ("gradient", "gradient", "gradient", "base"),
             ("smoothgrad", "gradient", "gradient", "smoothgrad"), ("random", "control", "random", "base"))}
CELL = ["source", "model", "regularizer", "retrainer", "estimator", "mode", "fill", "threshold"]


def results(noise_seeds: int, seeds: int = 5, noise: float = 0.05) -> pd.DataFrame:
    """`smoothgrad` and `random` under several noise seeds, `gradient` under one; accuracies that differ in all."""
    rng = np.random.default_rng(3)
    of_seed = rng.normal(0, 0.01, seeds)
    rows = []
    for estimator, level, repeats in (("reference", 0.9, 1), ("gradient", 0.7, 1), ("smoothgrad", 0.6, noise_seeds),
                                      ("random", 0.8, noise_seeds)):
        for n, shift in enumerate(rng.normal(0, noise, repeats)):
            for threshold in (0.0,) if estimator == "reference" else (50.0, 90.0):
                rows += [{"source": "digits", "model": "simplecnn", "regularizer": "recipe", "retrainer": "simplecnn",
                          "estimator": estimator, "mode": "roar", "fill": "mean", **FACTS[estimator],
                          "threshold": threshold, "seed": seed, "status": "ok", "noise_seed": n,
                          "accuracy": level + shift + of_seed[seed] + rng.normal(0, 0.005)} for seed in range(seeds)]
    return pd.DataFrame(rows)


def area(frame: pd.DataFrame, estimator: str) -> pd.Series:
    found = areas(frame, resamples=200)
    return found[(found["estimator"] == estimator) & (found["control"] == "random")].iloc[0]


def by_hand(frame: pd.DataFrame, estimator: str, n: int) -> list[float]:
    """The area against random under one noise seed, for each seed: trapezoids from t = 0, where the gap is 0."""
    def of(name: str, noise_seed: int) -> np.ndarray:
        own = frame[(frame["estimator"] == name) & (frame["noise_seed"] == noise_seed)]
        return own.pivot(index="threshold", columns="seed", values="accuracy").to_numpy()

    gap = 100 * (of("random", n) - of(estimator, n if estimator == "smoothgrad" else 0))
    return list((50 * gap[0] / 2 + 40 * (gap[0] + gap[1]) / 2) / 90)


@pytest.mark.parametrize("estimator", ["smoothgrad", "gradient"])
def test_the_interval_of_an_area_covers_both_seeds(estimator: str) -> None:
    """Also where the control alone draws random numbers."""
    frame = results(4)
    values = np.array([by_hand(frame, estimator, n) for n in range(4)])
    mean = values.mean()
    of_noise, of_seed = 5 * values.mean(1).var(ddof=1), 4 * values.mean(0).var(ddof=1)
    residual = ((values - values.mean(1)[:, None] - values.mean(0) + mean) ** 2).sum() / 12
    of_seed, of_noise = max(of_seed, residual), max(of_noise, residual)
    error = np.sqrt((of_noise + of_seed - residual) / 20)
    freedom = (of_noise + of_seed - residual) ** 2 / (of_noise**2 / 3 + of_seed**2 / 4 + residual**2 / 12)
    row = area(frame, estimator)
    assert row["advantage"] == pytest.approx(mean)
    assert row["ci_high"] - mean == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(mean) / error, freedom))
    assert row["noise_seeds"] == 4
    assert row["noise_std"] == pytest.approx(np.sqrt((of_noise - residual) / 5))


def test_the_interval_is_wider_than_that_over_training_seeds_alone() -> None:
    frame = results(4)
    alone = over_noise(frame, CELL).assign(noise_seed=0)
    both, seeds = area(frame, "smoothgrad"), area(alone, "smoothgrad")
    assert both["advantage"] == pytest.approx(seeds["advantage"])
    assert both["ci_high"] - both["ci_low"] > 3 * (seeds["ci_high"] - seeds["ci_low"])
    assert seeds["noise_seeds"] == 1


def test_one_noise_seed_gives_what_results_without_the_column_give() -> None:
    frame = results(1)
    pd.testing.assert_frame_equal(areas(frame), areas(frame.drop(columns="noise_seed")))


def test_a_curve_is_the_mean_over_noise_seeds_and_its_interval_is_over_training_seeds() -> None:
    frame = results(3)
    own = frame[(frame["estimator"] == "smoothgrad") & (frame["threshold"] == 50)]
    row = curves(frame).query("estimator == 'smoothgrad' and threshold == 50").iloc[0]
    each = own.groupby("seed")["accuracy"].mean()
    assert (row["mean"], row["std"], row["n"]) == (pytest.approx(each.mean()), pytest.approx(each.std()), 5)


def test_a_job_that_failed_is_left_out() -> None:
    frame = results(3)
    lost = (frame["estimator"] == "smoothgrad") & (frame["noise_seed"] == 1) & (frame["seed"] == 2)
    broken = frame.assign(status=frame["status"].where(~lost, "failed"), accuracy=frame["accuracy"].where(~lost))
    assert area(broken, "smoothgrad")["advantage"] == pytest.approx(
        area(frame[frame["seed"] != 2], "smoothgrad")["advantage"])
    assert curves(broken)["mean"].notna().all()


@pytest.mark.parametrize(("n", "s"), [(2, 5), (3, 5), (5, 5), (10, 5), (3, 3)])
@pytest.mark.parametrize("deviations", [(1, 1, 1), (2, 0.5, 0.5), (0.5, 2, 0.5), (0, 1, 1)])
def test_the_interval_holds_the_truth_as_often_as_it_says(n: int, s: int, deviations: tuple[float, ...]) -> None:
    """Simulated: at least 92 % of 2,000 intervals; those over training seeds alone do not where noise is larger."""
    rng = np.random.default_rng(0)
    of_noise, of_training, rest = deviations
    hits = alone = 0
    for _ in range(2_000):
        d = (of_noise * rng.standard_normal((n, 1)) + of_training * rng.standard_normal((1, s))
             + rest * rng.standard_normal((n, s)))
        found, each = crossed(d), d.mean(0)
        hits += abs(found.mean) <= stats.t.ppf(0.975, found.freedom) * found.error
        alone += abs(each.mean()) <= stats.t.ppf(0.975, s - 1) * each.std(ddof=1) / np.sqrt(s)
    assert hits / 2_000 >= 0.915
    if of_noise > of_training:
        assert alone / 2_000 < 0.75


def test_too_few_seeds_have_no_interval() -> None:
    assert np.isnan(crossed(np.ones((3, 1))).error)
    assert np.isnan(crossed(np.ones((1, 3))).error)
    assert crossed(np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]])).seeds == 2


def test_the_formula_foretells_the_agreement_of_means_of_more_samples() -> None:
    """Scores are a pattern and independent noise, as the formula assumes; the correlation is Spearman's."""
    rng = np.random.default_rng(0)

    def agreement(samples: int) -> float:
        pattern = rng.standard_normal((200, 400))
        one, two = (pattern + 3 * rng.standard_normal((200, 400)) / np.sqrt(samples) for _ in range(2))
        return float(np.mean([stats.spearmanr(a, b)[0] for a, b in zip(one, two, strict=True)]))

    start = agreement(4)
    assert float(prophesied(start, 4)) == pytest.approx(agreement(16), abs=0.02)
    needed = samples_for([start], 4)
    assert agreement(round(needed)) == pytest.approx(0.9, abs=0.015)


def test_samples_that_mend_nothing() -> None:
    assert samples_for([0.0, -0.2], 15) == float("inf")
    assert samples_for([0.95] * 4 + [0.0], 15) == float("inf")
    assert samples_for([0.9], 15) == pytest.approx(15)
