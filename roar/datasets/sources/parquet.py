"""Parquet files with pictures and labels, in the layouts of Hugging Face, on a disk or in a bucket.

A file holds a struct column with the encoded picture in ``bytes`` and a column of labels: integers, whose names the
schema's metadata may give, or texts or truth values, which are the classes. Pictures stay where they are until they
are asked for. Where there are no training files, there is a test split alone.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from roar.datasets.limits import require_images
from roar.datasets.registry import source_kind
from roar.datasets.source import Request, WholeSource
from roar.datasets.sources.encoded import EncodedSplit, encoded_source
from roar.datasets.sources.parquet_files import (
    UNREADABLE,
    Columns,
    ParquetFiles,
    is_label,
    is_picture,
    open_file,
    read_labels,
    scan,
    unreadable,
)
from roar.datasets.sources.parquet_layout import find_layout, split_files
from roar.errors import SourceError

TEST_NAMES = ("test", "validation", "valid", "val")
MOST_CLASSES = 100_000  # that have no names: a larger label is taken for a mistake
LABEL_NAMES = ("label", "labels", "fine_label")


@source_kind("parquet", "Hugging Face's image layouts: train-*.parquet and test-*.parquet, or test-*.parquet alone",
             "PATH", is_path=True, has_columns=True)
def open_parquet(argument: str, request: Request) -> WholeSource:
    """Open a folder of Parquet files: labels are read and pictures are hashed, not decoded.

    Raises:
        SourceError: files, columns, labels or pictures are missing, broken or do not fit.
    """
    layout = find_layout(argument)
    filesystem, train_files = layout.filesystem, split_files(layout, ("train",))
    first = train_files or split_files(layout, TEST_NAMES)
    columns, class_names = _find_columns(filesystem, first[0], request.label_column)
    test_name, unlabeled = _labeled(filesystem, layout.splits, columns)
    test_files = split_files(layout, (test_name,))
    train = scan(filesystem, train_files, columns, first[0]) if train_files else None
    test = scan(filesystem, test_files, columns, first[0])
    named = class_names or _texts(train or test)
    classes = named or _numbers(train or test)
    labels = [None if files is None else _labels(files, classes) for files in (train, test)]
    if named is None:
        require_images(len(classes), len((train or test).column))
    facts = [f"The column '{columns.picture}' holds the pictures and '{columns.label}' the labels; the splits are "
             f"{'train and ' if train else ''}{test_name}."]
    facts += [f"The labels of the {name} split are all -1 or missing, so it is not used." for name in unlabeled]
    train_split, test_split = (None if files is None or found is None else
                               EncodedSplit(found, files.read, files.digest, files.hashes_at)
                               for files, found in zip((train, test), labels, strict=True))
    assert test_split is not None  # there are test files
    return encoded_source(layout.name, f"parquet:{argument}", classes, train_split, test_split, request.image_size,
                          facts=facts)


def _labeled(filesystem: fs.FileSystem, splits: dict[str, list[str]], columns: Columns) -> tuple[str, list[str]]:
    """The split to evaluate: the first of the test splits that has labels, and those before it that have none.

    Where none has labels it is the first, whose labels are then refused.
    """
    names = [name for name in TEST_NAMES if name in splits]
    unlabeled: list[str] = []
    for name in names:
        if any(not _without_labels(read_labels(filesystem, file, columns)) for file in splits[name]):
            return name, unlabeled
        unlabeled.append(name)
    return names[0], []


def _without_labels(column: pa.ChunkedArray) -> bool:
    """Whether there are rows, and each label is null or -1, as where a challenge keeps its labels to itself."""
    if not len(column):
        return False
    if not pa.types.is_integer(column.type):
        return bool(column.null_count == len(column))
    return not pc.any(pc.not_equal(column.cast(pa.int64()), -1)).as_py()


def _find_columns(filesystem: fs.FileSystem, file: str, named: str | None
                  ) -> tuple[Columns, tuple[str, ...] | None]:
    """The columns of pictures and labels, and the names of the classes if there are any.

    Args:
        named: the column of labels; ``None``: the one called so, or the one that the metadata call a ClassLabel.
    """
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
    label = _label_column(schema, features, named)
    if label is None:
        raise SourceError(f"The labels are the column called 'label', and '{file}' has none (its columns: {there}); "
                          "name the column of the labels with --label-column.")
    if not is_label(schema.field(label).type):
        raise SourceError(f"Labels are integers, texts or truth values, and '{label}' of '{file}' is "
                          f"{schema.field(label).type}; write it as integers, or name another with --label-column.")
    names = features.get(label, {}).get("names")
    if (pa.types.is_integer(schema.field(label).type) and isinstance(names, list) and names
            and all(isinstance(name, str) for name in names)):
        return Columns(pictures[0], label), tuple(names)
    return Columns(pictures[0], label), None


def _label_column(schema: pa.Schema, features: dict[str, dict[str, Any]], named: str | None) -> str | None:
    """The name of the column of labels; ``None`` where there is none, or where it could be one of several."""
    if named is not None:
        return named if named in schema.names else None
    classes = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    return next((name for name in LABEL_NAMES if name in schema.names), classes[0] if len(classes) == 1 else None)


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The features that Hugging Face's metadata describe, as far as they are well formed."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features"):
        info = info.get(key) if isinstance(info, dict) else None
    return {k: v for k, v in info.items() if isinstance(v, dict)} if isinstance(info, dict) else {}


def _texts(files: ParquetFiles) -> tuple[str, ...] | None:
    """The texts or truth values of a column, sorted, which are the classes; ``None`` of integers."""
    if pa.types.is_integer(files.column.type):
        return None
    return tuple(sorted(text for text in pc.unique(files.column).to_pylist() if text is not None))


def _numbers(files: ParquetFiles) -> tuple[str, ...]:
    """The names of classes that have none: 0 and on."""
    largest = min(int(pc.max(files.column).as_py() or 0), MOST_CLASSES - 1)
    return tuple(str(label) for label in range(max(largest, 0) + 1))


def _labels(files: ParquetFiles, classes: tuple[str, ...]) -> np.ndarray:
    """The labels int64 ``[N]``, positions in the classes.

    Raises:
        SourceError: one is null or none of them.
    """
    if pa.types.is_integer(files.column.type):
        labels = files.column.fill_null(-1).to_numpy()
        known = f"in 0 .. {len(classes) - 1}"
    else:
        labels = pc.index_in(files.column, value_set=pa.array(classes, pa.string())).fill_null(-1).to_numpy()
        known = "those of the training split" if len(classes) > 5 else ", ".join(map(repr, classes))
    found: np.ndarray = labels.astype(np.int64)
    outside = np.flatnonzero((found < 0) | (found >= len(classes)))
    if len(outside):
        position = int(outside[0])
        value = files.column[position].as_py()
        raise SourceError(f"Labels are {known}, but '{files.columns.label}' is {'null' if value is None else value} in "
                          f"{files.where(position)}; correct the label or the names of the classes.")
    return found
