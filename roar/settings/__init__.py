"""Settings: frozen sections of a TOML file whose fields carry their own flags.

A field says everything about a setting once: its type and range, its default, and, as :class:`Flag`, the name and the
help text that the command line and the documentation show.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from roar.errors import ExperimentError, UnknownNameError

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Flag:
    """The command line's name for a field, with its help text."""

    name: str
    help: str


class Settings(BaseModel):
    """A section: unknown keys are an error, values are finite, nothing changes after it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def flags(section: type[BaseModel]) -> Iterator[tuple[str, Flag]]:
    """The fields of a section that have a flag, with the flag."""
    for key, field in section.model_fields.items():
        yield from ((key, item) for item in field.metadata if isinstance(item, Flag))


def value_type(section: type[BaseModel], key: str) -> type:
    """``int``, ``float``, ``bool`` or ``str``; ``list`` for a field that holds several values."""
    annotation = section.model_fields[key].annotation
    while get_origin(annotation) is not None and get_origin(annotation) is not tuple:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        annotation = parts[0] if parts and get_origin(annotation) is not _LITERAL else type(parts[0])
    if get_origin(annotation) is tuple:
        return list
    kinds: dict[Any, type] = {int: int, float: float, bool: bool}
    return kinds.get(annotation, str)


_LITERAL = get_origin(Literal["a"])


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ExperimentError: the file is missing, is not text, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExperimentError(f"There is no file '{path}'; give the path of a TOML file.") from None
    except OSError as error:
        raise ExperimentError(f"'{path}' cannot be read ({error.strerror}); give a readable TOML file.") from None
    except (ValueError, RecursionError) as error:  # not text, not TOML, a number of thousands of digits, too deep
        raise ExperimentError(f"'{path}' is not TOML: {error}.") from None


def validated(cls: type[T], tables: Mapping[str, Any], origin: str, below: str = "") -> T:
    """A section from its tables, which come from a file or the command line and lie below a key such as ``sanity.``.

    Raises:
        UnknownNameError: a key does not exist; the message suggests the nearest.
        ExperimentError: a value breaks a rule; the message names key, value, rule and where it comes from.
    """
    try:
        return cls.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        where = below + ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnknownNameError("key", str(first["loc"][-1]), keys_at(cls, first["loc"][:-1]),
                                   f"(in {origin}, at {where})") from None
        rule = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        value = repr(first.get("input"))
        value = value if len(value) <= 60 else value[:57] + "..."
        raise ExperimentError(f"{where} = {value} in {origin} is refused: {rule}.") from None


def keys_at(cls: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that exist at a place in the tree of settings."""
    section = cls
    for part in location:
        field = section.model_fields.get(str(part))
        section = _section_in(field.annotation) if field is not None else section
    return list(section.model_fields)


def section_type(cls: type[BaseModel], key: str) -> type[BaseModel]:
    """The class of a section, ``ModelSettings`` for a field of the type ``tuple[ModelSettings, ...]``."""
    return _section_in(cls.model_fields[key].annotation)


def _section_in(annotation: Any) -> type[BaseModel]:
    """The section that an annotation such as ``tuple[ModelSettings, ...]`` speaks of."""
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else BaseModel
