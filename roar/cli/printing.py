"""Results on standard output: names are shown as they are safe to show, and what cannot be printed is said."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from roar.errors import FailureError, shown


def tell(text: str, end: str = "\n", flush: bool = False) -> None:
    """Print lines, whose names may come from anywhere: no control characters, no credentials.

    Raises:
        FailureError: standard output takes nothing any more.
    """
    _said(lambda: print(_shown(text), end=end, flush=flush))


def warn(text: str) -> None:
    """A line that must not be missed: red on a terminal.

    Raises:
        FailureError: standard output takes nothing any more.
    """
    if not sys.stdout.isatty():
        tell(text)
        return
    from rich.console import Console

    _said(lambda: Console().print(_shown(text), style="bold red", highlight=False, markup=False, soft_wrap=True))


def tell_bytes(data: bytes) -> None:
    """Write the bytes of a file to standard output."""
    def write() -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    _said(write)


def _shown(text: str) -> str:
    """The lines and the columns stay, and nothing else that is no letter."""
    return "\n".join("\t".join(map(shown, line.split("\t"))) for line in text.split("\n"))


def finish() -> None:
    """Have everything that was printed arrive."""
    _said(sys.stdout.flush)


def complain(text: str) -> None:
    """A line on standard error; where that takes none, the exit status says enough."""
    try:
        print(_shown(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        silence(2)


def silence(descriptor: int) -> None:
    """Let what is still to be written go nowhere, so that Python's end does not stumble over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _said(write: Callable[[], object]) -> None:
    try:
        write()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        silence(1)
        reason = getattr(error, "strerror", None) or str(error)
        raise FailureError(f"The results cannot be printed ({reason}); what is finished is kept in the store: give the "
                           "command again with another place for its output.") from None


def print_rows(columns: list[str], rows: list[list[str]]) -> None:
    if not sys.stdout.isatty():
        tell("\n".join("\t".join(row) for row in [columns, *rows]))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, padding=0)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    Console().print(table)
