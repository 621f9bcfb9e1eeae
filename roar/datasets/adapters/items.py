"""A map-style data set as a split: its images are decoded one by one, when they are asked for.

What an image and its label are is kept, as a hash, when they are first read; they are the same whenever they are read
again, also in a worker, or the reading fails. So random augmentation in a data set is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from roar.datasets.adapters.pixels import HASH_BYTES, image_hash, to_label, to_pixels
from roar.datasets.source import OnProgress, WholeSplit
from roar.datasets.sources.arrays import resized
from roar.datasets.sources.encoded import GrayNote
from roar.datasets.sources.pictures import Frame
from roar.errors import RoarError, SourceError
from roar.plugins import described

BLOCK = 64  # images that are read at a time where only their hashes are wanted
PROBES = 16  # labels of a data set that are compared with its list of them
UNKNOWN = np.iinfo(np.int64).min  # a label that was not read yet


@dataclass(frozen=True, eq=False)
class Items:
    """Decodes the images at any positions, uint8 ``[n, C, H, W]``.

    Attributes:
        load: gives the data set; a worker gets this function and not the data set.
        labels: int64 ``[N]``, ``UNKNOWN`` where none was read.
        hashes: uint8 ``[N, 16]``, of the images; zeros where ``read`` says that none was read.
        read: bool ``[N]``.
    """

    load: Callable[[], Any]
    split: str
    frame: Frame
    note: GrayNote
    labels: np.ndarray
    hashes: np.ndarray
    read: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        data, frame = self.load(), self.frame
        images = np.empty((len(positions), frame.channels, frame.height, frame.width), np.uint8)
        for slot, position in enumerate(np.asarray(positions).tolist()):
            pixels, label = read_item(data, position, self.split)
            images[slot] = self._framed(pixels, position)
            self._keep(position, images[slot], label)
        return images

    def _framed(self, pixels: np.ndarray, position: int) -> np.ndarray:
        frame, where = self.frame, f"image {position} of '{self.split}'"
        if frame.scaled and pixels.shape[1:] != (frame.height, frame.width):
            pixels = resized(pixels, frame.height)
        if pixels.shape[1:] != (frame.height, frame.width):
            raise SourceError(f"Images have one size unless --image-size is given, but these are "
                              f"{frame.width}x{frame.height} pixels, and {where} has "
                              f"{pixels.shape[2]}x{pixels.shape[1]}; give --image-size.")
        if len(pixels) > frame.channels:
            raise SourceError(f"Images are gray or in color, and {where} has 3 channels where others have 1; give all "
                              "of them 3.")
        if len(pixels) < frame.channels:
            self.note.add(np.array([position]))
        return pixels

    def _keep(self, position: int, image: np.ndarray, label: int) -> None:
        found = np.frombuffer(image_hash(image), np.uint8)
        if self.labels[position] not in (UNKNOWN, label):
            raise SourceError(f"An image has one label, and image {position} of '{self.split}' has "
                              f"{self.labels[position]} and then {label}; correct the data set.")
        if self.read[position] and not np.array_equal(self.hashes[position], found):
            raise SourceError(f"An image is the same whenever it is read, and image {position} of '{self.split}' is "
                              "not; leave random augmentation out of the data set (roar augments by its recipe), or "
                              "put the files back.")
        if not self.read[position]:  # all that a worker asks for was read before, and its arrays are read-only
            self.labels[position], self.hashes[position], self.read[position] = label, found, True


@dataclass(frozen=True, eq=False)
class _Digest:
    """Bytes that determine the images at some positions; reads those that were not read yet."""

    items: Items
    on_progress: OnProgress

    def __call__(self, positions: np.ndarray) -> bytes:
        return hashlib.sha256(self.each(positions).tobytes()).digest()

    def each(self, positions: np.ndarray) -> np.ndarray:
        """The hash of each image, uint8 ``[n, 16]``."""
        read_through(self.items, positions[~self.items.read[positions]], self.on_progress)
        return np.asarray(self.items.hashes[positions])


def item_split(load: Callable[[], Any], name: str, frame: Frame, notes: list[str],
               on_progress: OnProgress) -> WholeSplit:
    """A split of a map-style data set. Where it has no list of its labels, all of it is read.

    Raises:
        SourceError: an item is no pair of an image and a label.
    """
    data = load()
    labels = _listed_labels(data, name)
    count = len(data)
    items = Items(load, name, frame, GrayNote("training" if name == "train" else name, notes),
                  np.full(count, UNKNOWN) if labels is None else labels.copy(),
                  np.zeros((count, HASH_BYTES), np.uint8), np.zeros(count, bool))
    if labels is None:
        read_through(items, np.arange(count), on_progress)
    digest = _Digest(items, on_progress)
    return WholeSplit(items.labels, items, digest, hashes=digest.each)


def read_through(items: Items, positions: np.ndarray, on_progress: OnProgress) -> None:
    """Read some images for their labels and hashes, and keep none of them."""
    for start in range(0, len(positions), BLOCK):
        on_progress(start, len(positions))
        items(positions[start:start + BLOCK])
    if len(positions):
        on_progress(len(positions), len(positions))


def read_item(data: Any, position: int, split: str) -> tuple[np.ndarray, int]:
    """One image uint8 ``[C, H, W]`` and its label.

    Raises:
        SourceError: it cannot be read, or is no pair of an image and a label.
    """
    try:
        item = data[position]
    except RoarError:
        raise
    except Exception as error:  # code that is not roar's may raise anything
        raise SourceError(f"Image {position} of '{split}' cannot be read ({described(error)}); correct the data set or "
                          "remove the image.") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise SourceError(f"An item of a data set is a pair (image, label), and item {position} of '{split}' is "
                          f"{type(item).__name__}; return a pair.")
    what = f"image {position} of '{split}'"
    return to_pixels(item[0], what), to_label(item[1], what)


def _listed_labels(data: Any, split: str) -> np.ndarray | None:
    """The labels int64 ``[N]`` that a data set lists, as torchvision's do, if they are those of its items."""
    for name in ("targets", "labels"):
        listed = getattr(data, name, None)
        if listed is None:
            continue
        try:
            labels = np.asarray(listed)
        except (TypeError, ValueError, RuntimeError):
            continue
        if labels.shape == (len(data),) and labels.dtype.kind in "iu":
            probes = np.unique(np.linspace(0, len(data) - 1, PROBES).astype(np.int64)).tolist()
            if all(read_item(data, position, split)[1] == labels[position] for position in probes):
                return labels.astype(np.int64)
    return None
