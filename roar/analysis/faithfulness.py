"""Faithfulness in one number: the relative area between an estimator's curve and random's (RACU).

Source: Madsen, Meade, Adlakha and Reddy, "Evaluating the Faithfulness of Importance Measures in NLP by Recursively
Masking Allegedly Important Tokens and Retraining", Findings of EMNLP 2022, arXiv:2110.08412, section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from roar.analysis.curves import PANEL, chance_levels
from roar.analysis.grid import Grid, grids
from roar.analysis.paired import Floats, few_seeds, paired

FAITHFULNESS_COLUMNS = (*PANEL, "estimator", "racu", "std", "n", "ci_low", "ci_high", "thresholds", "end", "note")
MODES = ("roar", "recursive")  # a lower curve is a more faithful one
EVERYTHING = 100.0


def faithfulness(results: pd.DataFrame) -> pd.DataFrame:
    """RACU of every estimator in the modes that replace the most important pixels, over seeds.

    Args:
        results: one row per job; the rows of ``random`` are the baseline.

    Returns:
        A row per panel with ``random`` and estimator, with :data:`FAITHFULNESS_COLUMNS`. ``racu``: mean over seeds
        in percent, as :func:`relative_area` defines it for each seed; ``std``, ``n`` and the 95 % t interval over
        seeds; ``thresholds``: how many points of both curves it rests on, 0 and 100 included; ``end``: whether the
        accuracy with everything removed was ``measured`` (random at t = 100) or is ``chance``, 1 / K.
    """
    chance = chance_levels(results)
    rows = [{**grid.here, "estimator": name, **_row(grid, name, chance.get(grid.here["source"]))}
            for grid in grids(results) if grid.here["mode"] in MODES and "random" in grid.estimators
            for name in grid.estimators if name != "random"]
    return pd.DataFrame(rows, columns=list(FAITHFULNESS_COLUMNS))


def relative_area(removed: npt.ArrayLike, baseline: npt.ArrayLike, estimator: npt.ArrayLike) -> Floats:
    """The area between two curves, relative to that between the baseline and its last value.

    With b_i and p_i the accuracies of baseline and estimator at removed share x_i, ``dp_i = b_i - p_i`` and
    ``db_i = b_i - b_I``, it is the sum of ``(x_{i+1} - x_i) (dp_i + dp_{i+1}) / 2`` over that of the same with db.

    Args:
        removed: ``[I]``, rising from 0 to everything, any unit.
        baseline: ``[I, S]``, random's accuracies; the last is the accuracy with everything removed.
        estimator: ``[I, S]``.

    Returns:
        ``[S]``: 0 as random, 1 where everything is lost at the first pixel, negative where random does better; NaN
        where a value is missing or random loses nothing.
    """
    from scipy.integrate import trapezoid

    x, b, p = (np.asarray(values, dtype=np.float64) for values in (removed, baseline, estimator))
    between, all_there_is = trapezoid(b - p, x, axis=0), trapezoid(b - b[-1], x, axis=0)
    relative: Floats = np.divide(between, all_there_is, out=np.full_like(all_there_is, np.nan), where=all_there_is > 0)
    return relative


def _row(grid: Grid, name: str, chance: float | None) -> dict[str, Any]:
    baseline, own = grid.of("random"), grid.of(name)
    last = grid.thresholds == EVERYTHING
    end, source = np.full(len(grid.seeds), np.nan if chance is None else chance), "" if chance is None else "chance"
    if np.isfinite(baseline[last]).any():
        end, source = baseline[last][0], "measured"
    here = np.isfinite(baseline).any(axis=1) & np.isfinite(own).any(axis=1) & ~last
    at_end = own[last][0] if np.isfinite(own[last]).any() else end
    across = np.array([0.0, *grid.thresholds[here], EVERYTHING])
    area = relative_area(across, np.array([grid.reference, *baseline[here], end]),
                         np.array([grid.reference, *own[here], at_end]))
    found = paired(100 * area)
    return {"racu": float(found.mean), "std": float(found.std), "n": int(found.n), "ci_low": float(found.low),
            "ci_high": float(found.high), "thresholds": len(across), "end": source,
            "note": _note(grid, int(found.n), source)}


def _note(grid: Grid, n: int, end: str) -> str:
    if n:
        return few_seeds(n)
    if not end:
        return "no training at t = 100 and no number of classes: the end of the curves is unknown"
    if not np.isfinite(grid.reference).any():
        return "no training at t = 0: the start of the curves is unknown"
    return "no common seed, or no drop of the random curve"
