"""Which metric is right, where the truth is known: how well it orders estimators whose quality is known.

A *metric* gives every estimator a score per draw (a seed of the retraining, or a test image), larger for better. Its
order is compared with the true one by Kendall's tau-b: 1 where every pair is in the right order, 0 where as many are
wrong as right. Draws are resampled with replacement, the same ones for all estimators, so a metric's interval says how
far its verdict depends on them; that the images were made by one recipe it does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.facts import TRUTH, require
from roar.analysis.paired import Floats
from roar.errors import AnalysisError

SCORE_COLUMNS = ("source", "metric", "estimator", "draw", "score")
QUALITY_COLUMNS = ("source", "estimator", "family", "base", "quality")
AUDIT_COLUMNS = ("source", "metric", "order", "tau", "boot_low", "boot_high", "n", "draws", "estimators", "seconds")
ORDERS = {"known": "oracles of known quality", "real": "real estimators", "all": "all estimators"}  # which are ordered
ALL_SOURCES = "all sources"
RESAMPLES = 10_000
FEW = 10  # draws, under which a percentile interval is too short to be taken at its word


def found_share(ranks: np.ndarray, truth: np.ndarray) -> Floats:
    """The true quality of a ranking: which share of an image's m informative pixels are among its first m.

    Args:
        ranks: ``[N, P]``, 0 the most important.
        truth: bool ``[N, P]``, the informative pixels, at least one in every image.

    Returns:
        ``[N]`` in [0, 1]: 1 for the truth itself, m / P for lots.
    """
    counts = truth.sum(axis=1, keepdims=True)
    if not counts.all():
        raise AnalysisError(f"Every image needs an informative pixel to be found, and {int((counts == 0).sum())} have "
                            "none; take a source whose truth names some.")
    return np.asarray(((ranks < counts) & truth).sum(axis=1) / counts[:, 0], dtype=np.float64)


def tau_b(scores: Floats, truth: Floats) -> Floats:
    """Kendall's tau-b of many lists of scores with one true list, all at once; 0 where all scores of a list tie.

    Args:
        scores: ``[..., E]``.
        truth: ``[E]``, not all the same.
    """
    one, two = np.triu_indices(scores.shape[-1], 1)
    found = np.sign(scores[..., one] - scores[..., two])
    true = np.sign(truth[one] - truth[two])
    pairs = np.sqrt((found != 0).sum(axis=-1) * float((true != 0).sum()))
    return np.asarray((found * true).sum(axis=-1) / np.maximum(pairs, 1.0))


def audit(scores: pd.DataFrame, quality: pd.DataFrame, seconds: Mapping[tuple[str, str], float] | None = None,
          resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """How well every metric recovers the true order of the estimators, per source and on average over the sources.

    Args:
        scores: one row per source, metric, estimator and draw, :data:`SCORE_COLUMNS`; every estimator of a metric has
            the same draws. A column ``draws`` tells what they are, ``seeds`` or ``images``.
        quality: the true quality of every estimator on a source, :data:`QUALITY_COLUMNS`.
        seconds: what a metric cost on a source.

    Returns:
        One row per source, metric and order with :data:`AUDIT_COLUMNS`. ``order``: which estimators are put in order,
        :data:`ORDERS`. ``tau``: of the mean scores; ``boot_low``, ``boot_high``: percentile interval of 95 % over
        ``n`` draws, NaN for one. ``seconds``: on one source, or on all of them together.

    Raises:
        AnalysisError: columns or scores are missing, or an order has fewer than three estimators.
    """
    rows = [{**row, "boot_low": low, "boot_high": high} for row, draws in _resampled(scores, quality, seconds or {},
            resamples, seed) for low, high in [_interval(draws, row["n"])]]
    return pd.DataFrame(rows, columns=list(AUDIT_COLUMNS))


def conclusions(scores: pd.DataFrame, quality: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> list[str]:
    """What may be said over all sources: which metric is nearer to the true order than which.

    A pair of metrics differs where the bootstrap interval of the difference of their taus does not hold 0, at a level
    of 95 % for all pairs of an order together (Bonferroni).
    """
    every = [(row, draws) for row, draws in _resampled(scores, quality, {}, resamples, seed)
             if row["source"] == ALL_SOURCES]
    found = []
    for order, title in ORDERS.items():
        metrics = [(row["metric"], row["tau"], draws, row["n"]) for row, draws in every if row["order"] == order]
        if not metrics:
            continue
        few = sorted({metric for metric, _, _, n in metrics if n < 2})
        if few:
            found.append(f"For {title}, {', '.join(few)} has one draw and hence no spread; run more seeds.")
        pairs = list(combinations([metric for metric in metrics if metric[3] > 1], 2))
        differ = []
        for a, b in pairs:
            low, high = np.quantile(a[2] - b[2], [0.025 / len(pairs), 1 - 0.025 / len(pairs)])
            if low > 0 or high < 0:
                better, worse = (a, b) if low > 0 else (b, a)
                differ.append(f"{better[0]} recovers the order of {title} better than {worse[0]}: tau {better[1]:.2f} "
                              f"against {worse[1]:.2f}, difference {_range(low, high, better is b)}.")
        found += differ
        if pairs and not differ:
            found.append(f"No metric is shown to recover the order of {title} better than another: every interval of a "
                         "difference holds 0.")
    short = {row["metric"]: row["n"] for row, _ in every if 1 < row["n"] < FEW}
    if short:
        found.append(f"Bootstrap intervals over few draws are too narrow ({min(short.values())} of "
                     f"{', '.join(short)}): treat conclusions about these metrics as preliminary and run more seeds.")
    return found


def _range(low: float, high: float, turned: bool) -> str:
    low, high = (-high, -low) if turned else (low, high)
    return f"{low:.2f} to {high:.2f}"


def _resampled(scores: pd.DataFrame, quality: pd.DataFrame, seconds: Mapping[tuple[str, str], float], resamples: int,
               seed: int) -> Iterator[tuple[dict[str, Any], Floats]]:
    """Every row of the audit with the taus of its resamples ``[B]``; the sources' mean last."""
    require(scores, SCORE_COLUMNS, "scores")
    require(quality, QUALITY_COLUMNS, "qualities")
    over: dict[tuple[str, str], list[tuple[dict[str, Any], Floats]]] = {}
    kinds = scores.get("draws", pd.Series("draws", index=scores.index))
    for number, ((source, metric), part) in enumerate(scores.groupby(["source", "metric"], sort=False)):
        table = part.pivot(index="estimator", columns="draw", values="score")
        if table.isna().to_numpy().any():
            lacking = table.index[table.isna().any(axis=1)][0]
            raise AnalysisError(f"{metric} on {source} lacks scores of {lacking}; run what failed again.")
        known = quality[quality["source"] == source].set_index("estimator")
        truth, kind = known["quality"], _kinds(known)
        random = np.random.default_rng([seed, number])
        means = _resampled_means(table.to_numpy(), resamples, random)
        for order in ORDERS:
            chosen = [i for i, name in enumerate(table.index) if order == "all" or kind[name] == order]
            if len(chosen) < 3:
                continue
            true = truth.loc[table.index[chosen]].to_numpy(dtype=np.float64)
            row = {"source": source, "metric": metric, "order": order, "n": table.shape[1],
                   "tau": float(tau_b(table.to_numpy()[chosen].mean(axis=1), true)), "estimators": len(chosen),
                   "draws": str(kinds[part.index[0]]), "seconds": seconds.get((str(source), str(metric)), np.nan)}
            draws = tau_b(means[:, chosen], true)
            over.setdefault((str(metric), order), []).append((row, draws))
            yield row, draws
    for (metric, order), found in over.items():
        if len(found) > 1:
            own = [row for row, _ in found]
            yield {**own[0], "source": ALL_SOURCES, "metric": metric, "order": order,
                   "n": min(row["n"] for row in own), "tau": float(np.mean([row["tau"] for row in own])),
                   "seconds": float(np.sum([row["seconds"] for row in own]))}, \
                np.mean([draws for _, draws in found], axis=0)


def _resampled_means(table: Floats, resamples: int, random: np.random.Generator) -> Floats:
    """Mean scores ``[B, E]`` over draws taken with replacement, from scores ``[E, n]``."""
    n = table.shape[1]
    counts = random.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.asarray(counts @ table.T / n)


def _interval(draws: Floats, n: int) -> tuple[float, float]:
    if n < 2:
        return np.nan, np.nan
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _kinds(known: pd.DataFrame) -> dict[str, str]:
    """By estimator: ``known`` for what the order is known of beforehand, ``real`` for the rest."""
    return {str(name): "known" if family == TRUTH or base == "random" else "real"
            for name, family, base in known[["family", "base"]].itertuples(name=None)}
