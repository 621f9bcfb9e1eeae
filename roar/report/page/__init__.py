"""The report as one HTML page that needs nothing but itself.

No network, no library: a style sheet, some 150 lines of JavaScript, and SVG that is there without either. A
content security policy forbids the page to load anything, and every name passes through jinja2's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.classes import per_class
from roar.analysis.curves import PANEL, checked, complete, curves, panel_title, panels
from roar.analysis.faithfulness import faithfulness
from roar.analysis.gallery import Gallery
from roar.analysis.grid import grids
from roar.analysis.leaderboard import leaderboard
from roar.analysis.names import FAMILIES, REFERENCE, order
from roar.analysis.names import parts as name_parts
from roar.analysis.paper import against_paper
from roar.analysis.ranks import critical_differences
from roar.analysis.stability import agreement
from roar.analysis.tables import accuracy_table
from roar.errors import AnalysisError
from roar.metrics.agreement.summary import agreements
from roar.metrics.deletion.areas import DELETION_PANEL, deletion_areas, deletion_beside_roar, deletion_curves, metric
from roar.metrics.sanity.verdict import UNCHANGED, finest, sanity_verdicts, with_sanity

MOST_CLASSES = 20  # charts of classes on the page
PAPER_URL = "https://arxiv.org/abs/1806.10758"


def report_page(results: pd.DataFrame, deletion: pd.DataFrame | None = None,
                provenance: Mapping[str, Any] | None = None, gallery: Gallery | None = None,
                class_names: Sequence[str] | None = None, agreeing: pd.DataFrame | None = None,
                sanity: pd.DataFrame | None = None, image_areas: pd.DataFrame | None = None) -> str:
    """The whole report as HTML.

    Args:
        results: one row per job, as :func:`roar.analysis.curves` takes them.
        deletion: as :func:`roar.analysis.deletion_curves` takes it; None leaves the comparison out and says so.
        provenance: what the page tells of where the numbers come from; all keys are free: ``created`` (text),
            ``experiment`` (the TOML file's text), ``commands`` (list of command lines), ``notes`` (list of
            sentences), ``citation`` (text), and any other key, whose value is text, a number, a list or a
            mapping (``versions``, ``hardware``, ``seeds``, ``keys``, ``cost``, ...), is shown under its name.
        gallery: degraded images.
        class_names: K names for the column ``class_accuracy``; default: the classes' numbers.
        agreeing: as ``store.ranking_agreement()`` gives it; without rows the page says that nothing was compared.
        sanity: as ``store.sanity()`` gives it; without rows the page says that nothing was checked.
        image_areas: as ``store.deletion_areas()`` gives it; without rows the areas of deletion's curves are left out.

    Returns:
        The text of a file. Whatever is missing, failed or too little to judge by is named on the page.

    Raises:
        AnalysisError: the results lack a column, or hold one job twice.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    from roar.report.page.beside import control_sections

    results = checked(results)
    deletion = deletion if deletion is not None and len(deletion) else None
    told = dict(provenance or {})
    special = {key: told.pop(key, None) for key in ("created", "experiment", "commands", "notes", "citation")}
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(loader=PackageLoader("roar.report.page", "."), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)
    environment.globals.update(_helpers())
    environment.filters["true_minus"] = lambda text: re.sub(r"(?<!\w)-(?=\d)", "−", text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        style=Markup(style), script=Markup(script), script_hash=digest, special=special,
        title=_title(results if len(results) or deletion is None else deletion),
        told={key: value for key, value in told.items() if value not in (None, "", [], {})},
        panels=_panels(results, sanity), agreeing=_agreeing(agreeing), sanity=_sanity(sanity),
        beside=control_sections(results), faithfulness=_faithfulness(results), jobs=_jobs(results),
        paper=against_paper(results, _gaps(deletion)) if len(results) else None,
        deletion=_deletion(results, deletion, image_areas), classes=_classes(results, class_names),
        agreement=_agreement(results), gallery=_gallery(gallery), paper_url=PAPER_URL)


def _asset(name: str) -> str:
    return (resources.files("roar.report.page") / name).read_text(encoding="utf-8")


def _title(results: pd.DataFrame) -> str:
    if results.empty:
        return "no results"
    names = {key: list(map(str, results[key].drop_duplicates())) for key in ("source", "model")}
    return " · ".join(", ".join(own) if len(own) <= 3 else f"{len(own)} {key}s" for key, own in names.items())


def _helpers() -> dict[str, Any]:
    from roar.report.page import charts, measured, svg

    return {"signed": svg.signed, "swatch": svg.swatch, "series_class": svg.series_class,
            "curve_chart": charts.curve_chart, "control_chart": charts.control_chart,
            "interval_bar": charts.interval_bar, "critical_chart": charts.critical_chart,
            "scatter_chart": charts.scatter_chart, "agreement_chart": measured.agreement_chart,
            "sanity_chart": measured.sanity_chart,
            "WIDE": charts.WIDE, "NARROW": charts.NARROW, "SMALL": charts.SMALL, "isna": pd.isna}


def _panels(results: pd.DataFrame, sanity: pd.DataFrame | None) -> list[dict[str, Any]]:
    """What the page shows of each panel."""
    from roar.report.page.summary import limits, panel_rows, summary

    table, board = curves(results), leaderboard(results)
    if sanity is not None and len(sanity):
        board = with_sanity(board, sanity)
    wide = accuracy_table(table)
    parts = {tuple(here.items()): part for here, part in panels(table)}
    tests = _critical(results)
    every = complete(results)
    shown = []
    for number, grid in enumerate(grids(results)):
        part = parts[tuple(grid.here.items())]
        own = panel_rows(board, grid.here)
        jobs = panel_rows(every, grid.here)
        spans = [own[[f"{control}_{name}" for name in ("advantage", "ci_low", "ci_high")]]
                 for control in ("random", "sobel")]
        shown.append({
            "id": f"panel-{number}", "title": panel_title(grid.here), "here": grid.here, "curves": part,
            "summary": summary(grid, own, part), "limits": limits(grid, part, jobs),
            "board": own.to_dict("records"), "span": [_span(frame) for frame in spans],
            "controls": [control for control in ("random", "sobel") if own[f"{control}_advantage"].notna().any()],
            "table": _accuracy_rows(panel_rows(wide, grid.here), part),
            "estimators": list(grid.estimators), "critical": tests.get(tuple(grid.here.items())),
            "has_reference": bool(np.isfinite(grid.reference).any())})
    return shown


def _span(frame: pd.DataFrame) -> tuple[float, float]:
    """The scale of a column of interval bars: all of them, and zero."""
    values = frame.to_numpy(dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = min(0.0, finite.min(initial=0.0)), max(0.0, finite.max(initial=0.0))
    return float(low), float(high if high > low else low + 1)


def _critical(results: pd.DataFrame) -> dict[tuple[tuple[str, str], ...], Any]:
    try:
        return {tuple(test.here.items()): test for test in critical_differences(results)}
    except AnalysisError:  # too few estimators or seeds: the page says so
        return {}


def _accuracy_rows(wide: pd.DataFrame, part: pd.DataFrame) -> dict[str, Any]:
    """The accuracy table with a tint from 0 to 9 per cell."""
    thresholds = [name for name in wide.columns if name.endswith(" %")]
    means = part["mean"].dropna()
    low, high = (means.min(), means.max()) if len(means) else (0.0, 1.0)
    rows = []
    for row in wide.to_dict("records"):
        cells = []
        for name in thresholds:
            number = pd.to_numeric(row[name].split("±")[0], errors="coerce")
            level = 0
            if not pd.isna(number) and high > low:
                level = int(np.clip(10 * (high - number / 100) / (high - low), 0, 9))
            cells.append({"text": row[name], "value": "" if pd.isna(number) else number, "level": level})
        rows.append({"estimator": row["estimator"], "n": row["n"], "cells": cells})
    return {"thresholds": thresholds, "rows": rows}


def _faithfulness(results: pd.DataFrame) -> list[dict[str, Any]]:
    """The relative areas of each panel, the most faithful first; none where no panel has `random`."""
    return [{"title": panel_title(dict(zip(PANEL, map(str, values), strict=True))),
             "rows": part.sort_values("racu", ascending=False, kind="stable").to_dict("records")}
            for values, part in faithfulness(results).groupby(list(PANEL), sort=False)]


def _jobs(results: pd.DataFrame) -> dict[str, Any]:
    from roar.report.page.summary import cost

    failed = results[results["status"] != "ok"]
    columns = ["source", "model", "estimator", "mode", "threshold", "seed", "message"]
    return {"all": len(results), "failed": failed.reindex(columns=columns).fillna("").to_dict("records"),
            "cost": cost(results)}


def _deletion(results: pd.DataFrame, deletion: pd.DataFrame | None,
              areas: pd.DataFrame | None) -> dict[str, Any] | None:
    """Deletion's curves by panel, both metrics' areas over random, and the areas of the images."""
    if deletion is None:
        return None
    table = deletion_curves(deletion)
    both = deletion_beside_roar(results, deletion)
    keys = ["source", "model", "regularizer", "retrainer", "mode", "fill"]
    return {
        "curves": [{"title": panel_title({**here, "retrainer": here["model"]}), "mode": here["mode"], "curves": part,
                    "metric": metric(here["mode"], here["fill"]), "areas": _image_areas(areas, here),
                    "estimators": sorted(set(part["estimator"]) - {REFERENCE}, key=order)}
                   for here, part in panels(table)],
        "beside": [{"title": panel_title(dict(zip(keys, map(str, panel), strict=True))), "frame": part,
                    "rows": part.sort_values("deletion", ascending=False).to_dict("records")}
                   for panel, part in both.groupby(keys, sort=False)],
        "areas": deletion_areas(deletion)}


def _gaps(deletion: pd.DataFrame | None) -> pd.DataFrame | None:
    """The areas of deletion over controls, where deletion was measured."""
    return None if deletion is None or deletion.empty else deletion_areas(deletion)


def _image_areas(areas: pd.DataFrame | None, here: dict[str, str]) -> list[dict[str, Any]]:
    """A row per estimator of one panel of deletion: its rows of :func:`roar.metrics.deletion.areas.image_areas`."""
    if areas is None or areas.empty:
        return []
    own = areas[np.logical_and.reduce([areas[name] == here[name] for name in DELETION_PANEL])]
    return [{"estimator": estimator, **{row["measure"]: row for row in part.to_dict("records")}}
            for estimator, part in own.groupby("estimator", sort=False)]


def _classes(results: pd.DataFrame, class_names: Sequence[str] | None) -> list[dict[str, Any]]:
    """The charts of the classes, panel by panel; none where no job kept them."""
    if "class_accuracy" not in results.columns or not results["class_accuracy"].notna().any():
        return []
    shown = []
    for here, part in panels(per_class(results, class_names)):
        names = part.drop_duplicates("class_index").sort_values("class_index")
        means = 100 * part["mean"].dropna()
        shown.append({"title": panel_title(here), "mode": here["mode"], "all": len(names),
                      "limits": (float(means.min()) - 2, float(means.max()) + 2) if len(means) else None,
                      "charts": [{"name": row["class"], "curves": part[part["class_index"] == row["class_index"]]}
                                 for row in names.head(MOST_CLASSES).to_dict("records")]})
    return shown


def _agreement(results: pd.DataFrame) -> dict[str, Any] | None:
    """Rank correlations, and their range for each kind of place."""
    found = agreement(results)
    known = found[found["spearman"].notna()]
    if not len(known):
        return None
    ranges = known.groupby("across", sort=False)["spearman"].agg(["min", "max", "size"])
    return {"rows": known.to_dict("records"), "ranges": ranges.reset_index().to_dict("records")}


def _agreeing(pairs: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The heat map of each network's rankings."""
    found = [] if pairs is None else agreements(pairs)
    return [{"title": panel_title(one.here), "agreement": one} for one in found]


def _sanity(sanity: pd.DataFrame | None) -> dict[str, Any] | None:
    """The charts of each network, kind and family, and the verdicts."""
    if sanity is None or sanity.empty:
        return None
    rows = finest(sanity[sanity["measure"] == "spearman"])
    charts = []
    for panel, part in rows[rows["kind"] != "labels"].groupby(["source", "model", "regularizer", "kind"], sort=False):
        here = dict(zip(("source", "model", "regularizer", "kind"), map(str, panel), strict=True))
        families = pd.Series([name_parts(str(name)).family for name in part["estimator"]], part.index)
        charts.append({"title": panel_title(here), "kind": here["kind"],
                       "families": [{"name": family, "rows": part[families == family]}
                                    for family in sorted(set(families), key=FAMILIES.index)]})
    return {"charts": charts, "verdicts": sanity_verdicts(sanity).to_dict("records"), "bound": UNCHANGED}


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
