"""Who is told how far the work is; the command line draws it, a program may ignore it."""

from __future__ import annotations

from typing import Protocol


class Bar(Protocol):
    """One stage's progress, counted in its own unit."""

    def advance(self, amount: float, text: str = "") -> None: ...


class Reporter(Protocol):
    """What the pipeline says while it works."""

    def say(self, text: str) -> None:
        """One sentence that a person should see once."""

    def begin(self, title: str, total: float, unit: str) -> Bar:
        """A stage starts that has ``total`` units of work."""

    def end(self, bar: Bar) -> None:
        """The stage is over."""


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None:
        pass

    def begin(self, title: str, total: float, unit: str) -> Bar:
        return self

    def end(self, bar: Bar) -> None:
        pass

    def advance(self, amount: float, text: str = "") -> None:
        pass
