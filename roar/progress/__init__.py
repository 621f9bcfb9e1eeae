"""Who is told how far the work is; the command line draws it, a program may ignore it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

_FEWEST_SECONDS = 2.0  # of work, before a rate says anything


class Bar(Protocol):
    """One stage's progress, counted in its own unit."""

    def advance(self, amount: float, text: str = "") -> None:
        """More units are done; a call with none says that the work itself has begun."""

    def fail(self, amount: float, text: str = "") -> None:
        """Units have ended without a result."""


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

    def fail(self, amount: float, text: str = "") -> None:
        pass


def failures(count: float) -> str:
    """Behind a count of what is done: how many failed, if any did."""
    return f", {count:,.0f} failed" if count else ""


@dataclass(eq=False)
class Pace:
    """How fast a stage is, and how long the rest will take, from the moment when its work began.

    The start of the workers is no part of it, and in the first seconds nothing is said.
    """

    began: float = field(default_factory=time.monotonic)
    worked: bool = False

    def work(self, done: float) -> None:
        """The work goes on with so much done; before the first unit it begins at this moment."""
        if not self.worked and not done:
            self.began = time.monotonic()
        self.worked = True

    def rate(self, done: float) -> float:
        """Units per second; 0 where that cannot be known yet."""
        seconds = time.monotonic() - self.began
        return done / seconds if seconds >= _FEWEST_SECONDS else 0.0

    def left(self, done: float, total: float) -> float | None:
        rate = self.rate(done)
        return (total - done) / rate if rate and done < total else None
