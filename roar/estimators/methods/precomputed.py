"""Attributions that were made elsewhere, by any framework: an array per split, a map for every image.

    precomputed(maps/{split}.npy)              [N, H, W] or [N, C, H, W], in the order of the source
    precomputed(maps/{split}.npz)              the same under `attributions`, or as the only array; with `index` in any
    precomputed(maps/{split}.safetensors)      order
    precomputed(maps/{split}.parquet)          a column `attribution` of lists, [H][W] or [C][H][W], with or without
                                               `index`

In the brackets may follow ``name=lime``, which is its name in tables, and ``model=resnet20``: the one network of the
experiment that these maps explain. Without it they are taken to depend on the image alone, and all networks share them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from roar.errors import EstimatorError, UsageError
from roar.estimators.batch import RankedImages, Task
from roar.estimators.kinds import Estimator, without_network
from roar.estimators.ranks import rank_scores
from roar.estimators.registry import maker
from roar.estimators.units import pixel_scores
from roar.experiment import EstimatorSettings
from roar.registry import Paper, Spelling, parameters, split
from roar.seeds.streams import derive

PRECOMPUTED = "precomputed"
SPLITS = ("train", "test")
FORMATS = (".npy", ".npz", ".safetensors", ".parquet")
VALUES = ("attributions", "attribution", "maps")  # names of the array or column of maps
INDEX = "index"
_BLOCK = 1_000  # images that are checked at a time


@dataclass(frozen=True, eq=False)
class MapsFile:
    """The maps of one split where they lie; small, so that it can travel. A worker opens it under the same path.

    Attributes:
        rows: for each image of the split its row in the file, int64 ``[N]``; ``None``: the same.
    """

    name: str
    path: str
    rows: np.ndarray | None = None

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The maps at some positions, float32 ``[n, C or 1, H, W]``.

        Raises:
            EstimatorError: the file is not there.
        """
        if not Path(self.path).is_file():
            raise EstimatorError(f"'{self.name}' needs '{self.path}', which is not on this node; put it into a folder "
                                 "that every node sees.")
        values = _opened(self.path).values
        rows = positions if self.rows is None else self.rows[positions]
        found = np.asarray(values[rows], dtype=np.float32)
        return found[:, None] if found.ndim == 3 else found


@dataclass(frozen=True, eq=False)
class MapsInMemory:
    """The maps of one split, float32 ``[N, C or 1, H, W]``, as they are shared with the workers."""

    maps: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.maps[positions]
        return found


@dataclass(frozen=True, eq=False)
class Precomputed(Estimator):
    """Attributions made elsewhere.

    Attributes:
        paths: of the file of each split, whether or not it is there.
        hashes: SHA-256 of those that are.
        model: the one network of the experiment that they explain; empty: all share them.
    """

    paths: Mapping[str, str] = field(kw_only=True)
    hashes: Mapping[str, str] = field(kw_only=True)
    model: str = field(default="", kw_only=True)
    shelf: ClassVar[str] = PRECOMPUTED
    reads_maps: ClassVar[bool] = True

    @property
    def sees_image(self) -> bool:
        return True

    @property
    def of_model(self) -> str:
        return self.model

    def identity(self, settings: EstimatorSettings) -> dict[str, Any]:
        return {**self._named, "unit": settings.unit, "files": dict(self.hashes),
                **({"model": self.model} if self.model else {})}

    def check_source(self, source: Any, splits: Sequence[str]) -> None:
        for name in splits:
            if name not in self.hashes:
                raise UsageError(f"'{self.name}' has no attributions of the {name} split: there is no file "
                                 f"'{self.paths[name]}'; make them, or measure what needs the test split alone.")
        for name in (name for name in self.hashes if name in source.splits):
            self.reader(source, name)
            _checked_values(self, source, name)

    def reader(self, source: Any, split: str) -> MapsFile:
        """What reads the maps of a split.

        Raises:
            UsageError: the array does not have a map for every image.
        """
        return _reader(self, source, split)

    def maps_loader(self, source: Any, split: str, streamed: bool) -> Callable[[], Any]:
        reader = self.reader(source, split)
        if streamed:
            return lambda: reader
        return lambda: MapsInMemory(reader(np.arange(len(getattr(source, split)), dtype=np.int64)))

    def rank(self, task: Task) -> RankedImages:
        scores = self._scores(task)
        ranks, tied = rank_scores(scores, task.indices, derive(task.root_seed, "ties", task.split))
        return without_network(ranks, tied / max(1, scores.numel()))

    def map(self, task: Task) -> np.ndarray:
        """The scores themselves, as of a method; channel values that rank alone are added up."""
        height, width = task.pictures.shape[2:]
        planes: np.ndarray = self._scores(task).view(len(task.pictures), -1, height, width).sum(1).cpu().numpy()
        return planes

    def _scores(self, task: Task) -> Any:
        import torch

        maps = task.batch.inputs.get(self.name)
        if maps is None or len(maps) != len(task.pictures):
            raise EstimatorError(f"'{self.name}' needs the maps of these images, which were not given; read them with "
                                 "its reader.")
        values = torch.from_numpy(np.ascontiguousarray(maps)).to(task.pictures.device)
        return pixel_scores(values, task.settings.unit, task.pictures.shape[1])


@maker(PRECOMPUTED, "FILE", f"{PRECOMPUTED}(maps/{{split}}.npy)", PRECOMPUTED, Paper("", "", 0, ""),
       "attributions made elsewhere: .npy, .npz, .safetensors or .parquet, one file per split")
def precomputed(text: str) -> Precomputed:
    """Attributions from the files of a spelling ``PATH, name=..., model=...``.

    Raises:
        UsageError: the path has no ``{split}``, no file is there, or a parameter does not exist.
    """
    path, *rest = split(text)
    given = parameters(Spelling(PRECOMPUTED, ",".join(rest)))
    unknown = [name for name in given if name not in ("name", "model")]
    path = path[1:-1] if path[:1] == path[-1:] and path[:1] in "'\"" else path
    if unknown or "{split}" not in path or not path.endswith(FORMATS):
        raise UsageError(f"'{PRECOMPUTED}' takes a path with {{split}} that ends in {', '.join(FORMATS)}, then name= "
                         f"and model=, not '{text}'; write {PRECOMPUTED}(maps/{{split}}.npy).")
    place = Path(path).expanduser().absolute()
    paths = {name: str(place).replace("{split}", name) for name in SPLITS}
    hashes = {name: _hash(file) for name, file in paths.items() if Path(file).is_file()}
    if not hashes:
        raise UsageError(f"'{PRECOMPUTED}({path})' finds neither '{paths['train']}' nor '{paths['test']}'; give the "
                         "path of the attributions with {split} where train and test differ.")
    label = str(given.get("name") or place.stem.replace("{split}", "").strip("-_. ") or place.parent.name)
    model = str(given.get("model", ""))
    spelled = "".join(f", {key}={value!r}" for key, value in given.items())
    return Precomputed(f"{PRECOMPUTED}({label})", PRECOMPUTED, Paper("", "", 0, ""), f"attributions of {path}",
                       spelling=f"{PRECOMPUTED}({str(place)!r}{spelled})", paths=paths, hashes=hashes, model=model)


@dataclass(frozen=True, eq=False)
class _Arrays:
    """What a file holds: maps ``[N, H, W]`` or ``[N, C, H, W]``, and the index of each, int64 ``[N]``."""

    values: Any  # an array, or what is sliced like one
    index: np.ndarray | None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)


@dataclass(frozen=True, eq=False)
class _SafeSlice:
    """Rows of a tensor in a safetensors file, read where they lie."""

    path: str
    name: str
    shape: tuple[int, ...]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            part = file.get_slice(self.name)
            found = [part[int(row):int(row) + 1] for row in rows]
        return np.concatenate(found) if found else np.empty((0, *self.shape[1:]), np.float32)


def _opened(path: str) -> _Arrays:
    """The arrays of a file, memory-mapped where the format allows it; opened once per process and state of the file."""
    status = Path(path).stat()
    return _read(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(path: str, size: int, modified: int) -> _Arrays:
    kind = Path(path).suffix
    try:
        if kind == ".npy":
            return _Arrays(np.load(path, mmap_mode="r", allow_pickle=False), None)
        if kind == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                name = _name_of_values(list(arrays.files), path)
                return _Arrays(arrays[name], np.asarray(arrays[INDEX], np.int64) if INDEX in arrays.files else None)
        if kind == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "numpy") as file:
                name = _name_of_values(list(file.keys()), path)
                index = np.asarray(file.get_tensor(INDEX), np.int64) if INDEX in file.keys() else None  # noqa: SIM118
                return _Arrays(_SafeSlice(path, name, tuple(file.get_slice(name).get_shape())), index)
        return _read_parquet(path)
    except UsageError:
        raise
    except Exception as error:  # a file may hold anything, and each format has errors of its own
        raise UsageError(f"'{path}' cannot be read as {kind[1:]} ({' '.join(str(error).split())[:200]}); write the "
                         "attributions again.") from None


def _read_parquet(path: str) -> _Arrays:
    """Maps from a column of nested lists of one shape."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, memory_map=True)
    column = table[_name_of_values(table.column_names, path)].combine_chunks()
    shape = [len(table)]
    while any(is_list(column.type) for is_list in (
            pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        lengths = set(pa.compute.list_value_length(column).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise UsageError(f"'{path}' has maps of several sizes; every image's map has the image's size.")
        shape.append(lengths.pop())
        column = column.flatten()
    index = table[INDEX].to_numpy().astype(np.int64) if INDEX in table.column_names else None
    return _Arrays(np.asarray(column).reshape(shape), index)


def _name_of_values(names: Sequence[str], path: str) -> str:
    others = [name for name in names if name != INDEX]
    found = [name for name in others if name in VALUES] or (others if len(others) == 1 else [])
    if not found:
        raise UsageError(f"'{path}' holds {', '.join(names) or 'nothing'} and no '{VALUES[0]}'; name the maps so, and "
                         f"'{INDEX}' the positions of their images.")
    return found[0]


def _reader(estimator: Precomputed, source: Any, split: str) -> MapsFile:
    path, images = estimator.paths[split], getattr(source, split)
    arrays = _opened(path)
    wanted = ((source.height, source.width), (1, source.height, source.width),
              (source.channels, source.height, source.width))
    if arrays.shape[1:] not in wanted:
        raise UsageError(f"'{path}' holds an array {list(arrays.shape)}, and the maps of '{source.name}' are "
                         f"[N, {source.height}, {source.width}] or [N, {source.channels}, {source.height}, "
                         f"{source.width}]; give one value for every pixel.")
    rows = _rows(path, arrays, images.indices, split)
    same = np.array_equal(rows, np.arange(len(images)))
    return MapsFile(estimator.name, path, None if same else rows)


def _rows(path: str, arrays: _Arrays, indices: np.ndarray, split: str) -> np.ndarray:
    """The row of the file for every image of a split, int64 ``[N]``."""
    count = arrays.shape[0]
    if arrays.index is None:
        limited = not np.array_equal(indices, np.arange(len(indices)))
        if count == len(indices):
            return np.arange(count)
        if limited and count > indices[-1]:
            return np.asarray(indices)  # the maps of the whole split
        raise UsageError(f"'{path}' holds {count:,} maps and the {split} split has {len(indices):,} images; give one "
                         f"for each, in their order, or an array '{INDEX}' of their positions.")
    if arrays.index.shape != (count,):
        raise UsageError(f"'{path}' has an '{INDEX}' {list(arrays.index.shape)} for {count:,} maps; give one position "
                         "for each.")
    order = np.argsort(arrays.index, kind="stable")
    known = arrays.index[order]
    double = known[1:][known[1:] == known[:-1]]
    if len(double):
        raise UsageError(f"'{path}' has two maps of image {double[0]} in '{INDEX}'; give one for each.")
    places = np.searchsorted(known, indices)
    there = (places < count) & (known[np.minimum(places, count - 1)] == indices) if count else np.zeros(
        len(indices), bool)
    if not there.all():
        raise UsageError(f"'{path}' has no map of {int((~there).sum()):,} images of the {split} split, the first is "
                         f"image {indices[~there][0]}; add them to '{INDEX}'.")
    found: np.ndarray = order[places]
    return found


def _checked_values(estimator: Precomputed, source: Any, split: str) -> None:
    """Refuse values that cannot be ranked; the file is read once, a part at a time."""
    path, images = estimator.paths[split], getattr(source, split)
    status = Path(path).stat()
    rows = estimator.reader(source, split).rows
    for number, index in _not_finite(path, status.st_size, status.st_mtime_ns, None if rows is None else rows.tobytes(),
                                     len(images)):
        raise UsageError(f"'{path}' has {number:,} values that are not finite in the map of image "
                         f"{images.indices[index]}; only finite scores can be ranked.")


@functools.lru_cache(maxsize=8)
def _not_finite(path: str, size: int, modified: int, rows: bytes | None, count: int) -> tuple[tuple[int, int], ...]:
    """The first image with values that are not finite, as their number and its position; empty where there is none."""
    reader = MapsFile("", path, None if rows is None else np.frombuffer(rows, np.int64))
    for start in range(0, count, _BLOCK):
        maps = reader(np.arange(start, min(start + _BLOCK, count), dtype=np.int64))
        bad = (~np.isfinite(maps)).reshape(len(maps), -1).sum(axis=1)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            return ((int(bad[first]), start + first),)
    return ()


def _hash(path: str) -> str:
    status = Path(path).stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _hashed(path: str, size: int, modified: int) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read ({error.strerror}); give readable attributions.") from None
