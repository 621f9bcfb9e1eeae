"""Whether a network fits the images it is to explain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from roar.errors import ModelError

# What torch says where images shrink to nothing on the way.
TOO_SMALL = re.compile(r"greater than actual input size|[Oo]utput size is too small|smaller than kernel size")

if TYPE_CHECKING:
    from torch import Tensor, nn


def checked_logits(network: nn.Module, images: Tensor) -> Tensor:
    """The logits ``[B, K]`` of normalized images ``[B, C, H, W]``.

    Raises:
        ModelError: the network cannot take such images, or gives something else than finite logits.
    """
    import torch

    shape = "x".join(map(str, images.shape[1:]))
    try:
        logits = network(images)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelError(f"The network cannot take images of {shape} ({_reason(error)}); choose a network for this "
                         "size, or set source.image_size.") from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(images):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"A network must give logits [N, K] and for {len(images)} images of {shape} this one "
                         f"gave {given}; wrap it so that it returns its logits alone.")
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("The network's logits are not all finite; its weights are broken or do not fit the "
                         "normalization.")
    return logits


def _reason(error: Exception) -> str:
    """The first line of an error, or in words that the images are too small."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return "they are too small for its layers" if TOO_SMALL.search(first) else first


def check_classes(classes: int, labels: np.ndarray, num_classes: int | None) -> None:
    """Whether K logits fit the labels, which are in ``0 .. num_classes - 1``.

    Raises:
        ModelError: they do not.
    """
    if num_classes is not None and classes != num_classes:
        raise ModelError(f"The network gives {classes} logits and the source has {num_classes} classes; use "
                         "weights that were trained on this source's classes.")
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise ModelError(f"The network gives {classes} logits and {len(bad)} of {len(labels)} labels are outside "
                         f"0 .. {classes - 1} (the first is {labels[bad[0]]}); use weights that were trained on "
                         "this source's classes.")
