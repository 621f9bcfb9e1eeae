"""Rankings as Parquet shards: how a shard is written and how a whole split is read back.

A row is ``index`` int64 (position of the image in its split), ``label`` int32, ``target`` int32 (the class
explained) and ``rank``, a fixed-size list of P unsigned integers. The schema's metadata holds under ``roar``
what determines the ranking and the share of tied pixels, as JSON, and under ``sha256`` the hash of that and of all
values; pages carry checksums, which are verified on reading.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roar.errors import DamagedArtefactError, UsageError
from roar.store.tables import fits, read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from roar.store.store import Store


def shard_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def shard_bytes(indices: np.ndarray, labels: np.ndarray, targets: np.ndarray, ranks: np.ndarray,
                description: Mapping[str, Any]) -> bytes:
    """A shard of n images: indices, labels, targets ``[n]``, ranks unsigned ``[n, P]``.

    ``description`` goes into the schema's metadata: what determines the ranks, and what is known of them.

    Raises:
        UsageError: it would be too large to be read back.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, pixels = ranks.shape
    if not fits(ranks.size):
        raise UsageError(f"A shard of {count:,} images with {pixels:,} ranks each is too large to be read back; "
                         f"set [estimators] shard_size = {max(1, count // 8)}.")
    text = json.dumps(description, sort_keys=True)
    table = pa.table({
        "index": pa.array(indices, pa.int64()),
        "label": pa.array(labels, pa.int32()),
        "target": pa.array(targets, pa.int32()),
        "rank": pa.FixedSizeListArray.from_arrays(pa.array(ranks.reshape(-1)), pixels),
    }).replace_schema_metadata({"roar": text, "sha256": _digest(text.encode(), indices, labels, targets, ranks)})
    buffer = io.BytesIO()
    # Ranks are permutations, which no codec shrinks by much; splitting their bytes lets zstd pack the high ones.
    narrow = ranks.dtype.itemsize == 1
    pq.write_table(table, buffer, compression="zstd", compression_level=1, use_dictionary=False,
                   column_encoding=None if narrow else {"rank.list.element": "BYTE_STREAM_SPLIT"},
                   write_statistics=False, write_page_checksum=True, row_group_size=max(1, count))
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class ShardRows:
    """The images of one shard: indices int64 ``[n]``, the classes explained int32 ``[n]``, ranks ``[n, P]``."""

    indices: np.ndarray
    targets: np.ndarray
    ranks: np.ndarray


def read_rows(data: bytes, name: str) -> ShardRows:
    """What a shard says of its images.

    Raises:
        DamagedArtefactError: the bytes are no shard or a page fails its checksum.
    """
    table = read_table(data, name)
    return ShardRows(table["index"].to_numpy(), table["target"].to_numpy(), _ranks(table))


def whole_shard(data: bytes) -> dict[str, Any]:
    """What a shard says of itself; empty where one value of it is not what was written."""
    try:
        table = read_table(data, "")
        metadata = table.schema.metadata or {}
        index, label, target = (table[name].to_numpy() for name in ("index", "label", "target"))
        if metadata[b"sha256"].decode() == _digest(metadata[b"roar"], index, label, target, _ranks(table)):
            return dict(json.loads(metadata[b"roar"]))
    except (DamagedArtefactError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}


def _digest(description: bytes, indices: np.ndarray, labels: np.ndarray, targets: np.ndarray,
            ranks: np.ndarray) -> str:
    found = hashlib.sha256(description)
    for values, kind in ((indices, np.int64), (labels, np.int32), (targets, np.int32), (ranks, ranks.dtype)):
        found.update(np.ascontiguousarray(values, kind).tobytes())
    return found.hexdigest()


def _ranks(table: pa.Table) -> np.ndarray:
    """``[n, P]``"""
    rank = table.column("rank").combine_chunks()
    ranks: np.ndarray = rank.flatten().to_numpy(zero_copy_only=False).reshape(len(rank), rank.type.list_size)
    return ranks


@dataclass(frozen=True)
class RankFolder:
    """Where the ranks of a split lie: small, so that it travels to workers in place of the ranks.

    Attributes:
        shard_size: images in every shard but the last.
    """

    folder: str
    shard_size: int


@dataclass(eq=False)
class RankReader:
    """The ranks of any images of a split; one shard is held at a time.

    Attributes:
        read: gives a file of an artefact by its folder and name, checked.
    """

    where: RankFolder
    read: Callable[[str, str], bytes]
    _held: tuple[int, np.ndarray, np.ndarray] | None = None  # the shard that was read last: number, indices, ranks

    def __call__(self, positions: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """The ranks ``[n, P]`` of the images at some positions of the split, whose indices must be these.

        Fast where positions rise. Raises:
            DamagedArtefactError: a shard is gone, damaged or has no ranks of an image.
        """
        shards = positions // self.where.shard_size
        found: np.ndarray | None = None
        for number in np.unique(shards).tolist():
            rows = np.flatnonzero(shards == number)
            index, ranks = self._shard(number)
            wanted = indices[rows]
            places = np.searchsorted(index, wanted).clip(max=len(index) - 1)
            if not np.array_equal(index[places], wanted):
                missing = wanted[index[places] != wanted][0]
                raise DamagedArtefactError(f"'{self.where.folder}/{shard_name(number)}' has no ranks of image "
                                           f"{missing}; `roar verify --repair` makes it again.")
            if found is None:
                found = np.empty((len(positions), ranks.shape[1]), ranks.dtype)
            found[rows] = ranks[places]
        return np.empty((0, 0), np.uint8) if found is None else found

    def _shard(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self._held is None or self._held[0] != number:
            self._held = None  # before the next one is read
            folder, name = self.where.folder, shard_name(number)
            table = read_table(self.read(folder, name), f"{folder}/{name}")
            self._held = number, table["index"].to_numpy(), _ranks(table)
        return self._held[1:]


def rank_folder(store: Store, folder: str) -> RankFolder:
    """Where a finished ranking of a split lies.

    Raises:
        DamagedArtefactError: there is none.
    """
    manifest = store.manifest(folder)
    if manifest is None:
        raise DamagedArtefactError(f"'{store.location}/{folder}' holds no shard; `roar rank` makes it.")
    return RankFolder(folder, manifest["identity"]["shard_size"])


def read_ranks(store: Store, folder: str) -> np.ndarray:
    """The ranks of a whole split, ``[N, P]`` in the order of its images."""
    return np.concatenate(list(rank_blocks(store, folder)))


def rank_blocks(store: Store, folder: str) -> Iterator[np.ndarray]:
    """The ranks of a split shard by shard, ``[n, P]`` in the order of its images; one shard is held at a time.

    Raises:
        DamagedArtefactError: there is no shard, or one is damaged.
    """
    manifest = store.manifest(folder)
    if not (manifest and manifest["files"]):
        raise DamagedArtefactError(f"'{store.location}/{folder}' holds no shard; `roar rank` makes it.")
    for name in sorted(manifest["files"]):
        yield _ranks(read_table(store.read_file(folder, name), f"{folder}/{name}"))
