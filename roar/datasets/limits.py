"""A part of a split in which every class keeps its share."""

from __future__ import annotations

import numpy as np

from roar.errors import SourceError
from roar.seeds.streams import derive, random_order


def require_images(classes: int, images: int) -> None:
    """Refuse labels without names that make more classes than there are images: one of them is a mistake.

    Raises:
        SourceError: they do.
    """
    if classes > images:
        raise SourceError(f"The largest label is {classes - 1}, which makes {classes:,} classes of {images:,} images; "
                          "correct that label, or give the names of the classes.")


def stratified(labels: np.ndarray, size: int | None, seed: int, purpose: str) -> np.ndarray:
    """The positions of ``size`` images, int64 and rising, with every class in proportion.

    Class c gets ``size * count[c] / N`` images, rounded down; the images that are left over go to the classes
    with the largest remainders (ties in a seeded order). Which images of a class are taken depends on
    (seed, purpose, class) alone, so a smaller limit takes, class by class, from what a larger one takes.

    Args:
        labels: int64 ``[N]``.
        size: how many images; ``None`` or more than there are: all.
        seed: the root seed.
        purpose: what the draw is for, e.g. ``"limit-train"``.
    """
    total = len(labels)
    if size is None or size >= total:
        return np.arange(total, dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    quotas = counts.astype(np.int64) * size // total
    remainders = counts.astype(np.int64) * size % total
    ties = random_order(derive(seed, purpose, "ties"), 0, len(classes))
    first = np.lexsort((ties, -remainders))[:size - quotas.sum()]
    quotas[first] += 1
    chosen = []
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        order = random_order(derive(seed, purpose, int(label)), 0, len(members))
        chosen.append(members[order[:quota]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
