"""Pictures in folders, as torchvision's ImageFolder has them: ``train/CLASS/*`` and ``test/CLASS/*``.

Where there is no folder ``train``, there is a test split alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roar.datasets.registry import source_kind
from roar.datasets.source import WholeSource
from roar.datasets.sources.encoded import EncodedSplit, encoded_source
from roar.datasets.sources.hashes import hashes
from roar.datasets.sources.pictures import Encoded
from roar.errors import SourceError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
TEST_NAMES = ("test", "val")
WORTH_TELLING = 5.0  # seconds that hashing takes


@source_kind("folder", "pictures in train/CLASS/ and test/CLASS/ (or val/CLASS/), or in test/CLASS/ alone", "PATH",
             is_path=True)
def open_folder(argument: str, root: str | Path | None, image_size: int | None) -> WholeSource:
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
        class_names, other = _classes(train or test), _classes(test)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: of whom ~ is the home nobody knows
        raise SourceError(f"'{argument}' cannot be read ({error}); give the folder that holds train/ and test/."
                          ) from None
    if class_names != other:
        differing = sorted(set(class_names) ^ set(other))[0]
        here, there = (train or test, test) if differing in class_names else (test, train)
        raise SourceError(f"Both splits have the same classes, but '{differing}' is in '{here}' and not in "
                          f"'{there}'; add or remove that folder.")
    notes: list[str] = []
    return encoded_source(folder.name, f"folder:{argument}", class_names,
                          None if train is None else _split(train, class_names, notes),
                          _split(test, class_names, notes), image_size, notes)


@dataclass(frozen=True, eq=False)
class _Files:
    """The picture files of one split, in the order of their classes and names."""

    folder: Path
    names: Sequence[str]  # relative to the folder
    notes: list[str] = field(default_factory=list)  # what is to be told of the source

    def read(self, positions: np.ndarray) -> list[Encoded]:
        paths = [self.folder / self.names[position] for position in positions]
        return [Encoded(path, f"'{path}'".__str__) for path in paths]

    def digest(self, positions: np.ndarray) -> bytes:
        """Of all contents."""
        started = time.monotonic()
        found = hashlib.sha256(b"".join(hashes(self.folder, [self.names[position] for position in positions])))
        if time.monotonic() - started > WORTH_TELLING:
            self.notes.append(f"{len(positions):,} pictures of '{self.folder}' were read in "
                              f"{time.monotonic() - started:.0f} s to know whether they are the same as before; those "
                              "that do not change are not read for that again.")
        return found.digest()


def _find_split(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _no_split(folder: Path, names: Sequence[str]) -> SourceError:
    wanted = " or ".join(f"'{name}'" for name in names)
    return SourceError(f"'{folder}' has no folder {wanted}; put the pictures in train/CLASS/ and test/CLASS/.")


def _classes(split: Path) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in split.iterdir() if entry.is_dir()))
    if not classes:
        raise SourceError(f"'{split}' has no class folders; put the pictures in {split.name}/CLASS/.")
    return classes


def _split(split: Path, class_names: Sequence[str], notes: list[str]) -> EncodedSplit:
    names: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        found = sorted(os.path.relpath(os.path.join(place, name), split)  # noqa: PTH118 (a million paths)
                       for place, _, files in os.walk(split / class_name, followlinks=True)
                       for name in files if name.lower().endswith(EXTENSIONS))
        if not found:
            raise SourceError(f"A class needs at least one picture, but '{split / class_name}' has none "
                              f"({', '.join(EXTENSIONS)}); add pictures or remove the folder.")
        names += found
        labels += [label] * len(found)
    files = _Files(split, names, notes)
    return EncodedSplit(np.array(labels, dtype=np.int64), files.read, files.digest)
