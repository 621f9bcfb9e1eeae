"""Bring the finished artifacts and results of another store into this one.

Everything is compared before anything is copied. What both have must agree: an artifact byte by byte, or value by
value where only the packing differs; a result in all that does not depend on where and when it was computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from roar.errors import DamagedArtifactError, StoreError
from roar.store.artifacts import ARTIFACTS, MANIFEST
from roar.store.compaction import write_compacted
from roar.store.integrity import damages
from roar.store.requests import read_plans, write_plan
from roar.store.results import all_results, result_file
from roar.store.rows import Rows
from roar.store.store import Store, read_whole

FEW = 32  # results that are copied as files of their own
_HONEST = {"train_seconds", "device", "message"}  # columns in which two runs of one job may differ


@dataclass(frozen=True)
class Merged:
    """What was brought in, and what was here already."""

    artifacts: int
    results: int
    here: int


def merge(store: Store, other: Store, tables: Mapping[str, Rows] = MappingProxyType({})) -> Merged:
    """Copy what is finished in the other store and not here.

    Args:
        tables: what the tables of metrics may hold, as of :func:`roar.store.integrity.damages`.

    Raises:
        StoreError: the other store is none, or contents disagree under one key.
        DamagedArtifactError: the other store is damaged.
    """
    if not other.exists:
        raise StoreError(f"There is no store at '{other.location}'; give the path or URL of one.")
    for damage in damages(other, tables):
        raise DamagedArtifactError(f"'{other.location}/{damage.path}' {damage.state}; put it right with "
                                   "`roar verify --repair` there before it is merged.")
    folders, known = _new_artifacts(store, other)
    results, same = _new_results(store, other)
    _ = store.description  # makes the store where there is none
    for folder in folders:
        _copy(store, other, folder)
    if len(results) > FEW:
        write_compacted(store.files, results)
    else:
        for body in results:
            extra = {name: value for name, value in body.items() if name not in ("format", "row", "identity")}
            store.files.write(*result_file(body["row"]["job"], body["row"], body["identity"], extra))
    for plan in read_plans(other):
        write_plan(store, plan)
    return Merged(len(folders), len(results), known + same)


def _new_artifacts(store: Store, other: Store) -> tuple[list[str], int]:
    """The folders to copy, and how many are here already."""
    new, known = [], 0
    for folder in _finished(other):
        theirs, ours = other.manifest(folder), store.manifest(folder)
        if theirs is None:
            continue
        if ours is None or not _is_whole(store, folder, ours):  # a damaged one is healed
            new.append(folder)
        elif _agree(store, other, folder, ours, theirs):
            known += 1
        else:
            raise StoreError(f"'{folder}' has other contents in '{other.location}' than in '{store.location}', under "
                             "one key; find out which one is right and remove the other (`roar clean`).")
    return new, known


def _is_whole(store: Store, folder: str, manifest: dict[str, Any]) -> bool:
    return all(store.files.exists(f"{folder}/{name}") and read_whole(store.files, f"{folder}/{name}", entry) is not None
               for name, entry in manifest["files"].items())


def _finished(store: Store) -> Iterator[str]:
    for kind in ARTIFACTS:
        yield from (path.rpartition("/")[0] for path in store.files.list(kind) if path.endswith(f"/{MANIFEST}"))


def _agree(store: Store, other: Store, folder: str, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two artifacts of one key hold the same, whatever packed them."""
    if ours["files"] == theirs["files"]:
        return True
    return ours["files"].keys() == theirs["files"].keys() and all(
        _same(name, store.read_file(folder, name), other.read_file(folder, name))
        for name in ours["files"] if ours["files"][name] != theirs["files"][name])


def _same(name: str, ours: bytes, theirs: bytes) -> bool:
    if not name.endswith(".parquet"):
        return ours == theirs
    from roar.store.tables import read_table

    return bool(read_table(ours, name).equals(read_table(theirs, name)))


def _new_results(store: Store, other: Store) -> tuple[list[dict[str, Any]], int]:
    """The results to copy, and how many are here already; those that failed stay where they are."""
    ours = {body["row"]["job"]: body for body in all_results(store.files) if body["row"]["status"] == "ok"}
    new, same = [], 0
    for body in all_results(other.files):
        row = body["row"]
        mine = ours.get(row["job"])
        if row["status"] != "ok":
            continue
        if mine is None:
            new.append(body)
            continue
        same += 1
        differing = sorted(column for column in {*row, *mine["row"]} - _HONEST
                           if row.get(column) != mine["row"].get(column))
        if differing:
            column = "accuracy" if "accuracy" in differing else differing[0]
            raise StoreError(f"The result {row['job']} has {column} {row.get(column)} in '{other.location}' and "
                             f"{mine['row'].get(column)} in '{store.location}'; find out which one is right and remove "
                             "the other (`roar clean`).")
    return new, same


def _copy(store: Store, other: Store, folder: str) -> None:
    """The files, then the manifest as it was."""
    manifest = other.manifest(folder)
    for name in manifest["files"] if manifest else ():
        store.files.write(f"{folder}/{name}", other.read_file(folder, name))
    store.files.write(f"{folder}/{MANIFEST}", other.files.read(f"{folder}/{MANIFEST}"))
