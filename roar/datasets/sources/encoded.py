"""Sources of encoded pictures: what those in Parquet files and those in folders have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from roar.datasets.source import WholeSource, WholeSplit
from roar.datasets.sources.pictures import Encoded, Frame, Header, decode_pictures, no_warnings, read_header
from roar.errors import SourceError

BLOCK = 1024  # pictures that are read before they are decoded
SAMPLE = 512  # pictures of a split whose headers are read to find the frame

Read = Callable[[np.ndarray], Sequence[Encoded]]  # the pictures at positions int64 [n]


@dataclass(frozen=True, eq=False)
class EncodedSplit:
    """Labels int64 ``[N]``, a function that reads pictures, a digest and hashes as in :class:`WholeSplit`."""

    labels: np.ndarray
    read: Read
    digest: Callable[[np.ndarray], bytes]
    hashes: Callable[[np.ndarray], np.ndarray]


def encoded_source(label: str, spelling: str, class_names: tuple[str, ...], train: EncodedSplit | None,
                   test: EncodedSplit, image_size: int | None, notes: list[str] | None = None,
                   facts: Sequence[str] = ()) -> WholeSource:
    """A source from the pictures of its splits; ``train`` is ``None`` for a test split alone.

    Args:
        notes: what is to be told of it, also later.
        facts: what was read and what was left out.

    Raises:
        SourceError: sizes differ and no size to scale to is given, or a picture is broken.
    """
    frame = _find_frame([split for split in (train, test) if split is not None], image_size, spelling)
    notes = [] if notes is None else notes

    def whole(name: str, split: EncodedSplit) -> WholeSplit:
        decode = _Decode(split.read, frame, GrayNote(name, notes))
        return WholeSplit(split.labels, decode, split.digest, hashes=split.hashes)

    return WholeSource(label, class_names, frame.channels, frame.height, frame.width,
                       None if train is None else whole("training", train), whole("test", test), notes, list(facts))


def _find_frame(splits: Sequence[EncodedSplit], image_size: int | None, spelling: str) -> Frame:
    """The frame of all pictures, from the headers of some.

    There is one channel only if every picture is gray: where those looked at are, all are looked at. A
    picture whose size differs, while the sizes of those looked at do not, is found when it is decoded.
    """
    with no_warnings():
        headers: list[tuple[Encoded, Header]] = []
        for split in splits:
            count = len(split.labels)
            sample = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64))
            headers += [(encoded, read_header(encoded)) for encoded in split.read(sample)]
        gray = all(header.gray for _, header in headers) and all(_all_gray(split) for split in splits)
    channels = 1 if gray else 3
    if image_size is not None:
        return Frame(channels, image_size, image_size, scaled=True)
    one, first = headers[0]
    for other, header in headers:
        if (header.height, header.width) != (first.height, first.width):
            raise SourceError(f"Pictures have one size unless --image-size is given, but in '{spelling}' "
                              f"{one.where()} has {first.width}x{first.height} pixels and {other.where()} "
                              f"{header.width}x{header.height}; give --image-size.")
    return Frame(channels, first.height, first.width, scaled=False)


def _all_gray(split: EncodedSplit) -> bool:
    blocks = np.array_split(np.arange(len(split.labels)), -(-len(split.labels) // BLOCK))
    return all(read_header(encoded).gray for block in blocks for encoded in split.read(block))


@dataclass(frozen=True, eq=False)
class _Decode:
    """Decodes pictures at any positions; only a block of them is held encoded."""

    read: Read
    frame: Frame
    note: GrayNote

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions, dtype=np.int64)
        frame = self.frame
        images = np.empty((len(positions), frame.channels, frame.height, frame.width), dtype=np.uint8)
        order = np.argsort(positions, kind="stable")
        for start in range(0, len(order), BLOCK):
            slots = order[start:start + BLOCK]
            gray = decode_pictures(self.read(positions[slots]), frame, images, slots)
            self.note.add(positions[slots][np.array(gray)])
        return images


@dataclass(eq=False)
class GrayNote:
    """Keeps one line among a source's notes: how many gray pictures of a split became color so far."""

    split: str
    notes: list[str]
    positions: set[int] = field(default_factory=set)
    line: str = ""

    def add(self, positions: np.ndarray) -> None:
        before = len(self.positions)
        self.positions.update(positions.tolist())
        count = len(self.positions)
        if count == before:
            return
        if self.line in self.notes:
            self.notes.remove(self.line)
        self.line = (f"{count} grayscale {'picture' if count == 1 else 'pictures'} of the {self.split} split "
                     f"{'was' if count == 1 else 'were'} converted to color.")
        self.notes.append(self.line)
