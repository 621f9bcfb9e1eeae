"""Data sets of Hugging Face's, told by their ``features``; the package ``datasets`` is not needed for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roar.errors import SourceError

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "labels", "fine_label")


@dataclass(frozen=True, eq=False)
class Rows:
    """A data set whose items are dictionaries, as one whose items are pairs of an image and a label."""

    data: Any
    image: str
    label: str

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> tuple[Any, Any]:
        row = self.data[position]
        return row[self.image], row[self.label]

    @property
    def classes(self) -> list[str] | None:
        return getattr(self.data.features[self.label], "names", None)

    @property
    def targets(self) -> np.ndarray:
        """The whole column of labels, which costs no image."""
        return np.asarray(list(self.data[self.label]))


def as_map_style(data: Any, split: str) -> Any:
    """A data set of Hugging Face's as pairs of an image and a label; anything else as it is.

    The image is the column of the feature ``Image``, else the one called image or img; the label that of the feature
    ``ClassLabel``, else the one called label, labels or fine_label.

    Raises:
        SourceError: it has no such column.
    """
    features = getattr(data, "features", None)
    if not isinstance(features, Mapping):
        return data
    columns = []
    for kind, names in (("Image", IMAGE_NAMES), ("ClassLabel", LABEL_NAMES)):
        typed = [name for name, feature in features.items() if type(feature).__name__ == kind]
        found = [*(name for name in names if name in typed), *typed, *(name for name in names if name in features)]
        if not found:
            raise SourceError(f"A split has a column with the feature {kind}, and '{split}' has "
                              f"{', '.join(map(repr, features))}; name one '{names[0]}'.")
        columns.append(found[0])
    return Rows(data, *columns)
