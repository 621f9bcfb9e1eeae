"""The accuracies of one panel as an array, and the areas between its curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from roar.analysis.curves import complete, panels
from roar.analysis.facts import CONTROLS, REFERENCE, Facts, facts_of
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
    """

    here: dict[str, str]
    facts: dict[str, Facts]
    architecture: str
    model_seed: int
    thresholds: Floats
    seeds: tuple[int, ...]
    accuracy: Floats
    reference: Floats

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
    return [_grid(here, part) for here, part in panels(complete(results))
            if (part["estimator"] != REFERENCE).any()]


def _grid(here: dict[str, str], part: pd.DataFrame) -> Grid:
    finished = part.assign(accuracy=part["accuracy"].where(part["status"] == "ok"))
    rest = finished[(finished["estimator"] != REFERENCE) & (finished["threshold"] > 0)]
    reference = finished[finished["estimator"] == REFERENCE].set_index("seed")["accuracy"]
    facts = {name: known for name, known in facts_of(finished).items() if name != REFERENCE}
    estimators = list(facts)
    architecture, model_seed = finished[["architecture", "model_seed"]].iloc[0]
    thresholds = sorted(rest["threshold"].unique())
    seeds = sorted(finished["seed"].unique())
    accuracy = np.full((len(estimators), len(thresholds), len(seeds)), np.nan)
    axes = {"estimator": estimators, "threshold": thresholds, "seed": seeds}
    places = tuple(pd.Categorical(rest[name], categories=values).codes for name, values in axes.items())
    accuracy[places] = rest["accuracy"].to_numpy(dtype=np.float64)
    return Grid(here, facts, str(architecture), int(model_seed), np.array(thresholds, dtype=np.float64),
                tuple(int(s) for s in seeds), accuracy, reference.reindex(seeds).to_numpy(dtype=np.float64))

