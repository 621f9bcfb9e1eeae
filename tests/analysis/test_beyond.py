"""Controls of shape and of smoothness: kept apart, and what is said beyond them, against literal references."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, synthetic_results, with_controls, with_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roar.analysis.beside import separate
from roar.analysis.beyond import BEYOND_COLUMNS, EXPLAINED, LESS, beyond_controls, control_curves
from roar.analysis.contrasts import against_controls, areas, compare, pairwise
from roar.analysis.curves import curves
from roar.analysis.figures.matrix import accuracy_matrix
from roar.analysis.grid import grids
from roar.analysis.leaderboard import leaderboard
from roar.analysis.ranks import critical_differences, ranks
from roar.analysis.stability import agreement
from roar.errors import UnknownNameError

PLAIN = synthetic_results(classes=4)
RESULTS = with_controls(PLAIN)


def row_of(table: pd.DataFrame, estimator: str, threshold: float) -> pd.Series:
    at = table["threshold"].isna() if np.isnan(threshold) else table["threshold"] == threshold
    found = table[at & (table["estimator"] == estimator)]
    assert len(found) == 1
    return found.iloc[0]


def literally(results: pd.DataFrame, estimator: str, threshold: float, quantity: str) -> dict[int, float]:
    """One quantity of one cell for each seed, by looking every accuracy up."""
    def accuracy(name: str, fill: str, t: float, seed: int) -> float | None:
        for row in results.to_dict("records"):
            if (row["estimator"], row["fill"], row["threshold"], row["seed"]) == (name, fill, t, seed):
                return row["accuracy"] if row["status"] == "ok" else None
        return None

    found = {}
    for seed in sorted(set(results["seed"])):
        own = accuracy(estimator, "mean", threshold, seed)
        untouched = accuracy("reference", "mean", 0.0, seed)
        smooth = accuracy(f"random-blurred({estimator})", "mean", threshold, seed)
        shape = accuracy(estimator, "mask-only", threshold, seed)
        terms = {"drop": (untouched, own), "beyond_blurred": (smooth, own), "shape_accuracy": (shape, 0.0),
                 "beyond_shape": (own, shape)}[quantity]
        if None not in terms:
            found[seed] = 100 * (terms[0] - terms[1])
    return found


@pytest.mark.parametrize("quantity", ["drop", "beyond_blurred", "shape_accuracy", "beyond_shape"])
def test_every_number_is_the_paired_difference_with_its_t_interval(quantity: str) -> None:
    results = RESULTS.copy()
    lost = ((results["estimator"].isin(["vargrad", "random-blurred(vargrad)"])) & (results["threshold"] == 50)
            & (results["seed"] == 2))
    results.loc[lost, ["status", "accuracy"]] = ["failed", np.nan]
    table = beyond_controls(results)
    means: dict[int, list[float]] = {}
    for threshold in (10.0, 30.0, 50.0, 70.0, 90.0):
        expected = literally(results, "vargrad", threshold, quantity)
        row = row_of(table, "vargrad", threshold)
        assert row[f"{quantity}_n"] == len(expected)
        assert row[quantity] == pytest.approx(np.mean(list(expected.values())))
        assert row[f"{quantity}_std"] == pytest.approx(np.std(list(expected.values()), ddof=1))
        ends = stats.ttest_1samp(list(expected.values()), 0).confidence_interval(0.95)
        assert (row[f"{quantity}_ci_low"], row[f"{quantity}_ci_high"]) == pytest.approx((ends.low, ends.high))
        for seed, value in expected.items():
            means.setdefault(seed, []).append(value)
    whole = [np.mean(values) for values in means.values() if len(values) == 5]
    overall = row_of(table, "vargrad", np.nan)
    assert overall[f"{quantity}_n"] == len(whole)
    assert overall[quantity] == pytest.approx(np.mean(whole))


def test_the_controls_change_no_other_analysis() -> None:
    assert len(RESULTS) > len(PLAIN)
    for analysis in (curves, leaderboard, areas, against_controls, pairwise, ranks, agreement):
        pd.testing.assert_frame_equal(analysis(RESULTS), analysis(PLAIN))
    pd.testing.assert_frame_equal(compare(RESULTS, "vargrad", "random"), compare(PLAIN, "vargrad", "random"))
    assert [test.estimators for test in critical_differences(RESULTS)] == \
        [test.estimators for test in critical_differences(PLAIN)]
    assert [(grid.here["fill"], grid.estimators) for grid in grids(RESULTS)] == [("mean", SIX)]
    assert len(accuracy_matrix(curves(RESULTS)).axes) == len(accuracy_matrix(curves(PLAIN)).axes)
    with pytest.raises(UnknownNameError):
        compare(RESULTS, "random-blurred(vargrad)", "random")


def test_every_row_is_in_one_part() -> None:
    parts = separate(RESULTS)
    assert sorted([*parts.results.index, *parts.blurred.index, *parts.masks.index]) == sorted(RESULTS.index)
    assert set(parts.blurred["estimator"]) == set(parts.masks["estimator"]) == set(SIX) - {"random", "sobel"}
    assert set(parts.results["fill"]) == {"mean"}


def test_a_blurred_ranking_belongs_to_the_estimator_that_its_column_names() -> None:
    """Two settings of one estimator in a store: each stands beside its own control."""
    others = RESULTS[RESULTS["estimator"] != "vargrad"]
    settings = []
    for key, gap in (("3f2a19", 0.05), ("aa11bb", 0.15)):
        own = RESULTS[(RESULTS["estimator"] == "vargrad") & (RESULTS["fill"] == "mean")]
        control = own.assign(accuracy=own["accuracy"] + gap, estimator=f"random-blurred(vargrad) (0000{key[:2]})",
                             family="matched-spectrum", base="random-blurred", ensemble="base",
                             control_of=f"vargrad ({key})")
        settings += [own.assign(estimator=f"vargrad ({key})"), control]
    table = beyond_controls(pd.concat([others[others["control_of"] != "vargrad"], *settings]))
    gaps = table[table["threshold"] == 50].set_index("estimator")["beyond_blurred"]
    assert gaps["vargrad (3f2a19)"] == pytest.approx(5)
    assert gaps["vargrad (aa11bb)"] == pytest.approx(15)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.floats(-1, 1))
def test_equal_curves_leave_nothing_and_a_shift_leaves_itself(accuracies: list[float], shift: float) -> None:
    own = synthetic_results(["vargrad"], [0.0, 50.0], seeds=len(accuracies))
    own.loc[own["threshold"] == 50, "accuracy"] = accuracies
    results = with_controls(own, std=0.0)
    twin = results["estimator"].str.startswith("random-blurred")
    mask = results["fill"] == "mask-only"
    results.loc[twin, "accuracy"] = accuracies
    results.loc[mask, "accuracy"] = np.array(accuracies) + shift
    row = row_of(beyond_controls(results), "vargrad", 50.0)
    assert (row["beyond_blurred"], row["beyond_blurred_ci_low"], row["beyond_blurred_ci_high"]) == (0, 0, 0)
    assert row["beyond_shape"] == pytest.approx(-100 * shift, abs=1e-9)
    assert row["shape_accuracy"] + row["beyond_shape"] == pytest.approx(100 * np.mean(accuracies))
    overall = row_of(beyond_controls(results), "vargrad", np.nan)
    assert overall["beyond_shape"] == row["beyond_shape"]


def test_an_accuracy_that_the_shape_explains_is_flagged() -> None:
    results = RESULTS.copy()
    masks = (results["fill"] == "mask-only") & (results["estimator"] == "vargrad")
    own = results[(results["estimator"] == "vargrad") & (results["fill"] == "mean")].set_index(["threshold", "seed"])
    shift = {10.0: -0.3, 30.0: -0.3, 50.0: 0.0, 70.0: 0.2, 90.0: 0.2}
    rng = np.random.default_rng(0)
    results.loc[masks, "accuracy"] = [own.loc[(row.threshold, row.seed), "accuracy"] + shift[row.threshold]
                                      + rng.normal(0, 0.01) for row in results[masks].itertuples()]
    notes = {t: row_of(beyond_controls(results), "vargrad", t)["note"] for t in shift}
    assert [EXPLAINED in notes[t] for t in shift] == [False, False, True, False, False]
    assert [LESS in notes[t] for t in shift] == [False, False, False, True, True]


def test_one_seed_and_a_missing_control_say_what_they_cannot() -> None:
    single = beyond_controls(with_controls(synthetic_results(seeds=1)))
    assert (single["note"] == "one seed: no spread, no interval, no test").all()
    assert single[[f"beyond_shape_{part}" for part in ("ci_low", "ci_high", "std")]].isna().all(axis=None)
    assert single["beyond_shape"].notna().all()
    smooth = RESULTS[RESULTS["fill"] != "mask-only"]
    table = beyond_controls(smooth)
    assert (table["note"] == "no common seed with mask-only").all()
    assert table["shape_accuracy"].isna().all()
    assert table["beyond_blurred"].notna().all()
    named = with_facts(RESULTS[RESULTS["estimator"] == "vargrad"].assign(estimator="sobel"))
    sobel = beyond_controls(pd.concat([RESULTS[RESULTS["estimator"] == "reference"], named]))
    assert (sobel["note"] == "").all()  # it explains no network, so there is no equally smooth ranking to lack


def test_without_controls_the_table_is_empty() -> None:
    for results in (PLAIN, PLAIN.iloc[:0]):
        table = beyond_controls(results)
        assert len(table) == len(control_curves(results)) == 0
        assert tuple(table.columns) == BEYOND_COLUMNS


def test_chance_is_known_where_the_classes_are() -> None:
    assert set(beyond_controls(RESULTS)["chance"]) == {25.0}
    assert beyond_controls(RESULTS.drop(columns="class_accuracy"))["chance"].isna().all()


def test_masks_serve_every_fill_of_their_estimator_and_each_setting_alone() -> None:
    noise = PLAIN[PLAIN["estimator"] != "reference"].assign(fill="noise")
    tuned = RESULTS.assign(retrainer="simplecnn (fine-tune)", accuracy=RESULTS["accuracy"] - 0.1)
    table = beyond_controls(pd.concat([RESULTS, noise, tuned]))
    cells = table[table["threshold"] == 50].set_index(["retrainer", "fill", "estimator"])
    mean, noisy, other = (cells.loc[(name, fill, "vargrad")] for name, fill in (
        ("simplecnn", "mean"), ("simplecnn", "noise"), ("simplecnn (fine-tune)", "mean")))
    assert mean["shape_accuracy"] == noisy["shape_accuracy"] == pytest.approx(other["shape_accuracy"] + 10)
    assert mean["drop"] == pytest.approx(other["drop"])  # each has its own reference
    assert np.isnan(noisy["beyond_blurred"])


def test_control_curves_have_no_point_at_zero() -> None:
    table = control_curves(RESULTS)
    assert table["threshold"].min() == 10
    assert set(table["control"]) == {"random-blurred", "mask-only"}
    row = table[(table["estimator"] == "vargrad") & (table["threshold"] == 90) & (table["control"] == "mask-only")]
    values = RESULTS.query("estimator == 'vargrad' and fill == 'mask-only' and threshold == 90")["accuracy"]
    assert row["mean"].item() == pytest.approx(values.mean())
