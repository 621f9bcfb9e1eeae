"""Where the Parquet files of each split lie: Hugging Face's layouts.

    train-00000-of-00002.parquet    in the folder, or in data/ or one other folder
    train.parquet                   the same
    train/0000.parquet              the same, e.g. in default/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyarrow import fs

from roar.datasets.sources.parquet_files import UNREADABLE, one_line
from roar.errors import SourceError

SPLITS = ("train", "test", "validation", "valid", "val")
EXPECTED = "the folder that holds train-*.parquet and test-*.parquet"
_FILE = re.compile(r"(train|test|validation|valid|val)(-.*)?\.parquet")
_SHARD = re.compile(r"-(\d+)-of-(\d+)\b")


@dataclass(frozen=True, eq=False)
class Layout:
    """The files of each split.

    Attributes:
        argument: the folder as it was given; name: its last part.
        splits: paths by the split's name, in order.
        others: Parquet files that belong to no split.
    """

    filesystem: fs.FileSystem
    argument: str
    name: str
    splits: dict[str, list[str]]
    others: list[str]


def find_layout(argument: str) -> Layout:
    """The splits of a folder, of a folder or a URL.

    Raises:
        SourceError: it cannot be read, holds no test split, or several data sets.
    """
    filesystem, folder = _locate(argument)
    files, folders = _listed(filesystem, folder, argument)
    splits = _splits(filesystem, files, folders, argument)
    if not splits:
        inner = {place: found for place in folders
                 if (found := _splits(filesystem, *_listed(filesystem, place, argument), argument))}
        if len(inner) > 1:
            names = sorted(PurePosixPath(place).name for place in inner)
            raise SourceError(f"'{argument}' holds several data sets ({', '.join(names)}); name one of these folders, "
                              f"such as parquet:{argument.rstrip('/')}/{names[0]}.")
        splits = next(iter(inner.values()), {})
    layout = Layout(filesystem, argument, PurePosixPath(folder).name, splits, files)
    if not any(name in splits for name in SPLITS[1:]):
        raise _no_files("test" if splits else "train", layout)
    return layout


def split_files(layout: Layout, names: Sequence[str]) -> list[str]:
    """The files of the first split that there is among some names; none where there is no such split.

    Raises:
        SourceError: files are missing, by the numbers of those that are there.
    """
    name = next((name for name in names if name in layout.splits), None)
    if name is None:
        return []
    files = layout.splits[name]
    numbers: dict[int, set[int]] = {}
    for file in files:
        found = _SHARD.search(PurePosixPath(file).name)
        if found:
            numbers.setdefault(int(found[2]), set()).add(int(found[1]))
    for total, there in numbers.items():
        missing = sorted(set(range(total)) - there)
        if missing:
            raise SourceError(f"The split '{name}' of '{layout.argument}' has {total} files by their names, of which "
                              f"{len(there)} are there and {missing[0]:05d} is missing; fetch all of them.")
    return files


def _splits(filesystem: fs.FileSystem, files: Sequence[str], folders: Sequence[str],
            argument: str) -> dict[str, list[str]]:
    """The files of every split among the files of a folder, or in folders called as splits."""
    splits: dict[str, list[str]] = {}
    for file in files:
        found = _FILE.fullmatch(PurePosixPath(file).name)
        if found:
            splits.setdefault(found[1], []).append(file)
    for name, found_files in splits.items():
        whole = [file for file in found_files if PurePosixPath(file).name == f"{name}.parquet"]
        if whole and len(found_files) > 1:
            raise SourceError(f"The split '{name}' of '{argument}' is in '{name}.parquet' and in files called "
                              f"'{name}-...'; remove the ones or the other.")
    if splits:
        return splits
    for place in folders:
        name = PurePosixPath(place).name
        inner = _listed(filesystem, place, argument)[0] if name in SPLITS else []
        if inner:
            splits[name] = inner
    return splits


def _locate(argument: str) -> tuple[fs.FileSystem, str]:
    try:
        if "://" not in argument:
            return fs.LocalFileSystem(), Path(argument).expanduser().absolute().as_posix()
        filesystem, folder = fs.FileSystem.from_uri(argument)
    except (*UNREADABLE, ValueError, RuntimeError) as error:  # RuntimeError: of whom ~ is the home nobody knows
        raise SourceError(f"'{argument}' cannot be opened ({one_line(error)}); give a folder or a URL that "
                          "pyarrow knows, such as s3://bucket/folder.") from None
    return filesystem, folder


def _listed(filesystem: fs.FileSystem, folder: str, argument: str) -> tuple[list[str], list[str]]:
    """The paths of a folder's Parquet files and of its folders, sorted, without those whose names begin with a dot."""
    try:
        infos = filesystem.get_file_info(fs.FileSelector(folder))
    except FileNotFoundError:
        raise SourceError(f"There is no folder '{argument}'; give {EXPECTED}.") from None
    except (*UNREADABLE, ValueError) as error:
        raise SourceError(f"'{argument}' is no folder that can be read ({one_line(error)}); give {EXPECTED}."
                          ) from None
    shown = sorted((info for info in infos if not info.base_name.startswith(".")), key=lambda info: info.path)
    return ([info.path for info in shown if info.is_file and info.base_name.endswith(".parquet")],
            [info.path for info in shown if info.type == fs.FileType.Directory])


def _no_files(split: str, layout: Layout) -> SourceError:
    files = [*layout.others, *(file for files in layout.splits.values() for file in files)]
    names = list(dict.fromkeys(PurePosixPath(file).name for file in files))
    there = f"has only {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "has no Parquet files"
    return SourceError(f"'{layout.argument}' holds no {split}-*.parquet and {there}; give {EXPECTED}.")
