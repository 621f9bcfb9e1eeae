"""Labelled images by name: what a source is and how one is opened.

A source is spelled ``KIND`` or ``KIND:ARGUMENT`` (``digits``, ``parquet:PATH``). Opening reads labels and
what tells two sources apart; images are decoded when they are asked for. Each kind is one file of this
package with one function ``(argument, root, image_size) -> WholeSource``; limits and the fingerprint are
added here.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from roar.datasets.limits import stratified
from roar.errors import UnknownNameError, UsageError

FORMAT = 1  # raised whenever the same files would give other images or labels

Decode = Callable[[np.ndarray], np.ndarray]  # positions int64 [n] -> images uint8 [n, C, H, W]
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
    """A labelled image data set with a train and a test split.

    Attributes:
        name: as the user spelled it.
        label: short and safe for a path.
        class_names: K names; a label is a position in them.
        fingerprint: sha256, in hex, over everything that determines images and labels, limits included.
        notes: what is worth telling once; decoding may add to it.
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

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, eq=False)
class WholeSplit:
    """A split before limits, as each kind of source gives it.

    Attributes:
        labels: int64 ``[N]``.
        decode: images of any positions in ``0 .. N-1``.
        digest: bytes that determine the images at the positions given.
        truth: as in :class:`Split`.
    """

    labels: np.ndarray
    decode: Decode
    digest: Callable[[np.ndarray], bytes]
    truth: Truth | None = None


@dataclass(frozen=True, eq=False)
class WholeSource:
    """A source before limits, as each kind of source gives it."""

    label: str
    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    train: WholeSplit
    test: WholeSplit
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SourceKind:
    """One kind of source: how it is spelled and what it is."""

    name: str
    description: str
    opener: str = field(repr=False)  # "module:function"
    argument: str | None = None  # what follows the colon; None: nothing may
    argument_required: bool = True

    @property
    def spelling(self) -> str:
        if self.argument is None:
            return self.name
        return f"{self.name}:{self.argument}" if self.argument_required else f"{self.name}[:{self.argument}]"


_TORCHVISION = "roar.datasets.sources.torchvision"
_KINDS = {kind.name: kind for kind in (
    SourceKind("digits", "scikit-learn's 1,797 handwritten digits, 1x8x8, 10 classes; offline",
               "roar.datasets.sources.digits:open_digits"),
    SourceKind("cifar10", "60,000 photographs, 3x32x32, 10 classes; downloaded",
               f"{_TORCHVISION}:open_cifar10"),
    SourceKind("cifar100", "60,000 photographs, 3x32x32, 100 classes; downloaded",
               f"{_TORCHVISION}:open_cifar100"),
    SourceKind("svhn", "99,289 house numbers, 3x32x32, 10 classes; downloaded", f"{_TORCHVISION}:open_svhn"),
    SourceKind("fashion-mnist", "70,000 pieces of clothing, 1x28x28, 10 classes; downloaded",
               f"{_TORCHVISION}:open_fashion_mnist"),
    SourceKind("parquet", "Hugging Face's image layout: train-*.parquet and test-*.parquet",
               "roar.datasets.sources.parquet:open_parquet", "PATH"),
    SourceKind("folder", "pictures in train/CLASS/ and test/CLASS/ (or val/CLASS/)",
               "roar.datasets.sources.folder:open_folder", "PATH"),
    SourceKind("planted", "made images whose class lies in known pixels, e.g. planted:size=16,classes=4; offline",
               "roar.datasets.sources.planted:open_planted", "OPTIONS", argument_required=False),
    SourceKind("hooker-toy", "the 16-dimensional linear task of Hooker et al. 2019, 1x4x4, 2 classes; offline",
               "roar.datasets.sources.hooker_toy:open_hooker_toy", "OPTIONS", argument_required=False),
)}


def source_kinds() -> list[SourceKind]:
    """Every kind of source."""
    return list(_KINDS.values())


def open_source(name: str, *, root: str | Path | None = None, limit_train: int | None = None,
                limit_test: int | None = None, image_size: int | None = None, seed: int = 0) -> Source:
    """Open a source by name.

    Args:
        name: ``KIND`` or ``KIND:ARGUMENT``; see :func:`source_kinds`.
        root: where downloads go; default ``$XDG_CACHE_HOME/roar``, else ``~/.cache/roar``.
        limit_train: take this many training images, each class in proportion; more than there are: all.
        limit_test: the same for test images.
        image_size: scale the shorter side to this many pixels and crop the centre; default: as they are.
        seed: the root seed; it decides which images limits take.

    Raises:
        UnknownNameError: there is no such kind of source.
        UsageError: the spelling or a limit breaks a rule.
        SourceError: images or labels are missing, broken or do not fit.
    """
    for what, value in (("limit_train", limit_train), ("limit_test", limit_test), ("image_size", image_size)):
        if value is not None and value < 1:
            raise UsageError(f"{what} = {value} is not at least 1; give a positive number or leave it out.")
    word, colon, argument = name.partition(":")
    if word not in _KINDS:
        raise UnknownNameError("source", word, _KINDS, "Your own files are parquet:PATH or folder:PATH.")
    kind = _KINDS[word]
    if kind.argument is None and colon:
        raise UsageError(f"The source '{word}' takes no argument such as '{argument}'; write '{word}'.")
    if kind.argument is not None and kind.argument_required and not argument:
        raise UsageError(f"The source '{word}' needs its {kind.argument}; write '{kind.spelling}'.")
    module, function = kind.opener.split(":")
    whole: WholeSource = getattr(importlib.import_module(module), function)(argument, root, image_size)
    train = stratified(whole.train.labels, limit_train, seed, "limit-train")
    test = stratified(whole.test.labels, limit_test, seed, "limit-test")
    return Source(name, safe_label(whole.label), whole.class_names, whole.channels, whole.height, whole.width,
                  _limited(whole.train, train), _limited(whole.test, test), _fingerprint(whole, train, test),
                  whole.notes)


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


def _limited(whole: WholeSplit, chosen: np.ndarray) -> Split:
    return Split(whole.labels[chosen], chosen, _Chosen(whole.decode, chosen),
                 _Chosen(whole.truth, chosen) if whole.truth is not None else None)


def _fingerprint(whole: WholeSource, train: np.ndarray, test: np.ndarray) -> str:
    shape = [whole.channels, whole.height, whole.width]
    head = {"format": FORMAT, "classes": whole.class_names, "shape": shape, "sizes": [len(train), len(test)]}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for split, chosen in ((whole.train, train), (whole.test, test)):
        digest.update(split.labels[chosen].astype("<i8").tobytes())
        digest.update(chosen.astype("<i8").tobytes())
        digest.update(split.digest(chosen))
    return digest.hexdigest()
