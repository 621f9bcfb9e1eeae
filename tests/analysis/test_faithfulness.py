"""The relative area between curves against a literal sum; recursive ROAR beside the controls of ROAR."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import synthetic_results
from hypothesis import given
from hypothesis import strategies as st

from roar.analysis.curves import curves, panels
from roar.analysis.faithfulness import FAITHFULNESS_COLUMNS, faithfulness, relative_area
from roar.analysis.leaderboard import leaderboard
from roar.analysis.shared import with_stand_ins

THREE = ("gradient", "vargrad", "random")
SHARES = st.lists(st.floats(0, 1), min_size=3, max_size=6)


def literally(x: list[float], b: list[float], p: list[float]) -> float:
    """The paper's sum, term by term."""
    above = below = 0.0
    for i in range(len(x) - 1):
        step = x[i + 1] - x[i]
        above += 0.5 * step * ((b[i] - p[i]) + (b[i + 1] - p[i + 1]))
        below += 0.5 * step * ((b[i] - b[-1]) + (b[i + 1] - b[-1]))
    return above / below


def recursive(results: pd.DataFrame) -> pd.DataFrame:
    """Recursive ROAR as the pipeline gives it: no row of a control, and lower accuracies."""
    own = results[~results["estimator"].isin(["random", "sobel", "reference"])]
    return own.assign(mode="recursive", accuracy=own["accuracy"] - 0.02, job="again-" + own["job"])


@pytest.mark.parametrize("measured", [True, False])
def test_every_seed_has_the_papers_sum(measured: bool) -> None:
    thresholds = [0.0, 10.0, 50.0, 90.0, *([100.0] if measured else [])]
    results = synthetic_results(THREE, thresholds, classes=4)
    accuracy = results.set_index(["estimator", "threshold", "seed"])["accuracy"]
    expected = []
    for seed in range(5):
        b, p = ([accuracy["reference", 0.0, seed], *(accuracy[name, t, seed] for t in thresholds[1:])]
                for name in ("random", "vargrad"))
        if not measured:
            b, p = [*b, 0.25], [*p, 0.25]
        expected.append(100 * literally([0, 10, 50, 90, 100], b, p))
    row = faithfulness(results).set_index("estimator").loc["vargrad"]
    assert row["racu"] == pytest.approx(np.mean(expected))
    assert row["std"] == pytest.approx(np.std(expected, ddof=1))
    half = 2.776445 * np.std(expected, ddof=1) / np.sqrt(5)  # t(0.975, 4 degrees of freedom)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((np.mean(expected) - half, np.mean(expected) + half))
    assert (row["n"], row["thresholds"], row["end"]) == (5, 5, "measured" if measured else "chance")


@given(SHARES, st.floats(0.01, 1), st.floats(0.1, 10))
def test_random_has_none_all_lost_at_once_is_all_and_units_do_not_matter(falls: list[float], total: float,
                                                                         unit: float) -> None:
    b = (0.95 - total * 0.9 * np.cumsum([0.0, *falls]) / max(sum(falls), 1e-9))[:, None]
    if b[0, 0] - b[-1, 0] < 1e-6:
        return
    x = np.linspace(0, unit, len(b))
    assert relative_area(x, b, b) == 0
    lost = np.broadcast_to(b[-1], b.shape)
    assert relative_area(x, b, lost) == pytest.approx(1)
    half = (b + lost) / 2
    assert relative_area(x, b, half) == pytest.approx(0.5)
    assert relative_area(100 * x, b, half) == pytest.approx(relative_area(x, b, half))


def test_where_random_loses_nothing_there_is_nothing_to_be_relative_to() -> None:
    flat = np.full((3, 1), 0.9)
    assert np.isnan(relative_area([0, 50, 100], flat, flat - 0.1)).all()


def test_what_is_missing_is_said() -> None:
    results = synthetic_results(THREE)
    assert (faithfulness(results)["note"] == "no training at t = 100 and no number of classes: the end of "
                                             "the curves is unknown").all()
    known = synthetic_results(THREE, classes=4)
    headless = faithfulness(known[known["estimator"] != "reference"])
    assert headless["racu"].isna().all()
    assert headless["note"].str.startswith("no training at t = 0").all()
    single = faithfulness(synthetic_results(THREE, classes=4, seeds=1))
    assert single["racu"].notna().all()
    assert single[["std", "ci_low", "ci_high"]].isna().all(axis=None)
    assert (single["note"] == "one seed: no spread, no interval, no test").all()
    for empty in (known.iloc[:0], known[known["estimator"] != "random"],
                  synthetic_results(THREE, classes=4, mode="kar")):
        assert tuple(faithfulness(empty).columns) == FAITHFULNESS_COLUMNS
        assert not len(faithfulness(empty))


def test_recursive_roar_stands_beside_the_controls_of_roar() -> None:
    plain = synthetic_results(classes=4)
    results = pd.concat([plain, recursive(plain)], ignore_index=True)
    table = curves(results)
    found = {here["mode"]: part for here, part in panels(table)}
    assert list(found) == ["roar", "recursive"]
    assert set(found["roar"]["estimator"]) == set(found["recursive"]["estimator"])
    for control in ("random", "sobel"):
        one, two = (part[part["estimator"] == control]["mean"].tolist() for part in found.values())
        assert one == two
    board = leaderboard(results)
    verdicts = board.set_index(["mode", "estimator"])["random_verdict"]
    assert verdicts["recursive", "vargrad"] == "better"
    areas = faithfulness(results).set_index(["mode", "estimator"])["racu"]
    assert areas["recursive", "vargrad"] > areas["roar", "vargrad"]
    assert areas["recursive", "sobel"] == areas["roar", "sobel"]
    again = with_stand_ins(with_stand_ins(results))
    assert len(again) == len(with_stand_ins(results)) == len(results) + 2 * 5 * 5
    assert with_stand_ins(plain) is plain


def test_stand_ins_keep_to_their_setting_and_fill() -> None:
    plain = synthetic_results(THREE, models=("a", "b"))
    again = recursive(plain[plain["model"] == "a"]).assign(fill="noise")
    assert set(with_stand_ins(pd.concat([plain, again])).query("mode == 'recursive'")["estimator"]) == {
        "gradient", "vargrad"}
    found = with_stand_ins(pd.concat([plain, again.assign(fill="mean")])).query("mode == 'recursive'")
    assert set(found["model"]) == {"a"}
    assert set(found["estimator"]) == set(THREE)
