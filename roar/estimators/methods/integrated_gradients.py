"""Integrated gradients along the straight path from a reference image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.estimators.methods.gradient import input_gradient
from roar.estimators.registry import method
from roar.registry import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn

SUNDARARAJAN = Paper("Axiomatic Attribution for Deep Networks", "Sundararajan, Taly, Yan", 2017,
                     "https://arxiv.org/abs/1703.01365")


@method("integrated-gradients", SUNDARARAJAN, "mean gradient on the path from a reference image, times the path",
        suffix="ig", aliases=("ig",), passes=lambda settings: settings.ig_steps)
def integrated_gradients(network: nn.Module, images: Tensor, targets: Tensor, *, baseline: Tensor,
                         ig_steps: int, rows: int) -> Tensor:
    """(x - x') mean_k grad f_target(x' + a_k (x - x')) with a_k = (k - 1/2) / K, ``[B, C, H, W]``.

    Equation 3 of the paper, by the midpoint rule: the scores of an image sum to f_target(x) - f_target(x') up to
    the rule's error.

    Args:
        baseline: x', the reference image, normalized, ``[C, 1, 1]``.
        ig_steps: K.
        rows: images that one pass may hold; with fewer images, several steps share a pass.
    """
    count = len(images)
    difference = images - baseline
    total = images.new_zeros(images.shape)
    together = max(1, rows // count)
    for first in range(0, ig_steps, together):
        steps = range(first, min(first + together, ig_steps))
        alphas = images.new_tensor([(k + 0.5) / ig_steps for k in steps])
        points = baseline + alphas.view(-1, 1, 1, 1, 1) * difference
        gradients = input_gradient(network, points.flatten(0, 1), targets.repeat(len(steps)))
        for gradient in gradients.view(len(steps), count, *images.shape[1:]):
            total += gradient
    return total.mul_(difference).div_(ig_steps)
