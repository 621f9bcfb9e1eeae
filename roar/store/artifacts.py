"""Artifacts: folders with a manifest, whose names end in a short hash of everything that determines their content.

An artifact is done when its manifest is there, which is written last. Two different things never share a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from roar.store.sealed import canonical_json, seal

FORMAT = 4  # of the files in a store; an earlier one was never released
MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints"  # the folder of the states of trainings that are not done
GALLERY = "reports/gallery.npz"  # a few images as every estimator degrades them
LOST = "lost+found"  # the folder of what a repair has put aside
ARTIFACTS = ("models", "rankings", "degraded", "metrics")  # the folders that hold them
_BY_CHANCE = "random-bernoulli"  # the one estimator whose ranks are no permutation
_KEYS = 1  # of what the keys are made of: another number, and everything is made again


def key_of(identity: Mapping[str, Any]) -> str:
    """The short hash of everything that determines an artifact, 12 hexadecimal digits."""
    return hashlib.sha256(canonical_json({"format": _KEYS, **identity})).hexdigest()[:12]


def artifact_files(kind: str, folder: str, identity: Mapping[str, Any], files: Mapping[str, bytes],
                   facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Everything to write for an artifact, by path in the store; the manifest comes last."""
    entries = {name: file_entry(data) for name, data in files.items()}
    manifest = manifest_bytes(kind, identity, entries, facts)
    return {f"{folder}/{name}": data for name, data in {**files, MANIFEST: manifest}.items()}


def manifest_bytes(kind: str, identity: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]],
                   facts: Mapping[str, Any]) -> bytes:
    """A manifest: what an artifact is, what determines it, which bytes it consists of, what is known of it.

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
    """Whether a manifest is complete and is that of the artifact in this folder."""
    identity, entries, facts = (manifest.get(part) for part in ("identity", "files", "facts"))
    if not (isinstance(identity, dict) and isinstance(entries, dict) and isinstance(facts, dict)
            and all(isinstance(entry, dict) for entry in entries.values())):
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


def is_permuted(identity: Mapping[str, Any]) -> bool:
    """Whether every image's ranks in a ranking of this identity are a permutation."""
    return identity.get("estimator") != _BY_CHANCE


def file_entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def versions() -> dict[str, str]:
    """What the bytes may depend on besides the identity."""
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version(),
            **{name: version(name) for name in ("roar-bench", "torch", "numpy", "pyarrow")}}
