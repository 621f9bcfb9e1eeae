"""Is everything in a store whole, in its place, and is what was asked for there: what `roar verify` looks at.

Nothing is computed and nothing is changed; every byte is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from roar.errors import DamagedArtifactError, StoreError
from roar.store.artifacts import ARTIFACTS, CHECKPOINTS, GALLERY, LOST, MANIFEST, is_manifest_of, is_permuted
from roar.store.files import Files
from roar.store.requests import COPIES, Plan, plan_paths, read_plan
from roar.store.requests import FOLDER as PLANS
from roar.store.results import FOLDER as RESULTS
from roar.store.results import compacted_files, finished_jobs, read_compacted, read_result, single_files
from roar.store.rows import Rows, read_rows_of
from roar.store.sealed import is_whole_archive, read_sealed
from roar.store.states import state_of
from roar.store.store import DESCRIPTION, Store, read_description, read_whole


@dataclass(frozen=True)
class Damage:
    """Something that is not what was written.

    Attributes:
        path: the file.
        state: what is wrong with it, as the end of a sentence.
        unusable: the files that are worth nothing now and are in the way of making it again.
    """

    path: str
    state: str
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """What a plan asks for and is not there."""

    plan: Plan
    artifacts: tuple[str, ...]
    jobs: tuple[str, ...]


def damages(store: Store, tables: Mapping[str, Rows] = MappingProxyType({})) -> list[Damage]:
    """Everything in a store that is not what was written, or that cannot be.

    Args:
        tables: what the tables of metrics may hold, by the metric's folder and the file's name
            (:func:`roar.metrics.kept_tables`).
    """
    return [*_description(store), *_plans(store), *_artifacts(store, tables), *_results(store.files),
            *_kept_beside(store.files)]


def unknown(files: Files) -> list[str]:
    """Files that are none of a store's by their places or names: strangers, which roar leaves alone."""
    known = (*ARTIFACTS, RESULTS, PLANS, CHECKPOINTS, "statistics", "claims", "reports", LOST)
    return sorted([*files.strangers(), *(path for path in files.list("")
                                         if path != DESCRIPTION and path.partition("/")[0] not in known)])


def missing(store: Store) -> list[Missing]:
    """What was asked for and is not there, plan by plan; a training that failed counts as there.

    Raises:
        DamagedArtifactError: plans or results are damaged.
    """
    done, failed = finished_jobs(store.files)
    found = []
    for plan in whole_plans(store.files):
        artifacts = tuple(f for f in plan.artifacts if not store.files.exists(f"{f}/{MANIFEST}"))
        jobs = tuple(key for key in plan.jobs if key not in done and key not in failed)
        if artifacts or jobs or not (plan.artifacts or plan.jobs):  # it ended before it knew what it makes
            found.append(Missing(plan, artifacts, jobs))
    return found


def whole_plans(files: Files) -> list[Plan]:
    """The plans that can be read."""
    found = []
    for path in plan_paths(files):
        try:
            found.append(read_plan(files, path))
        except StoreError:
            continue
    return found


def identity_of(store: Store) -> str | None:
    """Which store this is, as most of its plans and its own description say; ``None`` where nothing does."""
    named: Counter[str] = Counter()
    for path in (*plan_paths(store.files), *plan_paths(store.files, COPIES)):
        try:
            read_plan(store.files, path)
            named.update([str(read_sealed(store.files, path)["store"])])
        except (StoreError, KeyError):
            continue
    with suppress(StoreError):
        named.update([read_description(store)["id"]])
    return named.most_common(1)[0][0] if named else None


def _description(store: Store) -> Iterator[Damage]:
    if not store.exists:
        yield Damage(DESCRIPTION, "is gone")
        return
    try:
        found = read_description(store)["id"]
    except DamagedArtifactError:
        yield Damage(DESCRIPTION, "is not what was written", (DESCRIPTION,))
        return
    if found != identity_of(store):
        yield Damage(DESCRIPTION, "belongs to another store", (DESCRIPTION,))


def _plans(store: Store) -> Iterator[Damage]:
    paths, copies, owner = plan_paths(store.files), plan_paths(store.files, COPIES), identity_of(store)
    for copy in copies:
        path = f"{PLANS}/{copy.rpartition('/')[2]}"
        if path not in paths:
            yield Damage(path, "is gone")
    for path in (*paths, *copies):
        try:
            read_plan(store.files, path, owner)
        except DamagedArtifactError:
            yield Damage(path, "is not the plan that was kept there", (path,))


def _artifacts(store: Store, tables: Mapping[str, Rows]) -> Iterator[Damage]:
    paths = [path for kind in ARTIFACTS for path in store.files.list(kind)]
    there = set(paths)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == MANIFEST:
            yield from _artifact(store.files, folder, there, tables)


def _artifact(files: Files, folder: str, there: set[str], tables: Mapping[str, Rows]) -> Iterator[Damage]:
    path = f"{folder}/{MANIFEST}"
    try:
        manifest = read_sealed(files, path)
    except DamagedArtifactError:
        yield Damage(path, "is not what was written", (path,))
        return
    if not is_manifest_of(manifest, folder):
        yield Damage(path, "belongs to another artifact", (path,))
        return
    for name, entry in manifest["files"].items():
        part = f"{folder}/{name}"
        if part not in there:
            yield Damage(part, "is gone", (path,))
            continue
        data = read_whole(files, part, entry)
        state = "is not what was written" if data is None else _nonsense(data, part, manifest["identity"], tables)
        if state is not None:
            yield Damage(part, state, (path, part))


def _nonsense(data: bytes, path: str, identity: Mapping[str, Any], tables: Mapping[str, Rows]) -> str | None:
    """What is wrong with the meaning of a file whose bytes its manifest promises."""
    rows = tables.get(f"{'/'.join(path.split('/')[:2])}/{path.rpartition('/')[2]}")
    try:
        if path.startswith("rankings/"):
            from roar.store.shards import read_rows

            read_rows(data, path, is_permuted(identity))
        elif rows is not None:
            read_rows_of(data, path, rows)
    except DamagedArtifactError as error:
        return str(error).removeprefix(f"'{path}' ").partition(";")[0]
    return None


def _results(files: Files) -> Iterator[Damage]:
    for path in single_files(files):
        try:
            read_result(files, path)
        except DamagedArtifactError:
            yield Damage(path, "is not the result that was written there", (path,))
        except StoreError:
            if files.exists(path):  # else it was compacted meanwhile
                raise
    for path in compacted_files(files):
        try:
            read_compacted(files, path)
        except DamagedArtifactError:
            yield Damage(path, "is not what was written", (path,))


def _kept_beside(files: Files) -> Iterator[Damage]:
    """What is kept only to save time and is made again when it is needed: statistics, states, what reports are of."""
    for path in (*files.list("statistics"), *(path for path in files.list("reports") if path.endswith(".json"))):
        try:
            read_sealed(files, path)
        except DamagedArtifactError:
            yield Damage(path, "is not what was written", (path,))
    for path in files.list(CHECKPOINTS):
        if state_of(files.read(path), path) is None:
            yield Damage(path, "is not what was written", (path,))
    if files.exists(GALLERY) and not is_whole_archive(files.read(GALLERY)):
        yield Damage(GALLERY, "is not what was written", (GALLERY,))
