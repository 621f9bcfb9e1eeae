"""The gradient of the target's logit, with its sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from roar.errors import EstimatorError
from roar.estimators.registry import method
from roar.registry import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.autograd.graph import Node

SIMONYAN = Paper("Deep Inside Convolutional Networks: Visualizing Image Classification Models and Saliency "
                 "Maps", "Simonyan, Vedaldi, Zisserman", 2013, "https://arxiv.org/abs/1312.6034")

NOT_DIFFERENTIABLE = ("The network's logits have no gradient with respect to the images; a network to be explained "
                      "must be differentiable from pixels to logits.")


@method("gradient", SIMONYAN, "gradient of the target's logit, with its sign", aliases=("grad",))
def gradient(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """g = d f_target(x) / dx, ``[B, C, H, W]``, in logits per unit of the normalized input."""
    return input_gradient(network, images, targets)


def input_gradient(network: nn.Module, images: Tensor, targets: Tensor,
                   change_backward: Callable[[Node], None] | None = None) -> Tensor:
    """d f_target(x) / dx of every image, in one forward and one backward pass.

    Images do not mix in evaluation mode, so the gradient of the sum over images is each image's own.

    Args:
        images: normalized, float32 ``[B, C, H, W]``.
        targets: the class explained of each image, int64 ``[B]``.
        change_backward: called with the last node of the autograd graph before the backward pass.

    Raises:
        EstimatorError: the logits do not depend on the images.
    """
    import torch

    # Channels last in memory: convolutions are faster so, on CPUs and GPUs.
    points = images.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    # A copy, because a network may begin with an operation in place.
    explained = network(points.clone()).gather(1, targets[:, None]).sum()
    if explained.grad_fn is None:
        raise EstimatorError(NOT_DIFFERENTIABLE)
    if change_backward is not None:
        change_backward(explained.grad_fn)
    return torch.autograd.grad(explained, points)[0]
