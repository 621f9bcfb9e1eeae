"""The store: where artefacts live, what their keys are made of, and when they are done.

    STORE/
      store.json                                                  format, identity of the store
      models/<source>/<model>/      weights.safetensors, history.parquet, manifest.json
      rankings/<source>/<model>/<estimator>/<split>/   part-00000.parquet ..., manifest.json
      degraded/<source>/<model>/<estimator>/<cell>/    train-*.parquet, test-*.parquet, manifest.json
      deletion/<source>/<model>/<estimator>/           curves.parquet, images.parquet, manifest.json
      agreement/<source>/<model>/<estimators or seeds>/          pairs.parquet, images.parquet, manifest.json
      sanity/<source>/<model>/<randomisation>/         averages.parquet, images.parquet, manifest.json
      results/<job>.json, <job>.failed.json                       one row per job
      results/compacted/<hash>.jsonl                              many rows
      plans/<plan>.json, plans/copies/<plan>.json                 what was asked for
      reports/                                                    tables, figures

An artefact is a folder; it is done when its manifest is there, which is written last. A name ends in a short
hash of everything that determines the content, so two different things never share a path.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from roar.errors import DamagedArtefactError, StoreError
from roar.files import Files, LocalFiles, open_files
from roar.sealed import canonical_json, seal, unseal

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2  # of the files; 1 had no seals, and is read
MANIFEST = "manifest.json"
DESCRIPTION = "store.json"
ARTEFACTS = ("models", "rankings", "degraded", "deletion", "agreement", "sanity")
_KEYS = 1  # of what the keys are made of: another number, and everything is made again


def key_of(identity: Mapping[str, Any]) -> str:
    """The short hash of everything that determines an artefact, 12 hexadecimal digits."""
    return hashlib.sha256(canonical_json({"format": _KEYS, **identity})).hexdigest()[:12]


def open_store(location: str) -> Store:
    """A store at a local path or a URL (``s3://bucket/prefix``), made when it is first written to.

    Raises:
        DamagedArtefactError: its description is gone or is not what was written.
        StoreError: what lies there is no store, or is one of a newer format.
    """
    store = Store(open_files(location))
    if store.exists:
        _ = store.description
    elif store.holds_anything:
        raise damaged(store, DESCRIPTION, "is gone")
    return store


@dataclass(frozen=True)
class Store:
    """Artefacts, results, plans and reports below one place."""

    files: Files

    @property
    def location(self) -> str:
        return self.files.location

    @property
    def exists(self) -> bool:
        return self.files.exists(DESCRIPTION)

    @property
    def holds_anything(self) -> bool:
        return any(self.files.list(folder) for folder in (*ARTEFACTS, "results", "plans"))

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

    def begin(self) -> None:
        """Before anything is written: make the store, or bring its description to this format."""
        if self.description["format"] < FORMAT:
            self.files.write(DESCRIPTION, _described(self.description["id"]))

    # -- artefacts ---------------------------------------------------------------------------------------------

    def manifest(self, folder: str) -> dict[str, Any] | None:
        """The manifest of a finished artefact, ``None`` where it is not done.

        Raises:
            DamagedArtefactError: it is not what was written, or is that of another artefact.
        """
        path = f"{folder}/{MANIFEST}"
        if not self.files.exists(path):
            return None
        manifest = read_sealed(self.files, path)
        if not is_manifest_of(manifest, folder):
            raise damaged(self, path, "belongs to another artefact")
        return manifest

    def read_file(self, folder: str, name: str) -> bytes:
        """One file of a finished artefact, checked against its manifest.

        Raises:
            DamagedArtefactError: the bytes are not those that were written.
        """
        manifest = self.manifest(folder)
        if manifest is None:
            raise StoreError(f"'{self.location}/{folder}' is not finished; run the command that makes it again.")
        expected = manifest["files"].get(name)
        if expected is None:
            raise StoreError(f"'{self.location}/{folder}' has no file '{name}'; known: {sorted(manifest['files'])}.")
        path = f"{folder}/{name}"
        data = self.files.read(path) if self.files.exists(path) else None
        if data is None or file_entry(data) != expected:
            raise damaged(self, path, "is gone" if data is None else "is not what was written")
        return data

    # -- results -----------------------------------------------------------------------------------------------

    def results(self) -> pd.DataFrame:
        """One row per job; see :func:`roar.results.read_results` for the columns."""
        from roar.results import read_results

        return read_results(self.files)

    def curves(self) -> pd.DataFrame:
        """One row per cell: mean accuracy over seeds, its spread, n and 95 % interval."""
        from roar.analysis.curves import curves
        from roar.analysis.shared import with_shared

        return curves(with_shared(self.results()))

    def leaderboard(self) -> pd.DataFrame:
        """One row per estimator: its area against each control, paired by seed, its rank with interval, and what its
        sanity checks say."""
        from roar.analysis.leaderboard import leaderboard
        from roar.analysis.sanity import with_sanity
        from roar.analysis.shared import with_shared

        return with_sanity(leaderboard(with_shared(self.results())), self.sanity())

    def compare(self, a: str, b: str) -> pd.DataFrame:
        """Estimator ``a`` against ``b``, at each threshold and over all of them, in accuracy points."""
        from roar.analysis.contrasts import compare
        from roar.analysis.shared import with_shared

        return compare(with_shared(self.results()), a, b)

    def controls(self) -> pd.DataFrame:
        """One row per cell that has controls of shape and smoothness: what its accuracy says beyond them."""
        from roar.analysis.beyond import beyond_controls
        from roar.analysis.shared import with_shared

        return beyond_controls(with_shared(self.results()))

    def faithfulness(self) -> pd.DataFrame:
        """One row per estimator: the area between its curve and random's, relative to all there is to lose."""
        from roar.analysis.faithfulness import faithfulness
        from roar.analysis.shared import with_shared

        return faithfulness(with_shared(self.results()))

    def per_class(self) -> pd.DataFrame:
        """One row per cell and class of the images."""
        from roar.analysis.classes import per_class
        from roar.analysis.shared import with_shared
        from roar.plans import class_names

        return per_class(with_shared(self.results()), class_names(self))

    def deletion(self) -> pd.DataFrame:
        """One row per model, estimator and threshold: the explained network on degraded images, not retrained."""
        from roar.deletion import read_deletion

        return read_deletion(self)

    def deletion_areas(self) -> pd.DataFrame:
        """One row per network, estimator, mode, fill and measure: the area of its deletion curve, and over random's."""
        from roar.deletion import read_deletion_areas

        return read_deletion_areas(self)

    def ranking_agreement(self) -> pd.DataFrame:
        """One row per pair of rankings, measure and threshold: how far they name the same pixels."""
        from roar.ranking_agreement import read_ranking_agreement

        return read_ranking_agreement(self)

    def sanity(self) -> pd.DataFrame:
        """One row per estimator, randomised network, measure and threshold: does the estimator notice?"""
        from roar.sanity import read_sanity

        return read_sanity(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: where the store is, how much is in it, and the leaderboard if there is one."""
        from html import escape

        from roar.errors import AnalysisError
        from roar.status import read_status

        state = read_status(self)
        counts = (f"{state.models} models, {state.rankings} rankings, {state.done} of {state.planned} trainings done"
                  + (f", {len(state.failed)} failed" if state.failed else ""))
        try:
            board = self.leaderboard().round(1).to_html(index=False) if state.done else ""
        except AnalysisError as error:
            board = f"<p>{escape(str(error))}</p>"
        return f"<p><b>{escape(self.location)}</b>: {escape(counts)}</p>{board}"


def _described(identity: str) -> bytes:
    """A store's description: its format, which roar reads that, and which store it is."""
    from importlib.metadata import version

    return seal({"format": FORMAT, "needs": version("roar-bench"), "id": identity})


def read_description(store: Store) -> dict[str, Any]:
    """What a store says of itself.

    Raises:
        DamagedArtefactError: it is not what was written.
        StoreError: it is that of a newer format, or of something else.
    """
    import json

    data = store.files.read(DESCRIPTION)
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
    if type(version) is int and version > FORMAT:
        needs = found.get("needs") if found else None
        remedy = f"roar-bench {needs} or newer" if isinstance(needs, str) else "a newer roar-bench"
        raise StoreError(f"'{store.location}' has format {version} and this roar reads up to {FORMAT}; "
                         f"install {remedy}.")
    if found is None or type(version) is not int or version < 1 or not isinstance(found.get("id"), str):
        raise damaged(store, DESCRIPTION, "is not what was written")
    return found


def read_sealed(files: Files, path: str) -> dict[str, Any]:
    """A sealed file's object.

    In object storage a read asks for the size first and then for as many bytes: where another process replaces the
    object in between, part of it arrives. So it is damaged only when it reads the same twice.

    Raises:
        DamagedArtefactError: it is not what was written.
    """
    data = files.read(path)
    while True:
        try:
            return unseal(data)
        except ValueError:
            before, data = data, files.read(path)
            if data == before:
                raise DamagedArtefactError(_damage(files.location, path, "is not what was written")) from None


def damaged(store: Store, path: str, state: str) -> DamagedArtefactError:
    return DamagedArtefactError(_damage(store.location, path, state))


def _damage(location: str, path: str, state: str) -> str:
    return f"'{location}/{path}' {state}; `roar verify --repair` makes it again."


def manifest_bytes(kind: str, identity: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]],
                   facts: Mapping[str, Any]) -> bytes:
    """A manifest: what an artefact is, what determines it, which bytes it consists of, what is known of it.

    ``entries`` holds :func:`file_entry` of every file by its name.
    """
    return seal({
        "kind": kind,
        "format": FORMAT,
        "key": key_of(identity),
        "identity": identity,
        "files": entries,
        "facts": facts,
        "versions": versions(),
    }, indent=1)


def is_manifest_of(manifest: Mapping[str, Any], folder: str) -> bool:
    """Whether a manifest is complete and is that of the artefact in this folder."""
    identity, entries, facts = (manifest.get(part) for part in ("identity", "files", "facts"))
    if not (isinstance(identity, dict) and isinstance(entries, dict) and isinstance(facts, dict)):
        return False
    *above, last = folder.split("/")
    if above[:1] == ["rankings"]:
        if facts.get("split") != last:
            return False
        last = above[-1]
    try:
        return manifest.get("key") == key_of(identity) == last.rpartition("-")[2]
    except (ValueError, RecursionError):  # what JSON reads and never writes
        return False


def file_entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def versions() -> dict[str, str]:
    """What the bytes may depend on besides the identity."""
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version(),
            **{name: version(name) for name in ("roar-bench", "torch", "numpy", "pyarrow")}}
