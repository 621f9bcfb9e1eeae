"""The one shape that every image of a source has."""

from __future__ import annotations

from typing import Any

import numpy as np

from roar.datasets.adapters.forms import Parts
from roar.datasets.adapters.items import read_item
from roar.datasets.sources.pictures import Frame
from roar.errors import SourceError

PROBES = 16  # images of a data set that are looked at


def frame_of(parts: Parts, image_size: int | None) -> Frame:
    """The shape of all images, from those of some: color if one of them is.

    Raises:
        SourceError: sizes differ and no image size is given, or the arrays of both splits differ in their channels.
    """
    seen = [*_shapes("train", parts.train), *_shapes("test", parts.test)]
    channels = max(shape[0] for _, shape in seen)
    if any(isinstance(part, tuple) and part[0].shape[1] != channels for part in (parts.train, parts.test)):
        raise SourceError("The images of both splits have the same channels, but some have 1 and some have 3; "
                          "give all of them 3.")
    if image_size is not None:
        return Frame(channels, image_size, image_size, scaled=True)
    first, (_, height, width) = seen[0]
    for where, (_, other_height, other_width) in seen:
        if (other_height, other_width) != (height, width):
            raise SourceError(f"Images have one size unless --image-size is given, and {first} has {width}x{height} "
                              f"pixels and {where} {other_width}x{other_height}; give --image-size.")
    return Frame(channels, height, width, scaled=False)


def _shapes(name: str, part: Any) -> list[tuple[str, tuple[int, ...]]]:
    """The shapes of some images of a split, each with the words for where it is."""
    if part is None:
        return []
    if isinstance(part, tuple):
        return [(f"image 0 of '{name}'", part[0].shape[1:])]
    positions = np.unique(np.linspace(0, len(part) - 1, PROBES).astype(np.int64)).tolist()
    return [(f"image {position} of '{name}'", read_item(part, position, name)[0].shape) for position in positions]
