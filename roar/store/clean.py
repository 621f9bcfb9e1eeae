"""Remove what nobody needs: unfinished files, orphans and, only when they are named, finished artifacts.

An orphan is a file that no manifest lists and no plan asks for. The whole shards of an interrupted run are asked for
by its plan, so they stay, and the next run goes on from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from roar.errors import StoreError
from roar.store.artifacts import ARTIFACTS, CHECKPOINTS, MANIFEST
from roar.store.catalog import Entry, select
from roar.store.claims import CLEANING, claim, is_claim, left_behind, remove_left_behind, running
from roar.store.compaction import write_compacted
from roar.store.files import Files
from roar.store.integrity import missing
from roar.store.local import LocalFiles
from roar.store.requests import read_plans
from roar.store.results import DONE, FAILED, FOLDER, compacted_files, finished_jobs, read_compacted, single_files
from roar.store.store import Store


@dataclass(frozen=True)
class Waste:
    """A file to remove, and why."""

    path: str
    reason: str


def waste(store: Store) -> list[Waste]:
    """What can be removed without losing anything that is finished or resumed.

    Raises:
        StoreError: a run is at work on the store.
        DamagedArtifactError: plans or results are damaged.
    """
    refuse_while_running(store)
    files = store.files
    found = [Waste(path, "an unfinished file of a process that has ended")
             for path in (files.abandoned() if isinstance(files, LocalFiles) else ())]
    found += [Waste(path, "an abandoned claim") for path in left_behind(files)]
    found += _orphans(store)
    if not missing(store):
        found += [Waste(path, "the state of a training that is done") for path in files.list(CHECKPOINTS)]
    done, _ = finished_jobs(files)
    found += [Waste(path, "a failure that was made good") for path in single_files(files)
              if path.endswith(FAILED) and path.rpartition("/")[2].removesuffix(FAILED) in done]
    found += [Waste(path, "results that are in another file too") for path in _superseded(files)]
    return found


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Keep runs from beginning a task while something is removed.

    Raises:
        StoreError: a run is at work on the store, or somebody else cleans up.
    """
    with claim(store.files, CLEANING) as mine:
        if not mine:
            raise StoreError(f"Somebody else cleans up '{store.location}'; wait for the end of that.")
        refuse_while_running(store)
        yield


def remove_waste(files: Files, found: Iterable[Waste]) -> None:
    """Remove files, and those claims that nobody has taken meanwhile."""
    for item in found:
        if is_claim(item.path) and isinstance(files, LocalFiles):
            remove_left_behind(files, item.path)
        else:
            files.delete(item.path)


def refuse_while_running(store: Store) -> None:
    if running(store.files):
        raise StoreError(f"A run is at work on '{store.location}'; clean up when it has ended.")


def named(store: Store, names: Iterable[str]) -> list[Entry]:
    """The artifacts and trainings that a person names.

    Raises:
        UsageError: nothing has one of the names.
    """
    return list({entry: None for name in names for entry in select(store, name)})


def remove(store: Store, entries: Iterable[Entry]) -> int:
    """Remove artifacts, the manifest first, and the results of trainings; returns how many files that were."""
    jobs, count = set(), 0
    for entry in entries:
        if not entry.folders:
            jobs.add(entry.key)
        for folder in entry.folders:
            paths = store.files.list(folder)
            for path in sorted(paths, key=lambda path: not path.endswith(f"/{MANIFEST}")):
                store.files.delete(path)
            count += len(paths)
    return count + _remove_results(store.files, jobs)


def _remove_results(files: Files, jobs: set[str]) -> int:
    singles = [f"{FOLDER}/{key}{end}" for key in sorted(jobs) for end in (DONE, FAILED)]
    removed = [path for path in singles if files.exists(path)]
    for path in removed:
        files.delete(path)
    for path in compacted_files(files):
        bodies = read_compacted(files, path)
        kept = [body for body in bodies if body["row"]["job"] not in jobs]
        if len(kept) < len(bodies):
            write_compacted(files, kept, [path])
            removed.append(path)
    return len(removed)


def _orphans(store: Store) -> Iterator[Waste]:
    plans = read_plans(store)
    folders: dict[str, list[str]] = {}
    unknown = any(not (plan.artifacts or plan.jobs) for plan in plans)  # of a run that ended before it knew
    asked = {folder for plan in plans for folder in plan.artifacts}
    for path in (path for kind in ARTIFACTS for path in store.files.list(kind)):
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    for folder, paths in folders.items():
        manifest = store.manifest(folder)
        if manifest is not None:
            kept = {MANIFEST, *manifest["files"]}
            yield from (Waste(path, "not part of its artifact") for path in paths
                        if path.rpartition("/")[2] not in kept)
        elif folder not in asked and not unknown:
            yield from (Waste(path, "part of an artifact that is not finished and that no plan asks for")
                        for path in paths)


def _superseded(files: Files) -> list[str]:
    """Compacted files whose every row is in another one that stays."""
    jobs = {path: {body["row"]["job"] for body in read_compacted(files, path)} for path in compacted_files(files)}
    found: list[str] = []
    for path in sorted(jobs, key=lambda path: (len(jobs[path]), path)):
        others = (jobs[other] for other in jobs if other != path and other not in found)
        if any(jobs[path] <= other for other in others):
            found.append(path)
    return found
