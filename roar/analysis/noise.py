"""Estimators that draw random numbers: what several rankings under other noise say of one estimator.

Noise seed n is crossed with training seed s: ranking n is retrained from the same initial weights and batches of seed s
as every other ranking. With n = 1 .. N, s = 1 .. S, the area of a curve is taken as

    d[n, s] = mu + noise[n] + training[s] + residual[n, s]

with three independent normal effects. The variance of the mean, var(noise)/N + var(training)/S + var(residual)/NS,
is estimated from the mean squares of the two-way layout without replication; its degrees of freedom are those of
Satterthwaite (1946).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roar.analysis.paired import CONFIDENCE, Floats, Paired

if TYPE_CHECKING:
    import pandas as pd

NOISE_SEED = "noise_seed"
GOAL = 0.9  # the agreement with itself for which the number of samples is computed


def has_noise_seeds(results: pd.DataFrame) -> bool:
    """Whether an estimator was ranked under more than one noise seed."""
    return NOISE_SEED in results.columns and bool((results[NOISE_SEED] > 0).any())


def noise_column(results: pd.DataFrame) -> list[str]:
    """The column of noise seeds, in a list that is empty where results have none."""
    return [NOISE_SEED] if NOISE_SEED in results.columns else []


def over_noise(results: pd.DataFrame, cell: Sequence[str]) -> pd.DataFrame:
    """One row per cell and seed, with the mean accuracy of the rankings under all noise seeds that finished.

    Args:
        results: one row per job; without several noise seeds they are returned as they are.
        cell: the columns that name a cell.
    """
    if not has_noise_seeds(results):
        return results
    keys = [*cell, "seed", *(name for name in ("protocol",) if name in results.columns)]
    finished = results["status"] == "ok"
    ordered = results.assign(_failed=~finished).sort_values(["_failed", NOISE_SEED], kind="stable")
    first = ordered.drop_duplicates(keys).drop(columns="_failed").sort_index()
    groups = results[finished].groupby(keys, observed=True, dropna=False)
    means = groups["accuracy"].mean().rename("_mean")
    found = first.merge(means, left_on=keys, right_index=True, how="left")
    found["accuracy"] = found.pop("_mean")
    if "class_accuracy" in results.columns:
        kept = results[finished & results["class_accuracy"].notna()]
        classes = kept.groupby(keys, observed=True, dropna=False)["class_accuracy"].agg(_mean_of_lists)
        found = found.merge(classes.rename("_classes"), left_on=keys, right_index=True, how="left")
        found["class_accuracy"] = found.pop("_classes")
    return found[list(results.columns)].reset_index(drop=True)


def _mean_of_lists(lists: pd.Series) -> list[float]:
    return [float(value) for value in np.mean(np.array(lists.map(list).tolist(), dtype=np.float64), axis=0)]


@dataclass(frozen=True)
class Crossed:
    """The mean over noise and training seeds, and what is known about it.

    Attributes:
        noise_std: standard deviation between noise seeds, training apart; 0 where none is left.
        error, freedom: of the mean, for a t interval.
        noise_seeds, seeds: N and S, of those that finished together.
    """

    mean: float
    noise_std: float
    error: float
    freedom: float
    noise_seeds: int
    seeds: int


def crossed(values: Floats) -> Crossed:
    """The two-way layout of ``values``, ``[N, S]``, one per noise and training seed; NaN where a job is missing.

    Noise seeds without any value are left out, then training seeds that lack one. The estimated variance components are
    not negative, so the error is never smaller than that of the seeds alone.
    """
    d = np.asarray(values, dtype=np.float64)
    d = d[np.isfinite(d).any(axis=1)]
    d = d[:, np.isfinite(d).all(axis=0)] if len(d) else d.reshape(0, 0)
    n, s = d.shape
    if n < 2 or s < 2:
        mean = float(d.mean()) if d.size else float("nan")
        return Crossed(mean, float("nan"), float("nan"), float("nan"), n, s)
    mean = float(d.mean())
    noise, training = d.mean(axis=1), d.mean(axis=0)
    residual = float(((d - noise[:, None] - training[None] + mean) ** 2).sum() / ((n - 1) * (s - 1)))
    of_noise = max(residual, float(s * noise.var(ddof=1)))
    of_training = max(residual, float(n * training.var(ddof=1)))
    total = of_noise + of_training - residual
    spread = of_noise**2 / (n - 1) + of_training**2 / (s - 1) + residual**2 / ((n - 1) * (s - 1))
    freedom = float(np.clip(total**2 / spread, 1, None)) if spread else float("nan")
    return Crossed(mean, float(np.sqrt((of_noise - residual) / s)), float(np.sqrt(total / (n * s))), freedom, n, s)


def with_noise(found: Paired, repeats: Sequence[Floats | None], confidence: float = CONFIDENCE) -> Paired:
    """Statistics over training seeds, with interval and test of the mean over noise seeds where there are several.

    Args:
        repeats: for each sample ``[N, S]``, or None where nothing was ranked again.
    """
    from scipy import stats

    mean, low, high, p = (array.copy() for array in (found.mean, found.low, found.high, found.p))
    for place, values in enumerate(repeats):
        both = None if values is None else crossed(values)
        if both is None or not np.isfinite(both.error) or both.error == 0:
            continue
        half = float(stats.t.ppf((1 + confidence) / 2, both.freedom)) * both.error
        mean[place], low[place], high[place] = both.mean, both.mean - half, both.mean + half
        p[place] = 2 * stats.t.sf(abs(both.mean) / both.error, both.freedom)
    return replace(found, mean=mean, low=low, high=high, p=p)


def prophesied(agreement: npt.ArrayLike, times: float) -> Floats:
    """The agreement of two rankings that each average ``times`` as many samples (Spearman 1910, Brown 1910).

    >>> float(prophesied(0.5, 2))
    0.6666666666666666
    """
    rho = np.asarray(agreement, dtype=np.float64)
    return np.asarray(times * rho / (1 + (times - 1) * rho))


def samples_for(agreements: npt.ArrayLike, samples: int, goal: float = GOAL) -> float:
    """The number of samples J at which two rankings under other noise would agree at the goal, in the mean over images.

    The formula is applied image by image, since that of the mean promises too much where images differ. An agreement
    below 0 counts as 0, which no number of samples mends; where too many are 0, the answer is infinite.

    Args:
        agreements: of the two rankings of each image.
        samples: J of these.

    >>> samples_for([0.5], 10)
    90.0
    """
    rho = np.clip(np.asarray(agreements, dtype=np.float64), 0, 1)
    rho = rho[np.isfinite(rho)]
    low, high = 1e-3, 1e6  # times as many samples
    if not len(rho) or prophesied(rho, high).mean() < goal:
        return float("inf")
    while high / low > 1 + 1e-9:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if prophesied(rho, middle).mean() < goal else (low, middle)
    return float(f"{samples * high:.6g}")
