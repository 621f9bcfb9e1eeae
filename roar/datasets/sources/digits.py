"""scikit-learn's digits: 1,797 pictures of 8x8 pixels that come with it (Alpaydin & Kaynak, UCI 1998)."""

from __future__ import annotations

import numpy as np

from roar.datasets.limits import stratified
from roar.datasets.registry import source_kind
from roar.datasets.source import Request, WholeSource
from roar.datasets.sources.arrays import array_split

TEST_IMAGES = 360


@source_kind("digits", "scikit-learn's 1,797 handwritten digits, 1x8x8, 10 classes; offline")
def open_digits(argument: str, request: Request) -> WholeSource:
    """A fifth of every class is the test split; the division is fixed. Values 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    images = ((bunch.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[:, None]
    test = stratified(labels, TEST_IMAGES, 0, "digits-test")
    train = np.setdiff1d(np.arange(len(labels)), test)
    size = request.image_size or 8
    return WholeSource("digits", tuple("0123456789"), 1, size, size,
                       array_split(images[train], labels[train], request.image_size),
                       array_split(images[test], labels[test], request.image_size))
