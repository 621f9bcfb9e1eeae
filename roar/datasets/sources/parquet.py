"""Hugging Face's image layout: ``train-*.parquet`` and ``test-*.parquet``, on a disk or in a bucket.

A file holds a struct column with the encoded picture in ``bytes`` and an integer column of labels; the
schema's metadata may name the classes. Pictures stay where they are until they are asked for. Where no file begins
with ``train-``, there is a test split alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

from roar.datasets.limits import require_images
from roar.datasets.registry import source_kind
from roar.datasets.source import WholeSource
from roar.datasets.sources.encoded import EncodedSplit, encoded_source
from roar.datasets.sources.parquet_files import (
    UNREADABLE,
    Columns,
    ParquetFiles,
    is_picture,
    one_line,
    open_file,
    scan,
    unreadable,
)
from roar.errors import SourceError

TEST_NAMES = ("test", "validation", "valid", "val")
MOST_CLASSES = 100_000  # that have no names: a larger label is taken for a mistake
LABEL_NAMES = ("label", "labels", "fine_label")
EXPECTED = "the folder that holds train-*.parquet and test-*.parquet"


@source_kind("parquet", "Hugging Face's image layout: train-*.parquet and test-*.parquet, or test-*.parquet alone",
             "PATH", is_path=True)
def open_parquet(argument: str, root: str | Path | None, image_size: int | None) -> WholeSource:
    """Open a folder of Parquet files: labels are read and pictures are hashed, not decoded.

    Raises:
        SourceError: files, columns, labels or pictures are missing, broken or do not fit.
    """
    filesystem, folder = _locate(argument)
    files = _list(filesystem, folder, argument)
    train_files, test_files = _files_of(("train",), files), _files_of(TEST_NAMES, files)
    if not test_files:
        raise _no_files("test" if train_files else "train", files, argument)
    columns, class_names = _find_columns(filesystem, (train_files or test_files)[0])
    train = scan(filesystem, train_files, columns) if train_files else None
    test = scan(filesystem, test_files, columns)
    named = class_names is not None
    if class_names is None:
        largest = min(int((train or test).labels.max()), MOST_CLASSES - 1)
        class_names = tuple(str(label) for label in range(max(largest, 0) + 1))
    for scanned in (train, test):
        if scanned is not None:
            _check_labels(scanned, len(class_names))
    if not named:
        require_images(len(class_names), len((train or test).labels))
    return encoded_source(PurePosixPath(folder).name, f"parquet:{argument}", class_names,
                          None if train is None else EncodedSplit(train.labels, train.read, train.digest),
                          EncodedSplit(test.labels, test.read, test.digest), image_size)


def _locate(argument: str) -> tuple[fs.FileSystem, str]:
    try:
        if "://" not in argument:
            return fs.LocalFileSystem(), Path(argument).expanduser().absolute().as_posix()
        filesystem, folder = fs.FileSystem.from_uri(argument)
    except (*UNREADABLE, ValueError, RuntimeError) as error:  # RuntimeError: of whom ~ is the home nobody knows
        raise SourceError(f"'{argument}' cannot be opened ({one_line(error)}); give a folder or a URL that "
                          "pyarrow knows, such as s3://bucket/folder.") from None
    return filesystem, folder


def _list(filesystem: fs.FileSystem, folder: str, argument: str) -> list[str]:
    """The paths of the Parquet files of a folder, sorted."""
    try:
        infos = filesystem.get_file_info(fs.FileSelector(folder))
    except FileNotFoundError:
        raise SourceError(f"There is no folder '{argument}'; give {EXPECTED}.") from None
    except (*UNREADABLE, ValueError) as error:
        raise SourceError(f"'{argument}' is no folder that can be read ({one_line(error)}); give {EXPECTED}."
                          ) from None
    return sorted(info.path for info in infos if info.is_file and info.base_name.endswith(".parquet"))


def _files_of(names: Sequence[str], files: Sequence[str]) -> list[str]:
    """The files of the first split that there is among some names; none where there is no such split."""
    splits = ([file for file in files if PurePosixPath(file).name.startswith(f"{name}-")] for name in names)
    return next(filter(None, splits), [])


def _no_files(split: str, files: Sequence[str], argument: str) -> SourceError:
    there = ", ".join(PurePosixPath(file).name for file in files[:5]) or "no Parquet files"
    more = ", ..." if len(files) > 5 else ""
    return SourceError(f"'{argument}' holds no {split}-*.parquet but {there}{more}; give {EXPECTED}.")


def _find_columns(filesystem: fs.FileSystem, file: str) -> tuple[Columns, tuple[str, ...] | None]:
    """The columns of pictures and labels, and the names of the classes if there are any."""
    try:
        with open_file(filesystem, file) as opened:
            schema = opened.schema_arrow
    except UNREADABLE as error:
        raise unreadable(file, error) from None
    features = _features(schema)
    there = ", ".join(f"{column.name}: {column.type}" for column in schema) or "none"
    pictures = [column.name for column in schema if is_picture(column.type)]
    if not pictures:
        raise SourceError(f"'{file}' has no struct column with binary 'bytes', the pictures (its columns: "
                          f"{there}); write it in Hugging Face's image layout.")
    integers = [column.name for column in schema if pa.types.is_integer(column.type)]
    labels = ([name for name in LABEL_NAMES if name in integers]
              or [name for name in integers if "names" in features.get(name, {})] or integers)
    if not labels:
        raise SourceError(f"'{file}' has no column of integers, the labels (its columns: {there}); "
                          "add one called 'label'.")
    names = features.get(labels[0], {}).get("names")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return Columns(pictures[0], labels[0]), tuple(names)
    return Columns(pictures[0], labels[0]), None


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The features that Hugging Face's metadata describe, as far as they are well formed."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features"):
        info = info.get(key) if isinstance(info, dict) else None
    return {k: v for k, v in info.items() if isinstance(v, dict)} if isinstance(info, dict) else {}


def _check_labels(files: ParquetFiles, classes: int) -> None:
    outside = np.flatnonzero((files.labels < 0) | (files.labels >= classes) | files.unlabeled)
    if len(outside):
        position = int(outside[0])
        value = "null" if files.unlabeled[position] else files.labels[position]
        raise SourceError(f"Labels are in 0 .. {classes - 1}, but '{files.columns.label}' is {value} in "
                          f"{files.where(position)}; correct the label or the names of the classes.")
