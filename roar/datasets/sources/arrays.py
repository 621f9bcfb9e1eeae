"""Splits whose images are one array in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from roar.datasets.source import WholeSplit
from roar.datasets.sources.pictures import fit


@dataclass(frozen=True, eq=False)
class _Decode:
    images: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        if len(positions) == len(self.images) and np.array_equal(positions, np.arange(len(positions))):
            return self.images  # all of them, in order: no second copy
        return np.asarray(self.images[positions])


@dataclass(frozen=True, eq=False)
class _Digest:
    images: np.ndarray

    def __call__(self, positions: np.ndarray) -> bytes:
        digest = hashlib.sha256()
        for start in range(0, len(positions), 1024):
            digest.update(self.images[positions[start:start + 1024]].tobytes())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class _Hashes:
    images: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        found = [hashlib.blake2b(np.ascontiguousarray(self.images[position]).data, digest_size=16).digest()
                 for position in positions.tolist()]
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 16)


def array_split(images: np.ndarray, labels: np.ndarray, image_size: int | None) -> WholeSplit:
    """A split from images uint8 ``[N, C, H, W]``, C = 1 or 3, and labels ``[N]``."""
    if image_size is not None and images.shape[2:] != (image_size, image_size):
        images = np.stack([resized(image, image_size) for image in images])
    images = np.ascontiguousarray(images)
    return WholeSplit(np.asarray(labels, dtype=np.int64), _Decode(images), _Digest(images), hashes=_Hashes(images))


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """An image uint8 ``[C, H, W]`` with its shorter side scaled to ``size`` pixels and its center cropped."""
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    pixels = np.asarray(fit(picture, size))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
