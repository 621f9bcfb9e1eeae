"""Reading Parquet: how much memory a file takes is asked of it before anything in it is unpacked."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from roar.errors import DamagedArtifactError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MOST_UNPACKED = 2**30  # bytes; the largest shard of the recipes, of 1,000 images at 224 x 224, has a tenth of it
_WIDTH = 4  # bytes of a number


def fits(numbers: int) -> bool:
    """Whether a table of as many numbers can be read back."""
    return numbers * _WIDTH <= MOST_UNPACKED


def read_table(data: bytes, name: str) -> pa.Table:
    """The table that a Parquet file of a store holds.

    Raises:
        DamagedArtifactError: the bytes are no such file, a page fails its checksum, or it would not fit into memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as file:
            size = _unpacked(file.metadata)
            if size > MOST_UNPACKED:
                raise DamagedArtifactError(f"'{name}' unpacks to {size:,} bytes and roar writes at most "
                                           f"{MOST_UNPACKED:,}; `roar verify --repair` makes it again.")
            return file.read()
    except (OSError, pa.ArrowException) as error:
        raise DamagedArtifactError(f"'{name}' is not a readable table ({(str(error).splitlines() or ['?'])[0]}); "
                                   "`roar verify --repair` makes it again.") from None


def _unpacked(metadata: pq.FileMetaData) -> int:
    """About the bytes of memory that a file takes: of its pages or, where these are run lengths, of its numbers."""
    columns = (metadata.row_group(group).column(column)
               for group in range(metadata.num_row_groups) for column in range(metadata.num_columns))
    return sum(max(column.total_uncompressed_size, column.num_values * _WIDTH) for column in columns)
