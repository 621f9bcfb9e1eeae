"""Estimators against the controls and against each other: gaps, areas, tests.

One sign for all: an *advantage* is in accuracy points and positive where the estimator is better, that is
where the accuracy falls further (mode ``roar``) or less far (mode ``kar``). All are paired by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.curves import PANEL
from roar.analysis.grid import Grid, grids
from roar.analysis.noise import crossed, with_noise
from roar.analysis.paired import RESAMPLES, Floats, bootstrap_intervals, few_seeds, holm, paired
from roar.errors import AnalysisError, UnknownNameError
from roar.seeds.streams import derive

STATISTICS = ("advantage", "std", "n", "ci_low", "ci_high", "p", "p_holm", "note")
AREA_COLUMNS = (*PANEL, "estimator", "control", *STATISTICS, "boot_low", "boot_high", "thresholds",
                "noise_seeds", "noise_std")
TEST_COLUMNS = (*PANEL, "estimator", "control", "threshold", *STATISTICS)
COMPARE_COLUMNS = (*PANEL, "estimator", "other", "threshold", *STATISTICS)
PAIR_COLUMNS = (*PANEL, "estimator", "other", *STATISTICS)


def areas(results: pd.DataFrame, resamples: int = RESAMPLES, root: int = 0) -> pd.DataFrame:
    """Each estimator's area against each control: its mean advantage over t, from 0 to the last threshold.

    Args:
        results: one row per job.
        resamples: of the bootstrap.
        root: seed of the bootstrap.

    Returns:
        A row per panel, control and estimator, with :data:`AREA_COLUMNS`. ``advantage`` in accuracy points;
        ``ci_low`` and ``ci_high``: its 95 % t interval over seeds; ``boot_low`` and ``boot_high``: the
        percentile bootstrap's; ``p``: the paired t test that it is zero; ``p_holm``: corrected over all rows
        of the panel; ``thresholds``: how many it spans, 0 included; ``note``: what the seeds and thresholds
        at hand forbid to say. ``noise_seeds``: how many rankings of what draws random numbers were retrained; where
        there are several, interval and test cover the noise too (:mod:`roar.analysis.noise`), and ``noise_std`` is the
        standard deviation between them, accuracy points. The bootstrap is over training seeds alone.
    """
    rows: list[dict[str, Any]] = []
    for grid in grids(results):
        pairs = _questions(grid)
        if not pairs:
            continue
        found = [grid.area(estimator, control) for estimator, control in pairs]
        samples = [area for area, _ in found]
        lows, highs = bootstrap_intervals(samples, derive(root, "bootstrap"), resamples)
        repeats = [grid.area_by_noise(*pair) for pair in pairs]
        lines = zip(pairs, found, _statistics(samples, repeats), lows, highs, repeats, strict=True)
        for (estimator, control), (_, thresholds), row, low, high, again in lines:
            noise = None if again is None else crossed(again)
            if len(thresholds) <= len(grid.thresholds):
                spanned = "spans only t = " + ", ".join(f"{t:g}" for t in thresholds)
                row["note"] = "; ".join(filter(None, [row["note"], spanned]))
            rows.append({**grid.here, "estimator": estimator, "control": control, **row,
                         "boot_low": low, "boot_high": high, "thresholds": len(thresholds),
                         "noise_seeds": noise.noise_seeds if noise else 1,
                         "noise_std": noise.noise_std if noise else np.nan})
    return pd.DataFrame(rows, columns=list(AREA_COLUMNS))


def against_controls(results: pd.DataFrame) -> pd.DataFrame:
    """Each estimator against each control at each threshold: paired t tests, Holm-corrected over the panel.

    Returns:
        A row per panel, control, estimator and threshold, with :data:`TEST_COLUMNS`; columns as in
        :func:`areas`. One panel's tests are one family: where no estimator differs from a control, the
        chance that even one ``p_holm`` falls below 0.05 is at most 5 %.
    """
    rows: list[dict[str, Any]] = []
    for grid in grids(results):
        pairs = _questions(grid)
        gaps = [gap for estimator, control in pairs for gap in grid.advantage(estimator, control)]
        where = [(estimator, control, t) for estimator, control in pairs for t in grid.thresholds]
        for (estimator, control, threshold), row in zip(where, _statistics(gaps), strict=True):
            names = {"estimator": estimator, "control": control, "threshold": threshold}
            rows.append({**grid.here, **names, **row})
    return pd.DataFrame(rows, columns=list(TEST_COLUMNS))


def compare(results: pd.DataFrame, estimator: str, other: str) -> pd.DataFrame:
    """One estimator against another, at each threshold and over all of them.

    Returns:
        Rows per panel that holds both, with :data:`COMPARE_COLUMNS`: one per threshold, Holm-corrected over
        the thresholds, and one with ``threshold`` NaN for the area over t, which needs no correction.

    Raises:
        UnknownNameError: the results have no such estimator; names the nearest.
        AnalysisError: no panel holds both.
    """
    found = grids(results)
    names = sorted({name for grid in found for name in grid.estimators})
    for name in (estimator, other):
        if name not in names:
            raise UnknownNameError("estimator of these results", name, names)
    rows: list[dict[str, Any]] = []
    for grid in found:
        if {estimator, other} <= set(grid.estimators):
            at_thresholds = _statistics(list(grid.advantage(estimator, other)))
            over_all = _statistics([grid.area(estimator, other)[0]], [grid.area_by_noise(estimator, other)])
            for threshold, row in zip([*grid.thresholds, np.nan], at_thresholds + over_all, strict=True):
                names_here = {"estimator": estimator, "other": other, "threshold": threshold}
                rows.append({**grid.here, **names_here, **row})
    if not rows:
        raise AnalysisError(f"No panel holds both {estimator} and {other}; compare two of one experiment.")
    return pd.DataFrame(rows, columns=list(COMPARE_COLUMNS))


def pairwise(results: pd.DataFrame) -> pd.DataFrame:
    """All pairs of estimators by their area over t, Holm-corrected over the pairs of a panel.

    Returns:
        A row per panel and pair, with :data:`PAIR_COLUMNS`. Because every pair is in the family, the best may
        be picked after looking.
    """
    rows: list[dict[str, Any]] = []
    for grid in grids(results):
        tested = area_tests(grid, list(combinations(grid.estimators, 2)))
        rows += [{**grid.here, **row} for row in tested]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def area_tests(grid: Grid, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The area tests of chosen pairs as one Holm family: ``estimator``, ``other`` and :data:`STATISTICS`."""
    statistics = _statistics([grid.area(*pair)[0] for pair in pairs], [grid.area_by_noise(*pair) for pair in pairs])
    return [{"estimator": estimator, "other": other, **row}
            for (estimator, other), row in zip(pairs, statistics, strict=True)]


def _questions(grid: Grid) -> list[tuple[str, str]]:
    """The pairs (estimator, control) to be tested; a control is tested against ``random`` only."""
    return [(estimator, control) for control in grid.controls for estimator in grid.estimators
            if estimator != control and (control == "random" or not grid.facts[estimator].is_control)]


def _statistics(gaps: list[Floats], repeats: Sequence[Floats | None] = ()) -> list[dict[str, Any]]:
    """The columns of :data:`STATISTICS` for one family of tests: each of ``gaps`` is ``[S]`` in points.

    ``repeats``: the same for each noise seed, ``[N, S]``, where an estimator was ranked under several.
    """
    if not gaps:
        return []
    found = with_noise(paired(np.array(gaps)), repeats)
    columns = zip(found.mean, found.std, found.n, found.low, found.high, found.p, holm(found.p), strict=True)
    rows = []
    for mean, std, n, low, high, p, corrected in columns:
        note = few_seeds(int(n)) or ("all differences are identical: no test" if np.isnan(p) else "")
        values = (mean, std, int(n), low, high, p, corrected, note)
        rows.append(dict(zip(STATISTICS, values, strict=True)))
    return rows
