"""The section of the report's page on the explained network itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from roar.analysis.curves import chance_levels, panel_title, panels
from roar.analysis.facts import REFERENCE, facts_of
from roar.analysis.figures.accuracy import accuracy_curves
from roar.analysis.figures.inline import chart
from roar.analysis.page import Section, fill, rows_of
from roar.metrics.deletion.areas import DELETION_PANEL, deletion_beside_roar, deletion_curves, metric
from roar.metrics.deletion.figures import deletion_scatter

SETTING = ("source", "model", "regularizer", "retrainer", "mode", "fill")


def section(frames: Mapping[str, pd.DataFrame]) -> Section:
    """Deletion's curves by panel, the areas of the images, and both metrics' areas over random."""
    deletion = rows_of(frames, "deletion")
    shown = {} if deletion is None else {
        "curves": [_curves(here, part, rows_of(frames, "deletion-areas"))
                   for here, part in panels(_with_chance(deletion_curves(deletion), frames["results"]))],
        "beside": [_beside(values, part) for values, part in deletion_beside_roar(
            frames["results"], deletion, rows_of(frames, "deletion-areas")).groupby(list(SETTING), sort=False)]}
    return Section("deletion", "Deletion without retraining", "Deletion", fill(__package__, "page.html.j2", **shown))


def _with_chance(curves: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Curves with the level of chance, where the results of retrainings tell it."""
    return curves.assign(chance=curves["source"].astype(str).map(chance_levels(results)).astype(float))


def _curves(here: dict[str, str], part: pd.DataFrame, areas: pd.DataFrame | None) -> dict[str, Any]:
    title = panel_title({**here, "retrainer": here["model"]})
    label = f"Accuracy of the explained network against the share of pixels replaced, {title}"
    drawn = Markup("") if part["mean"].isna().all() else chart(
        lambda medium: accuracy_curves(part, medium=medium, over="test images"), label)
    return {"title": title, "metric": metric(here["mode"], here["fill"]), "areas": _areas(areas, here), "chart": drawn,
            "estimators": [facts for name, facts in facts_of(part).items() if name != REFERENCE],
            "has_reference": (part["estimator"] == REFERENCE).any()}


def _beside(values: tuple[object, ...], part: pd.DataFrame) -> dict[str, Any]:
    label = "Advantage over random without retraining against the advantage with it, one point per estimator"
    return {"title": panel_title(dict(zip(SETTING, map(str, values), strict=True))),
            "chart": chart(lambda medium: deletion_scatter(part, medium=medium), label),
            "rows": part.sort_values("deletion", ascending=False).to_dict("records")}


def _areas(areas: pd.DataFrame | None, here: dict[str, str]) -> list[dict[str, Any]]:
    """A row per estimator of one panel: its rows of :func:`roar.metrics.deletion.areas.image_areas`, by measure."""
    if areas is None:
        return []
    own = areas[np.logical_and.reduce([areas[name] == here[name] for name in DELETION_PANEL])]
    return [{"estimator": estimator, **{row["measure"]: row for row in part.to_dict("records")}}
            for estimator, part in own.groupby("estimator", sort=False)]
