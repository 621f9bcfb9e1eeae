"""What a regularizer adds to the loss of a training, and what it does to the weights before a step.

The formulas are those of ``roar.models.regularizers.kinds``. w runs over the weights of two or more dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from roar.models.regularizers import Regularizer


def weight_penalty(network: nn.Module, regularizer: Regularizer) -> Callable[[], Tensor] | None:
    """The sum of the terms that depend on the weights alone, in float32; ``None`` where there is none.

    l1: lambda sum |w|; l2: lambda/2 sum w^2; group-lasso: lambda sum_f sqrt(|f|) ||w_f|| over the filters f of all
    convolutions (Yuan and Lin 2006, eq. 2.1; Wen et al. 2016, eq. 1).
    """
    l1, l2, groups = regularizer.l1, regularizer.l2, regularizer.group_lasso
    weights = decaying(network)
    filters = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d) and m.weight.requires_grad]
    if not (l1 or l2 or groups):
        return None

    def penalty() -> Tensor:
        total = weights[0].new_zeros(())
        if l1:
            total = total + l1 * torch.stack([w.abs().sum() for w in weights]).sum()
        if l2:
            total = total + l2 / 2 * torch.stack([w.square().sum() for w in weights]).sum()
        if groups and filters:
            norms = [w[0].numel() ** 0.5 * torch.linalg.vector_norm(w.flatten(1), dim=1).sum() for w in filters]
            total = total + groups * torch.stack(norms).sum()
        return total

    return penalty


def input_gradient_penalty(loss: Tensor, images: Tensor) -> Tensor:
    """mean_i ||d loss_i / d x_i||^2, to be differentiated once more (Drucker and LeCun 1992, double backprop).

    Args:
        loss: scalar, the mean over the batch.
        images: normalized, ``[B, C, H, W]``, requiring gradients.
    """
    gradient, = torch.autograd.grad(loss * len(images), images, create_graph=True)
    return gradient.square().sum() / len(images)


def decay_weights(weights: list[Tensor], rate: float, decay: float) -> None:
    """w <- (1 - rate decay) w, the decoupled decay of Loshchilov and Hutter 2017 (arXiv:1711.05101)."""
    if decay:
        with torch.no_grad():
            torch._foreach_mul_(weights, 1 - rate * decay)


def decaying(network: nn.Module) -> list[Tensor]:
    """The weights that are regularized: those of two or more dimensions that are not frozen."""
    return [p for p in network.parameters() if p.requires_grad and p.ndim >= 2]
