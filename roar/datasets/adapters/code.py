"""A function of a plug-in or a program, called where its images are needed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roar.datasets.source import Request
from roar.errors import RoarError, SourceError, UsageError
from roar.plugins import Foreign, described
from roar.plugins.calling import taken


@dataclass(frozen=True, eq=False)
class Made:
    """What a foreign object returns when it is called, or the object itself; made once in each process.

    It travels as the object with its arguments, not as what was made.

    Attributes:
        arguments: by name; ``None``: the object is not called.
    """

    found: Foreign
    arguments: Mapping[str, Any] | None
    _kept: list[Any] = field(default_factory=list, repr=False)

    def __call__(self) -> Any:
        if not self._kept:
            self._kept.append(self._make())
        return self._kept[0]

    def __reduce__(self) -> tuple[type[Made], tuple[Foreign, Mapping[str, Any] | None]]:
        return Made, (self.found, self.arguments)

    def _make(self) -> Any:
        value = self.found.load()
        if self.arguments is None:
            return value
        try:
            return value(**self.arguments)
        except RoarError:
            raise
        except Exception as error:  # code that is not roar's may raise anything
            raise SourceError(f"The source '{self.found.spelling}' failed ({described(error, self.found.file)}); "
                              "correct it.") from error


def is_called(value: Any) -> bool:
    """Whether an object returns images; else it is images."""
    return inspect.isclass(value) or (callable(value) and not hasattr(value, "__getitem__"))


def made(found: Foreign, parameters: Mapping[str, Any], request: Request) -> Made:
    """What an object makes with parameters and with those of ``root``, ``image_size`` and ``seed`` that it names.

    Of these, one that is not set is left to the default of the function, and is ``None`` where there is no default.

    Raises:
        UsageError: the function cannot be called so.
    """
    value = found.load()
    if not is_called(value):
        if parameters:
            raise UsageError(f"'{found.spelling}' is no function, so it takes no parameters such as "
                             f"'{next(iter(parameters))}'; leave the brackets out.")
        return Made(found, None)
    root = None if request.root is None else str(Path(request.root).expanduser().resolve())
    given = {"root": root, "image_size": request.image_size, "seed": request.seed}
    names = taken(value, found.spelling, 0, given, parameters)
    defaults = {p.name for p in inspect.signature(value).parameters.values() if p.default is not p.empty}
    chosen = {name: given[name] for name in names if given[name] is not None or name not in defaults}
    return Made(found, {**chosen, **parameters})
