"""Heat maps to be looked at: where each estimator sees each network look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roar.errors import AnalysisError

CLIP = 99.0  # percentile of |score| at which the colors end


@dataclass(frozen=True, eq=False)
class Column:
    """One network.

    Attributes:
        name: of the network, as text.
        predicted: its class for the picture, with its probability; right: whether that is the picture's.
        scores: of each estimator float ``[H, W]``.
        degraded: of each estimator uint8 ``[T, H, W, C]``, what a retrained network sees at each threshold.
    """

    name: str
    predicted: str
    right: bool
    scores: dict[str, np.ndarray]
    degraded: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class HeatStrip:
    """One picture, explained by several estimators (rows) for several networks (columns).

    Attributes:
        title: which image it is.
        label: its class.
        picture: uint8 ``[H, W, C]``, C = 1 or 3.
        thresholds: T percentages.

    Raises:
        AnalysisError: there is no network or no estimator, or the networks have other estimators.
    """

    title: str
    label: str
    picture: np.ndarray
    thresholds: tuple[float, ...]
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not self.columns or not self.estimators:
            raise AnalysisError("A heat map needs a network and an estimator; name some.")
        if any(tuple(column.scores) != self.estimators for column in self.columns):
            raise AnalysisError("All networks of a strip have the same estimators; rank them for each.")

    @property
    def estimators(self) -> tuple[str, ...]:
        return tuple(self.columns[0].scores)

    def scale(self, estimator: str) -> tuple[float, float]:
        """The scores at which an estimator's colors begin and end, one scale for all networks.

        The end is the 99th percentile of |score| over all of them, so that one hot pixel does not turn the rest
        pale; the beginning is 0, or minus the end where scores are signed.
        """
        scores = np.stack([column.scores[estimator] for column in self.columns])
        end = float(np.percentile(np.abs(scores), CLIP)) or 1.0
        return (-end if scores.min() < 0 else 0.0), end
