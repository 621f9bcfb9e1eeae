"""Where settings name code, so that it runs only when a person has named it or the file that does.

A stranger's store keeps what was asked of it, and a stranger's folder may hold a ``roar.toml``; neither may choose
which code runs on this machine, nor which cluster it talks to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

DATA = ("parquet", "folder", "planted", "hooker-toy")  # sources whose colon is followed by no object
_PATHS = ("store", "root", "weights", "recipe", "tensorboard")  # keys whose values are places
_OBJECT = re.compile(r"(?:^|[(,=+\s])\s*((?:[^(),=\s][^(),=]*\.py|[A-Za-z_][\w.]*):[A-Za-z_][\w.]*)(?=$|[(),+\s])")


def code_in(settings: Any, where: str = "") -> Iterator[str]:
    """Every ``FILE.py:object`` and ``package.module:object`` in the values of settings, as they are spelled.

    Args:
        where: the settings lie in those of an experiment: ``source.name``.
    """
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from code_in(value, _below(where, name))
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from code_in(value, where)
    elif isinstance(settings, str) and where.rpartition(".")[2] not in _PATHS and not (
            where == "source.name" and settings.partition(":")[0] in DATA):
        found = [match.group(1) for match in _OBJECT.finditer(settings)]
        yield from found or ([settings] if ".py:" in settings else [])


def _below(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def without_code(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The tables of an experiment without what names code or a cluster, and what that was: ``compute.address``, ..."""
    compute = tables.get("compute")
    ignored: list[str] = []
    kept = dict(tables)
    if isinstance(compute, Mapping):
        ignored += [f"compute.{key}" for key in ("callback", "address") if key in compute]
        kept["compute"] = {key: value for key, value in compute.items() if key not in ("callback", "address")}
    return _without(kept, "", ignored), ignored


def _without(settings: Any, where: str, ignored: list[str]) -> Any:
    """The settings without the values that name code; these are noted in ``ignored``."""
    if isinstance(settings, Mapping):
        kept = {}
        for name, value in settings.items():
            place = _below(where, name)
            if isinstance(value, str) and list(code_in(value, place)):
                ignored.append(f"{place} = {value}")
            else:
                kept[name] = _without(value, place, ignored)
        return kept
    if isinstance(settings, list):
        bad = [value for value in settings if isinstance(value, str) and list(code_in(value, where))]
        ignored += [f"{where} = {value}" for value in bad]
        return [_without(value, where, ignored) for value in settings if value not in bad]
    return settings
