"""The report as one HTML page that needs nothing but itself.

No network, no library: a style sheet, some 150 lines of JavaScript, and SVG that is there without either. A
content security policy forbids the page to load anything, and every name passes through jinja2's escaping. ROAR's
sections are made here; every metric brings its own.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from roar.analysis.chance import above_chance, at_chance, is_at_chance
from roar.analysis.classes import per_class
from roar.analysis.curves import PANEL, checked, complete, curves, panel_title, panels, with_reference
from roar.analysis.faithfulness import faithfulness
from roar.analysis.figures import PAGE, accuracy_curves, critical_difference_diagram, leaderboard_intervals
from roar.analysis.figures.inline import chart, inline
from roar.analysis.figures.style import TILE
from roar.analysis.gallery import Gallery
from roar.analysis.grid import grids
from roar.analysis.leaderboard import BOARD_CONTROLS
from roar.analysis.page import Section, asset, fill, rows_of
from roar.analysis.paper import against_paper
from roar.analysis.ranks import CriticalDifference, critical_differences
from roar.analysis.stability import agreement
from roar.analysis.tables import accuracy_table
from roar.errors import AnalysisError
from roar.metrics import METRICS, Metric
from roar.metrics.deletion.areas import deletion_areas
from roar.registry import load
from roar.report.leaderboard import leaderboard_of
from roar.report.page.beside import control_sections
from roar.report.page.summary import cost, limits, panel_rows, summary

MOST_CLASSES = 20  # charts of classes on the page
PAPER_URL = "https://arxiv.org/abs/1806.10758"


def report_page(results: pd.DataFrame, frames: Mapping[str, pd.DataFrame] | None = None,
                provenance: Mapping[str, Any] | None = None, gallery: Gallery | None = None,
                class_names: Sequence[str] | None = None, metrics: Sequence[Metric] | None = None) -> str:
    """The whole report as HTML.

    Args:
        results: one row per job, as :func:`roar.analysis.curves.curves` takes them.
        frames: the tables of the metrics by name; of one that is missing or has no rows the page says that nothing
            was measured.
        provenance: what the page tells of where the numbers come from; all keys are free: ``created`` (text),
            ``experiment`` (the TOML file's text), ``commands`` (list of command lines), ``notes`` (list of
            sentences), ``citation`` (text), and any other key, whose value is text, a number, a list or a
            mapping (``versions``, ``hardware``, ``seeds``, ``keys``, ``cost``, ...), is shown under its name.
        gallery: degraded images.
        class_names: K names for the column ``class_accuracy``; default: the classes' numbers.
        metrics: that bring sections; default: the built-in ones.

    Returns:
        The text of a file. Whatever is missing, failed or too little to judge by is named on the page.

    Raises:
        AnalysisError: the results lack a column, or hold one job twice.
    """
    results = checked(results)
    table = curves(results)
    metrics = METRICS.all() if metrics is None else metrics
    frames = {**(frames or {}), "results": results, "curves": table}
    measured = [frame for name, frame in frames.items() if len(frame) and {"source", "model"} <= set(frame.columns)]
    deletion = rows_of(frames, "deletion")
    gaps = None if deletion is None else deletion_areas(deletion, rows_of(frames, "deletion-areas"))
    found = at_chance(results)
    judged = above_chance(results, found)
    told = dict(provenance or {})
    special = {key: told.pop(key, None) for key in ("created", "experiment", "commands", "notes", "citation")}
    script = asset("page.js")
    return fill(
        "roar.report.page", "report.html.j2", style=asset("page.css"), script=script, special=special,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=_title(results if len(results) or not measured else measured[0]), measured=bool(measured),
        told={key: value for key, value in told.items() if value not in (None, "", [], {})},
        panels=_panels(results, table, leaderboard_of(judged, frames, metrics), found),
        sections=_sections(frames, metrics), beside=control_sections(judged), faithfulness=_faithfulness(judged),
        jobs=_jobs(results),
        paper=against_paper(judged, gaps) if len(judged) else None,
        classes=_classes(results, class_names), agreement=_agreement(judged), gallery=_gallery(gallery),
        paper_url=PAPER_URL)


def _sections(frames: Mapping[str, pd.DataFrame], metrics: Iterable[Metric]) -> list[Section]:
    """What the metrics bring, in their order."""
    made = [load(metric.page)(frames) for metric in metrics if metric.page]
    return [section for section in made if section is not None]


def _title(results: pd.DataFrame) -> str:
    if results.empty:
        return "no results"
    names = {key: list(map(str, results[key].drop_duplicates())) for key in ("source", "model")}
    return " · ".join(", ".join(own) if len(own) <= 3 else f"{len(own)} {key}s" for key, own in names.items())


def _panels(results: pd.DataFrame, table: pd.DataFrame, board: pd.DataFrame,
            found: pd.DataFrame) -> list[dict[str, Any]]:
    """What the page shows of each panel; of one whose setting is at chance neither order nor verdict."""
    wide = accuracy_table(table)
    parts = {tuple(here.items()): part for here, part in panels(table)}
    tests = _critical(above_chance(results, found))
    every = complete(results)
    shown = []
    for number, grid in enumerate(grids(results)):
        part = parts[tuple(grid.here.items())]
        own = panel_rows(board, grid.here)
        jobs = panel_rows(every, grid.here)
        critical = tests.get(tuple(grid.here.items()))
        title = panel_title(grid.here)
        warning = is_at_chance(found, grid.here)
        shown.append({
            "id": f"panel-{number}", "warning": warning, "title": title, "chart": _accuracy_chart(part, title),
            "summary": [] if warning else summary(grid, own, part), "limits": limits(grid, part, jobs),
            "board": own.to_dict("records"), "intervals": None if warning else _intervals(own, title),
            "controls": [control for control in BOARD_CONTROLS if own[f"{control}_advantage"].notna().any()],
            "table": _accuracy_rows(panel_rows(wide, grid.here), part),
            "estimators": list(grid.facts.values()), "critical": critical, "diagram": critical and _diagram(critical),
            "has_reference": bool(np.isfinite(grid.reference).any())})
    return shown


def _accuracy_chart(part: pd.DataFrame, title: str) -> Markup:
    if part["mean"].isna().all():
        return Markup('<p class="empty">No training finished, so there is nothing to draw.</p>')
    label = f"Test accuracy against the share of pixels replaced, {title}; the numbers are in the table below"
    return chart(lambda medium: accuracy_curves(part, medium=medium), label)


def _intervals(board: pd.DataFrame, title: str) -> Markup | None:
    """The advantages of a leaderboard's rows as a chart; None where nothing was held against a control."""
    label = f"Each estimator's advantage over the controls, {title}; the numbers are in the table above"
    try:
        return chart(lambda medium: leaderboard_intervals(board, medium), label)
    except AnalysisError:  # the page says that there is no control
        return None


def _diagram(test: CriticalDifference) -> Markup:
    label = "Mean ranks over " + f"{test.blocks} {test.block}s: " + ", ".join(
        f"{name} {rank:.1f}" for name, rank in zip(test.estimators, test.mean_ranks, strict=True))
    return inline(critical_difference_diagram(test, PAGE), label, "wide always")


def _critical(results: pd.DataFrame) -> dict[tuple[tuple[str, str], ...], CriticalDifference]:
    try:
        return {tuple(test.here.items()): test for test in critical_differences(results)}
    except AnalysisError:  # too few estimators or seeds: the page says so
        return {}


def _accuracy_rows(wide: pd.DataFrame, part: pd.DataFrame) -> dict[str, Any]:
    """The accuracy table with a tint from 0 to 9 per cell."""
    thresholds = [name for name in wide.columns if name.endswith(" %")]
    means = with_reference(part).set_index(["estimator", "threshold"])["mean"].dropna()
    low, high = (means.min(), means.max()) if len(means) else (0.0, 1.0)
    rows = []
    for row in wide.to_dict("records"):
        cells = []
        for name in thresholds:
            number = 100 * means.get((row["estimator"], float(name.removesuffix(" %"))), np.nan)
            level = 0
            if not pd.isna(number) and high > low:
                level = int(np.clip(10 * (high - number / 100) / (high - low), 0, 9))
            cells.append({"text": row[name], "value": "" if pd.isna(number) else round(number, 3), "level": level})
        rows.append({"estimator": row["estimator"], "n": row["n"], "cells": cells})
    return {"thresholds": thresholds, "rows": rows}


def _faithfulness(results: pd.DataFrame) -> list[dict[str, Any]]:
    """The relative areas of each panel, the most faithful first; none where no panel has `random`."""
    return [{"title": panel_title(dict(zip(PANEL, map(str, values), strict=True))),
             "rows": part.sort_values("racu", ascending=False, kind="stable").to_dict("records")}
            for values, part in faithfulness(results).groupby(list(PANEL), sort=False)]


def _jobs(results: pd.DataFrame) -> dict[str, Any]:
    failed = results[results["status"] != "ok"]
    columns = ["source", "model", "estimator", "mode", "threshold", "seed", "message"]
    return {"all": len(results), "failed": failed.reindex(columns=columns).fillna("").to_dict("records"),
            "cost": cost(results)}


def _classes(results: pd.DataFrame, class_names: Sequence[str] | None) -> list[dict[str, Any]]:
    """The charts of the classes, panel by panel; none where no job kept them."""
    if "class_accuracy" not in results.columns or not results["class_accuracy"].notna().any():
        return []
    shown = []
    for here, part in panels(per_class(results, class_names)):
        part = part[part["mean"].notna()]
        names = part.drop_duplicates("class_index").sort_values("class_index")
        means = 100 * part["mean"]
        scale = (float(means.min()) - 2, float(means.max()) + 2) if len(means) else None
        charts = [(row["class"], inline(accuracy_curves(part[part["class_index"] == row["class_index"]], None, TILE,
                                                        limits=scale), f"Accuracy of the class {row['class']}"))
                  for row in names.head(MOST_CLASSES).to_dict("records")]
        shown.append({"title": panel_title(here), "all": len(names), "charts": charts})
    return shown


def _agreement(results: pd.DataFrame) -> dict[str, Any] | None:
    """Rank correlations, and their range for each kind of place."""
    found = agreement(results)
    known = found[found["spearman"].notna()]
    if not len(known):
        return None
    ranges = known.groupby("across", sort=False)["spearman"].agg(["min", "max", "size"])
    return {"rows": known.to_dict("records"), "ranges": ranges.reset_index().to_dict("records")}


def _gallery(gallery: Gallery | None) -> dict[str, Any] | None:
    """The gallery with its images as data URIs, none wider than 96 pixels."""
    if gallery is None or not gallery.rows:
        return None
    return {"thresholds": [f"{t:g}" for t in gallery.thresholds],
            "rows": [{"estimator": row.estimator, "label": row.label,
                      "images": [_data_uri(image) for image in row.images]} for row in gallery.rows]}


def _data_uri(image: np.ndarray, most: int = 96) -> str:
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture.thumbnail((most, most))
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
