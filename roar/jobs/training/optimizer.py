"""The learning rate of every step, and the optimizer that takes the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from roar.recipes import Recipe


def learning_rate(recipe: Recipe, step: int, total: int, per_epoch: int) -> float:
    """The rate at one step, 0 .. total - 1, with ``per_epoch`` steps in an epoch.

    Every schedule rises in a line over ``warmup_epochs``. Then one-cycle falls in a line that would be at
    zero one step after the last, step is multiplied by ``decay`` at every milestone, and constant stays.
    """
    warmup = recipe.warmup_epochs * per_epoch
    if recipe.schedule == "one-cycle":
        warmup = min(warmup or total / 4, total - 1)
    rate = recipe.learning_rate
    if step + 1 < warmup:
        return rate * (step + 1) / warmup
    if recipe.schedule == "one-cycle":
        return rate * min(1.0, (total - step) / (total - warmup))
    if recipe.schedule == "step":
        return rate * recipe.decay ** sum(step >= milestone * per_epoch for milestone in recipe.milestones)
    return rate


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; weights of two or more dimensions decay, norms and biases do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum,
                               nesterov=recipe.momentum > 0, fused=True)
    adam = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return adam(groups, lr=recipe.learning_rate, fused=True)
