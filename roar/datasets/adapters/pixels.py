"""Arrays, tensors and pictures to 8-bit images and labels.

Floats are in [0, 1] and become ``floor(255 x + 0.5)``, which gives back the 8-bit values that were divided by 255.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from roar.datasets.sources.pictures import BROKEN, check_depth, eight_bit, is_gray
from roar.errors import SourceError

BLOCK = 256  # images that are converted at a time
HASH_BYTES = 16


def to_images(value: Any, what: str) -> np.ndarray:
    """Images uint8 ``[N, C, H, W]``, C = 1 or 3, from an array or a tensor.

    Args:
        value: ``[N, C, H, W]``, ``[N, H, W, C]`` (where both fit, the first is meant) or ``[N, H, W]``; uint8, or
            floats in [0, 1].
        what: a noun for messages, e.g. ``"'train'"``.

    Raises:
        SourceError: it is nothing of this.
    """
    array = _array(value, what)
    shape = array.shape
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape[1:]:
        raise SourceError(f"Images have the shape [N, C, H, W], [N, H, W, C] or [N, H, W] with 1 or 3 channels, and "
                          f"{what} has {list(shape)}; bring them into one of these.")
    return _eight_bits(array, what)


def to_labels(value: Any, what: str) -> np.ndarray:
    """Labels int64 ``[N]`` from an array, a tensor or a list.

    Raises:
        SourceError: they are no integers, or not one for each image.
    """
    array = _array(value, what)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
        raise SourceError(f"Labels are integers of the shape [N], and {what} has {array.dtype} of the shape "
                          f"{list(array.shape)}; give the number of each image's class, from 0 on.")
    labels: np.ndarray = array.astype(np.int64)
    return labels


def to_pixels(value: Any, what: str) -> np.ndarray:
    """One image uint8 ``[C, H, W]``, C = 1 or 3, from a picture, an array or a tensor.

    A picture is turned upright, shown on white where it is transparent, and gray or RGB.

    Raises:
        SourceError: it is no image.
    """
    if not isinstance(value, Image.Image):
        image: np.ndarray = to_images(_array(value, what)[None], what)[0]
        return image
    try:
        gray = is_gray(value)
        check_depth(value)
        picture = eight_bit(ImageOps.exif_transpose(value))
        pixels = np.asarray(picture.convert("L" if gray else "RGB"))
    except BROKEN as error:
        raise SourceError(f"A picture can be decoded, and {what} cannot ({type(error).__name__}: {error}); replace or "
                          "remove it.") from None
    return pixels[None] if gray else pixels.transpose(2, 0, 1)


def to_label(value: Any, what: str) -> int:
    """One label from an integer, or from an array or a tensor that holds one.

    Raises:
        SourceError: it is none.
    """
    array = _array(value, what)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise SourceError(f"A label is an integer, and {what} has {value!r:.80}; give the number of the image's class, "
                          "from 0 on.")
    return int(array.reshape(-1)[0])


def image_hash(image: np.ndarray) -> bytes:
    """Of an image uint8 ``[C, H, W]``, 16 bytes."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=HASH_BYTES).digest()


@dataclass(frozen=True, eq=False)
class ImageHashes:
    """Bytes that determine the images at some positions: the hash of the hashes of each."""

    decode: Callable[[np.ndarray], np.ndarray]

    def __call__(self, positions: np.ndarray) -> bytes:
        digest = hashlib.sha256()
        for start in range(0, len(positions), BLOCK):
            for image in self.decode(positions[start:start + BLOCK]):
                digest.update(image_hash(image))
        return digest.digest()


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"Images and labels are arrays, and of {what} NumPy makes none ({reason}); give an array or "
                          "a tensor.") from None


def _eight_bits(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise SourceError(f"Images are uint8, or floats in [0, 1], and {what} has {array.dtype}; convert them.")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise SourceError(f"Images are uint8, or floats in [0, 1], and {what} has floats from {array.min():g} to "
                          f"{array.max():g}; divide by their largest value, and leave normalization to roar.")
    images = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), BLOCK):
        images[start:start + BLOCK] = np.floor(255 * array[start:start + BLOCK].astype(np.float64) + 0.5)
    return images
