"""The forms that images may have when they come from outside, told apart by what they can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roar.datasets.adapters.arrays import Arrays, pair
from roar.datasets.adapters.hugging_face import as_map_style
from roar.errors import SourceError

TEST_NAMES = ("test", "validation", "valid", "val")
FORMS = ("roar.arrays(train=(x, y), test=(x, y)), a pair (train, test) of data sets, or a dictionary "
         "{'train': ..., 'test': ...}")


@dataclass(frozen=True, eq=False)
class Parts:
    """The splits: pairs of images uint8 ``[N, C, H, W]`` and labels int64 ``[N]``, or map-style data sets."""

    train: Any | None
    test: Any
    class_names: tuple[str, ...] | None


def parts_of(data: Any) -> Parts:
    """The splits of images from outside.

    Raises:
        SourceError: they have no form that is known, a split is empty, or the splits name their classes differently.
    """
    if isinstance(data, Arrays):
        return Parts(data.train, data.test, data.class_names)
    given = _splits(data)
    test = next((name for name in TEST_NAMES if given.get(name) is not None), None)
    if test is None:
        raise SourceError(f"A source has a test split, and this one has {_listed(given)}; name one of its splits "
                          "'test'.")
    named = {name: _part(name, given[name]) for name in ("train", test) if given.get(name) is not None}
    classes = {name: names for name, part in named.items() if (names := _classes(part)) is not None}
    if len(set(classes.values())) > 1:
        only = sorted(set(classes["train"]) ^ set(classes[test]))
        raise SourceError("Both splits name the same classes in the same order, and these differ"
                          f"{f' in {only[0]!r}' if only else ' in their order'}; give both splits all classes.")
    return Parts(named.get("train"), named[test], next(iter(classes.values()), None))


def _splits(data: Any) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    if isinstance(data, tuple | list) and len(data) == 2 and not any(hasattr(part, "shape") for part in data):
        return {"train": data[0], "test": data[1]}
    raise SourceError(f"A source is {FORMS}, not {_described(data)}; return one of these.")


def _part(name: str, given: Any) -> Any:
    """A pair of arrays, or a map-style data set."""
    if isinstance(given, tuple) and len(given) == 2 and (hasattr(given[0], "shape") or isinstance(given[0], list)):
        return pair(name, given)
    part = as_map_style(given, name)
    if isinstance(part, Mapping | str | bytes) or hasattr(part, "shape") or not (
            hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise SourceError(f"The split '{name}' is a pair (x, y) of arrays or a data set with __len__ and __getitem__, "
                          f"not {_described(part)}; give one of these.")
    if not len(part):
        raise SourceError(f"A split has one image or more, and '{name}' has none; add images or leave it out.")
    return part


def _classes(part: Any) -> tuple[str, ...] | None:
    """The names of a data set's classes, where it has a list of them."""
    names = getattr(part, "classes", None)
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _listed(given: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in given) or "none"


def _described(data: Any) -> str:
    return f"{type(data).__name__}{f' of {len(data)}' if isinstance(data, tuple | list) else ''}"
