"""Results at chance are no ranking, and no interval of an accuracy leaves 0 to 100 %."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import synthetic_results

from roar.analysis.chance import above_chance, at_chance, warnings
from roar.analysis.curves import curves
from roar.analysis.figures import accuracy_curves, render
from roar.analysis.tables import accuracy_table
from roar.report.page import report_page


def learned_nothing(chance: float, mean: float, seeds: int = 5, spread: float = 0.02) -> pd.DataFrame:
    """Results whose accuracies lie around a mean everywhere."""
    results = synthetic_results(seeds=seeds)
    draw = np.random.default_rng(0)
    return results.assign(accuracy=(mean + draw.normal(0, spread, len(results))).clip(0, 1), chance=chance)


def test_a_setting_at_chance_has_no_order_no_verdict_and_one_red_sentence() -> None:
    results = learned_nothing(chance=0.134, mean=0.13)
    found = at_chance(results)
    assert len(found) == 1
    assert above_chance(results, found).empty
    [sentence] = warnings(found)
    assert sentence.startswith("These networks did not learn: on untouched images they are right in 1")
    assert "always answering the largest class in 13.4 %, so no estimator is ranked" in sentence
    page = report_page(results)
    assert page.count("These networks did not learn") == 1
    assert '<p class="warning" role="alert">' in page
    for word in (">Leaderboard</h3>", "Better than", "Worse than", "ranks first", "First place",
                 "Critical difference (", 'class="verdict"'):
        assert word not in page, word
    assert "Accuracy against threshold" in page


def test_what_lies_above_the_largest_class_is_ranked() -> None:
    results = synthetic_results().assign(chance=0.7)  # 93 % untouched
    assert at_chance(results).empty
    page = report_page(results)
    assert "These networks did not learn" not in page
    assert ">Leaderboard</h3>" in page


def test_only_the_setting_at_chance_loses_its_order() -> None:
    results = pd.concat([learned_nothing(0.5, 0.5).assign(source="photos"), synthetic_results().assign(chance=0.1)])
    results["job"] = results["source"] + results["job"]
    found = at_chance(results)
    assert list(found["source"]) == ["photos"]
    assert set(above_chance(results, found)["source"]) == {"digits"}


@pytest.mark.parametrize(("mean", "chance", "judged"), [(0.40, 0.35, False), (0.45, 0.35, True), (0.93, 0.9, False),
                                                        (0.96, 0.9, True)])
def test_fewer_than_three_seeds_are_judged_by_their_test_images(mean: float, chance: float, judged: bool) -> None:
    """Of 400 images 40 % are [35.3, 44.9]: not above 35.4; and 93 % are [90.1, 95.1]: not above 90.4."""
    results = learned_nothing(chance + 0.004, mean, seeds=1, spread=0.0)
    assert at_chance(results).empty == judged


def test_unknown_chance_judges_nothing() -> None:
    assert at_chance(synthetic_results().assign(accuracy=0.01)).empty


def test_equal_classes_have_a_chance_of_one_in_so_many() -> None:
    results = synthetic_results(classes=10)
    assert set(curves(results)["chance"]) == {0.1}


@pytest.mark.parametrize("accuracy", [0.02, 0.5, 0.99])
def test_intervals_stay_between_none_and_all(accuracy: float) -> None:
    results = learned_nothing(0.1, accuracy, seeds=3, spread=0.1)
    table = curves(results)
    assert (table["ci_low"] >= 0).all()
    assert (table["ci_high"] <= 1).all()
    assert (table["ci_low"] <= table["mean"]).all()
    assert (table["mean"] <= table["ci_high"]).all()


def test_two_seeds_are_shown_as_the_values_that_they_are() -> None:
    results = synthetic_results(seeds=2)
    where = (results["estimator"] == "gradient") & (results["threshold"] == 50)
    results.loc[where, "accuracy"] = [0.2, 0.3]
    table = curves(results)
    assert table["ci_low"].isna().all()
    wide = accuracy_table(table).set_index("estimator")
    assert wide.loc["gradient", "50 %"] == "20.0, 30.0"
    drawn = render(accuracy_curves(table), "svg").decode()
    assert "interval" not in drawn
    shown = report_page(results)
    assert "20.0, 30.0" in shown


def test_an_interval_that_is_cut_is_in_brackets() -> None:
    results = synthetic_results(seeds=3)
    where = (results["estimator"] == "gradient") & (results["threshold"] == 50)
    results.loc[where, "accuracy"] = [0.1, 0.2, 0.45]
    wide = accuracy_table(curves(results)).set_index("estimator")
    assert wide.loc["gradient", "50 %"] == "25.0 [0.0, 69.8]"
    assert "±" in wide.loc["vargrad", "50 %"]


def test_the_chart_has_the_line_of_chance() -> None:
    table = curves(synthetic_results().assign(chance=0.37))
    assert b'id="chance"' in render(accuracy_curves(table), "svg")
    assert b'id="chance"' not in render(accuracy_curves(table.assign(chance=np.nan)), "svg")
    assert "chance: 37.0 %" in report_page(synthetic_results().assign(chance=0.37))
