"""Figures: drawn without pyplot, labels that do not collide, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, deletion_of, facts, synthetic_results, with_controls
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from roar.analysis.beyond import control_curves
from roar.analysis.curves import curves
from roar.analysis.figures import (
    accuracy_curves,
    accuracy_matrix,
    critical_difference_diagram,
    curves_beside_controls,
    leaderboard_intervals,
)
from roar.analysis.figures.palette import FAMILY_COLORS
from roar.analysis.figures.style import CONTROL_LOOKS, look, render, spread
from roar.analysis.leaderboard import leaderboard
from roar.analysis.ranks import critical_differences
from roar.errors import AnalysisError
from roar.metrics.deletion.areas import deletion_beside_roar
from roar.metrics.deletion.figures import deletion_and_roar_curves, deletion_multiples, deletion_scatter


def boxes(figure: Figure) -> dict[str, tuple[float, float, float, float]]:
    """The boxes of the lines' labels in pixels: x0, y0, x1, y1."""
    figure.draw_without_rendering()
    found = [child for axes in figure.axes for child in axes.get_children() if isinstance(child, Annotation)]
    extents = [(child, Text.get_window_extent(child)) for child in found]
    return {child.get_text(): tuple(box.extents) for child, box in extents}


def test_every_estimator_is_labeled_and_no_two_labels_overlap() -> None:
    figure = accuracy_curves(curves(synthetic_results(TWENTY)))
    found = boxes(figure)
    assert set(found) == {*TWENTY, "nothing replaced"}
    ranked = sorted(found.values(), key=lambda box: box[1])
    assert all(below[3] <= above[1] + 1.0 for below, above in pairwise(ranked))  # within a pixel
    width = figure.get_figwidth() * figure.dpi
    assert min(box[0] for box in ranked) >= 0
    assert max(box[2] for box in ranked) <= width


def test_panels_for_what_cannot_be_compared() -> None:
    figure = accuracy_curves(curves(synthetic_results(models=("a", "b"))))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["digits · a", "digits · b"]


def test_svg_is_text_and_the_same_twice() -> None:
    table = curves(synthetic_results(failed=[("vargrad", 90.0, seed) for seed in range(5)]))
    first, second = (render(accuracy_curves(table)) for _ in range(2))
    assert first == second
    assert b">vargrad</text>" in first


def test_drawing_leaves_pyplot_unloaded() -> None:
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from analysis_results import synthetic_results\n"
            "from roar.analysis.curves import curves; from roar.analysis.figures import accuracy_curves\n"
            "accuracy_curves(curves(synthetic_results())); print('matplotlib.pyplot' in sys.modules)")
    tests = str(Path(__file__).parents[1] / "support")
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_single_seed_and_a_single_threshold_can_be_drawn() -> None:
    figure = accuracy_curves(curves(synthetic_results(["gradient"], [0.0, 50.0], seeds=1)))
    assert "gradient" in boxes(figure)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="no finished cells"):
        accuracy_curves(curves(synthetic_results().iloc[:0]))


def test_estimators_of_one_panel_look_different() -> None:
    looks = [look(facts(name)) for name in TWENTY]
    assert len({(one.color, one.dashes, one.marker) for one in looks}) == len(TWENTY)
    assert len({(one.dashes, one.marker) for one in looks}) == len(TWENTY)  # in gray as well


@given(st.lists(st.floats(-1e3, 1e3), max_size=30), st.floats(0, 50))
def test_labels_keep_their_order_distance_and_bounds(positions: list[float], gap: float) -> None:
    placed = spread(positions, gap, -500.0, 500.0)
    fits = min(gap, 1000.0 / max(len(positions) - 1, 1))
    ranked = np.argsort(positions, kind="stable")
    steps = np.diff(np.array(placed)[ranked]) if positions else np.array([])
    assert np.all(steps >= fits - 1e-6)
    assert all(-500 - 1e-6 <= place <= 500 + 1e-6 for place in placed)


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([1.0, 9.0, 5.0], 2.0, 0.0, 10.0) == [1.0, 9.0, 5.0]
    assert spread([5.0, 5.0], 2.0, 0.0, 10.0) == [4.0, 6.0]


RESULTS = synthetic_results(classes=3, failed=[("vargrad", 90.0, seed) for seed in range(5)])
ODD = RESULTS.replace({"estimator": {"gradient": "a 😀 cat $x^2$", "smoothgrad": "שלום"}})
FIGURES = {
    "matrix": lambda: accuracy_matrix(curves(RESULTS)),
    "leaderboard": lambda: leaderboard_intervals(leaderboard(RESULTS)),
    "critical difference": lambda: critical_difference_diagram(critical_differences(RESULTS)[0]),
    "odd names": lambda: accuracy_curves(curves(ODD)),
    "deletion curves": lambda: deletion_and_roar_curves(curves(RESULTS), deletion_of(dict.fromkeys(SIX, 0.3))),
    "deletion multiples": lambda: deletion_multiples(pd.concat([
        deletion_of(dict.fromkeys(TWENTY, 0.3)), deletion_of(dict.fromkeys(SIX, 0.2), "kar"),
        deletion_of({"random": 0.2}).assign(fill="noisy-linear")])),
    "deletion scatter": lambda: deletion_scatter(deletion_beside_roar(RESULTS, deletion_of(dict.fromkeys(SIX, 0.3)))),
    "controls": lambda: curves_beside_controls(curves(RESULTS), control_curves(with_controls(RESULTS))),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_whole_and_a_notebook_shows_it(name: str) -> None:
    figure = FIGURES[name]()
    assert render(FIGURES[name](), "svg") == render(FIGURES[name](), "svg")
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        for text in axes.texts:
            box = Text.get_window_extent(text)
            assert box.x0 >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= height + 1, text


def test_a_failed_cell_has_no_number() -> None:
    figure = accuracy_matrix(curves(RESULTS))
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert len(numbers) == len(SIX) * 6 - 1
    assert "nan" not in numbers


def test_what_the_test_does_not_tell_apart_is_hollow() -> None:
    board = leaderboard(synthetic_results(std=0.0))
    board["random_verdict"] = ["better", "open", "", "worse", "untested", "open"]
    axes = leaderboard_intervals(board).axes[0]
    faces = [line.get_markerfacecolor() for line in axes.get_lines() if line.get_marker() not in ("None", None, "")]
    hollow = [face == "#ffffff" for face in faces]
    assert hollow == [False, True, False, True, True]


def test_figures_say_what_they_lack() -> None:
    with pytest.raises(AnalysisError, match="held against 'random'"):
        leaderboard_intervals(leaderboard(synthetic_results(["gradient"])))
    with pytest.raises(AnalysisError, match="both deletion and ROAR"):
        deletion_and_roar_curves(curves(RESULTS), deletion_of({"gradient": 0.1}).assign(model="other"))
    with pytest.raises(AnalysisError, match="a deletion and a ROAR curve"):
        deletion_scatter(deletion_beside_roar(RESULTS, deletion_of({"gradient": 0.1})))
    with pytest.raises(AnalysisError, match="--control mask-only,random-blurred"):
        curves_beside_controls(curves(RESULTS), control_curves(RESULTS))
    with pytest.raises(AnalysisError, match="no finished cells"):
        accuracy_matrix(curves(RESULTS.assign(status="failed")))


def test_two_settings_of_one_estimator_can_be_drawn() -> None:
    results = synthetic_results(["random", "vargrad"])
    twice = pd.concat([results, *[results[results["estimator"] == name].assign(estimator=f"{name} (0f3a91)")
                                  for name in ("random", "vargrad")]])
    assert set(boxes(accuracy_curves(curves(twice)))) == {"nothing replaced", "random", "vargrad", "random (0f3a91)",
                                                         "vargrad (0f3a91)"}


def test_colors_can_be_read_on_white() -> None:
    for color in [*FAMILY_COLORS.values(), *(control[0] for control in CONTROL_LOOKS.values())]:
        parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        assert 1.05 / (np.dot(linear, (0.2126, 0.7152, 0.0722)) + 0.05) >= 4.5


def test_every_curve_stands_between_its_controls_and_random() -> None:
    both = pd.concat([RESULTS, RESULTS.assign(retrainer="simplecnn (fine-tune)")])
    results = with_controls(both)
    figure = curves_beside_controls(curves(results), control_curves(results))
    assert [axes.get_title(loc="left") for axes in figure.axes] == 2 * [name for name in SIX if name not in
                                                                        ("random", "sobel")]
    titles = [axes.get_title(loc="right") for axes in figure.axes]
    assert set(titles) == {"digits · simplecnn", "digits · simplecnn · retrained as simplecnn (fine-tune)"}
    for axes in figure.axes:
        lines = {str(line.get_label()): np.asarray(line.get_xdata()) for line in axes.get_lines()}
        assert set(lines) == {"random", "itself", "random, as smooth", "mask alone"}
        assert lines["itself"][0] == 0
        assert lines["mask alone"][0] == lines["random, as smooth"][0] == 10


def test_deletion_has_a_row_per_metric_and_a_panel_per_family() -> None:
    figure = FIGURES["deletion multiples"]()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"deletion: {family}\ndigits · simplecnn" for family in FAMILY_COLORS if family in (
        "gradient", "integrated-gradients", "guided-backprop")] + [
        "ROAD: controls\ndigits · simplecnn · fill noisy-linear", "insertion: gradient\ndigits · simplecnn"]
    names = {str(line.get_label()) for line in figure.axes[0].get_lines()}
    assert {"gradient", "vargrad", "random", "sobel"} <= names
    assert "smoothgrad-ig" not in names
    with pytest.raises(AnalysisError, match="roar delete"):
        deletion_multiples(deletion_of({}).iloc[:0])
