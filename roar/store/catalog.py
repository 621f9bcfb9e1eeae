"""What is in a store, by key: to say what a key consists of, and to find what a person names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roar.errors import UsageError
from roar.store.artifacts import ARTIFACTS, MANIFEST
from roar.store.requests import JOB, planned, read_plans
from roar.store.results import FOLDER as RESULTS
from roar.store.results import all_results
from roar.store.store import Store

SHORTEST = 4  # characters of a key that a person may give


@dataclass(frozen=True)
class Entry:
    """One artifact or training.

    Attributes:
        kind: model, ranking, degraded, deletion, agreement, sanity or training.
        folders: of an artifact, that of each split for a ranking; none for a training.
        done: whether it is finished.
    """

    key: str
    kind: str
    name: str
    folders: tuple[str, ...]
    done: bool


def entries(store: Store) -> list[Entry]:
    """Everything in a store, finished or not, and every training that is planned; from names alone."""
    folders: dict[tuple[str, str], list[str]] = {}
    finished = set()
    for kind in ARTIFACTS:
        for path in store.files.list(kind):
            folder, _, name = path.rpartition("/")
            whole = folder.rpartition("/")[0] if kind == "rankings" else folder
            known = folders.setdefault((kind, whole), [])
            if folder not in known:
                known.append(folder)
            if name == MANIFEST:
                finished.add(folder)
    found = [Entry(whole.rpartition("-")[2], kind.removesuffix("s"), whole, tuple(below), finished >= set(below))
             for (kind, whole), below in folders.items()]
    rows = {body["row"]["job"]: body["row"] for body in all_results(store.files)}
    for key, cell in planned(read_plans(store)).items():
        row = rows.pop(key, None)
        found.append(Entry(key, "training", " ".join(map(str, cell)), (), row is not None and row["status"] == "ok"))
    for key, row in rows.items():
        found.append(Entry(key, "training", " ".join(str(row.get(c)) for c in JOB), (), row["status"] == "ok"))
    return found


def select(store: Store, name: str) -> list[Entry]:
    """What a person names: by a key or how one begins, by a folder, or by the folder above several.

    Raises:
        UsageError: nothing in the store has that name.
    """
    name = name.removeprefix(f"{store.location}/").strip("/").removeprefix(f"{RESULTS}/").removesuffix(".json")
    everything = entries(store)
    found = [entry for entry in everything if name in (entry.key, entry.name, *entry.folders)]
    if not found and len(name) >= SHORTEST:
        found = [entry for entry in everything
                 if entry.key.startswith(name) or entry.name.startswith(f"{name}/")
                 or (entry.folders and entry.name.rpartition("/")[2] == name)]
    if not found:
        raise UsageError(f"Nothing in '{store.location}' is called '{name}'; give a key, {SHORTEST} or more of its "
                         "first characters, or a folder, as the names in the store show them.")
    return found


def why(store: Store, name: str) -> str:
    """What determines one artifact or training, as text.

    Raises:
        UsageError: nothing has that name, or several things have it.
    """
    found = select(store, name)
    if len(found) > 1:
        several = ", ".join(f"{entry.key} ({entry.kind})" for entry in found[:5])
        raise UsageError(f"'{name}' may be {several}{', ...' if len(found) > 5 else ''}; give more of the key.")
    entry = found[0]
    lines = [f"{entry.key}  {entry.kind}  {entry.name}", f"  {'done' if entry.done else 'not done'}"]
    identity, facts = _determined_by(store, entry)
    if identity:
        lines += ["  is determined by", *_lines(identity)]
    if facts:
        lines += ["  and has", *_lines(facts)]
    return "\n".join(lines) + "\n"


def _determined_by(store: Store, entry: Entry) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if entry.kind == "training":
        for body in all_results(store.files, {entry.key}):
            return body["identity"], {column: value for column, value in body["row"].items() if column not in JOB}
    for folder in entry.folders:
        manifest = store.manifest(folder)
        if manifest is not None:
            return manifest["identity"], manifest["facts"]
    return {}, {}


def _lines(values: Mapping[str, Any], above: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _lines(value, f"{above}{name}.")
        else:
            found.append(f"    {above + name:<28} {value}")
    return found
