"""Deletion without retraining: what the explained network itself makes of the degraded test images.

The usual, cheap metric that ROAR was made to replace: it cannot tell missing information from images unlike any
the network has seen. There is one network and hence no seed; the intervals are over test images.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from roar.analysis.contrasts import areas
from roar.analysis.curves import in_order, require
from roar.analysis.grid import mean_over_thresholds
from roar.analysis.names import CONTROLS, REFERENCE, order

DELETION_COLUMNS = ("source", "model", "regularizer", "estimator", "mode", "fill", "threshold", "accuracy", "n_test")
DELETION_PANEL = ("source", "model", "regularizer", "mode", "fill")
DELETION_AREA_COLUMNS = (*DELETION_PANEL, "estimator", "control", "advantage", "ci_low", "ci_high", "n_test",
                         "thresholds")


def deletion_curves(deletion: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The accuracy of the explained network on degraded test images, with Wilson's interval over the images.

    Args:
        deletion: a row per cell with :data:`DELETION_COLUMNS`; accuracy in [0, 1].
        confidence: of the interval.

    Returns:
        The columns of :func:`roar.analysis.curves`, in the same order of rows: ``mean`` is the accuracy, ``std``
        is NaN, ``n`` is 1 (one network), ``retrainer`` is ``none``; and ``n_test``.
    """
    from statsmodels.stats.proportion import proportion_confint

    require(deletion, DELETION_COLUMNS, "deletion results")
    right = deletion["accuracy"] * deletion["n_test"]
    low, high = proportion_confint(right, deletion["n_test"], alpha=1 - confidence, method="wilson")
    table = deletion[["source", "model", "regularizer"]].assign(
        retrainer="none", estimator=deletion["estimator"], mode=deletion["mode"], fill=deletion["fill"],
        threshold=deletion["threshold"].astype(float), mean=deletion["accuracy"].astype(float), std=np.nan, n=1,
        ci_low=low, ci_high=high, n_test=deletion["n_test"])
    return in_order(table)


def deletion_areas(deletion: pd.DataFrame) -> pd.DataFrame:
    """Each estimator's area against each control without retraining: its mean advantage over t, in points.

    Returns:
        A row per panel, control and estimator with :data:`DELETION_AREA_COLUMNS`. The interval (95 %, over test
        images) is a cautious one: it takes the errors at all thresholds, and those of both curves, to be as
        they would be were they fully dependent on each other in the worst way.
    """
    rows = []
    table = deletion_curves(deletion)
    table = table[(table["estimator"] != REFERENCE) & (table["threshold"] > 0)]
    for panel, part in table.groupby(list(DELETION_PANEL), sort=False):
        here = dict(zip(DELETION_PANEL, panel, strict=True))
        sign = -1 if here["mode"] == "kar" else 1
        curves = {str(name): own.set_index("threshold") for name, own in part.groupby("estimator")}
        for control in [name for name in CONTROLS if name in curves]:
            for name in sorted(curves, key=order):
                thresholds = curves[name].index.intersection(curves[control].index)
                if name == control or not len(thresholds):
                    continue
                own, other = curves[name].loc[thresholds], curves[control].loc[thresholds]
                bounds = np.array([other["mean"] - own["mean"], other["ci_low"] - own["ci_high"],
                                   other["ci_high"] - own["ci_low"]]).T
                at = thresholds.to_numpy(dtype=np.float64)
                middle, *ends = 100 * sign * mean_over_thresholds(bounds, at)
                rows.append({**here, "estimator": name, "control": control, "advantage": middle,
                             "ci_low": min(ends), "ci_high": max(ends), "n_test": int(own["n_test"].min()),
                             "thresholds": len(at) + 1})
    return pd.DataFrame(rows, columns=list(DELETION_AREA_COLUMNS))


def deletion_beside_roar(results: pd.DataFrame, deletion: pd.DataFrame, control: str = "random") -> pd.DataFrame:
    """Both metrics' areas against a control, side by side: does retraining change the verdict?

    Returns:
        A row per panel of ``results`` and estimator: the panel, ``estimator``, ``roar``, ``roar_low``,
        ``roar_high`` (advantage in points, 95 % over seeds), ``deletion``, ``deletion_low``, ``deletion_high``
        (95 % over test images). Estimators that lack either are left out.
    """
    names = ["advantage", "ci_low", "ci_high"]
    keys = [*DELETION_PANEL, "estimator", "control"]
    without = deletion_areas(deletion)[[*keys, *names]]
    without = without.rename(columns=dict(zip(names, ["deletion", "deletion_low", "deletion_high"], strict=True)))
    retrained = areas(results).rename(columns=dict(zip(names, ["roar", "roar_low", "roar_high"], strict=True)))
    both = retrained.merge(without, on=keys)
    both = both[both["control"] == control]
    return both[[*DELETION_PANEL[:3], "retrainer", *DELETION_PANEL[3:], "estimator", "roar", "roar_low", "roar_high",
                 "deletion", "deletion_low", "deletion_high"]].reset_index(drop=True)
