"""Pictures of every kind become 8-bit arrays: modes, orientation, transparency, scaling, bombs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from picture_files import encode, picture, pixels, write_folder
from PIL import Image

from roar.datasets import Source, open_source
from roar.datasets.sources import pictures as pictures_module
from roar.datasets.sources.pictures import fit
from roar.errors import SourceError


def source_of(root: Path, first: bytes, *rest: bytes, extension: str = ".png", **options: object) -> Source:
    """A source whose training pictures are the ones given."""
    write_folder(root, {"train/a": [first, *rest], "test/a": [first]}, extension)
    return open_source(f"folder:{root}", **options)  # type: ignore[arg-type]


def only_image(root: Path, data: bytes) -> np.ndarray:
    return source_of(root, data).train.images[0]


def test_gray_alone_stays_gray(tmp_path: Path) -> None:
    gray = picture(0, mode="L")
    source = source_of(tmp_path, encode(gray), encode(picture(1, mode="L")))
    assert source.channels == 1
    np.testing.assert_array_equal(source.train.images[0], pixels(gray))
    assert source.notes == []


def test_gray_among_color_becomes_color_and_is_told_once(tmp_path: Path) -> None:
    gray = picture(0, mode="L")
    source = source_of(tmp_path, encode(picture(1)), encode(gray), encode(picture(2)), encode(gray))
    assert source.channels == 3
    _ = source.train.decode(np.array([1]))
    assert source.notes == ["1 grayscale picture of the training split was converted to color."]
    _, _ = source.train.images, source.train.decode(np.array([1, 3]))
    assert source.notes == ["2 grayscale pictures of the training split were converted to color."]
    np.testing.assert_array_equal(source.train.images[1], np.repeat(pixels(gray), 3, axis=0))


def test_color_where_nobody_looked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.datasets.sources import encoded
    monkeypatch.setattr(encoded, "SAMPLE", 2)
    gray = encode(picture(0, mode="L"))
    assert source_of(tmp_path, gray, encode(picture(1)), gray).channels == 3


def test_black_and_white_is_gray(tmp_path: Path) -> None:
    image = picture(0, mode="L").convert("1")
    np.testing.assert_array_equal(only_image(tmp_path, encode(image)), pixels(image.convert("L")))


def test_16_bit_gray_keeps_its_high_byte(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 40_000], [65_535, 65_280, 512, 1]], dtype=np.uint16)
    image = only_image(tmp_path, encode(Image.fromarray(values)))
    np.testing.assert_array_equal(image, (values >> 8).astype(np.uint8)[None])


def test_palette_and_transparency(tmp_path: Path) -> None:
    image = picture(0).quantize(16)
    np.testing.assert_array_equal(only_image(tmp_path / "palette", encode(image)), pixels(image.convert("RGB")))
    glass = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    glass.putpixel((0, 0), (10, 20, 30, 255))
    image = only_image(tmp_path / "glass", encode(glass))
    assert image[:, 0, 0].tolist() == [10, 20, 30]
    assert image[:, 3, 3].tolist() == [255, 255, 255]  # shown on white
    key = Image.new("P", (4, 4), 1)
    key.putpalette([0, 0, 0, 9, 9, 9])
    assert (only_image(tmp_path / "key", encode(key, transparency=b"\xff\x00")) == 255).all()
    gray = source_of(tmp_path / "gray", encode(Image.new("LA", (4, 4), (7, 255))))
    assert gray.channels == 1
    assert (gray.train.images == 7).all()


def test_cmyk(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = source_of(tmp_path, encode(image, "JPEG"), extension=".jpg").train.images[0, :, 4, 4]
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = picture(0, (6, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = only_image(tmp_path, encode(image, exif=exif))
    upright = pixels(image)
    expected = {1: upright, 2: upright[:, :, ::-1], 3: upright[:, ::-1, ::-1], 4: upright[:, ::-1],
                5: upright.swapaxes(1, 2), 6: upright[:, ::-1].swapaxes(1, 2),
                7: upright[:, ::-1, ::-1].swapaxes(1, 2), 8: upright[:, :, ::-1].swapaxes(1, 2)}[orientation]
    np.testing.assert_array_equal(turned, expected)


def test_shorter_side_scaled_and_center_cropped() -> None:
    stripes = np.zeros((10, 30, 3), dtype=np.uint8)
    stripes[:, 10:20] = 200
    middle = np.asarray(fit(Image.fromarray(stripes), 10))
    assert middle.shape == (10, 10, 3)
    assert (middle == 200).all()
    for size in ((30, 20), (20, 30), (7, 100), (3, 3), (1, 9)):
        assert fit(picture(0, size), 13).size == (13, 13)
    same = picture(0, (9, 9))
    np.testing.assert_array_equal(np.asarray(fit(same, 9)), np.asarray(same))


def test_scaling_agrees_with_torchvision() -> None:
    from torchvision.transforms import v2

    for size in ((50, 37), (37, 50), (31, 45), (10, 10), (16, 19)):
        image = picture(0, size)
        expected = v2.Compose([v2.Resize(16), v2.CenterCrop(16)])(image)
        np.testing.assert_array_equal(np.asarray(fit(image, 16)), np.asarray(expected))


def bomb(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
            + chunk(b"IEND", b""))


@pytest.mark.parametrize("size", [(20_000, 20_000), (14_000, 13_000)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    write_folder(tmp_path, {"train/a": [bomb(*size)], "test/a": [bomb(*size)]})
    with pytest.raises(SourceError, match=r"000\.png'.* has more than 178,956,970 pixels"):
        open_source(f"folder:{tmp_path}", image_size=8)


def test_the_limit_holds_where_pillows_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    write_folder(tmp_path, {"train/a": [bomb(20_000, 20_000)], "test/a": [bomb(8, 8)]})
    with pytest.raises(SourceError, match=r"\(20000x20000\) has more than"):
        open_source(f"folder:{tmp_path}", image_size=8)


def test_large_pictures_give_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # Pillow warns from here on, and refuses above twice it
    assert source_of(tmp_path, encode(picture(0))).train.images.shape == (1, 3, 6, 8)


def test_many_threads_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(tmp_path, *(encode(picture(i)) for i in range(40)))
    whole = source.train.decode(np.arange(40))
    monkeypatch.setattr(pictures_module, "CHUNK_BYTES", 1)
    np.testing.assert_array_equal(source.train.decode(np.arange(40)), whole)


def tiff(values: np.ndarray) -> bytes:
    return encode(Image.fromarray(values), "TIFF")


def test_floats_from_0_to_1(tmp_path: Path) -> None:
    values = np.array([[0, 0.25, 0.5], [0.999, 1, 0.001]], np.float32)
    np.testing.assert_array_equal(only_image(tmp_path, tiff(values)),
                                  np.floor(255 * values.astype(np.float64) + 0.5).astype(np.uint8)[None])


@pytest.mark.parametrize("values, message", [
    (np.array([[0, 254.5]], np.float32), r"has floats from 0 to 254\.5, and floats are in \[0, 1\]"),
    (np.array([[-0.5, 1]], np.float32), "has floats from -0.5 to 1"),
    (np.array([[np.nan, 1]], np.float32), "has floats from nan"),
    (np.array([[0, 70_000]], np.int32), "has whole numbers of 32 bits, of which none is known to be white")])
def test_numbers_without_a_known_white_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(SourceError, match=f"^'.*/000.png' {message}"):
        only_image(tmp_path, tiff(values))


def test_16_bit_gray_in_a_tiff_keeps_its_high_byte(tmp_path: Path) -> None:
    values = np.array([[0, 256, 65_535]], np.uint16)
    assert only_image(tmp_path, tiff(values)).ravel().tolist() == [0, 1, 255]


def test_a_split_of_one_value_is_told_by_the_run(tmp_path: Path) -> None:
    from roar import pipeline
    from roar.experiment import load_experiment

    black = encode(Image.new("L", (8, 8)))
    write_folder(tmp_path / "images", {f"{split}/{name}": [black if split == "train" else encode(picture(3, mode="L"))]
                                       for split in ("train", "test") for name in ("a", "b")})
    experiment = load_experiment(None, {"source": {"name": f"folder:{tmp_path / 'images'}", "image_size": 8},
                                        "store": str(tmp_path / "store")})
    facts = pipeline.prepare(experiment).source.facts
    assert [fact.partition(";")[0] for fact in facts] == ["Every pixel of the training split is 0"]
