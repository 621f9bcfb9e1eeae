"""Progress in a notebook: one line per stage with a bar, drawn in the cell that runs it."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass, field
from typing import Any

from roar.progress import failures

_EVERY = 0.5  # seconds between two drawings of a bar


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook, which shows HTML."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class Notebook:
    """Draws by IPython's ``display``, which needs no widgets, so that a saved notebook keeps what it showed."""

    def say(self, text: str) -> None:
        from IPython.display import HTML, display

        display(HTML(f"<small>{html.escape(text)}</small>"))

    def begin(self, title: str, total: float, unit: str) -> NotebookBar:
        return NotebookBar(title, total, unit)

    def end(self, bar: Any) -> None:
        bar.close()


@dataclass(eq=False)
class NotebookBar:
    """One stage's bar."""

    title: str
    total: float
    unit: str
    done: float = 0.0
    failed: float = 0.0
    note: str = ""
    started: float = field(default_factory=time.monotonic)
    drawn: float = field(default_factory=time.monotonic)
    handle: Any = field(init=False)

    def __post_init__(self) -> None:
        from IPython.display import HTML, display

        self.handle = display(HTML(self._html()), display_id=True)

    def advance(self, amount: float, text: str = "") -> None:
        self.done, self.note = self.done + amount, text
        if time.monotonic() - self.drawn > _EVERY:
            self._draw()

    def fail(self, amount: float, text: str = "") -> None:
        self.failed += amount
        self.advance(0.0, text)

    def close(self) -> None:
        self.note = f"{time.monotonic() - self.started:.1f} s"
        self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML

        self.drawn = time.monotonic()
        self.handle.update(HTML(self._html()))

    def _html(self) -> str:
        words = f"{self.title}: {self.done:,.0f} of {self.total:,.0f} {self.unit}{failures(self.failed)} {self.note}"
        bar = f'<progress max="{self.total:g}" value="{self.done:g}" aria-label="{html.escape(self.title)}"></progress>'
        return f"{bar} <small>{html.escape(words)}</small>"
