"""Encoded pictures (PNG, JPEG, WebP, ...) to 8-bit arrays, many at a time.

Every picture becomes one channel or three. Orientation in the metadata is applied. What is transparent is
shown on white. 16-bit gray keeps its high byte, as Pillow keeps it of 16-bit color; floats x in [0, 1] become
``floor(255 x + 0.5)``, other floats and 32-bit whole numbers are refused; palettes, CMYK and other modes of 8 bits
are converted as Pillow does. Where a size is asked for, a picture is scaled so that its shorter side has it
(bilinear, antialiased), and the center is cropped.
"""

from __future__ import annotations

import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from roar import machine
from roar.errors import SourceError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
LARGEST = 178_956_970  # pixels; above, Pillow too takes a picture for a decompression bomb
CHUNK_BYTES = 2**20  # encoded, that a thread takes at a time: tiny pictures gain nothing from many threads
FILE_BYTES = 2**16  # what a picture in a file of its own is taken to have

# What Pillow's decoders raise on bytes that are not what they claim to be.
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError,
          AssertionError, MemoryError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError)

T = TypeVar("T")

_GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_ORIENTATION = 0x0112  # the EXIF tag
_quiet = threading.Lock()


class Encoded(NamedTuple):
    """One picture: its bytes or its file, and a function that says for messages where it is."""

    data: bytes | Path
    where: Callable[[], str]


class Frame(NamedTuple):
    """The shape every picture of a source is brought to.

    Attributes:
        channels: 1 or 3.
        height, width: in pixels.
        scaled: bring pictures to this size; otherwise one of another size is an error.
    """

    channels: int
    height: int
    width: int
    scaled: bool


class Header(NamedTuple):
    """What a picture says about itself before it is decoded."""

    height: int
    width: int
    gray: bool


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep Pillow's warnings to itself. Filters belong to the process, hence one block at a time."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(encoded: Encoded) -> Header:
    """Size and color of a picture, without decoding it.

    Raises:
        SourceError: it is no picture, or too large.
    """
    picture = _open(encoded)
    try:
        lies = _orientation(picture) >= 5  # on its side: width and height change places
    except BROKEN as error:
        raise _broken(encoded, error) from None
    width, height = picture.size[::-1] if lies else picture.size
    return Header(height, width, is_gray(picture))


def decode_pictures(pictures: Sequence[Encoded], frame: Frame, images: np.ndarray,
                    slots: np.ndarray) -> list[bool]:
    """Decode pictures into ``images[slots]``, uint8 ``[N, C, H, W]``, on all cores.

    Returns:
        For each picture, whether it was gray and became color.

    Raises:
        SourceError: a picture is broken or does not fit the frame; of several, the first is named.
    """
    total = sum(len(data) if isinstance(data, bytes) else FILE_BYTES for data, _ in pictures)
    step = max(1, CHUNK_BYTES * len(pictures) // max(1, total))

    def decode_chunk(start: int) -> list[bool]:
        part = slice(start, start + step)
        return [_decode_into(encoded, frame, images[slot])
                for encoded, slot in zip(pictures[part], slots[part], strict=True)]

    starts = range(0, len(pictures), step)
    with no_warnings():
        if len(starts) <= 1:
            return decode_chunk(0)
        with ThreadPoolExecutor(min(len(starts), machine.cpus())) as pool:
            return list(chain.from_iterable(pool.map(decode_chunk, starts)))


def reading(path: Path, read: Callable[[Path], T]) -> T:
    """What a function finds in a file.

    Raises:
        SourceError: the file cannot be read, or is a FIFO, a device, ..., which may have no end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"'{path}' is no file; remove it.")
        return read(path)
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read ({error.strerror}); make it readable or remove it.") from None


def fit(picture: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to ``size`` pixels and crop the center, rounding as torchvision does."""
    width, height = picture.size
    shorter = min(width, height)
    if shorter != size:
        width, height = (side * size // shorter for side in (width, height))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


def _open(encoded: Encoded) -> Image.Image:
    data = reading(encoded.data, Path.read_bytes) if isinstance(encoded.data, Path) else encoded.data
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(encoded, "") from None
    except BROKEN as error:
        raise _broken(encoded, error) from None
    if picture.width * picture.height > LARGEST:
        raise _too_large(encoded, f" ({picture.width}x{picture.height})")
    return picture


def _decode_into(encoded: Encoded, frame: Frame, image: np.ndarray) -> bool:
    picture = _open(encoded)
    mode = "L" if frame.channels == 1 else "RGB"
    try:
        check_depth(picture)
        if _orientation(picture) != 1:
            picture = ImageOps.exif_transpose(picture)
        gray = is_gray(picture)
        picture = eight_bit(picture)
        if picture.mode != mode:
            picture = picture.convert(mode)
        if frame.scaled:
            picture = fit(picture, frame.height)
        pixels = np.asarray(picture)
    except BROKEN as error:
        raise _broken(encoded, error) from None
    if pixels.shape[:2] != (frame.height, frame.width):
        raise SourceError("Pictures have one size unless --image-size is given, but these have "
                          f"{frame.width}x{frame.height} pixels, but {encoded.where()} has "
                          f"{pixels.shape[1]}x{pixels.shape[0]}; give --image-size.")
    image[...] = pixels if frame.channels == 1 else pixels.transpose(2, 0, 1)
    return gray and frame.channels == 3


def _orientation(picture: Image.Image) -> int:
    """How the picture lies, as in EXIF: 1 is upright, 5 to 8 are on their side."""
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def is_gray(picture: Image.Image) -> bool:
    """Whether a picture has no color, by its mode."""
    return picture.mode in _GRAY


class UnknownWhiteError(ValueError):
    """A picture whose numbers do not say which of them is white."""


def check_depth(picture: Image.Image) -> None:
    """Refuse whole numbers of 32 bits, but those that Pillow makes of 16 bits in PNG and PPM files.

    Raises:
        UnknownWhiteError: the picture has them.
    """
    if picture.mode == "I" and picture.format not in ("PNG", "PPM"):
        raise UnknownWhiteError("has whole numbers of 32 bits, of which none is known to be white; write 8 or 16 bits")


def eight_bit(picture: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel and nothing transparent.

    Raises:
        UnknownWhiteError: its floats are not in [0, 1].
    """
    if picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        if not (values.min() >= 0 and values.max() <= 1):
            raise UnknownWhiteError(f"has floats from {values.min():g} to {values.max():g}, and floats are in [0, 1], "
                                    "0 black and 1 white; divide by their largest value")
        return Image.fromarray(np.floor(255 * values + 0.5).astype(np.uint8))
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        shown = picture.convert("RGBA")
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
        return shown.convert("L" if is_gray(picture) else "RGB")
    return picture


def _broken(encoded: Encoded, error: BaseException) -> SourceError:
    if isinstance(error, UnidentifiedImageError):
        reason = f"is not a picture in any of {', '.join(FORMATS)}"
    elif isinstance(error, UnknownWhiteError):
        return SourceError(f"{_capital(encoded.where())} {error}.")
    else:
        reason = f"is a broken picture ({' '.join(str(error).split())[:200] or type(error).__name__})"
    return SourceError(f"{_capital(encoded.where())} {reason}; replace or remove it.")


def _too_large(encoded: Encoded, size: str) -> SourceError:
    return SourceError(f"{_capital(encoded.where())}{size} has more than {LARGEST:,} pixels, as a "
                       "decompression bomb would; scale it down or remove it.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
