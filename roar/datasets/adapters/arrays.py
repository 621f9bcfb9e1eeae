"""``roar.arrays``: images and labels that a program holds in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roar.datasets.adapters.pixels import to_images, to_labels
from roar.errors import SourceError


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images uint8 ``[N, C, H, W]`` with labels int64 ``[N]``; ``train`` is ``None`` for a test split alone."""

    train: tuple[np.ndarray, np.ndarray] | None
    test: tuple[np.ndarray, np.ndarray]
    class_names: tuple[str, ...] | None


def arrays(*, train: tuple[Any, Any] | None = None, test: tuple[Any, Any],
           class_names: Sequence[str] | None = None) -> Arrays:
    """A source from arrays or tensors in memory.

    Args:
        train: images and labels; left out, the source serves what trains nothing. Images have the shape
            ``[N, C, H, W]``, ``[N, H, W, C]`` or ``[N, H, W]`` with 1 or 3 channels and are uint8, or floats in
            [0, 1], which become ``floor(255 x + 0.5)``. Labels are integers from 0 on, one for each image.
        test: as ``train``.
        class_names: one for each class; ``None``: the labels.

    Raises:
        SourceError: images or labels have another shape or type, or do not fit each other.
    """
    return Arrays(None if train is None else pair("train", train), pair("test", test),
                  None if class_names is None else tuple(map(str, class_names)))


def pair(split: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of a split.

    Raises:
        SourceError: as :func:`arrays`.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise SourceError(f"The split '{split}' is a pair of images and labels, not {type(given).__name__}; write "
                          f"{split}=(x, y).")
    images, labels = to_images(given[0], f"'{split}'"), to_labels(given[1], f"'{split}'")
    if len(images) != len(labels):
        raise SourceError(f"Every image has one label, and '{split}' has {len(images):,} images and {len(labels):,} "
                          "labels; give as many of both.")
    if not len(images):
        raise SourceError(f"A split has one image or more, and '{split}' has none; add images or leave it out.")
    return images, labels
