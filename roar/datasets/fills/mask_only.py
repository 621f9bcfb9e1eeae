"""The mask in the place of the image."""

from __future__ import annotations

import torch
from torch import Tensor

from roar.datasets.fills.base import FillContext
from roar.datasets.fills.registry import built_in
from roar.experiment import MASK_ONLY


@built_in(MASK_ONLY, "the mask in the place of the whole image: 255 where a pixel is removed, 0 where it is kept",
          whole=True)
def mask_only(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    """255 where a pixel is removed and 0 where it is kept, in all channels: of the image's content nothing is left.

    A network trained on these shows what the mask alone tells of the class (Rong et al. 2022).
    """
    return mask.to(torch.uint8) * 255
