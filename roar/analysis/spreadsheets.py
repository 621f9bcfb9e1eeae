"""CSV that a spreadsheet opens as what it is: text, not formulas."""

from __future__ import annotations

import pandas as pd

from roar.errors import shown

_FORMULA = ("=", "+", "-", "@")  # what makes a spreadsheet compute a cell, or send it somewhere


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8. Texts have no control characters; before one that would be a formula stands a ``'``."""
    texts = frame.select_dtypes(exclude=["number", "bool"]).columns
    return frame.assign(**{column: frame[column].map(_cell) for column in texts}).to_csv(
        index=False, lineterminator="\n").encode()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
