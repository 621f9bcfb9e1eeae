"""Charts within a page: drawn by the functions that draw the files, themed, switchable, readable, without ids."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, deletion_of, facts, synthetic_results, with_controls

from roar.analysis.beyond import control_curves
from roar.analysis.curves import curves
from roar.analysis.facts import UNTOUCHED
from roar.analysis.figures import (
    FILE,
    PAGE,
    PHONE,
    accuracy_curves,
    critical_difference_diagram,
    curves_beside_controls,
    leaderboard_intervals,
    render,
)
from roar.analysis.figures.inline import chart, inline, swatch
from roar.analysis.figures.matrix import ON_DARK, ON_LIGHT, draw_cells
from roar.analysis.figures.palette import THEME, text_width
from roar.analysis.figures.style import RC, TILE, Medium, look, new_figure
from roar.analysis.leaderboard import leaderboard, with_remarks
from roar.analysis.ranks import critical_differences
from roar.metrics.deletion.areas import deletion_beside_roar
from roar.metrics.deletion.figures import deletion_scatter

RESULTS = synthetic_results(TWENTY, failed=[("vargrad", 50.0, seed) for seed in range(5)])
DRAWN = {
    "accuracy": lambda medium: accuracy_curves(curves(RESULTS), medium=medium),
    "leaderboard": lambda medium: leaderboard_intervals(leaderboard(RESULTS), medium),
    "critical difference": lambda medium: critical_difference_diagram(critical_differences(RESULTS)[0], medium),
    "controls": lambda medium: curves_beside_controls(
        curves(RESULTS), control_curves(with_controls(synthetic_results(["gradient", "random"]))), medium),
    "deletion scatter": lambda medium: deletion_scatter(
        deletion_beside_roar(RESULTS, deletion_of(dict.fromkeys(SIX, 0.3))), medium=medium),
}


def tree(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def values(svg: ElementTree.Element, estimator: str) -> list[str]:
    return [str(title.text) for group in svg.iter("g") if group.get("data-estimator") == estimator
            for mark in group if (mark.get("class") or "").startswith("pt") for title in mark.iter("title")]


@pytest.mark.parametrize("medium", [FILE, PAGE, PHONE], ids=["file", "page", "phone"])
@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_well_formed_the_same_twice_and_leaves_colors_to_the_page(name: str, medium: Medium) -> None:
    markup = inline(DRAWN[name](medium), "a <label> & \"more\"", "wide")
    assert markup == inline(DRAWN[name](medium), "a <label> & \"more\"", "wide")
    svg = tree(markup)
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "a <label> & \"more\""
    assert svg.get("tabindex") == "0"
    assert svg.get("class") == "chart wide"
    assert not re.search(r"#[0-9a-f]{6}|rgb\(| id=|href|url\(|<style|<defs|nan", markup)
    known = {*THEME.values()}
    used = {word[2:] for part in svg.iter() for word in (part.get("class") or "").split() if word[1:2] == "-"}
    assert used
    assert used <= known


@pytest.mark.parametrize("medium", [PAGE, PHONE], ids=["page", "phone"])
@pytest.mark.parametrize("name", DRAWN)
def test_all_text_is_within_the_chart(name: str, medium: Medium) -> None:
    svg = tree(inline(DRAWN[name](medium), "x"))
    _, _, width, height = map(float, str(svg.get("viewBox")).split())
    for text in svg.iter("text"):
        size = float(text.get("font-size", "9"))
        place = re.match(r"translate\((.+),(.+)\) rotate\((.+)\)", text.get("transform", ""))
        x, y, angle = map(float, place.groups()) if place else (float(text.get("x")), float(text.get("y")), 0.0)
        share = {None: 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor")]
        along = np.array([-share, 1 - share]) * 72 * text_width(str(text.text), size)
        across, down = x + along * np.cos(np.radians(angle)), y + along * np.sin(np.radians(angle))
        assert across.min() >= -1, text.text
        assert across.max() <= width + 1, text.text
        assert down.min() >= size / 2, text.text
        assert down.max() <= height, text.text


def test_every_cell_of_every_estimator_can_be_read() -> None:
    svg = tree(inline(accuracy_curves(curves(RESULTS), medium=PAGE), "x"))
    assert {group.get("data-estimator") for group in svg.iter("g")} - {None} == set(TWENTY)
    table = curves(RESULTS).set_index(["estimator", "threshold"])["mean"]
    said = values(svg, "sobel")
    assert [words.split(" %")[0] for words in said] == [f"sobel, {t}" for t in (0, 10, 30, 50, 70, 90)]
    assert f"sobel, 70 % replaced: {100 * table['sobel', 70.0]:.1f} %, 95 % interval over seeds " in said[4]
    assert len(values(svg, "vargrad")) == 5  # none where no seed finished
    assert "vargrad, 70 %" in values(svg, "vargrad")[3]  # and what follows still says its own value


def test_a_point_lies_where_its_value_is() -> None:
    figure = accuracy_curves(curves(RESULTS), medium=PAGE)
    svg = tree(inline(figure, "x"))
    (axes,) = figure.axes
    line = next(line for line in axes.get_lines() if line.get_label() == "gradient")
    expected = axes.transData.transform(line.get_xydata()) * 72 / figure.dpi
    points = [mark for group in svg.iter("g") if group.get("data-estimator") == "gradient"
              for mark in group if mark.tag == "circle"]
    height = float(str(svg.get("viewBox")).split()[3])
    drawn = [(float(str(point.get("cx"))), height - float(str(point.get("cy")))) for point in points]
    assert np.allclose(drawn, expected, atol=0.06)


def test_the_phone_gets_its_own_drawing_without_names_at_the_lines() -> None:
    drawn = []
    both = tree(f"<div>{chart(lambda medium: drawn.append(medium) or DRAWN['accuracy'](medium), 'x')}</div>")
    assert drawn == [PAGE, PHONE]
    wide, narrow = both
    assert [svg.get("class") for svg in both] == ["chart wide", "chart narrow"]
    assert "vargrad" in {text.text for text in wide.iter("text")}
    assert "vargrad" not in {text.text for text in narrow.iter("text")}
    assert values(wide, "vargrad") == values(narrow, "vargrad")


def test_names_are_text_in_a_chart() -> None:
    rough = "<script>alert('1')</script> & \"x\" $\\alpha$"
    results = synthetic_results(["gradient", "random"]).replace({"estimator": {"gradient": rough}})
    markup = inline(accuracy_curves(curves(results), medium=PAGE), rough)
    assert "<script" not in markup
    svg = tree(markup)
    assert rough in {text.text for text in svg.iter("text")}
    assert rough in {group.get("data-estimator") for group in svg.iter("g")}
    assert values(svg, rough)[0].startswith(rough)


def test_a_tile_has_lines_alone() -> None:
    markup = inline(accuracy_curves(curves(RESULTS), medium=TILE), "x")
    assert "<title>nothing replaced" in markup
    assert 'class="pt' not in markup
    assert "test accuracy" not in markup


def test_what_is_not_told_apart_is_hollow_on_the_page_too() -> None:
    board = leaderboard(synthetic_results(std=0.0))
    board["random_verdict"] = ["better", "open", "", "worse", "untested", "open"]
    svg = tree(inline(leaderboard_intervals(board, PAGE), "x"))
    hollow = {words.split(" over ")[0]: "hollow" in str(mark.get("class")).split()
              for mark in svg.iter() if (mark.get("class") or "").startswith("pt")
              for title in mark.iter("title") for words in [str(title.text)] if " over random" in words}
    expected = {row["estimator"]: row["random_verdict"] not in ("better", "worse") for row in board.to_dict("records")
                if row["estimator"] != "random" and row["estimator"] != "sobel"}
    assert {name: hollow[name] for name in expected} == expected


def test_a_file_shows_remarks_and_a_page_has_them_in_its_table() -> None:
    board = with_remarks(leaderboard(synthetic_results()), ["warned of", *[""] * 5])
    both = with_remarks(board, ["and of this", *[""] * 5])
    assert both["remark"].iloc[0] == "warned of; and of this"
    assert b"warned of; and of this" in render(leaderboard_intervals(both), "svg")
    assert "warned of" not in inline(leaderboard_intervals(both, PAGE), "x")


def test_cells_keep_their_colors_and_say_their_values() -> None:
    import matplotlib as mpl

    grid = np.array([[1.0, np.nan], [-1.0, 0.0]])
    with mpl.rc_context({**RC, "axes.grid": False}):
        figure = new_figure(2, 2, "none")
        draw_cells(figure.add_axes((0, 0, 1, 1)), grid, np.array([["1", ""], ["-1", "0"]]), "RdBu_r", (-1, 1),
                   ["one", "none", "minus one", "zero"])
    svg = tree(inline(figure, "x"))
    said = {str(title.text): str(part.get("style")) for part in svg.iter("path") for title in part.iter("title")}
    assert {"one": said["one"], "minus one": said["minus one"]} == {"one": "fill:#67001f", "minus one": "fill:#053061"}
    assert said["zero"].startswith("fill:#f")  # the cell after the missing one has its own words
    inks = {str(text.text): str(text.get("style")) for text in svg.iter("text")}
    assert inks == {"1": f"fill:{ON_DARK}", "-1": f"fill:{ON_DARK}", "0": f"fill:{ON_LIGHT}"}


def test_what_reaches_beyond_a_panel_is_cut() -> None:
    figure = accuracy_curves(curves(RESULTS), medium=PAGE, limits=(80.0, 90.0))
    (axes,) = figure.axes
    box = axes.get_window_extent()
    svg = tree(inline(figure, "x"))
    bottom = float(str(svg.get("viewBox")).split()[3]) - box.y0 * 72 / figure.dpi
    bands = [path for path in svg.iter("path") if path.get("opacity") == "0.14"]
    heights = [float(pair.split(",")[1]) for band in bands for pair in re.findall(r"[\d.]+,[\d.]+", str(band.get("d")))]
    assert bands
    assert max(heights) <= bottom + 1.1


def test_a_swatch_looks_like_its_line() -> None:
    for name in ("gradient", "random", "vargrad-ig"):
        svg = tree(swatch(facts(name)))
        line = svg[0]
        style = look(facts(name))
        dashes = " ".join(f"{part * style.width:.1f}".removesuffix(".0") for part in style.dashes)
        assert line.get("stroke-dasharray") == (dashes or None)
        assert str(svg[1].get("class")).startswith("pt")
    assert len(tree(swatch(UNTOUCHED))) == 1


def test_an_interval_that_is_missing_is_not_drawn() -> None:
    table = curves(synthetic_results(["gradient", "random"], seeds=1))
    markup = inline(accuracy_curves(table, medium=PAGE), "x")
    assert 'opacity="0.14"' not in markup
    assert "(1 seed)" in markup
    assert pd.isna(table["ci_low"]).all()
