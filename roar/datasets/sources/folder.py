"""Pictures in folders, as torchvision's ImageFolder has them: ``train/CLASS/*`` and ``test/CLASS/*``.

Where there is no folder ``train``, there is a test split alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roar.datasets.registry import source_kind
from roar.datasets.source import Request, WholeSource
from roar.datasets.sources.encoded import EncodedSplit, encoded_source
from roar.datasets.sources.hashes import hashes
from roar.datasets.sources.pictures import Encoded
from roar.errors import SourceError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
TEST_NAMES = ("test", "val")
WORTH_TELLING = 5.0  # seconds that hashing takes


@source_kind("folder", "pictures in train/CLASS/ and test/CLASS/ (or val/CLASS/), or in test/CLASS/ alone", "PATH",
             is_path=True)
def open_folder(argument: str, request: Request) -> WholeSource:
    """Open a folder of pictures. Classes are sorted by name; files are looked for at any depth below them.

    Raises:
        SourceError: a folder or a picture is missing, empty, broken or does not fit.
    """
    try:
        folder = Path(argument).expanduser().absolute()
        if not folder.is_dir():
            raise SourceError(f"There is no folder '{argument}'; give the folder that holds train/ and test/.")
        train, test = _find_split(folder, ("train",)), _find_split(folder, TEST_NAMES)
        if test is None:
            raise _no_split(folder, ("train",) if train is None else TEST_NAMES)
        hidden: list[Path] = []
        names, other = _classes(train or test, hidden), _classes(test, [] if train is None else hidden)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: of whom ~ is the home nobody knows
        raise SourceError(f"'{argument}' cannot be read ({error}); give the folder that holds train/ and test/."
                          ) from None
    if names != other:
        differing = sorted(set(names) ^ set(other))[0]
        here, there = (train or test, test) if differing in names else (test, train)
        raise SourceError(f"Both splits have the same classes, but '{differing}' is in '{here}' and not in "
                          f"'{there}'; add or remove that folder.")
    notes: list[str] = []
    left = _LeftOut(hidden)
    splits = [None if place is None else _split(place, names, notes, left) for place in (train, test)]
    assert splits[1] is not None  # there is a test split
    class_names = tuple(os.fsencode(name).decode("utf-8", "backslashreplace") for name in names)
    return encoded_source(folder.name, f"folder:{argument}", class_names, splits[0], splits[1], request.image_size,
                          notes, left.facts())


@dataclass(frozen=True)
class _LeftOut:
    """What lies in a folder of pictures and is not taken.

    Attributes:
        hidden: what has a name that begins with a dot: class folders, other folders and pictures.
        loops: links to folders whose pictures are taken already, or that hold the link itself.
    """

    hidden: list[Path] = field(default_factory=list)
    loops: list[Path] = field(default_factory=list)

    def facts(self) -> list[str]:
        """A sentence for each kind."""
        told = []
        if self.hidden:
            told.append(f"Left out by a name that begins with a dot: {self.hidden[0]}{_and_more(self.hidden)}.")
        if self.loops:
            told.append(f"Left out as a link to pictures that are read already: {self.loops[0]}"
                        f"{_and_more(self.loops)}.")
        return told


def _and_more(paths: Sequence[Path]) -> str:
    return f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""


@dataclass(frozen=True, eq=False)
class _Files:
    """The picture files of one split, in the order of their classes and names."""

    folder: Path
    names: Sequence[str]  # relative to the folder
    notes: list[str] = field(default_factory=list)  # what is to be told of the source
    last: dict[bytes, list[bytes]] = field(default_factory=dict)  # positions that were read last, and their hashes

    def read(self, positions: np.ndarray) -> list[Encoded]:
        paths = [self.folder / self.names[position] for position in positions]
        return [Encoded(path, f"'{path}'".__str__) for path in paths]

    def digest(self, positions: np.ndarray) -> bytes:
        """Of all contents."""
        started = time.monotonic()
        found = self._hashes(positions)
        if time.monotonic() - started > WORTH_TELLING:
            self.notes.append(f"{len(positions):,} pictures of '{self.folder}' were read in "
                              f"{time.monotonic() - started:.0f} s to know whether they are the same as before; those "
                              "that do not change are not read for that again.")
        self.last.clear()
        self.last[positions.tobytes()] = found
        return hashlib.sha256(b"".join(found)).digest()

    def hashes_at(self, positions: np.ndarray) -> np.ndarray:
        """Of each content, uint8 ``[n, 32]``."""
        found = self.last.get(positions.tobytes()) or self._hashes(positions)
        return np.frombuffer(b"".join(found), np.uint8).reshape(len(positions), -1)

    def _hashes(self, positions: np.ndarray) -> list[bytes]:
        return hashes(self.folder, [self.names[position] for position in positions])


def _find_split(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _no_split(folder: Path, names: Sequence[str]) -> SourceError:
    wanted = " or ".join(f"'{name}'" for name in names)
    return SourceError(f"'{folder}' has no folder {wanted}; put the pictures in train/CLASS/ and test/CLASS/.")


def _classes(split: Path, hidden: list[Path]) -> tuple[str, ...]:
    """The names of the class folders, as the file system has them; ``hidden`` gets those that begin with a dot."""
    folders = sorted(entry for entry in split.iterdir() if entry.is_dir())
    hidden += [entry for entry in folders if entry.name.startswith(".")]
    classes = tuple(entry.name for entry in folders if not entry.name.startswith("."))
    if not classes:
        raise SourceError(f"'{split}' has no class folders; put the pictures in {split.name}/CLASS/.")
    return classes


def _split(split: Path, class_names: Sequence[str], notes: list[str], left: _LeftOut) -> EncodedSplit:
    names: list[str] = []
    labels: list[int] = []
    real = _real_folders(split, class_names)
    for label, class_name in enumerate(class_names):
        found = sorted(_pictures(split, class_name, real, left))
        if not found:
            raise SourceError(f"A class needs at least one picture, but '{split / class_name}' has none "
                              f"({', '.join(EXTENSIONS)}); add pictures or remove the folder.")
        names += found
        labels += [label] * len(found)
    files = _Files(split, names, notes)
    return EncodedSplit(np.array(labels, dtype=np.int64), files.read, files.digest, files.hashes_at)


def _real_folders(split: Path, class_names: Sequence[str]) -> set[Path]:
    """Where the class folders lie, links followed.

    Raises:
        SourceError: one of them is another one or holds it, so that its pictures would have two labels.
    """
    real: dict[Path, str] = {}
    for name in class_names:
        place = (split / name).resolve()
        other = next((real[known] for known in real
                      if known.is_relative_to(place) or place.is_relative_to(known)), None)
        if other is not None:
            raise SourceError(f"A picture has one class, and the folders '{other}' and '{name}' of '{split}' are "
                              "linked to the same pictures; remove one of the links.")
        real[place] = name
    return set(real)


def _pictures(split: Path, class_name: str, taken: set[Path], left: _LeftOut) -> Iterator[str]:
    """The pictures of a class at any depth, relative to the split; ``taken`` gets the links that were followed."""
    for place, folders, files in os.walk(split / class_name, followlinks=True):
        folders.sort()
        for name in list(folders):
            below = Path(place, name)
            if name.startswith("."):
                folders.remove(name)
                left.hidden.append(below)
            elif below.is_symlink():
                real = below.resolve()
                if any(known.is_relative_to(real) or real.is_relative_to(known) for known in taken):
                    folders.remove(name)
                    left.loops.append(below)
                taken.add(real)
        for name in files:
            if name.lower().endswith(EXTENSIONS):
                if name.startswith("."):
                    left.hidden.append(Path(place, name))
                else:
                    yield os.path.relpath(os.path.join(place, name), split)  # noqa: PTH118 (a million paths)
