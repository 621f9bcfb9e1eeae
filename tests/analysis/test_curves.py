"""Means, intervals and order of the curves, against numbers worked out by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, facts, synthetic_results, with_facts

from roar.analysis.curves import CURVE_COLUMNS, curves, panels, with_reference
from roar.analysis.facts import Facts, facts_of
from roar.analysis.figures.style import look
from roar.errors import AnalysisError


def cell(frame: pd.DataFrame, estimator: str, threshold: float) -> pd.Series:
    rows = frame[(frame["estimator"] == estimator) & (frame["threshold"] == threshold)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_mean_std_and_interval_are_those_of_a_table_of_t() -> None:
    results = synthetic_results(["random"], [0.0, 50.0], seeds=5)
    results.loc[results["estimator"] == "random", "accuracy"] = [0.50, 0.52, 0.54, 0.56, 0.58]
    row = cell(curves(results), "random", 50.0)
    half = 2.776445 * np.sqrt(0.001) / np.sqrt(5)  # t(0.975, 4 degrees of freedom); variance 0.004 / 4
    assert row["mean"] == pytest.approx(0.54)
    assert row["std"] == pytest.approx(np.sqrt(0.001))
    assert row["n"] == 5
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.54 - half, 0.54 + half), rel=1e-6)


def test_failed_seeds_are_left_out_and_n_says_so() -> None:
    failed = [("random", 50.0, 1), *[("sobel", 50.0, seed) for seed in range(5)]]
    results = synthetic_results(["random", "sobel"], [0.0, 50.0], failed=failed)
    table = curves(results)
    finished = results.query("estimator == 'random' and seed != 1")["accuracy"]
    assert cell(table, "random", 50.0)["n"] == 4
    assert cell(table, "random", 50.0)["mean"] == pytest.approx(finished.mean())
    empty = cell(table, "sobel", 50.0)
    assert empty["n"] == 0
    assert empty[["mean", "std", "ci_low", "ci_high"]].isna().all()


def test_one_seed_has_a_mean_and_nothing_else() -> None:
    row = cell(curves(synthetic_results(seeds=1)), "vargrad", 90.0)
    assert row["n"] == 1
    assert 0 < row["mean"] < 1
    assert row[["std", "ci_low", "ci_high"]].isna().all()


def test_an_accuracy_in_a_failed_row_does_not_count() -> None:
    results = synthetic_results(["random"], [0.0, 50.0])
    results.loc[results["seed"] == 0, "status"] = "failed"
    assert set(curves(results)["n"]) == {4}


def test_the_order_of_the_rows_does_not_matter() -> None:
    results = synthetic_results(models=("b", "a"))
    shuffled = results.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(curves(results), curves(shuffled))
    table = curves(results)
    assert tuple(table.columns) == (*CURVE_COLUMNS, "chance")
    assert list(table["model"].unique()) == ["a", "b"]
    assert list(table["estimator"].unique()) == ["reference", *SIX]


def test_an_empty_frame_gives_empty_curves() -> None:
    table = curves(synthetic_results().iloc[:0])
    assert len(table) == 0
    assert tuple(table.columns) == (*CURVE_COLUMNS, "chance")


def test_a_seed_twice_is_an_error() -> None:
    results = synthetic_results()
    with pytest.raises(AnalysisError, match="seed 0 of reference at t = 0 occurs twice"):
        curves(pd.concat([results, results.iloc[:1]]))


def test_missing_columns_are_named() -> None:
    with pytest.raises(AnalysisError, match="lack the columns seed, accuracy"):
        curves(synthetic_results().drop(columns=["accuracy", "seed"]))


def test_every_curve_gets_the_shared_cell_of_its_own_setting() -> None:
    results = synthetic_results(models=("a", "b"))
    kar = synthetic_results(models=("a",), mode="kar").query("estimator != 'reference'")
    lines = with_reference(curves(pd.concat([results, kar])))
    starts = lines[lines["threshold"] == 0]
    assert len(starts) == 3 * len(SIX)
    assert "reference" not in set(lines["estimator"])
    for model in ("a", "b"):
        own = cell(curves(results[results["model"] == model]), "reference", 0.0)
        assert set(starts[starts["model"] == model]["mean"]) == {own["mean"]}


def test_controls_that_models_share_are_in_the_curves_of_each() -> None:
    results = synthetic_results(models=("a", "b")).assign(protocol="p", retrainer="c")
    own = results["estimator"].isin(["gradient", "smoothgrad", "smoothgrad-squared", "vargrad"])
    results = results[own | (results["model"] == "a")]
    table = curves(results)
    assert table.groupby("model")["estimator"].nunique().to_dict() == {"a": 7, "b": 7}
    one, two = (table[(table["model"] == model) & (table["estimator"] == "random")] for model in ("a", "b"))
    assert one["mean"].tolist() == two["mean"].tolist()
    apart = results.assign(protocol=results["model"])
    assert curves(apart).groupby("model")["estimator"].nunique().to_dict() == {"a": 7, "b": 4}


def test_panels_part_what_cannot_be_compared() -> None:
    kar = synthetic_results(models=("a",), mode="kar").query("estimator != 'reference'")
    found = panels(curves(pd.concat([synthetic_results(models=("a", "b")), kar])))
    names = [(here["model"], here["mode"]) for here, _ in found]
    assert names == [("a", "roar"), ("a", "kar"), ("b", "roar")]
    for here, part in found:
        assert list(part["estimator"]).count("reference") == 1
        assert set(part[part["estimator"] != "reference"]["mode"]) == {here["mode"]}


@pytest.mark.parametrize(("name", "family", "group", "base", "ensemble", "published"), [
    ("gradient", "gradient", "gradient", "gradient", "base", "GRAD"),
    ("gradient-magnitude", "gradient", "gradient", "gradient", "magnitude", None),
    ("smoothgrad-squared", "gradient", "gradient", "gradient", "smoothgrad-squared", "SG-SQ-GRAD"),
    ("smoothgrad-ig", "integrated-gradients", "integrated-gradients", "integrated-gradients", "smoothgrad", "SG-IG"),
    ("smoothgrad-magnitude-gb", "guided-backprop", "guided-backprop", "guided-backprop", "smoothgrad-magnitude", None),
    ("vargrad-gb", "guided-backprop", "guided-backprop", "guided-backprop", "vargrad", "VAR-GB"),
    ("deeplift", "deeplift", "others", "deeplift", "base", None),
    ("vargrad(deeplift)", "deeplift", "others", "deeplift", "vargrad", None),
    ("random", "control", "controls", "random", "base", "Random"),
    ("sobel", "control", "controls", "sobel", "base", "Sobel"),
    ("random-bernoulli", "control", "controls", "random-bernoulli", "base", None),
    ("random-blurred(vargrad)", "matched-spectrum", "others", "random-blurred", "base", None),
    ("oracle", "truth", "truth", "oracle", "base", None),
    ("oracle-noisy(0.2)", "truth", "truth", "oracle-noisy", "base", None),
])
def test_an_estimator_says_what_it_is(name: str, family: str, group: str, base: str, ensemble: str,
                                      published: str | None) -> None:
    found = facts(name)
    assert (found.family, found.group, found.base, found.ensemble) == (family, group, base, ensemble)
    assert found.paper_name == published
    assert found.control_of == ("vargrad" if family == "matched-spectrum" else "")


def test_a_name_says_nothing() -> None:
    known = {"family": "control", "base": "sobel", "ensemble": "base"}
    assert Facts("smoothgrad-ig", **known).paper_name == "Sobel"
    assert look(Facts("smoothgrad-ig", **known)) == look(facts("sobel"))
    results = synthetic_results()
    renamed = {name: f"estimator {10 - i}" for i, name in enumerate(SIX)}
    found = curves(results.replace({"estimator": renamed}))
    assert list(found["estimator"].unique()) == ["reference", *renamed.values()]


def test_what_an_estimator_is_has_columns_of_its_own() -> None:
    for name in ("family", "base", "ensemble", "control_of", "architecture", "model_seed", "variant"):
        with pytest.raises(AnalysisError, match=f"lack the columns {name}; give"):
            curves(synthetic_results().drop(columns=name))
    table = curves(synthetic_results())
    row = cell(table, "vargrad", 50.0)
    assert (row["family"], row["base"], row["ensemble"], row["control_of"]) == ("gradient", "gradient", "vargrad", "")
    assert (row["architecture"], row["model_seed"], row["variant"]) == ("simplecnn", 0, "scratch")
    starts = with_reference(table).query("threshold == 0")
    assert set(zip(starts["estimator"], starts["ensemble"], strict=True)) == {(name, facts(name).ensemble)
                                                                             for name in SIX}


def test_families_stay_together_and_controls_come_last() -> None:
    names = ["sobel", "vargrad-ig", "zeta", "random", "gradient", "reference", "vargrad",
             "integrated-gradients"]
    assert list(facts_of(with_facts(pd.DataFrame({"estimator": names})))) == [
        "reference", "gradient", "vargrad", "integrated-gradients", "vargrad-ig", "zeta", "random", "sobel"]


def test_the_analysis_loads_without_torch_or_ray() -> None:
    # canvas is the one module that subclasses a class of matplotlib
    code = ("import sys, importlib, pkgutil, roar.analysis\n"
            "for m in pkgutil.walk_packages(roar.analysis.__path__, 'roar.analysis.'):\n"
            "    if not m.name.endswith('.canvas'): importlib.import_module(m.name)\n"
            "heavy = {'torch', 'ray', 'matplotlib', 'seaborn', 'scipy', 'statsmodels', 'jinja2'}\n"
            "print(sorted(heavy & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
