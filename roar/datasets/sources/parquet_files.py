"""The Parquet files of one split: one pass for labels and a digest, then pictures by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from roar.datasets.sources.pictures import Encoded
from roar.errors import SourceError

UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)  # of pyarrow: missing, broken, forbidden files, bad names


MOST_UNPACKED = 2**30  # bytes of a row group, of whatever pictures
ROWS = 256  # that are read at a time
HASH_BYTES = 16
MOST_TIMES = 8  # that pictures, which are packed already, shrink at most


class Columns(NamedTuple):
    """The names of the columns with the pictures (a struct with ``bytes``) and the labels."""

    picture: str
    label: str


@dataclass(frozen=True, eq=False)
class ParquetFiles:
    """The files of one split.

    Attributes:
        groups: (file, row group in it, first row of the group in the file), in order.
        starts: int64 ``[G]``, the first row of each group in the split.
        column: the labels, int64 or string (truth values are ``true`` and ``false``), null where there is none.
        sha256: of all encoded pictures; it does not depend on the division into files and groups.
        hashes: of each encoded picture, uint8 ``[N, 16]``.
    """

    filesystem: fs.FileSystem
    columns: Columns
    groups: Sequence[tuple[str, int, int]]
    starts: np.ndarray
    column: pa.ChunkedArray
    sha256: bytes
    hashes: np.ndarray
    _last: dict[int, pa.ChunkedArray] = field(default_factory=dict, repr=False)  # the group that was read last

    def digest(self, positions: np.ndarray) -> bytes:
        """Of the whole split, whatever the positions: these enter a fingerprint by themselves."""
        return self.sha256

    def hashes_at(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(self.hashes[positions])

    def where(self, position: int) -> str:
        """Says for messages where a row is, counted from 0."""
        group = int(np.searchsorted(self.starts, position, side="right")) - 1
        file, _, first = self.groups[group]
        return f"row {position - self.starts[group] + first} of '{file}'"

    def read(self, positions: np.ndarray) -> list[Encoded]:
        """The encoded pictures at some positions; fast where these rise.

        Raises:
            SourceError: a file cannot be read, or a picture is null.
        """
        encoded = [Encoded(b"", str)] * len(positions)
        groups = np.searchsorted(self.starts, positions, side="right") - 1
        for group in np.unique(groups).tolist():
            slots = np.flatnonzero(groups == group)
            rows = pa.array(positions[slots] - self.starts[group])
            for slot, picture in zip(slots.tolist(), self._group(group).take(rows).to_pylist(), strict=True):
                where = partial(self.where, int(positions[slot]))
                if picture is None:
                    raise SourceError(f"There is no picture in {where()} (its bytes are null); write the "
                                      "pictures themselves into the file, not their paths.")
                encoded[slot] = Encoded(picture, where)
        return encoded

    def _group(self, group: int) -> pa.ChunkedArray:
        if group not in self._last:
            file, number, _ = self.groups[group]
            try:
                with open_file(self.filesystem, file) as opened:
                    parts = read_group(opened, number, f"{self.columns.picture}.bytes", file)
                    pictures = pa.chunked_array([_pictures(part) for part in parts], pa.large_binary())
            except UNREADABLE as error:
                raise unreadable(file, error) from None
            self._last.clear()
            self._last[group] = pictures
        return self._last[group]


def scan(filesystem: fs.FileSystem, files: Sequence[str], columns: Columns, first: str) -> ParquetFiles:
    """Read labels and hash pictures, some rows at a time.

    Args:
        first: the file that the columns were found in.

    Raises:
        SourceError: a file cannot be read, lacks a column, or there is no row at all.
    """
    groups: list[tuple[str, int, int]] = []
    counts: list[int] = []
    labels: list[pa.ChunkedArray] = []
    hashes: list[bytes] = []
    lengths = hashlib.sha256()
    contents = hashlib.sha256()
    for file in files:
        row = 0
        try:
            with open_file(filesystem, file) as opened:
                _check_schema(file, opened.schema_arrow, columns, first)
                labels.append(_label_values(opened, columns))
                for number in range(opened.num_row_groups):
                    for part in read_group(opened, number, f"{columns.picture}.bytes", file):
                        hashes += _hash(_pictures(part), lengths, contents)
                    groups.append((file, number, row))
                    counts.append(opened.metadata.row_group(number).num_rows)
                    row += counts[-1]
        except UNREADABLE as error:
            raise unreadable(file, error) from None
    if sum(counts) == 0:
        raise SourceError(f"'{files[0]}' has no rows; a split needs at least one picture.")
    starts = np.cumsum([0, *counts[:-1]], dtype=np.int64)
    return ParquetFiles(filesystem, columns, groups, starts, _joined(labels, files, columns),
                        lengths.digest() + contents.digest(),
                        np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES))


def read_labels(filesystem: fs.FileSystem, file: str, columns: Columns) -> pa.ChunkedArray:
    """The labels of one file, as in :class:`ParquetFiles`; none where it has no such column.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        with open_file(filesystem, file) as opened:
            if columns.label not in opened.schema_arrow.names:
                return pa.chunked_array([], pa.int64())
            return _label_values(opened, columns)
    except UNREADABLE as error:
        raise unreadable(file, error) from None


def _label_values(opened: pq.ParquetFile, columns: Columns) -> pa.ChunkedArray:
    column = opened.read([columns.label]).column(0)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.int64() if pa.types.is_integer(column.type) else pa.string())


def _joined(labels: Sequence[pa.ChunkedArray], files: Sequence[str], columns: Columns) -> pa.ChunkedArray:
    other = next((file for file, found in zip(files, labels, strict=True) if found.type != labels[0].type), None)
    if other is not None:
        raise SourceError(f"'{columns.label}' holds other labels in '{other}' than in '{files[0]}' (integers and "
                          "texts); write one schema.")
    return pa.chunked_array([chunk for found in labels for chunk in found.chunks], labels[0].type)


def open_file(filesystem: fs.FileSystem, file: str) -> pq.ParquetFile:
    """Open one file, to be used in a ``with``; checksums of pages are verified where it has them."""
    return pq.ParquetFile(file, filesystem=filesystem, page_checksum_verification=True)


def read_group(opened: pq.ParquetFile, number: int, column: str, file: str) -> Iterator[pa.RecordBatch]:
    """A column of a row group in parts; how much memory it takes is asked of it before anything in it is unpacked.

    In parts, since what lies in a struct and has more than 2 GB cannot be read at once.

    Raises:
        SourceError: it unpacks to many times its size, as no pictures do.
    """
    group = opened.metadata.row_group(number)
    parts = [group.column(column) for column in range(group.num_columns)]
    packed, size = (sum(getattr(part, name) for part in parts if part.path_in_schema == column)
                    for name in ("total_compressed_size", "total_uncompressed_size"))
    if size > max(MOST_UNPACKED, MOST_TIMES * packed):
        raise SourceError(f"Row group {number} of '{file}' unpacks from {packed:,} to {size:,} bytes, as no pictures "
                          "do; write it again.")
    yield from opened.iter_batches(ROWS, row_groups=[number], columns=[column])


def is_picture(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold pictures."""
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    binary = kind.field("bytes").type
    return bool(pa.types.is_binary(binary) or pa.types.is_large_binary(binary))


def is_label(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold labels: integers, texts or truth values."""
    if pa.types.is_dictionary(kind):
        return is_label(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
                or pa.types.is_large_string(kind))


def unreadable(file: str, error: BaseException) -> SourceError:
    """The error that says why a file cannot be read."""
    return SourceError(f"'{file}' cannot be read as Parquet ({one_line(error)}); write or fetch it again.")


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_schema(file: str, schema: pa.Schema, columns: Columns, first: str) -> None:
    types = {column.name: column.type for column in schema}
    if not (is_picture(types.get(columns.picture, pa.null()))
            and is_label(types.get(columns.label, pa.null()))):
        raise SourceError(f"'{file}' lacks the columns of '{first}', '{columns.picture}' (a struct with bytes) and "
                          f"'{columns.label}' (labels); write one schema.")


def _pictures(part: pa.RecordBatch) -> pa.Array:
    """The bytes of the one column, a large-binary array; null where a picture or its struct is."""
    return part.column(0).flatten()[0].cast(pa.large_binary())


def _hash(pictures: pa.Array, lengths: hashlib._Hash, contents: hashlib._Hash) -> list[bytes]:
    """Add pictures to the hashes of all lengths (-1 for null) and of all bytes, one after the other.

    Returns:
        the hash of each.
    """
    if len(pictures) == 0:
        return []
    _, offsets, data = pictures.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[pictures.offset:pictures.offset + len(pictures) + 1]
    sizes = np.where(pictures.is_null().to_numpy(zero_copy_only=False), -1, np.diff(bounds))
    lengths.update(sizes.astype("<i8").tobytes())
    view = memoryview(b"" if data is None else data)
    contents.update(view[bounds[0]:bounds[-1]])
    return [hashlib.blake2b(view[start:stop], digest_size=HASH_BYTES).digest()
            for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
