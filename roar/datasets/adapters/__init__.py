"""Images that a program or a plug-in brings: arrays, data sets of PyTorch's style, dictionaries of Hugging Face's.

A foreign source is one of these, or a function that returns one:

    roar.arrays(train=(x, y), test=(x, y))    arrays or tensors in memory
    (train, test)                             two map-style data sets, as torchvision's are: data[i] -> (image, label)
    {"train": ..., "test": ...}               of data sets or of pairs (x, y); a DatasetDict of Hugging Face's

Without a training split it serves what trains nothing. Its fingerprint is of the images and labels, however they are
brought, and not of the code. A data set is decoded image by image when images are asked for; a worker that streams
them calls the function again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from roar.datasets.adapters.code import Made, is_called, made
from roar.datasets.adapters.forms import Parts, parts_of
from roar.datasets.adapters.items import item_split
from roar.datasets.adapters.pixels import ImageHashes
from roar.datasets.adapters.shape import frame_of
from roar.datasets.limits import require_images
from roar.datasets.source import Request, WholeSource, WholeSplit
from roar.datasets.sources.arrays import array_split
from roar.datasets.sources.pictures import Frame
from roar.errors import SourceError
from roar.plugins import Foreign

__all__ = ["is_called", "open_foreign"]

MOST_CLASSES = 100_000  # that have no names: a larger label is taken for a mistake


def open_foreign(found: Foreign, parameters: Mapping[str, Any], label: str, request: Request) -> WholeSource:
    """The source that a foreign object is, or that it returns when it is called.

    Args:
        parameters: of the function, besides those of ``root``, ``image_size`` and ``seed`` that it takes.
        label: of the source, for paths and tables.

    Raises:
        UsageError: the code cannot be run, or a parameter does not exist.
        SourceError: images or labels are missing, broken or do not fit.
    """
    make = made(found, parameters, request)
    parts = parts_of(make())
    frame = frame_of(parts, request.image_size)
    notes: list[str] = []
    train, test = (_split(make, parts, name, frame, notes, request) for name in ("train", "test"))
    assert test is not None  # parts_of refuses a source without
    return WholeSource(label, _class_names(parts, train, test), frame.channels, frame.height, frame.width, train, test,
                       notes)


def _split(make: Made, parts: Parts, name: str, frame: Frame, notes: list[str], request: Request) -> WholeSplit | None:
    part = getattr(parts, name)
    if part is None:
        return None
    if isinstance(part, tuple):
        images, labels = part
        whole = array_split(images, labels, request.image_size)
        return WholeSplit(whole.labels, whole.decode, ImageHashes(whole.decode), hashes=whole.hashes)
    return item_split(partial(_part, make, name), name, frame, notes, request.on_progress)


def _part(make: Made, name: str) -> Any:
    """The data set of a split, in this process or in a worker."""
    return getattr(parts_of(make()), name)


def _class_names(parts: Parts, train: WholeSplit | None, test: WholeSplit) -> tuple[str, ...]:
    """The names given, else the labels; refuses labels without a name and what holds one class.

    Raises:
        SourceError: a label is negative or has no name, or all labels are the same.
    """
    labels = test.labels if train is None else np.concatenate([train.labels, test.labels])
    count = len(parts.class_names) if parts.class_names is not None else min(int(labels.max()) + 1, MOST_CLASSES)
    outside = labels[(labels < 0) | (labels >= count)]
    if len(outside):
        raise SourceError(f"Labels are in 0 .. K-1 for K classes ({count} in these images), but one is {outside[0]}; "
                          "correct the labels or the names of the classes.")
    if parts.class_names is None:
        require_images(count, len(labels))
    if count < 2 or (train is not None and len(np.unique(train.labels)) < 2):
        raise SourceError(f"A source has images of two classes or more, and all labels "
                          f"{'' if train is None else 'of the training split '}are {labels[0]}; add the images of "
                          "another class.")
    return parts.class_names or tuple(map(str, range(count)))
