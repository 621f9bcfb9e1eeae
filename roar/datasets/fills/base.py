"""What a fill is, and what it may depend on.

A fill is a function ``(images, removed, context) -> images``; of its result only what lies under the mask is taken,
so a constant color and a fill that computes from the image look the same (but ``mask-only`` takes the place of the
whole image: it shows where pixels are removed and nothing else). No fill's result depends on how images are divided
into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from roar.errors import SourceError, UsageError


@dataclass(frozen=True, eq=False)
class FillContext:
    """What a fill may depend on, besides images and mask.

    Attributes:
        mean: uint8 ``[C]``, the training split's channel mean (:func:`roar.datasets.channel_mean`).
        root_seed: the experiment's root seed.
        split: ``"train"`` or ``"test"``.
        indices: int64 ``[N]``, where each image lies in the whole split.
    """

    mean: Tensor
    root_seed: int = 0
    split: str = "train"
    indices: Tensor | None = None

    def part(self, rows: slice) -> FillContext:
        """The context of some of the images."""
        return replace(self, indices=None if self.indices is None else self.indices[rows])

    def image_indices(self, device: torch.device) -> Tensor:
        """The indices on a device.

        Raises:
            UsageError: there are none.
        """
        if self.indices is None:
            raise UsageError("A random fill needs the indices of the images, not None; give them in the context.")
        return self.indices.to(device, torch.int64)


# images uint8 [n, C, H, W], mask bool [n, 1 or C, H, W] -> uint8, broadcastable to [n, C, H, W]
FillFunction = Callable[[Tensor, Tensor, FillContext], Tensor]


@dataclass(frozen=True)
class Fill:
    """What replaces a pixel; travels to a worker as a pickle.

    Attributes:
        name: in tables and keys.
        description: for ``roar list fills``.
        needs_color: whether it is undefined for images of one channel.
        whole: whether all of its result is taken, and not only what lies under the mask.
        code: what a key contains of a fill that is not roar's; ``None`` of a built-in one.
    """

    name: str
    description: str
    function: FillFunction
    needs_color: bool = False
    whole: bool = False
    code: Mapping[str, Any] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What a key contains of it."""
        return {"fill": self.name} if self.code is None else {"fill": self.name, "fill_code": dict(self.code)}

    def check_channels(self, channels: int) -> None:
        """Raise a SourceError unless images may have this many channels."""
        if self.needs_color and channels == 1:
            raise SourceError(f"The fill '{self.name}' needs images with 3 channels, not 1; take 'mean' or another "
                              "fill.")
