"""Every table by name, in every format; accuracy per class; leaderboards for people."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, synthetic_results, with_controls

from roar.analysis.classes import per_class
from roar.analysis.curves import curves
from roar.analysis.frames import COLUMNS, FORMATS, TABLES, render_table, table, tidy
from roar.errors import AnalysisError, UnknownNameError

RESULTS = synthetic_results(classes=3, failed=[("vargrad", 90.0, 1), *[("sobel", 90.0, s) for s in range(5)]])


@pytest.mark.parametrize("name", TABLES)
def test_every_table_in_every_format(name: str) -> None:
    frame = table(with_controls(RESULTS), name)
    assert len(frame)
    assert [c for c in frame.columns if c not in COLUMNS and not c.endswith(" %")] == []
    for kind in FORMATS:
        assert render_table(frame, kind)
    back = pd.read_parquet(io.BytesIO(render_table(frame, "parquet")))
    assert list(back.columns) == list(frame.columns)
    for column in frame.select_dtypes("float"):
        np.testing.assert_array_equal(back[column], frame[column])
    rows = json.loads(render_table(frame, "json"))
    assert len(rows) == len(frame)
    assert list(rows[0]) == list(frame.columns)
    assert len(render_table(frame, "markdown").decode().splitlines()) == len(frame) + 2
    assert len(render_table(frame, "text").decode().splitlines()) == len(frame) + 1


def test_csv_keeps_every_digit_and_json_has_no_nan() -> None:
    frame = table(RESULTS, "curves")
    back = pd.read_csv(io.BytesIO(render_table(frame, "csv")), dtype=str)
    np.testing.assert_array_equal([float(text) for text in back["mean"]], frame["mean"])
    rows = json.loads(render_table(frame, "json"), parse_constant=lambda _: pytest.fail("NaN is no JSON"))
    assert [row["mean"] for row in rows if row["estimator"] == "sobel"][-1] is None


def test_names_with_marks_survive_markdown_and_latex() -> None:
    frame = pd.DataFrame({"class": ["a|b", "50 % & $x$", "line\nbreak"], "n": [1, 2, 3]})
    assert "a\\|b" in render_table(frame, "markdown").decode()
    assert len(render_table(frame, "markdown").decode().splitlines()) == 5
    assert r"50 \% \& \$x\$" in render_table(frame, "latex").decode()


def test_unknown_tables_and_formats_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'leaderboard'"):
        table(RESULTS, "leaderbord")
    with pytest.raises(UnknownNameError, match="'parquet'"):
        render_table(RESULTS, "parket")  # type: ignore[arg-type]


def test_tidy_results_have_categories_and_mean_the_same() -> None:
    frame = tidy(RESULTS.sample(frac=1, random_state=1))
    assert isinstance(frame["estimator"].dtype, pd.CategoricalDtype)
    assert list(frame["estimator"].cat.categories) == ["reference", *SIX]
    assert list(frame.columns[:11]) == ["source", "model", "regularizer", "retrainer", "estimator", "mode", "fill",
                                        "threshold", "seed", "status", "accuracy"]
    for name in ("curves", "leaderboard", "areas", "findings", "classes"):
        pd.testing.assert_frame_equal(table(frame, name), table(RESULTS, name))


def test_accuracy_per_class() -> None:
    frame = per_class(RESULTS, ["zero", "one", "two"])
    assert list(frame["class"].unique()) == ["zero", "one", "two"]
    cell = RESULTS[(RESULTS["estimator"] == "vargrad") & (RESULTS["threshold"] == 90) & (RESULTS["status"] == "ok")]
    own = frame[(frame["estimator"] == "vargrad") & (frame["threshold"] == 90) & (frame["class"] == "one")].iloc[0]
    values = [row[1] for row in cell["class_accuracy"]]
    assert own["n"] == 4
    assert own["mean"] == pytest.approx(np.mean(values))
    assert own["std"] == pytest.approx(np.std(values, ddof=1))


def test_a_class_without_images_counts_for_nothing() -> None:
    results = RESULTS.copy()
    results["class_accuracy"] = [None if row is None else [row[0], float("nan"), row[2]]
                                 for row in results["class_accuracy"]]
    empty = per_class(results).query("class_index == 1")
    assert (empty["n"] == 0).all()
    assert empty["mean"].isna().all()


def test_classes_that_are_not_there_or_do_not_fit() -> None:
    with pytest.raises(AnalysisError, match="no accuracy per class"):
        per_class(synthetic_results())
    with pytest.raises(AnalysisError, match="3 and 4"):
        per_class(RESULTS, ["a", "b", "c", "d"])


def test_sources_may_have_different_classes() -> None:
    both = pd.concat([RESULTS, synthetic_results(["random"], source="letters", classes=26)])
    assert per_class(both).groupby("source")["class"].nunique().to_dict() == {"digits": 3, "letters": 26}


def test_empty_results_give_empty_tables() -> None:
    empty = synthetic_results().iloc[:0]
    for name in ("curves", "leaderboard", "areas", "tests", "controls", "pairs", "ranks", "agreement", "findings",
                 "paper"):
        assert not len(table(empty, name)), name
    assert tuple(table(empty, "curves").columns) == tuple(curves(RESULTS).columns)
