"""Sources by name: what a name or an object stands for, and how it is opened.

    digits                      a kind of source, one file of roar/datasets/sources each
    parquet:PATH                a kind with its argument
    my_data.py:load(size=32)    a function of a file that returns the images, or the images themselves
    package.module:load         the same in an installed package
    theirs                      an entry point of the group ``roar.sources``

A program gives the function or the images in the place of a name; :mod:`roar.datasets.adapters` says which.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from roar.datasets.adapters import is_called, open_foreign
from roar.datasets.source import OnProgress, Request, Source, WholeSource, in_color, limited
from roar.errors import UnknownNameError, UsageError
from roar.plugins import FileObject, Foreign, LiveObject, foreign
from roar.registry import Registry, Spelling, parse

Function = TypeVar("Function", bound=Callable[..., Any])
Opener = Callable[[str, Request], WholeSource]  # of the argument


@dataclass(frozen=True)
class SourceKind:
    """One kind of source: how it is spelled and what it is.

    Attributes:
        open: the source of what follows the colon. Raises SourceError, UsageError.
        argument: what follows the colon; ``None``: nothing may.
        is_path: whether that is a path.
        has_columns: whether one of its columns is the label, which may be named.
        foreign: the object that it is made from; ``None``: it is roar's.
    """

    name: str
    description: str
    open: Callable[[str, Request], WholeSource] = field(repr=False)
    argument: str | None = None
    argument_required: bool = True
    is_path: bool = False
    has_columns: bool = False
    foreign: Foreign | None = None

    @property
    def spelling(self) -> str:
        if self.argument is None:
            return self.name
        return f"{self.name}:{self.argument}" if self.argument_required else f"{self.name}[:{self.argument}]"


class _Sources(Registry[SourceKind]):
    """The registry of sources, in which an object has the name that a program gave it."""

    def adapted(self, value: Any, name: str = "") -> SourceKind:
        """What an object stands for: a function that returns images, or images, which identify themselves."""
        known = [kind for kind in self.values.values() if kind.foreign is not None and kind.foreign.load() is value]
        if known and not name:
            return known[0]
        if isinstance(value, Foreign):
            return self.adapt(value, {}, name)
        if is_called(value):
            return self.adapt(foreign(value), {}, name or value.__name__)
        label = name or "images"
        return self.adapt(LiveObject(label, label, {}, value, _modules(value)), {}, label)


def _modules(data: Any) -> tuple[str, ...]:
    """The modules beside a program that define its data sets, which no worker has."""
    parts = data.values() if isinstance(data, Mapping) else data if isinstance(data, tuple) else ()
    classes = [foreign(type(part)) for part in (data, *parts)]
    return tuple(sorted({module for found in classes if isinstance(found, LiveObject) for module in found.modules}))


def _adapted(found: Foreign, parameters: Mapping[str, Any], name: str) -> SourceKind:
    label = name or _label(found)
    return SourceKind(label, f"{found.spelling}, not roar's", partial(_open_foreign, found, parameters, label),
                      foreign=found)


def _open_foreign(found: Foreign, parameters: Mapping[str, Any], label: str, argument: str,
                  request: Request) -> WholeSource:
    return open_foreign(found, parameters, label, request)


def _label(found: Foreign) -> str:
    """``my_data load`` of ``my_data.py:load`` and of ``package.my_data:load``."""
    place, colon, name = found.spelling.rpartition(":")
    stem = Path(place).stem if isinstance(found, FileObject) else place.rpartition(".")[2]
    return f"{stem} {name}" if colon else found.name


SOURCES: Registry[SourceKind] = _Sources("source", "roar.datasets.sources", _adapted,
                                         "Your own files are parquet:PATH or folder:PATH, your own code is "
                                         "FILE.py:function.")


def source_kind(name: str, description: str, argument: str | None = None, *, argument_required: bool = True,
                is_path: bool = False, has_columns: bool = False) -> Callable[[Opener], Opener]:
    """Register a kind of roar's: a function of the text behind the colon and of the request."""
    def register(function: Opener) -> Opener:
        SOURCES.add(name, SourceKind(name, description, function, argument, argument_required, is_path, has_columns))
        return function

    return register


def source(name: str) -> Callable[[Function], Function]:
    """Give a function that returns images a name: ``@roar.source("mine")``.

    The function takes those of ``root``, ``image_size`` and ``seed`` that it names, and returns what
    :func:`roar.datasets.adapters.open_foreign` takes. A second function of the same name replaces the first.

    Raises:
        UsageError: the name is that of a kind of roar's, or no name.
    """
    SOURCES.load()
    if name in SOURCES.values and SOURCES.values[name].foreign is None:
        raise UsageError(f"'{name}' is a source of roar's; choose another name.")
    if not name or not set(name).isdisjoint(":()"):
        raise UsageError(f"The name of a source has no colon and no brackets, and '{name}' is none; choose another.")

    def register(function: Function) -> Function:
        SOURCES.values[name] = SOURCES.adapted(function, name)
        return function

    return register


def source_kinds() -> list[SourceKind]:
    """Every kind of source that has been registered."""
    SOURCES.load()
    return list(SOURCES.values.values())


def open_source(name: Any, *, root: str | Path | None = None, limit_train: int | None = None,
                limit_test: int | None = None, image_size: int | None = None, label_column: str | None = None,
                channels: int | None = None, seed: int = 0, on_progress: OnProgress | None = None) -> Source:
    """Open a source.

    Args:
        name: its name, or an object in its place; see the top of this file.
        root: where downloads go; default ``$XDG_CACHE_HOME/roar``, else ``~/.cache/roar``.
        limit_train: take this many training images, each class in proportion; more than there are: all.
        limit_test: the same for test images.
        image_size: scale the shorter side to this many pixels and crop the center; default: as they are.
        channels: 3 repeats the channel of gray images; default: as they are.
        label_column: the column of labels in a table of images; default: the one called label.
        seed: the root seed; it decides which images limits take.
        on_progress: called with the images that a pass over a split has read and with all of them.

    Raises:
        UnknownNameError: there is no such kind of source.
        UsageError: the spelling or a limit breaks a rule, or the code of a source cannot be run.
        SourceError: images or labels are missing, broken or do not fit.
    """
    for what, value in (("limit_train", limit_train), ("limit_test", limit_test), ("image_size", image_size)):
        if value is not None and value < 1:
            raise UsageError(f"{what} = {value} is not at least 1; give a positive number or leave it out.")
    kind, argument = find_source(name)
    if label_column is not None and not kind.has_columns:
        raise UsageError(f"The source '{kind.name}' has no columns, so none called '{label_column}' holds its labels; "
                         "leave the label column out.")
    request = Request(root, image_size, seed, label_column)
    whole = kind.open(argument, request if on_progress is None else replace(request, on_progress=on_progress))
    spelled = name if isinstance(name, str) else kind.name
    if channels == 3 and whole.channels == 1:
        whole = in_color(whole)
    if whole.train is None:
        whole.notes.append(f"'{spelled}' has a test split alone; fill and normalization are computed from it.")
    return limited(whole, spelled, (limit_train, limit_test), seed)


def find_source(given: Any) -> tuple[SourceKind, str]:
    """The kind of source that a name or an object stands for, and what follows the colon.

    A known kind before a colon wins over a package of that name.

    Raises:
        UnknownNameError, UsageError: as :func:`open_source`.
    """
    if not isinstance(given, str):
        return SOURCES.adapted(given), ""
    SOURCES.load()
    word, colon, argument = given.partition(":")
    kind = SOURCES.values.get(word)
    if kind is not None:
        _check_argument(kind, bool(colon), argument)
        return kind, argument
    spelling = parse(given)
    if spelling.name in SOURCES.installed() or (spelling.is_object and _is_place(spelling.name.rpartition(":")[0])):
        return SOURCES.find(given), ""
    raise UnknownNameError("source", word, [*SOURCES.values, *SOURCES.installed()], SOURCES.hint)


def anywhere(name: str) -> str:
    """The name that stands for the same source from any directory: paths in it are absolute.

    >>> anywhere("digits")
    'digits'
    """
    SOURCES.load()
    word, _, argument = name.partition(":")
    kind = SOURCES.values.get(word)
    if kind is not None:
        return f"{word}:{_absolute(argument)}" if kind.is_path else name
    spelling = parse(name)
    file, _, attribute = spelling.name.rpartition(":")
    return str(Spelling(f"{_absolute(file)}:{attribute}", spelling.arguments)) if file.endswith(".py") else name


def _check_argument(kind: SourceKind, colon: bool, argument: str) -> None:
    if kind.argument is None and colon:
        raise UsageError(f"The source '{kind.name}' takes no argument such as '{argument}'; write '{kind.name}'.")
    if kind.argument is not None and kind.argument_required and not argument:
        raise UsageError(f"The source '{kind.name}' needs its {kind.argument}; write '{kind.spelling}'.")


def _is_place(place: str) -> bool:
    """Whether an object can lie there: in a file, or in a package that is installed; else a kind is misspelled."""
    return place.endswith(".py") or importlib.util.find_spec(place.partition(".")[0]) is not None


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().resolve())
