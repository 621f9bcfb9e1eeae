"""A function of a plug-in or a program, called where its images are needed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roar.datasets.source import Request
from roar.errors import RoarError, SourceError, UnknownNameError, UsageError
from roar.plugins import Foreign, described


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

    Raises:
        UnknownNameError, UsageError: a parameter does not exist, or one without a default is not given.
    """
    value = found.load()
    if not is_called(value):
        if parameters:
            raise UsageError(f"'{found.spelling}' is no function, so it takes no parameters such as "
                             f"'{next(iter(parameters))}'; leave the brackets out.")
        return Made(found, None)
    root = None if request.root is None else str(Path(request.root).expanduser().resolve())
    given = {"root": root, "image_size": request.image_size, "seed": request.seed}
    return Made(found, _arguments(found, inspect.signature(value), parameters, given))


def _arguments(found: Foreign, signature: inspect.Signature, parameters: Mapping[str, Any],
               given: Mapping[str, Any]) -> dict[str, Any]:
    named = {p.name: p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in parameters:
        if name not in named and not open_ended:
            raise UnknownNameError(f"parameter of '{found.spelling}'", name, named)
    arguments = {name: value for name, value in given.items()  # a default of the function's stands for what is not set
                 if name in named and (value is not None or named[name].default is inspect.Parameter.empty)}
    arguments |= parameters
    for name, parameter in named.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise UsageError(f"'{found.spelling}' needs its parameter '{name}'; write "
                             f"{found.spelling}({name}=VALUE).")
    return arguments
