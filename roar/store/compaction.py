"""Many small results into one file, while others read and write, and whatever process dies meanwhile.

The new file is written whole before what it replaces is removed, and nobody removes a file unless all of its rows
are in a file that he wrote himself. So a crash in between, or a second compaction at the same time, leaves rows in
two places, which count once, and never in none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from roar.errors import StoreError
from roar.store.claims import claim
from roar.store.files import Files
from roar.store.results import (
    COMPACTED,
    FAILED,
    MOST_COMPACTED,
    at_once,
    compacted_files,
    compacted_name,
    each_once,
    read_compacted,
    read_result,
    single_files,
)
from roar.store.sealed import seal

AT_LEAST = 256  # small files; fewer are read in no time, also from far away


def compact(files: Files, at_least: int = AT_LEAST) -> int:
    """Make the finished results one file if enough of them lie alone; returns how many rows it has.

    What is damaged, or goes away meanwhile, is left to those who look after it.
    """
    with claim(files, "compact results") as mine:
        single = [path for path in single_files(files) if not path.endswith(FAILED)]
        if not mine or len(single) < at_least:
            return 0
        found = at_once(lambda path: (path, _whole(files, path)), [*compacted_files(files), *single])
        bodies = [body for _, some in found for body in some]
        count = write_compacted(files, bodies, [path for path, some in found if some])
        done = {body["row"]["job"] for body in bodies}
        for path in single_files(files):
            if path.endswith(FAILED) and path.rpartition("/")[2].removesuffix(FAILED) in done:
                files.delete(path)
        return count


def write_compacted(files: Files, bodies: Iterable[dict[str, Any]], instead_of: Iterable[str] = ()) -> int:
    """Write results as one file (or as few as can be read), then remove the files that they were in.

    Returns:
        how many rows were written.
    """
    rows = each_once(bodies)
    written = set()
    for data in _parts(seal(body) + b"\n" for body in rows):
        written.add(compacted_name(data))
        files.write(compacted_name(data), data)
    for old in instead_of:
        if old not in written:
            files.delete(old)
    return len(rows)


def _parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in files of at most ``MOST_COMPACTED`` bytes."""
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > MOST_COMPACTED:
            yield b"".join(part)
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield b"".join(part)


def _whole(files: Files, path: str) -> list[dict[str, Any]]:
    """The results in a file; none where it is damaged or gone."""
    try:
        if path.startswith(f"{COMPACTED}/"):
            return read_compacted(files, path)
        return [read_result(files, path)]
    except StoreError:
        return []
