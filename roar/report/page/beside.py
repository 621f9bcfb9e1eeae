"""The page's section on controls of shape and smoothness: charts, table, and what the intervals allow to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from roar.analysis.beyond import QUANTITIES, beyond_controls, control_curves, is_explained
from roar.analysis.curves import CURVE, PANEL, curves, panel_title
from roar.analysis.facts import REFERENCE
from roar.analysis.figures.beyond import Multiple, curves_beside_controls, multiples
from roar.analysis.figures.inline import inline
from roar.analysis.figures.style import TILE
from roar.analysis.tables import signed

Rows = list[dict[Any, Any]]
CARD = replace(TILE, width=3.1)


def control_sections(results: pd.DataFrame) -> list[dict[str, Any]]:
    """What the page shows of each panel that has controls of shape or smoothness; none where there are none."""
    table = beyond_controls(results)
    if table.empty:
        return []
    every, controls = curves(results), control_curves(results)
    drawn = multiples(every, controls)
    sections = []
    for values, part in table.groupby(list(PANEL), sort=False):
        here = dict(zip(PANEL, map(str, values), strict=True))
        own = [one for one in drawn if all(one[0][name] == here[name] for name in PANEL)]
        rows: Rows = part.astype(object).to_dict("records")
        sections.append({"title": panel_title(here), "mode": here["mode"], "findings": findings(rows),
                         "charts": _charts(own, every, controls), "rows": [_shown(row) for row in rows]})
    return sections


def findings(rows: Rows) -> list[str]:
    """One panel's findings in words, each supported by a 95 % interval.

    Args:
        rows: of :func:`roar.analysis.beyond.beyond_controls`.
    """
    overall = [row for row in rows if pd.isna(row["threshold"])]
    cells = [row for row in rows if not pd.isna(row["threshold"])]
    if all(row["drop_n"] < 2 for row in overall):
        return ["With one finished seed there is no interval, so the numbers below are not interpreted."]
    twin = "the matched-spectrum control"
    low, high = "beyond_blurred_ci_low", "beyond_blurred_ci_high"
    shape = "shape_accuracy"
    telling = [row for row in overall if row[f"{shape}_ci_low"] > row["chance"]]
    explained = [(row["estimator"], f"{row['threshold']:g}") for row in cells if is_explained(row)]
    beyond = [row["estimator"] for row in overall
              if all(cell["beyond_shape_ci_low"] > 0 for cell in cells if cell["estimator"] == row["estimator"])]
    guess = f"{telling[0]['chance']:.1f} %" if telling else ""
    said = [
        _gaps(f"Accuracy is lower than under {twin}", [row for row in overall if row[low] > 0]),
        _gaps(f"Accuracy is higher than under {twin}", [row for row in overall if row[high] < 0]),
        _gaps(f"Not significantly different from {twin}", [row for row in overall if row[low] <= 0 <= row[high]]),
        _listed(f"Masks alone predict the class better than chance for classes of equal size ({guess})", [
            f"{row['estimator']} {row[shape]:.1f} % [{row[f'{shape}_ci_low']:.1f}, {row[f'{shape}_ci_high']:.1f}]"
            for row in telling]),
        _listed("Not significantly higher than the accuracy on masks alone, so the mask's shape may account for "
                "all of it and these cells cannot rank estimators", [
                    f"{name} at {', '.join(t for other, t in explained if other == name)} %"
                    for name in dict(explained)]),
        _listed("Accuracy is higher than on the masks alone at every threshold", beyond),
    ]
    return [sentence for sentence in said if sentence]


def _gaps(what: str, rows: Rows) -> str:
    return _listed(f"{what} (points, mean over t)", [
        f"{row['estimator']} {signed(row['beyond_blurred'])} [{signed(row['beyond_blurred_ci_low'])}, "
        f"{signed(row['beyond_blurred_ci_high'])}]" for row in rows])


def _listed(what: str, words: list[str]) -> str:
    return f"{what}: {'; '.join(words)}." if words else ""


def _charts(drawn: list[Multiple], every: pd.DataFrame, controls: pd.DataFrame) -> list[tuple[str, Markup]]:
    """The estimators' names and charts, on one scale."""
    values = 100 * np.concatenate([frame[name].to_numpy(dtype=np.float64) for one in drawn for frame in one[1:]
                                   for name in ("mean", "ci_low", "ci_high")])
    limits = max(0.0, float(np.nanmin(values)) - 3), min(100.0, float(np.nanmax(values)) + 3)
    charts = []
    for here, *_ in drawn:
        name = here["estimator"]
        own = controls[np.logical_and.reduce([controls[key] == here[key] for key in CURVE])]
        lines = every[every["estimator"].isin([name, "random", REFERENCE])]
        label = f"Test accuracy against the share of pixels replaced by {name}, beside its controls"
        charts.append((name, inline(curves_beside_controls(lines, own, CARD, limits), label)))
    return charts


def _shown(row: dict[Any, Any]) -> dict[str, Any]:
    """A row of the table: each number with its interval as text, and its value to sort by."""
    cells = []
    for name in QUANTITIES:
        value, low, high = (row[f"{name}{part}"] for part in ("", "_ci_low", "_ci_high"))
        plain = name == "shape_accuracy"
        cells.append({"value": "" if pd.isna(value) else value,
                      "text": "–" if pd.isna(value) else f"{value:.1f} %" if plain else signed(value),
                      "interval": "" if pd.isna(low) else f"[{low:.1f}, {high:.1f}]" if plain
                      else f"[{signed(low)}, {signed(high)}]"})
    t = row["threshold"]
    return {"estimator": row["estimator"], "threshold": t, "overall": pd.isna(t), "cells": cells,
            "n": min(row[f"{name}_n"] for name in QUANTITIES), "note": row["note"]}
