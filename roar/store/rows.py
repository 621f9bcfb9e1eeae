"""What the rows of a table can be: types, ranges and vocabulary of its columns, asked before any value is believed.

Seals and hashes say that a table is what its author wrote. These say that it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from roar.errors import DamagedArtifactError
from roar.store.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LONGEST = 100_000  # letters of a text
MOST_IMAGES = 2**40


@dataclass(frozen=True)
class Values:
    """What a column may hold.

    Attributes:
        kind: of its values.
        low: the smallest number.
        high: the largest number.
        words: the only texts, where there is a vocabulary.
        missing: whether a number may be NaN.
    """

    kind: Literal["text", "whole", "number", "truth"]
    low: float = 0.0
    high: float = 1.0
    words: tuple[str, ...] = ()
    missing: bool = False


TEXT = Values("text")
TRUTH = Values("truth")
SHARE = Values("number")
PERCENT = Values("number", high=100.0)
COUNT = Values("whole", high=MOST_IMAGES)
POSITION = Values("whole", high=2.0**62)


@dataclass(frozen=True)
class Rows:
    """What a table may hold.

    Attributes:
        columns: all that it has.
        keys: columns whose values no two rows share.
        possible: whether rows whose every value is one of its column can be, taken together.
    """

    columns: Mapping[str, Values]
    keys: tuple[str, ...] = ()
    possible: Callable[[pd.DataFrame], bool] = lambda frame: True


def read_rows_of(data: bytes, name: str, rows: Rows) -> pd.DataFrame:
    """The rows of a Parquet file of a store.

    Raises:
        DamagedArtifactError: it is no such file, or its rows cannot be.
    """
    import pandas as pd

    table = read_table(data, name)
    if table.num_rows == table.num_columns == 0:  # nothing was compared
        return pd.DataFrame(columns=list(rows.columns))
    wrong = _wrong(table, rows)
    if wrong is not None:
        raise DamagedArtifactError(f"'{name}' {wrong}; `roar verify --repair` makes it again.")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def require_row(row: Mapping[str, object], name: str, rows: Rows) -> None:
    """Raise where one row cannot be.

    Raises:
        DamagedArtifactError: it cannot.
    """
    import pyarrow as pa

    try:
        wrong = _wrong(pa.Table.from_pylist([row]), rows)
    except (pa.ArrowException, OverflowError):  # a number or a value of no column's type
        wrong = "has values that cannot be"
    if wrong is not None:
        raise DamagedArtifactError(f"'{name}' {wrong}; `roar verify --repair` makes it again.")


def _wrong(table: pa.Table, rows: Rows) -> str | None:
    """What cannot be, as the end of a sentence."""
    names = table.column_names
    if sorted(names) != sorted(rows.columns):
        return "has other columns than such a table"
    for name, values in rows.columns.items():
        if not _fits(table.column(name), values):
            return f"has values that cannot be in its column '{name}'"
    frame = table.to_pandas()
    if rows.keys and bool(frame.duplicated(list(rows.keys)).any()):
        return "has rows twice"
    return None if rows.possible(frame) else "has rows that contradict themselves"


def _fits(column: pa.ChunkedArray, values: Values) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, column.type
    if column.null_count:
        return False
    if types.is_dictionary(kind):
        kind = kind.value_type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            return False
        column = column.cast(kind)
        if column.null_count:
            return False
    if values.kind == "truth":
        return bool(types.is_boolean(kind))
    if values.kind == "text":
        return (types.is_string(kind) or types.is_large_string(kind)) and all(
            len(word) <= LONGEST and word in (values.words or (word,)) for word in pc.unique(column).to_pylist())
    if not (types.is_signed_integer(kind) if values.kind == "whole" else types.is_floating(kind)):
        return False
    if values.kind == "number":
        absent = pc.is_nan(column)
        if not values.missing and pc.any(absent).as_py():
            return False
        column = column.filter(pc.invert(absent))
    ends = pc.min_max(column).as_py()
    return ends["min"] is None or values.low <= ends["min"] <= ends["max"] <= values.high
