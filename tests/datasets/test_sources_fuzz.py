"""Whatever bytes a source is given, it opens and decodes or raises an error of the hierarchy."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from picture_files import encode, picture, write_folder, write_parquet

from roar.datasets import open_source
from roar.errors import SourceError

FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAGIC = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0", b"MM\0*", b"GIF89a",
         b"P6 2 2 255\n", b"P1", b"Pf 1 1 1\n")
Edits = Sequence[tuple[float, int]]  # (where, as a share of the length; the new byte)

edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)
lengths = st.one_of(st.just(1.0), st.floats(0, 1))


def damaged(data: bytes, changes: Edits, length: float) -> bytes:
    array = bytearray(data)
    for where, byte in changes:
        array[int(where * (len(array) - 1))] = byte
    return bytes(array[:int(length * len(array))])


def pictures_of(kind: str) -> list[bytes]:
    gray, color = picture(0, (11, 9), "L"), picture(1, (11, 9))
    made = [encode(color, kind), encode(gray, kind)]
    if kind in ("PNG", "GIF", "TIFF"):
        made.append(encode(color.quantize(7), kind))
    if kind == "PNG":
        made += [encode(color.convert("RGBA"), kind), encode(gray.convert("I;16"), kind)]
    if kind == "JPEG":
        exif = color.getexif()
        exif[0x0112] = 6
        made += [encode(color, kind, exif=exif), encode(color.convert("CMYK"), kind, progressive=True)]
    return made


def opens_or_raises(source: str, image_size: int | None) -> None:
    try:
        opened = open_source(source, image_size=image_size)
        for split in (opened.train, opened.test):
            images = split.images
            assert images.dtype == np.uint8
            assert images.shape == (len(split), opened.channels, opened.height, opened.width)
            assert ((split.labels >= 0) & (split.labels < opened.num_classes)).all()
    except SourceError as error:
        assert len(str(error)) > 20
        assert "\n" not in str(error) or "\n" in source


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures(kind: str) -> None:
    bases = pictures_of(kind)

    @FUZZ
    @given(st.sampled_from(bases), edits, lengths, st.sampled_from([None, 4]))
    def check(base: bytes, changes: Edits, length: float, image_size: int | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_folder(Path(folder), {"train/a": [damaged(base, changes, length)], "test/a": [bases[0]]})
            opens_or_raises(f"folder:{folder}", image_size)
    check()


@FUZZ
@given(st.binary(max_size=200), st.sampled_from(MAGIC))
def test_arbitrary_bytes_as_a_picture(data: bytes, magic: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), {"train/a": [magic + data], "test/a": [magic + data]})
        opens_or_raises(f"folder:{folder}", None)


@pytest.fixture(scope="module")
def whole_parquet(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    data = [encode(picture(i)) for i in range(5)]
    file = write_parquet(tmp_path_factory.mktemp("whole") / "x.parquet", data, [0, 1, 0, 1, 1],
                         class_names=("a", "b"), row_group_size=2)
    return file.read_bytes()


@settings(FUZZ, max_examples=300)
@example([(0.509765625, 128)], 1.0, False)  # a column's name that is no text
@given(edits, lengths, st.booleans())
def test_damaged_parquet(whole_parquet: bytes, changes: Edits, length: float, footer: bool) -> None:
    if footer:  # most of what can go wrong lies in the last part
        changes = [(0.6 + 0.4 * where, byte) for where, byte in changes]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train-0.parquet").write_bytes(damaged(whole_parquet, changes, length))
        Path(folder, "test-0.parquet").write_bytes(whole_parquet)
        opens_or_raises(f"parquet:{folder}", None)


@FUZZ
@given(st.binary(max_size=100))
def test_arbitrary_bytes_as_parquet(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train-0.parquet").write_bytes(data)
        Path(folder, "test-0.parquet").write_bytes(b"PAR1" + data + b"PAR1")
        opens_or_raises(f"parquet:{folder}", None)


@FUZZ
@given(st.lists(st.tuples(st.one_of(st.none(), st.binary(max_size=20)),
                          st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))), max_size=6))
def test_arbitrary_rows(rows: list[tuple[bytes | None, int | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "test"):
            write_parquet(Path(folder, f"{split}-0.parquet"), [data for data, _ in rows], [y for _, y in rows])
        opens_or_raises(f"parquet:{folder}", None)


@FUZZ
@given(st.text(max_size=30))
def test_arbitrary_spellings(text: str) -> None:
    for name in (f"folder:/nonexistent/{text}", f"parquet:/nonexistent/{text}", f"parquet:x://{text}",
                 f"folder:~{text}/nonexistent", f"parquet:~{text}/nonexistent", f"folder:{9 * text}/nonexistent"):
        opens_or_raises(name, None)


@pytest.mark.parametrize("kind", ["folder", "parquet"])
@pytest.mark.parametrize("path", ["/" + 300 * "x", 5_000 * "x/", "~nobody-of-this-name", "a\0b"])
def test_paths_that_no_system_takes(kind: str, path: str) -> None:
    with pytest.raises(SourceError):
        open_source(f"{kind}:{path}")
