"""The order of the estimators: ranks with intervals, and which of them differ significantly.

Within a panel the estimators are ordered by their area over t, one value per seed. The thresholds of a curve are
not independent of each other, so they are never the blocks of a test; a block is a seed (every network trained
anew, on the same images) or, over several panels, a setting (another data set or network).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from roar.analysis.curves import PANEL
from roar.analysis.facts import ESTIMATOR_FACTS, Facts
from roar.analysis.grid import Grid, grids, mean_over_thresholds
from roar.analysis.paired import CONFIDENCE, RESAMPLES, Floats, few_seeds
from roar.errors import AnalysisError
from roar.seeds.streams import derive

RANK_COLUMNS = (*PANEL, "estimator", "mean_accuracy", "rank", "rank_low", "rank_high", "n", "note", *ESTIMATOR_FACTS)


def ranks(results: pd.DataFrame, resamples: int = RESAMPLES, root: int = 0) -> pd.DataFrame:
    """The estimators of each panel, best first, with bootstrap intervals of their ranks.

    Args:
        results: one row per job.
        resamples: of the bootstrap.
        root: seed of the bootstrap.

    Returns:
        A row per panel and estimator, with :data:`RANK_COLUMNS`. ``mean_accuracy``: percent, over t and seeds.
        ``rank``: 1 is best, equal ones share the smaller rank. ``rank_low``, ``rank_high``: where 95 % of the
        ranks lie when the seeds are drawn anew, for all estimators together; NA below three seeds. ``n``: how
        many seeds all ranked estimators finished. An estimator without the others' thresholds and seeds has
        the rank NA and ``note`` says so.
    """
    rows: list[dict[str, Any]] = []
    for grid in grids(results):
        names, scores = ranked_scores(grid)
        n = scores.shape[1]
        best = _ranks(scores.mean(axis=1)) if n else np.array([])
        low, high = _rank_intervals(scores, derive(root, "ranks"), resamples)
        part = []
        for estimator in grid.estimators:
            own = grid.mean_accuracy(estimator)
            row = {**grid.here, **grid.facts[estimator].columns, "n": 0, "note": "not ranked: too few finished jobs",
                   "mean_accuracy": own[np.isfinite(own)].mean() if np.isfinite(own).any() else np.nan}
            if estimator in names and n:
                i = names.index(estimator)
                row |= {"rank": best[i], "rank_low": low[i], "rank_high": high[i], "n": n, "note": few_seeds(n)}
            part.append(row)
        rows += sorted(part, key=lambda row: row.get("rank", np.inf))
    table = pd.DataFrame(rows, columns=list(RANK_COLUMNS)).astype({"n": "int64", "mean_accuracy": "float64"})
    return table.astype(dict.fromkeys(("rank", "rank_low", "rank_high"), "Int64"))


def ranked_scores(grid: Grid) -> tuple[tuple[str, ...], Floats]:
    """The estimators of a panel that can be ranked against each other, and a score for each of their seeds.

    A threshold counts if half of the estimators have it; an estimator takes part if it finished all of those
    with half of the seeds; and the seeds are those that every participant finished.

    Returns:
        E' names, and ``[E', S']`` in accuracy points over t, higher is better.
    """
    finished = np.isfinite(grid.accuracy)
    common = np.asarray(finished.any(axis=2).mean(axis=0) >= 0.5)
    complete = np.asarray(finished[:, common].all(axis=1) & common.any())
    took_part = np.asarray(complete.mean(axis=1) >= 0.5)
    seeds = complete[took_part].all(axis=0) & took_part.any()
    names = tuple(name for name, here in zip(grid.estimators, took_part, strict=True) if here)
    values = grid.accuracy[took_part][:, common][:, :, seeds]
    return names, -100 * grid.sign * mean_over_thresholds(values, grid.thresholds[common])


@dataclass(frozen=True, eq=False)
class CriticalDifference:
    """Which estimators differ: Friedman's test over blocks, then Nemenyi's.

    Attributes:
        here: the panel, or what the panels have in common.
        block: ``seed`` or ``setting``.
        facts: what is known of k estimators, best first.
        mean_ranks: ``[k]``, over the blocks; 1 is best.
        blocks: how many there are.
        statistic, p: Friedman's chi-squared test that all are alike.
        distance: the critical difference of two mean ranks at the level 0.05.
        groups: runs of estimators, as (first, last) positions, of which no two differ significantly.
        note: what this test cannot say.
    """

    here: dict[str, str]
    block: str
    facts: tuple[Facts, ...]
    mean_ranks: Floats
    blocks: int
    statistic: float
    p: float
    distance: float
    groups: tuple[tuple[int, int], ...]
    note: str

    @property
    def estimators(self) -> tuple[str, ...]:
        return tuple(facts.name for facts in self.facts)


def critical_differences(results: pd.DataFrame,
                         block: Literal["seed", "setting"] = "seed") -> list[CriticalDifference]:
    """Friedman's test and Nemenyi's critical difference (Demšar 2006, JMLR 7:1-30).

    Args:
        results: one row per job.
        block: ``seed``: one test per panel; it speaks of new trainings on the same images. ``setting``: one
            test per mode and fill, over the panels, each with its mean over seeds and the estimators that all
            of them have; it speaks of other data sets and networks.

    Raises:
        AnalysisError: no test has three estimators and two blocks.
    """
    found = grids(results)
    scored: list[tuple[dict[str, str], tuple[str, ...], Floats]] = []
    if block == "seed":
        scored = [(grid.here, *ranked_scores(grid)) for grid in found]
    else:
        for kind in dict.fromkeys((grid.here["mode"], grid.here["fill"]) for grid in found):
            members = [ranked_scores(grid) for grid in found if (grid.here["mode"], grid.here["fill"]) == kind]
            members = [(names, scores) for names, scores in members if scores.shape[1]]
            first = members[0][0] if members else ()
            shared = tuple(name for name in first if all(name in names for names, _ in members))
            means = [[scores[names.index(name)].mean() for names, scores in members] for name in shared]
            scored.append(({"mode": kind[0], "fill": kind[1]}, shared, np.array(means)))
    facts = {name: known for grid in found for name, known in grid.facts.items()}
    tests = [_friedman_nemenyi(here, block, [facts[name] for name in names], scores) for here, names, scores in scored
             if scores.ndim == 2 and len(names) >= 3 and scores.shape[1] >= 2]
    if not tests:
        raise AnalysisError(f"Friedman's test needs three estimators and two {block}s that finished all cells; "
                            "these results have fewer, so run more.")
    return tests


def _friedman_nemenyi(here: dict[str, str], block: str, facts: Sequence[Facts],
                      scores: Floats) -> CriticalDifference:
    from scipy import stats

    k, blocks = scores.shape
    placed = stats.rankdata(-scores, axis=0)
    mean_ranks = placed.mean(axis=1)
    best = np.argsort(mean_ranks, kind="stable")
    statistic, p = stats.friedmanchisquare(*scores) if np.ptp(mean_ranks) > 0 else (0.0, 1.0)
    quantile = stats.studentized_range.ppf(CONFIDENCE, k, np.inf) / np.sqrt(2)
    distance = float(quantile * np.sqrt(k * (k + 1) / (6 * blocks)))
    notes = []
    if p >= 1 - CONFIDENCE:
        notes.append("Friedman's test is not significant, so no pair is compared")
    if blocks < 10:
        notes.append(f"with {blocks} blocks the test is approximate and detects only large differences")
    if block == "seed":
        notes.append("it covers new trainings on these images, not other data")
    ordered = mean_ranks[best]
    return CriticalDifference(here, block, tuple(facts[i] for i in best), ordered, blocks, float(statistic), float(p),
                              distance, _groups(ordered, distance if p < 1 - CONFIDENCE else np.inf),
                              "; ".join(notes))


def _groups(ordered: Floats, distance: float) -> tuple[tuple[int, int], ...]:
    """The longest runs of rising mean ranks that span no more than a distance, of two members or more."""
    runs: list[tuple[int, int]] = []
    for first in range(len(ordered)):
        last = int(np.searchsorted(ordered, ordered[first] + distance, side="right")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return tuple(runs)


def _ranks(scores: Floats) -> np.ndarray:
    """Places along the first axis, the highest score first; equal scores share the smaller place."""
    from scipy import stats

    return np.asarray(stats.rankdata(-scores, method="min", axis=0), dtype=np.int64)


def _rank_intervals(scores: Floats, seed: int, resamples: int) -> tuple[Any, Any]:
    """Percentile bootstrap intervals of the ranks, seeds drawn for all estimators together; NA below three."""
    estimators, n = scores.shape
    if n < 3:
        missing = [pd.NA] * estimators
        return missing, missing
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    placed = _ranks(scores @ draws.T / n)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(placed, [tail, 1 - tail], axis=1, method="nearest")
    return low.astype(np.int64), high.astype(np.int64)
