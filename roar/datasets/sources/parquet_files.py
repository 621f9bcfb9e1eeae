"""The Parquet files of one split: one pass for labels and a digest, then pictures by position."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
MOST_TIMES = 8  # that pictures, which are packed already, shrink at most


class Columns(NamedTuple):
    """The names of the columns with the pictures (a struct with ``bytes``) and the labels (integers)."""

    picture: str
    label: str


@dataclass(frozen=True, eq=False)
class ParquetFiles:
    """The files of one split.

    Attributes:
        groups: (file, row group in it, first row of the group in the file), in order.
        starts: int64 ``[G]``, the first row of each group in the split.
        labels: int64 ``[N]``.
        unlabeled: bool ``[N]``, where the label is null.
        sha256: of all encoded pictures; it does not depend on the division into files and groups.
    """

    filesystem: fs.FileSystem
    columns: Columns
    groups: Sequence[tuple[str, int, int]]
    starts: np.ndarray
    labels: np.ndarray
    unlabeled: np.ndarray
    sha256: bytes
    _last: dict[int, pa.Array] = field(default_factory=dict, repr=False)  # the group that was read last

    def digest(self, positions: np.ndarray) -> bytes:
        """Of the whole split, whatever the positions: these enter a fingerprint by themselves."""
        return self.sha256

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

    def _group(self, group: int) -> pa.Array:
        if group not in self._last:
            file, number, _ = self.groups[group]
            try:
                with open_file(self.filesystem, file) as opened:
                    pictures = _pictures(read_group(opened, number, [f"{self.columns.picture}.bytes"], file))
            except UNREADABLE as error:
                raise unreadable(file, error) from None
            self._last.clear()
            self._last[group] = pictures
        return self._last[group]


def scan(filesystem: fs.FileSystem, files: Sequence[str], columns: Columns) -> ParquetFiles:
    """Read labels and hash pictures, a row group at a time.

    Raises:
        SourceError: a file cannot be read, lacks a column, or there is no row at all.
    """
    groups: list[tuple[str, int, int]] = []
    counts: list[int] = []
    labels: list[pa.Array] = []
    lengths = hashlib.sha256()
    contents = hashlib.sha256()
    for file in files:
        first = 0
        try:
            with open_file(filesystem, file) as opened:
                _check_schema(file, opened.schema_arrow, columns)
                for number in range(opened.num_row_groups):
                    table = read_group(opened, number, [f"{columns.picture}.bytes", columns.label], file)
                    _hash(_pictures(table.select([columns.picture])), lengths, contents)
                    labels += table.column(columns.label).cast(pa.int64()).chunks
                    groups.append((file, number, first))
                    counts.append(len(table))
                    first += len(table)
        except UNREADABLE as error:
            raise unreadable(file, error) from None
    if sum(counts) == 0:
        raise SourceError(f"'{files[0]}' has no rows; a split needs at least one picture.")
    column = pa.chunked_array(labels)
    starts = np.cumsum([0, *counts[:-1]], dtype=np.int64)
    return ParquetFiles(filesystem, columns, groups, starts, column.fill_null(0).to_numpy(),
                        column.is_null().to_numpy(), lengths.digest() + contents.digest())


def open_file(filesystem: fs.FileSystem, file: str) -> pq.ParquetFile:
    """Open one file, to be used in a ``with``; checksums of pages are verified where it has them."""
    return pq.ParquetFile(file, filesystem=filesystem, page_checksum_verification=True)


def read_group(opened: pq.ParquetFile, number: int, columns: Sequence[str], file: str) -> pa.Table:
    """A row group; how much memory it takes is asked of it before anything in it is unpacked.

    Raises:
        SourceError: it unpacks to many times its size, as no pictures do.
    """
    group = opened.metadata.row_group(number)
    parts = [group.column(column) for column in range(group.num_columns)]
    packed, size = (sum(getattr(part, name) for part in parts if part.path_in_schema in columns)
                    for name in ("total_compressed_size", "total_uncompressed_size"))
    if size > max(MOST_UNPACKED, MOST_TIMES * packed):
        raise SourceError(f"Row group {number} of '{file}' unpacks from {packed:,} to {size:,} bytes, as no pictures "
                          "do; write it again.")
    return opened.read_row_group(number, list(columns))


def is_picture(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold pictures."""
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    binary = kind.field("bytes").type
    return bool(pa.types.is_binary(binary) or pa.types.is_large_binary(binary))


def unreadable(file: str, error: BaseException) -> SourceError:
    """The error that says why a file cannot be read."""
    return SourceError(f"'{file}' cannot be read as Parquet ({one_line(error)}); write or fetch it again.")


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_schema(file: str, schema: pa.Schema, columns: Columns) -> None:
    types = {column.name: column.type for column in schema}
    if not (is_picture(types.get(columns.picture, pa.null()))
            and pa.types.is_integer(types.get(columns.label, pa.null()))):
        raise SourceError(f"'{file}' lacks the columns of the first training file, '{columns.picture}' (a "
                          f"struct with bytes) and '{columns.label}' (integers); write one schema.")


def _pictures(table: pa.Table) -> pa.Array:
    """The bytes of a table's one column, a large-binary array; null where a picture or its struct is."""
    arrays = [chunk.flatten()[0].cast(pa.large_binary()) for chunk in table.column(0).chunks]
    return pa.concat_arrays(arrays) if arrays else pa.array([], type=pa.large_binary())


def _hash(pictures: pa.Array, lengths: hashlib._Hash, contents: hashlib._Hash) -> None:
    """Add pictures to the hashes of all lengths (-1 for null) and of all bytes, one after the other."""
    if len(pictures) == 0:
        return
    _, offsets, data = pictures.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[pictures.offset:pictures.offset + len(pictures) + 1]
    sizes = np.where(pictures.is_null().to_numpy(zero_copy_only=False), -1, np.diff(bounds))
    lengths.update(sizes.astype("<i8").tobytes())
    if data is not None:
        contents.update(memoryview(data)[bounds[0]:bounds[-1]])
