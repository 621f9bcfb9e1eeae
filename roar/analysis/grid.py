"""The accuracies of one panel as an array, and the areas between its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.curves import CELL, every_noise_seed, panels
from roar.analysis.facts import CONTROLS, REFERENCE, Facts, facts_of
from roar.analysis.noise import NOISE_SEED, has_noise_seeds, over_noise
from roar.analysis.paired import Floats
from roar.errors import UnknownNameError


@dataclass(frozen=True, eq=False)
class Grid:
    """The accuracies of one panel: what may be compared, seed by seed.

    Attributes:
        here: source, model, regularizer, retrainer, mode and fill.
        facts: what is known of E estimators, by name, in the order of all tables.
        architecture, model_seed: of the network that is explained.
        thresholds: T percentages, rising, all above 0.
        seeds: S seeds.
        accuracy: ``[E, T, S]`` in [0, 1], NaN where a job is missing or failed.
        reference: ``[S]``, the accuracy at t = 0 in [0, 1], NaN where there is none.
        repeats: of the estimators that were ranked under several noise seeds, ``[T, S]`` for each of these;
            ``accuracy`` is their mean.
    """

    here: dict[str, str]
    facts: dict[str, Facts]
    architecture: str
    model_seed: int
    thresholds: Floats
    seeds: tuple[int, ...]
    accuracy: Floats
    reference: Floats
    repeats: Mapping[str, Mapping[int, Floats]] = field(default_factory=dict)

    @property
    def estimators(self) -> tuple[str, ...]:
        return tuple(self.facts)

    @property
    def sign(self) -> int:
        """+1 where a lower accuracy is better (``roar``), -1 where a higher one is (``kar``)."""
        return -1 if self.here.get("mode") == "kar" else 1

    @property
    def controls(self) -> tuple[str, ...]:
        return tuple(name for name in CONTROLS if name in self.estimators)

    def of(self, estimator: str) -> Floats:
        """One estimator's accuracies ``[T, S]``."""
        if estimator not in self.estimators:
            raise UnknownNameError("estimator of these results", estimator, self.estimators)
        found: Floats = self.accuracy[self.estimators.index(estimator)]
        return found

    def advantage(self, estimator: str, other: str) -> Floats:
        """How much better an estimator is than another, seed by seed: ``[T, S]`` in accuracy points.

        Positive is better: the accuracy falls further in mode ``roar`` and less far in mode ``kar``.
        """
        return 100 * self.sign * (self.of(other) - self.of(estimator))

    def mean_accuracy(self, estimator: str) -> Floats:
        """An estimator's accuracy in percent, the mean over t, for each seed: ``[S]``, NaN where incomplete.

        Over t from 0 where the shared cell is there, else from the first threshold; to the last threshold at
        which the estimator has a finished job.
        """
        from scipy.integrate import trapezoid

        values, across = 100 * self.of(estimator), self.thresholds
        if np.isfinite(self.reference).any():
            values = np.concatenate([100 * self.reference[None], values])
            across = np.concatenate([[0.0], across])
        keep = np.isfinite(values).any(axis=1)
        values, across = values[keep], across[keep]
        if len(across) < 2:
            return values[0] if len(across) else np.full(len(self.seeds), np.nan)
        mean: Floats = trapezoid(values, across, axis=0) / (across[-1] - across[0])
        return mean

    def area(self, estimator: str, other: str) -> tuple[Floats, Floats]:
        """The area between two curves, seed by seed, and the thresholds it spans.

        Returns:
            ``[S]`` in accuracy points, positive where ``estimator`` is better, NaN for a seed that did not
            finish all of the thresholds; and those thresholds: 0 and all where both have a finished job.
        """
        gaps = self.advantage(estimator, other)
        common = np.isfinite(self.of(estimator)).any(axis=1) & np.isfinite(self.of(other)).any(axis=1)
        thresholds = np.concatenate([[0.0], self.thresholds[common]])
        return mean_over_thresholds(gaps[common], self.thresholds[common]), thresholds

    def area_by_noise(self, estimator: str, other: str) -> Floats | None:
        """The area between two curves for each noise seed and seed, ``[N, S]``; None where neither was ranked again.

        Ranking n of one is held against ranking n of the other, and against the one ranking of what draws nothing.
        """
        again = [self.repeats[name] for name in (estimator, other) if name in self.repeats]
        seeds = sorted(set.intersection(*map(set, again))) if again else []
        if len(seeds) < 2:
            return None
        common = np.isfinite(self.of(estimator)).any(axis=1) & np.isfinite(self.of(other)).any(axis=1)

        def of(name: str, noise_seed: int) -> Floats:
            return self.repeats[name][noise_seed] if name in self.repeats else self.of(name)

        gaps = [100 * self.sign * (of(other, seed) - of(estimator, seed))[common] for seed in seeds]
        return mean_over_thresholds(np.stack(gaps), self.thresholds[common])


def mean_over_thresholds(values: Floats, thresholds: Floats, at_zero: float = 0.0) -> Floats:
    """The mean of a curve over t from 0 to the last threshold, by the trapezoid rule.

    Args:
        values: ``[..., T, S]`` at the thresholds.
        thresholds: ``[T]``, rising, above 0.
        at_zero: the value at t = 0. The gap of two curves is 0 there, for nothing is replaced.

    Returns:
        ``[..., S]``, NaN without thresholds and where a value is NaN.
    """
    from scipy.integrate import trapezoid

    if len(thresholds) == 0:
        return np.full((*values.shape[:-2], values.shape[-1]), np.nan)
    start = np.full((*values.shape[:-2], 1, values.shape[-1]), at_zero)
    curve, across = np.concatenate([start, values], axis=-2), np.concatenate([[0.0], thresholds])
    mean: Floats = trapezoid(curve, across, axis=-2) / thresholds[-1]
    return mean


def grids(results: pd.DataFrame) -> list[Grid]:
    """The panels of results as arrays, in the order of all tables; a panel needs one estimator at least."""
    return [_grid(here, part) for here, part in panels(every_noise_seed(results))
            if (part["estimator"] != REFERENCE).any()]


def _grid(here: dict[str, str], part: pd.DataFrame) -> Grid:
    every = part.assign(accuracy=part["accuracy"].where(part["status"] == "ok"))
    finished = over_noise(every, CELL)
    rest = finished[(finished["estimator"] != REFERENCE) & (finished["threshold"] > 0)]
    reference = finished[finished["estimator"] == REFERENCE].set_index("seed")["accuracy"]
    facts = {name: known for name, known in facts_of(finished).items() if name != REFERENCE}
    estimators = list(facts)
    architecture, model_seed = finished[["architecture", "model_seed"]].iloc[0]
    thresholds = sorted(rest["threshold"].unique())
    seeds = sorted(finished["seed"].unique())
    axes = {"estimator": estimators, "threshold": thresholds, "seed": seeds}
    accuracy = _array(rest, axes)
    return Grid(here, facts, str(architecture), int(model_seed), np.array(thresholds, dtype=np.float64),
                tuple(int(s) for s in seeds), accuracy, reference.reindex(seeds).to_numpy(dtype=np.float64),
                _repeats(every, axes))


def _array(rows: pd.DataFrame, axes: Mapping[str, Sequence[Any]]) -> Floats:
    """The accuracies by the values of some columns; NaN where there is no row."""
    found = np.full([len(values) for values in axes.values()], np.nan)
    places = tuple(pd.Categorical(rows[name], categories=values).codes for name, values in axes.items())
    found[places] = rows["accuracy"].to_numpy(dtype=np.float64)
    return found


def _repeats(every: pd.DataFrame, axes: Mapping[str, Sequence[Any]]) -> dict[str, dict[int, Floats]]:
    """The accuracies ``[T, S]`` of each noise seed, of the estimators that have several."""
    if not has_noise_seeds(every):
        return {}
    rest = every[(every["estimator"] != REFERENCE) & (every["threshold"] > 0)]
    places = {name: axes[name] for name in ("threshold", "seed")}
    return {str(estimator): {int(seed): _array(own[own[NOISE_SEED] == seed], places)
                             for seed in sorted(own[NOISE_SEED].unique())}
            for estimator, own in rest.groupby("estimator", observed=True) if own[NOISE_SEED].nunique() > 1}

