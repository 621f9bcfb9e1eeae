"""What follows a source's colon where it is not a path: ``size=16,classes=4``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roar.errors import UnknownNameError, UsageError


def parse_options(source: str, text: str, defaults: Mapping[str, int | float]) -> dict[str, Any]:
    """The defaults with the options of a spelling over them; a value has the type of its default.

    Raises:
        UnknownNameError: there is no such option; the message names the nearest.
        UsageError: an option is not spelled ``name=number``, is given twice, or its number is of the wrong type.
    """
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"Options of '{source}' are spelled name=number, not '{part}'; write for example "
                             f"'{source}:{next(iter(defaults))}={next(iter(defaults.values()))}'.")
        if name not in defaults:
            raise UnknownNameError(f"option of '{source}'", name, defaults)
        if name in options:
            raise UsageError(f"An option of '{source}' is given once, but '{name}' is given twice; remove one.")
        kind = type(defaults[name])
        try:
            options[name] = kind(value)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise UsageError(f"The option '{name}' of '{source}' is {what}, not '{value}'; correct it.") from None
    return {**defaults, **options}


def check_range(source: str, options: Mapping[str, int | float], name: str, low: float, high: float) -> None:
    """Raises UsageError where an option is not in ``low .. high``."""
    if not low <= options[name] <= high:
        raise UsageError(f"The option '{name}' of '{source}' is in {low:g} .. {high:g}, not {options[name]}; "
                         "correct it.")
