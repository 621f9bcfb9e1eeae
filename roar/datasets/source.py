"""What a source is: labeled images in a training and a test split, with limits and a fingerprint.

Opening a source (:mod:`roar.datasets.registry`) reads labels and what tells two sources apart; images are decoded
when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from roar.datasets.limits import stratified

FORMAT = 1  # raised whenever the same files would give other images or labels

Decode = Callable[[np.ndarray], np.ndarray]  # positions int64 [n] -> images uint8 [n, C, H, W]
OnProgress = Callable[[int, int], None]
Truth = Callable[[np.ndarray], np.ndarray]  # positions int64 [n] -> bool [n, H, W], the informative pixels


@dataclass(frozen=True, eq=False)
class Split:
    """The train or the test images of a source.

    Attributes:
        labels: int64 ``[N]``, in ``0 .. K-1``.
        indices: int64 ``[N]``, rising: where each image lies in the whole split, before limits.
        decode: images uint8 ``[n, C, H, W]`` of any positions in ``0 .. N-1``. Raises SourceError.
        truth: where it is known which pixels carry the class, bool ``[n, H, W]`` of any positions.
    """

    labels: np.ndarray
    indices: np.ndarray
    decode: Decode
    truth: Truth | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def images(self) -> np.ndarray:
        """Every image, uint8 ``[N, C, H, W]``; decoded once and kept."""
        return self.decode(np.arange(len(self), dtype=np.int64))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The images at some positions, uint8 ``[n, C, H, W]``; decoded only if they were not kept."""
        return np.asarray(self.images[positions]) if self.is_decoded else self.decode(positions)

    @property
    def is_decoded(self) -> bool:
        return "images" in self.__dict__

    def decode_all(self, tell: Callable[[int], None], block: int = 2_000) -> None:
        """Decode and keep every image, a block at a time; ``tell`` is given the number of each block's images."""
        whole: np.ndarray | None = None
        for start in range(0, len(self), block):
            part = self.decode(np.arange(start, min(start + block, len(self)), dtype=np.int64))
            if whole is None:
                whole = np.empty((len(self), *part.shape[1:]), part.dtype)
            whole[start:start + len(part)] = part
            tell(len(part))
        if whole is not None:
            self.__dict__["images"] = whole  # where cached_property keeps it


@dataclass(frozen=True, eq=False)
class Source:
    """A labeled image data set.

    Attributes:
        name: as the user spelled it.
        label: short and safe for a path.
        class_names: K names; a label is a position in them.
        train: empty where there is a test split alone.
        fingerprint: sha256, in hex, over everything that determines images and labels, limits included.
        notes: what is worth telling once; decoding may add to it.
        facts: sentences on what was read and what was left out, known when the source is opened.
    """

    name: str
    label: str
    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    train: Split
    test: Split
    fingerprint: str
    notes: list[str]
    facts: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are: train and test, or test alone."""
        return ("train", "test") if len(self.train) else ("test",)

    @property
    def largest_class(self) -> float:
        """The share of the test split's largest class: the accuracy of always answering it."""
        return float(np.bincount(self.test.labels).max() / len(self.test.labels))

    @property
    def statistics_split(self) -> Split:
        """The split that fill and normalization are computed from: train, or test where it is alone."""
        return self.train if len(self.train) else self.test


def _nothing(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Request:
    """How a source is asked for, besides its name.

    Attributes:
        root: the folder of downloads; ``None``: ``~/.cache/roar``.
        image_size: pixels that the shorter side is scaled to, before the center is cropped; ``None``: as images are.
        seed: the root seed.
        label_column: the column of labels in a table of images; ``None``: the one called label.
        on_progress: called with the images that a pass over a split has read and with all of them.
    """

    root: str | Path | None = None
    image_size: int | None = None
    seed: int = 0
    label_column: str | None = None
    on_progress: OnProgress = _nothing


@dataclass(frozen=True, eq=False)
class WholeSplit:
    """A split before limits, as each kind of source gives it.

    Attributes:
        labels: int64 ``[N]``.
        decode: images of any positions in ``0 .. N-1``.
        digest: bytes that determine the images at the positions given.
        truth: as in :class:`Split`.
        hashes: uint8 ``[n, B]`` of the images at the positions given, equal for equal images; ``None`` of made ones.
    """

    labels: np.ndarray
    decode: Decode
    digest: Callable[[np.ndarray], bytes]
    truth: Truth | None = None
    hashes: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class WholeSource:
    """A source before limits, as each kind of source gives it; ``train`` is ``None`` for a test split alone."""

    label: str
    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    train: WholeSplit | None
    test: WholeSplit
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def limited(whole: WholeSource, name: str, limits: tuple[int | None, int | None], seed: int) -> Source:
    """A source with the images that limits leave of its train and test split, and the fingerprint of these."""
    train = stratified(_labels(whole.train), limits[0], seed, "limit-train")
    test = stratified(whole.test.labels, limits[1], seed, "limit-test")
    shape = (whole.channels, whole.height, whole.width)
    fingerprint = _fingerprint(whole, train, test)
    return Source(name, safe_label(whole.label), whole.class_names, *shape,
                  Split(train, train, _Nothing(shape)) if whole.train is None else _limited(whole.train, train),
                  _limited(whole.test, test), fingerprint, whole.notes,
                  (*whole.facts, *_duplicates(whole, train, test)))


def in_color(whole: WholeSource) -> WholeSource:
    """A gray source with three equal channels, for a network that takes three."""
    def split(gray: WholeSplit) -> WholeSplit:
        return replace(gray, decode=_Repeated(gray.decode))

    return replace(whole, channels=3, train=None if whole.train is None else split(whole.train), test=split(whole.test))


@dataclass(frozen=True, eq=False)
class _Repeated:
    """Decodes gray images to three equal channels."""

    decode: Decode

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return np.repeat(self.decode(positions), 3, axis=1)


def safe_label(text: str) -> str:
    """Lower-case letters, digits and single dashes, at most 40 characters: safe in a path.

    >>> safe_label("Flowers (my own)")
    'flowers-my-own'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "images"


@dataclass(frozen=True, eq=False)
class _Chosen:
    """A function of positions in the whole split as a function of positions among the chosen ones."""

    function: Callable[[np.ndarray], np.ndarray]
    indices: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return self.function(self.indices[positions])


@dataclass(frozen=True)
class _Nothing:
    """Decodes no images, ``[0, C, H, W]``."""

    shape: tuple[int, int, int]

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return np.empty((0, *self.shape), np.uint8)


def _duplicates(whole: WholeSource, train: np.ndarray, test: np.ndarray) -> list[str]:
    """A sentence where test images are training images too: a network has seen what it is tested on."""
    if whole.train is None or whole.train.hashes is None or whole.test.hashes is None or not len(train):
        return []
    seen = {row.tobytes() for row in whole.train.hashes(train)}
    count = sum(row.tobytes() in seen for row in whole.test.hashes(test))
    return [f"{count:,} of the {len(test):,} test images {'is' if count == 1 else 'are'} in the training split too, "
            "which makes accuracy too high; remove them from one of the splits."] if count else []


def _labels(split: WholeSplit | None) -> np.ndarray:
    return np.empty(0, np.int64) if split is None else split.labels


def _limited(whole: WholeSplit, chosen: np.ndarray) -> Split:
    return Split(whole.labels[chosen], chosen, _Chosen(whole.decode, chosen),
                 _Chosen(whole.truth, chosen) if whole.truth is not None else None)


def _fingerprint(whole: WholeSource, train: np.ndarray, test: np.ndarray) -> str:
    shape = [whole.channels, whole.height, whole.width]
    head = {"format": FORMAT, "classes": whole.class_names, "shape": shape, "sizes": [len(train), len(test)]}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for split, chosen in ((whole.train, train), (whole.test, test)):
        if split is None:
            continue
        digest.update(split.labels[chosen].astype("<i8").tobytes())
        digest.update(chosen.astype("<i8").tobytes())
        digest.update(split.digest(chosen))
    return digest.hexdigest()
