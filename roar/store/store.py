"""The store: artifacts, results, requests and reports below one place; see :mod:`roar.store` for its layout."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from roar.errors import DamagedArtifactError, StoreError, without_credentials
from roar.store.artifacts import ARTIFACTS, FORMAT, MANIFEST, file_entry, is_manifest_of
from roar.store.files import Files
from roar.store.local import LocalFiles
from roar.store.location import open_files
from roar.store.sealed import MOST, damage, read_sealed, seal, unseal

DESCRIPTION = "store.json"


def open_store(location: str) -> Store:
    """A store at a local path or a URL (``s3://bucket/prefix``), made when it is first written to.

    Raises:
        DamagedArtifactError: its description is gone or is not what was written.
        StoreError: what lies there is no store, or is one of another format.
    """
    store = Store(open_files(location))
    if store.exists:
        _ = store.description
    elif store.holds_anything:
        raise damaged(store, DESCRIPTION, "is gone")
    return store


@dataclass(frozen=True)
class Store:
    """Artifacts, results, plans and reports below one place."""

    files: Files

    @property
    def location(self) -> str:
        """The path or URL for people, without credentials; ``files.location`` has them."""
        return without_credentials(self.files.location)

    @property
    def exists(self) -> bool:
        return self.files.exists(DESCRIPTION)

    @property
    def holds_anything(self) -> bool:
        return any(self.files.list(folder) for folder in (*ARTIFACTS, "results", "plans"))

    @cached_property
    def description(self) -> dict[str, Any]:
        """``format`` and ``id`` of this store; makes the store if there is none."""
        if not self.exists:
            self.describe(uuid.uuid4().hex if isinstance(self.files, LocalFiles)
                          else hashlib.md5(self.location.encode(), usedforsecurity=False).hexdigest())
        return read_description(self)

    def describe(self, identity: str) -> None:
        """Write what this store is, unless another process just has."""
        data = _described(identity)
        if isinstance(self.files, LocalFiles):
            self.files.create(DESCRIPTION, data)
        else:
            self.files.write(DESCRIPTION, data)

    def manifest(self, folder: str) -> dict[str, Any] | None:
        """The manifest of a finished artifact, ``None`` where it is not done.

        Raises:
            DamagedArtifactError: it is not what was written, or is that of another artifact.
        """
        path = f"{folder}/{MANIFEST}"
        if not self.files.exists(path):
            return None
        manifest = read_sealed(self.files, path)
        if not is_manifest_of(manifest, folder):
            raise damaged(self, path, "belongs to another artifact")
        return manifest

    def read_file(self, folder: str, name: str) -> bytes:
        """One file of a finished artifact, checked against its manifest.

        Raises:
            DamagedArtifactError: the bytes are not those that were written.
        """
        manifest = self.manifest(folder)
        if manifest is None:
            raise StoreError(f"'{self.location}/{folder}' is not finished; run the command that makes it again.")
        expected = manifest["files"].get(name)
        if expected is None:
            raise StoreError(f"'{self.location}/{folder}' has no file '{name}'; known: {sorted(manifest['files'])}.")
        path = f"{folder}/{name}"
        if not self.files.exists(path):
            raise damaged(self, path, "is gone")
        data = read_whole(self.files, path, expected)
        if data is None:
            raise damaged(self, path, "is not what was written")
        return data


def read_whole(files: Files, path: str, entry: Mapping[str, Any]) -> bytes | None:
    """The bytes that a manifest's entry promises; ``None`` where others are there, or another number of them."""
    if files.size(path) != entry.get("bytes"):
        return None
    data = files.read(path)
    return data if file_entry(data) == entry else None


def _described(identity: str) -> bytes:
    """A store's description: its format, which roar reads that, and which store it is."""
    from importlib.metadata import version

    return seal({"format": FORMAT, "needs": version("roar-bench"), "id": identity})


def read_description(store: Store) -> dict[str, Any]:
    """What a store says of itself.

    Raises:
        DamagedArtifactError: it is not what was written.
        StoreError: it is that of a newer format, or of something else.
    """
    data = store.files.read(DESCRIPTION, MOST)
    try:
        found = unseal(data)
    except ValueError:
        found = None
        try:  # a newer format may seal in another way, but says which one it is
            claimed = json.loads(data)
        except (ValueError, RecursionError):
            claimed = None
        if isinstance(claimed, dict) and "sha256" not in claimed:
            found = claimed
    version = found.get("format") if found else None
    if type(version) is int and 0 < version < FORMAT:
        raise StoreError(f"'{store.location}' has format {version}, which no release of roar wrote or reads; give "
                         "another --store and run the experiment again.")
    if type(version) is int and version > FORMAT:
        needs = found.get("needs") if found else None
        remedy = f"roar-bench {needs} or newer" if isinstance(needs, str) else "a newer roar-bench"
        raise StoreError(f"'{store.location}' has format {version} and this roar reads {FORMAT}; "
                         f"install {remedy}.")
    if found is None or type(version) is not int or version < 1 or not isinstance(found.get("id"), str):
        raise damaged(store, DESCRIPTION, "is not what was written")
    return found


def damaged(store: Store, path: str, state: str) -> DamagedArtifactError:
    return DamagedArtifactError(damage(store.location, path, state))
