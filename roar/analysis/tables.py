"""Tables for people: accuracy against threshold, one row per estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd

from roar.analysis.curves import CURVE_COLUMNS, PANEL, in_order, with_reference
from roar.analysis.facts import ESTIMATOR_FACTS, REFERENCE, require
from roar.errors import shown

if TYPE_CHECKING:
    from rich.table import Table

Spread = Literal["interval", "std"]


def accuracy_table(curves: pd.DataFrame, spread: Spread = "interval", digits: int = 1) -> pd.DataFrame:
    """Accuracy in percent against threshold: a row per estimator, a column per threshold.

    Args:
        curves: as :func:`roar.analysis.curves` returns them.
        spread: what follows ``±``: half the width of the 95 % interval, or the standard deviation.
        digits: after the decimal point.

    Returns:
        Strings: the columns of a panel (source, model, ...), ``estimator``, ``n`` (seeds per cell, a range
        such as ``3-5`` where cells differ), and ``0 %``, ``10 %``, ... An interval that is cut at
        0 or 100 stands in brackets. A cell with one seed has its value, one with two has both of them; one without a
        finished seed reads ``failed``; one that was not run is empty.
    """
    require(curves, CURVE_COLUMNS, "curves")
    rows = with_reference(curves) if (curves["estimator"] != REFERENCE).any() else curves
    cells = rows[["mean", "std", "n", "ci_low", "ci_high"]].astype(float).to_numpy()
    text = [_cell(*map(float, cell), spread=spread, digits=digits) for cell in cells]
    keys = [*PANEL, "estimator", *ESTIMATOR_FACTS]
    wide = rows.assign(text=text).pivot(index=keys, columns="threshold", values="text").fillna("")
    wide.columns = pd.Index([f"{threshold:g} %" for threshold in wide.columns])
    counts = rows.groupby(keys)["n"].agg(["min", "max"])
    wide.insert(0, "n", [f"{low}" if low == high else f"{low}-{high}"
                         for low, high in counts.loc[wide.index].itertuples(index=False)])
    return in_order(wide.reset_index()).drop(columns=list(ESTIMATOR_FACTS))


def _cell(mean: float, std: float, n: float, low: float, high: float, *, spread: Spread,
          digits: int) -> str:
    if pd.isna(mean):
        return "failed"
    if n == 2 and spread == "interval":  # of two values the mean and the spread are the values
        return ", ".join(f"{100 * (mean + side * std / 2 ** 0.5):.{digits}f}" for side in (-1, 1))
    if spread == "interval" and (low <= 0 or high >= 1) and high > low:
        return f"{100 * mean:.{digits}f} [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"
    half = high - mean if spread == "interval" else std
    return f"{100 * mean:.{digits}f}" + ("" if pd.isna(half) else f"±{100 * half:.{digits}f}")


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign and a true minus.

    >>> signed(-1.25, 2)
    '−1.25'
    """
    return f"{value:+.{digits}f}".replace("-", "−")


def in_points(value: float, low: float, high: float, digits: int = 1) -> str:
    """A difference with its sign and its 95 % interval, in accuracy points.

    >>> in_points(3.14, 2.0, 4.2)
    '+3.1 [+2.0, +4.2]'
    """
    if pd.isna(value):
        return "no common seed"
    if pd.isna(low):
        return f"{value:+.{digits}f} (no interval)"
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def caption(spread: Spread = "interval") -> str:
    """What the numbers of :func:`accuracy_table` are."""
    what = "half the width of the 95 % t interval" if spread == "interval" else "the standard deviation"
    cut = "; an interval is cut at 0 and 100 and then in brackets; one or two seeds are shown as they are"
    return f"test accuracy in percent, mean ± {what} over n seeds" + (cut if spread == "interval" else "")


def varying(table: pd.DataFrame) -> pd.DataFrame:
    """The table without those panel columns that say the same in every row."""
    same = [column for column in PANEL if column in table.columns and table[column].nunique() <= 1]
    return table.drop(columns=same)


def rich_table(table: pd.DataFrame, title: str | None = None, note: str | None = None) -> Table:
    """A table for a terminal; numbers are set flush right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title and escape(shown(title)), caption=note and escape(note), box=box.SIMPLE_HEAD,
                  title_justify="left", caption_justify="left", padding=0)
    names = {*PANEL, "estimator"}
    for column in table.columns:
        if column in names:
            drawn.add_column(escape(str(column)), overflow="fold", min_width=12)
        else:  # a number is never cut short
            width = int(table[column].astype(str).str.len().max()) if len(table) else 1
            drawn.add_column(escape(str(column)), justify="right", no_wrap=True, min_width=width)
    for row in table.astype(str).itertuples(index=False):
        drawn.add_row(*(escape(shown(cell)) for cell in row))
    return drawn


def plain_table(table: pd.DataFrame) -> str:
    """Tab-separated text with a header, for ``cut``, ``sort`` and ``column -t``; one line per row."""
    lines = ["\t".join(map(str, table.columns))]
    for row in table.itertuples(index=False):
        lines.append("\t".join(shown(" ".join(str(value).split())) for value in row))
    return "\n".join(lines) + "\n"
