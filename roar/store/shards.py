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

from roar.errors import DamagedArtifactError, UsageError
from roar.store.artifacts import is_permuted
from roar.store.tables import fits, read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from roar.store.store import Store


_BLOCK = 256  # images whose ranks are checked at a time


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


def read_rows(data: bytes, name: str, permutations: bool = True) -> ShardRows:
    """What a shard says of its images.

    Args:
        permutations: whether every image's ranks are one, as all are but those of ``random-bernoulli``.

    Raises:
        DamagedArtifactError: the bytes are no shard, a page or the whole fails its checksum, the images are not in
            order, or the ranks of one are none.
    """
    return _checked(read_table(data, name), name, permutations)


def whole_shard(data: bytes) -> dict[str, Any]:
    """What a shard says of itself; empty where one value of it is not what was written."""
    try:
        table = read_table(data, "")
        told = dict(json.loads((table.schema.metadata or {})[b"roar"]))
        _checked(table, "", is_permuted(told.get("identity", {})))
        return told
    except (DamagedArtifactError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _checked(table: pa.Table, name: str, permutations: bool) -> ShardRows:
    import pyarrow as pa

    def wrong(what: str) -> DamagedArtifactError:
        return DamagedArtifactError(f"'{name}' {what}; `roar verify --repair` makes it again.")

    types = {field.name: field.type for field in table.schema}
    expected = {"index": pa.int64(), "label": pa.int32(), "target": pa.int32()}
    ranked = types.pop("rank", None)
    if types != expected or not (pa.types.is_fixed_size_list(ranked)
                                 and pa.types.is_unsigned_integer(ranked.value_type)):
        raise wrong("has other columns than a shard")
    if any(table.column(column).null_count for column in (*expected, "rank")):
        raise wrong("lacks values")
    ranks = _ranks(table)
    index, label, target = (table[column].to_numpy() for column in expected)
    metadata = table.schema.metadata or {}
    if metadata.get(b"sha256", b"").decode("ascii", "replace") != _digest(metadata.get(b"roar", b""), index, label,
                                                                          target, ranks):
        raise wrong("is not what was written")
    if len(index) == 0 or index[0] < 0 or (np.diff(index) <= 0).any():
        raise wrong("has its images in another order than their split")
    if not _are_ranks(ranks, permutations):
        raise wrong("has ranks that are no order of the pixels")
    return ShardRows(index, target, ranks)


def _are_ranks(ranks: np.ndarray, permutations: bool) -> bool:
    """Whether every row has numbers below P alone and, of permutations, each once."""
    images, pixels = ranks.shape
    if not (ranks < pixels).all():
        return False
    for start in range(0, images if permutations else 0, _BLOCK):
        block = ranks[start:start + _BLOCK]
        seen = np.zeros(block.shape, bool)
        np.put_along_axis(seen, block.astype(np.intp), True, axis=1)
        if not seen.all():
            return False
    return True


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
        permutations: whether every image's ranks are one.
    """

    folder: str
    shard_size: int
    permutations: bool = True


@dataclass(eq=False)
class RankReader:
    """The ranks of any images of a split; one shard is held at a time.

    Attributes:
        read: gives a file of an artifact by its folder and name, checked.
    """

    where: RankFolder
    read: Callable[[str, str], bytes]
    _held: tuple[int, np.ndarray, np.ndarray] | None = None  # the shard that was read last: number, indices, ranks

    def __call__(self, positions: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """The ranks ``[n, P]`` of the images at some positions of the split, whose indices must be these.

        Fast where positions rise. Raises:
            DamagedArtifactError: a shard is gone, damaged or has no ranks of an image.
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
                raise DamagedArtifactError(f"'{self.where.folder}/{shard_name(number)}' has no ranks of image "
                                           f"{missing}; `roar verify --repair` makes it again.")
            if found is None:
                found = np.empty((len(positions), ranks.shape[1]), ranks.dtype)
            elif _kind(ranks) != _kind(found):
                raise DamagedArtifactError(f"'{self.where.folder}/{shard_name(number)}' has other pixels than the "
                                           "shard before it; `roar verify --repair` makes it again.")
            found[rows] = ranks[places]
        return np.empty((0, 0), np.uint8) if found is None else found

    def _shard(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self._held is None or self._held[0] != number:
            self._held = None  # before the next one is read
            folder, name = self.where.folder, shard_name(number)
            rows = read_rows(self.read(folder, name), f"{folder}/{name}", self.where.permutations)
            self._held = number, rows.indices, rows.ranks
        return self._held[1:]


def _kind(ranks: np.ndarray) -> tuple[int, np.dtype[Any]]:
    """Pixels of an image, and the type of their ranks: the same in all shards."""
    return ranks.shape[1], ranks.dtype


def rank_folder(store: Store, folder: str) -> RankFolder:
    """Where a finished ranking of a split lies.

    Raises:
        DamagedArtifactError: there is none.
    """
    manifest = store.manifest(folder)
    if manifest is None:
        raise DamagedArtifactError(f"'{store.location}/{folder}' holds no shard; `roar rank` makes it.")
    return RankFolder(folder, manifest["identity"]["shard_size"], is_permuted(manifest["identity"]))


def read_ranks(store: Store, folder: str, indices: np.ndarray | None = None) -> np.ndarray:
    """The ranks of a whole split, ``[N, P]`` in the order of its images.

    Args:
        indices: of the images of the split, int64 ``[N]``; the ranks must be of these.

    Raises:
        DamagedArtifactError: as :func:`rank_blocks`, or they are of other images.
    """
    shards = list(_shards(store, folder))
    if indices is not None and not np.array_equal(np.concatenate([rows.indices for rows in shards]), indices):
        raise DamagedArtifactError(f"'{store.location}/{folder}' has ranks of other images; `roar verify --repair` "
                                   "makes it again.")
    return np.concatenate([rows.ranks for rows in shards])


def rank_blocks(store: Store, folder: str) -> Iterator[np.ndarray]:
    """The ranks of a split shard by shard, ``[n, P]`` in the order of its images; one shard is held at a time.

    Raises:
        DamagedArtifactError: there is no shard, or one is damaged.
    """
    return (rows.ranks for rows in _shards(store, folder))


def _shards(store: Store, folder: str) -> Iterator[ShardRows]:
    manifest = store.manifest(folder)
    if not (manifest and manifest["files"]):
        raise DamagedArtifactError(f"'{store.location}/{folder}' holds no shard; `roar rank` makes it.")
    last, kind = -1, None
    for name in sorted(manifest["files"]):
        rows = read_rows(store.read_file(folder, name), f"{folder}/{name}", is_permuted(manifest["identity"]))
        if rows.indices[0] <= last or kind not in (None, _kind(rows.ranks)):
            raise DamagedArtifactError(f"'{folder}/{name}' does not go on from the shard before it; "
                                       "`roar verify --repair` makes it again.")
        last, kind = int(rows.indices[-1]), _kind(rows.ranks)
        yield rows
