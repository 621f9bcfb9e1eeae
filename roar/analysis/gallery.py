"""Degraded images to be looked at: what each estimator removes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roar.errors import AnalysisError


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """One image as an estimator degrades it.

    Attributes:
        estimator: who ranked its pixels.
        label: the image's class, as text.
        images: uint8 ``[T, H, W, C]``, C = 1 or 3, one per threshold.
    """

    estimator: str
    label: str
    images: np.ndarray


@dataclass(frozen=True, eq=False)
class Gallery:
    """Degraded images.

    Attributes:
        thresholds: T percentages, in the order of the images.
        rows: one per estimator and image.

    Raises:
        AnalysisError: the images are not uint8 ``[T, H, W, C]`` with one or three channels.
    """

    thresholds: tuple[float, ...]
    rows: tuple[GalleryRow, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            shape, kind = row.images.shape, row.images.dtype
            if kind != np.uint8 or len(shape) != 4 or shape[0] != len(self.thresholds) or shape[3] not in (1, 3):
                raise AnalysisError(f"The images of a gallery are uint8 [{len(self.thresholds)}, H, W, 1 or 3], but "
                                    f"those of {row.estimator} are {kind} {list(shape)}; give one per threshold.")
