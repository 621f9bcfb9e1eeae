"""Do the estimators come in the same order elsewhere: at other thresholds, in another mode, with another fill, for
other models?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.curves import PANEL, panel_title
from roar.analysis.grid import Grid, grids
from roar.analysis.paired import Floats

PLACES = {"mode": ("mode",), "fill": ("fill",), "model": ("model", "regularizer", "retrainer")}
AGREEMENT_COLUMNS = ("across", "where", "first", "second", "spearman", "kendall", "estimators")


def agreement(results: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations of the estimators' order, over what two places have in common.

    Returns:
        A row per pair of places, with :data:`AGREEMENT_COLUMNS`. ``across``: ``threshold`` (within a panel),
        ``mode`` (ROAR and KAR of one setting), ``fill`` (what replaces a pixel), ``model`` (two networks on one
        source). ``where``: what both have in common; ``first``, ``second``: the places. ``spearman``, ``kendall``
        (tau-b): in [-1, 1], on means over seeds, 1 where the order is the same, NaN below three estimators.
        ``estimators``: how many both places have, controls included.
    """
    rows: list[dict[str, Any]] = []
    found = grids(results)
    for grid in found:
        where = panel_title(grid.here)
        columns = [(f"{t:g} %", _at_threshold(grid, i)) for i, t in enumerate(grid.thresholds)]
        rows += [_row("threshold", where, a, b) for a, b in combinations(columns, 2)]
    for one, two in combinations(found, 2):
        differ = {key for key in PANEL if one.here[key] != two.here[key]}
        for across, keys in PLACES.items():
            if differ and differ <= set(keys):
                where = panel_title({key: one.here[key] for key in PANEL if key not in keys})
                names = [" · ".join(grid.here[key] for key in keys if key in differ) for grid in (one, two)]
                first, second = ((name, _overall(grid)) for name, grid in zip(names, (one, two), strict=True))
                rows.append(_row(across, where, first, second))
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def correlations(first: Floats, second: Floats) -> tuple[float, float, int]:
    """Spearman's rho and Kendall's tau-b of two paired lists of scores, and their length; NaN left out.

    Both are NaN below three pairs and where all scores of a list are the same.
    """
    from scipy import stats

    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan, np.nan, len(first)
    return float(stats.spearmanr(first, second)[0]), float(stats.kendalltau(first, second)[0]), len(first)


def _row(across: str, where: str, first: tuple[str, dict[str, float]],
         second: tuple[str, dict[str, float]]) -> dict[str, Any]:
    shared = [name for name in first[1] if name in second[1]]
    one, two = (np.array([scores[name] for name in shared]) for _, scores in (first, second))
    values = (across, where, first[0], second[0], *correlations(one, two))
    return dict(zip(AGREEMENT_COLUMNS, values, strict=True))


def _at_threshold(grid: Grid, i: int) -> dict[str, float]:
    """The mean over seeds at one threshold, higher is better."""
    return {name: -grid.sign * _mean(grid.of(name)[i]) for name in grid.estimators}


def _overall(grid: Grid) -> dict[str, float]:
    """The mean over thresholds and seeds, higher is better."""
    return {name: -grid.sign * _mean(grid.mean_accuracy(name)) for name in grid.estimators}


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
