"""What every kind of foreign object needs at the door: its display name, the arguments it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from roar.errors import UsageError

T = TypeVar("T")
_MARK = "__roar_name__"


def named(name: str) -> Callable[[T], T]:
    """A decorator that gives an object its display name and returns the object unchanged."""
    def mark(value: T) -> T:
        setattr(value, _MARK, name)
        return value
    return mark


def display_name(value: Any, names: Iterable[str], parameters: Mapping[str, Any]) -> str:
    """The name in tables: the first of ``names`` unless it is empty, that of :func:`named`, the second.

    >>> display_name(None, ("", "fog"), {"density": 2})
    'fog(density=2)'
    """
    given, own = names
    label = given or str(getattr(value, "__dict__", {}).get(_MARK, own))
    return label + (f"({','.join(f'{key}={parameters[key]}' for key in sorted(parameters))})" if parameters else "")


def code_of(identity: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a key contains of a foreign object: its code, and the parameters in its brackets."""
    return {**identity, **({"parameters": {key: repr(parameters[key]) for key in sorted(parameters)}}
                           if parameters else {})}


def taken(function: Any, spelling: str, positional: int, offered: Iterable[str],
          parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of the keyword arguments ``offered`` a callable names.

    Args:
        positional: how many arguments it is given by position.
        parameters: keyword arguments that a person gives in brackets, which it must take.

    Raises:
        UsageError: it cannot be called so; the sentence names the arguments.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise UsageError(f"The arguments of '{spelling}' cannot be known; wrap it in a Python function.") from None
    named_arguments = {name for name, parameter in signature.parameters.items()
                       if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)}
    chosen = tuple(name for name in offered if name in named_arguments and name not in parameters)
    try:
        signature.bind(*[None] * positional, **dict.fromkeys((*chosen, *parameters)))
    except TypeError as error:
        first = f"{positional} arguments by position" if positional else ""
        choice = " and, by name, " if positional and list(offered) else ""
        given = first + choice + (f"those of {', '.join(offered)} that it names" if list(offered) else "")
        names = ", ".join(signature.parameters)
        raise UsageError(f"'{spelling}' takes ({names}) and is called with {given or 'nothing'} besides what stands in "
                         f"brackets ({error}); change its arguments or write {spelling}(name=value).") from None
    return chosen
