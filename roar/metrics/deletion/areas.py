"""Deletion without retraining: what the explained network itself makes of the degraded test images.

The usual, cheap metric that ROAR was made to replace: it cannot tell missing information from images unlike any
the network has seen. There is one network and hence no seed; the intervals are over test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.contrasts import areas
from roar.analysis.curves import in_order
from roar.analysis.facts import CONTROLS, ESTIMATOR_FACTS, MODEL_FACTS, REFERENCE, Facts, facts_of, require
from roar.analysis.grid import mean_over_thresholds
from roar.analysis.paired import Floats, paired

DELETION_COLUMNS = ("source", "model", "regularizer", "estimator", "mode", "fill", "threshold", "accuracy", "n_test",
                    *ESTIMATOR_FACTS, *MODEL_FACTS)
DELETION_PANEL = ("source", "model", "regularizer", "mode", "fill")
DELETION_AREA_COLUMNS = (*DELETION_PANEL, "estimator", "control", "advantage", "ci_low", "ci_high", "n_test",
                         "thresholds", *ESTIMATOR_FACTS)
IMAGE_AREA_COLUMNS = (*DELETION_PANEL, "estimator", "measure", "area", "control", "advantage", "std", "n_test",
                      "ci_low", "ci_high", "thresholds", "note", *ESTIMATOR_FACTS)
MEASURES = {"accuracy": "correct", "probability": "probability"}  # and the column of each image
METRICS = {"roar": "deletion", "kar": "insertion"}


def metric(mode: str, fill: str) -> str:
    """What a curve without retraining is called: deletion, insertion, or ROAD where noise replaces pixels.

    Sources: Petsiuk et al. 2018, arXiv:1806.07421; Rong et al. 2022, arXiv:2202.00449.
    """
    if fill == "noisy-linear":
        return "ROAD" if mode == "roar" else "ROAD, least important first"
    return METRICS.get(mode, mode)


def deletion_curves(deletion: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The accuracy of the explained network on degraded test images, with Wilson's interval over the images.

    Args:
        deletion: a row per cell with :data:`DELETION_COLUMNS`; accuracy in [0, 1].
        confidence: of the interval.

    Returns:
        The columns of :func:`roar.analysis.curves`, in the same order of rows: ``mean`` is the accuracy, ``std``
        is NaN, ``n`` is 1 (one network), ``retrainer`` and ``variant`` are ``none``; and ``n_test``.
    """
    from statsmodels.stats.proportion import proportion_confint

    require(deletion, DELETION_COLUMNS, "deletion results")
    right = deletion["accuracy"] * deletion["n_test"]
    low, high = proportion_confint(right, deletion["n_test"], alpha=1 - confidence, method="wilson")
    facts = [*ESTIMATOR_FACTS, *MODEL_FACTS]
    table = deletion[["source", "model", "regularizer", *facts]].assign(
        retrainer="none", variant="none", estimator=deletion["estimator"], mode=deletion["mode"], fill=deletion["fill"],
        threshold=deletion["threshold"].astype(float), mean=deletion["accuracy"].astype(float), std=np.nan, n=1,
        ci_low=low, ci_high=high, n_test=deletion["n_test"])
    return in_order(table)


def deletion_areas(deletion: pd.DataFrame, images: pd.DataFrame | None = None) -> pd.DataFrame:
    """Each estimator's area against each control without retraining: its mean advantage over t, in points.

    Args:
        deletion: a row per cell.
        images: as :func:`image_areas` returns it. Its advantages over random, paired by image, are the definition
            wherever the images are known.

    Returns:
        A row per panel, control and estimator with :data:`DELETION_AREA_COLUMNS`. Without images the interval (95 %) is
        a cautious one: it takes the errors at all thresholds, and those of both curves, to be as they would be were
        they fully dependent on each other in the worst way.
    """
    if images is not None and len(images):
        paired_by_image = images[(images["measure"] == "accuracy") & images["advantage"].notna()]
        return paired_by_image[list(DELETION_AREA_COLUMNS)].reset_index(drop=True)
    rows = []
    table = deletion_curves(deletion)
    table = table[(table["estimator"] != REFERENCE) & (table["threshold"] > 0)]
    for panel, part in table.groupby(list(DELETION_PANEL), sort=False):
        here = dict(zip(DELETION_PANEL, panel, strict=True))
        sign = -1 if here["mode"] == "kar" else 1
        curves = {str(name): own.set_index("threshold") for name, own in part.groupby("estimator")}
        for control in [name for name in CONTROLS if name in curves]:
            for name, facts in facts_of(part).items():
                thresholds = curves[name].index.intersection(curves[control].index)
                if name == control or not len(thresholds):
                    continue
                own, other = curves[name].loc[thresholds], curves[control].loc[thresholds]
                bounds = np.array([other["mean"] - own["mean"], other["ci_low"] - own["ci_high"],
                                   other["ci_high"] - own["ci_low"]]).T
                at = thresholds.to_numpy(dtype=np.float64)
                middle, *ends = 100 * sign * mean_over_thresholds(bounds, at)
                rows.append({**here, **facts.columns, "control": control, "advantage": middle,
                             "ci_low": min(ends), "ci_high": max(ends), "n_test": int(own["n_test"].min()),
                             "thresholds": len(at) + 1})
    return pd.DataFrame(rows, columns=list(DELETION_AREA_COLUMNS))


def deletion_beside_roar(results: pd.DataFrame, deletion: pd.DataFrame, images: pd.DataFrame | None = None,
                         control: str = "random") -> pd.DataFrame:
    """Both metrics' areas against a control, side by side: does retraining change the verdict?

    Args:
        results: one row per job.
        deletion, images: as :func:`deletion_areas` takes them.
        control: ``random``, or another one where there are no images.

    Returns:
        A row per panel of ``results`` and estimator: the panel, ``estimator``, ``roar``, ``roar_low``,
        ``roar_high`` (advantage in points, 95 % over seeds), ``deletion``, ``deletion_low``, ``deletion_high``
        (95 % over test images). Estimators that lack either are left out.
    """
    names = ["advantage", "ci_low", "ci_high"]
    keys = [*DELETION_PANEL, "estimator", "control"]
    without = deletion_areas(deletion, images)[[*keys, *names, *ESTIMATOR_FACTS]]
    without = without.rename(columns=dict(zip(names, ["deletion", "deletion_low", "deletion_high"], strict=True)))
    retrained = areas(results).rename(columns=dict(zip(names, ["roar", "roar_low", "roar_high"], strict=True)))
    both = retrained.merge(without, on=keys)
    both = both[both["control"] == control]
    return both[[*DELETION_PANEL[:3], "retrainer", *DELETION_PANEL[3:], "estimator", "roar", "roar_low", "roar_high",
                 "deletion", "deletion_low", "deletion_high", *ESTIMATOR_FACTS]].reset_index(drop=True)


def image_areas(read: Callable[[], Iterable[pd.DataFrame]]) -> pd.DataFrame:
    """The area under every curve without retraining, and its advantage over random, paired by test image.

    Args:
        read: gives the images of all networks and estimators, as
            :func:`roar.metrics.deletion.frames.read_deletion_images` does; it is called twice, and one frame at a time
            is held.

    Returns:
        A row per panel, estimator and measure with :data:`IMAGE_AREA_COLUMNS`. ``measure``: ``accuracy`` or
        ``probability`` (of the class explained). ``area``: mean over images of each image's mean over t, from the
        first to the last threshold by the trapezoid rule, percent. ``advantage``: how much better than random in
        points (smaller areas are better in mode ``roar``, larger ones in ``kar``), with its standard deviation and 95 %
        t interval over images, which speaks of other images and not of other networks; NaN where there is no random
        ranking at the same thresholds and images.
    """
    random = {key: own for key, _, own in _each_curve(read()) if key[-1] == "random"}
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    known: dict[str, Facts] = {}
    for key, facts, own in _each_curve(read()):
        known[facts.name] = facts
        if key not in rows:
            rows[key] = [facts.columns | _image_row(key, measure, own, random.get((*key[:-1], "random")))
                         for measure in MEASURES]
    ranked = sorted(rows, key=lambda key: (key[:3], key[3] != "roar", key[3:5], known[key[5]].order))
    return pd.DataFrame([row for key in ranked for row in rows[key]], columns=list(IMAGE_AREA_COLUMNS))


def _each_curve(frames: Iterable[pd.DataFrame]) -> Iterable[tuple[tuple[str, ...], Facts, pd.DataFrame]]:
    """Each curve's panel and estimator, what is known of it, and its images' areas: a column per measure, by image."""
    from scipy.integrate import trapezoid

    for frame in frames:
        for values, part in frame.groupby([*DELETION_PANEL, "estimator"], sort=False, observed=True):
            found = {}
            for measure, column in MEASURES.items():
                wide = part.pivot(index="index", columns="threshold", values=column).astype(np.float64)
                across = wide.columns.to_numpy(dtype=np.float64)
                span = across[-1] - across[0]
                whole: Floats = trapezoid(wide.to_numpy(), across, axis=1) / span if span else wide.to_numpy()[:, 0]
                found[measure] = pd.Series(100 * whole, index=wide.index)
            table = pd.DataFrame(found)
            table.attrs["thresholds"] = tuple(across.tolist())
            yield tuple(map(str, values)), Facts.of(part.iloc[0].to_dict()), table


def _image_row(key: tuple[str, ...], measure: str, own: pd.DataFrame, random: pd.DataFrame | None) -> dict[str, Any]:
    here = dict(zip((*DELETION_PANEL, "estimator"), key, strict=True))
    row = {**here, "measure": measure, "area": float(own[measure].mean()), "control": "random", "n_test": len(own),
           "thresholds": len(own.attrs["thresholds"])}
    if here["estimator"] == "random":
        return {**row, "control": "", "note": ""}
    if random is None or random.attrs["thresholds"] != own.attrs["thresholds"] or not own.index.equals(random.index):
        return {**row, "control": "", "note": "no random ranking of the same images at the same thresholds"}
    sign = -1 if here["mode"] == "kar" else 1
    found = paired(sign * (random[measure] - own[measure]))
    return {**row, "advantage": float(found.mean), "std": float(found.std), "ci_low": float(found.low),
            "ci_high": float(found.high), "note": "" if len(own) > 1 else "one image: no interval"}
