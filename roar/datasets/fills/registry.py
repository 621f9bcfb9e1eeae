"""Fills by name. A new one is a function in a file of this folder, under :func:`built_in`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from roar.datasets.fills.base import Fill, FillFunction
from roar.datasets.fills.foreign import adapt
from roar.plugins.calling import named
from roar.registry import Registry

F = TypeVar("F", bound=FillFunction)
T = TypeVar("T")

FILLS: Registry[Fill] = Registry("fill", "roar.datasets.fills", adapt)


def built_in(name: str, description: str, needs_color: bool = False, whole: bool = False,
             aliases: tuple[str, ...] = ()) -> Callable[[F], F]:
    """A decorator that registers a fill of roar's; see :class:`roar.datasets.fills.base.Fill`."""
    def register(function: F) -> F:
        FILLS.add(name, Fill(name, description, function, needs_color, whole), aliases)
        return function
    return register


def fill(name: str) -> Callable[[T], T]:
    """A decorator that gives a function its name in tables, and leaves it as it is."""
    return named(name)


def fill_kinds() -> list[Fill]:
    """Every built-in fill, by name."""
    FILLS.load()
    return [FILLS.values[name] for name in sorted(FILLS.values)]


def find_fill(name: str, channels: int | None = None) -> Fill:
    """The fill of a name, for images with this many channels if that is known already.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
        UsageError: the function of a file or a package cannot be had.
        SourceError: it needs color and there is one channel.
    """
    found = FILLS.find(name)
    if channels is not None:
        found.check_channels(channels)
    return found
