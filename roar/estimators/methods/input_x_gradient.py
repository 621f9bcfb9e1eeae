"""Input times gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.estimators.methods.gradient import input_gradient
from roar.estimators.registry import method
from roar.registry import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn

SHRIKUMAR_2016 = Paper("Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
                       "Shrikumar, Greenside, Shcherbina, Kundaje", 2016, "https://arxiv.org/abs/1605.01713")


@method("input-x-gradient", SHRIKUMAR_2016, "normalized image times the gradient of the target's logit",
        suffix="ixg", aliases=("ixg",), ensembles=False)
def input_x_gradient(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """x d f_target(x) / dx, ``[B, C, H, W]``: the first term of the logit's expansion, from the mean color on."""
    return images * input_gradient(network, images, targets)
