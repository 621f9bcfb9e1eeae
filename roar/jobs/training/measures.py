"""What is known of a trained network besides its accuracy: loss, calibration, sparsity, size of its weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.jobs.training.penalties import decaying

BINS = 15  # of the calibration error
SMALL = 1e-3  # a weight below this counts as none


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross entropy (nats) and share of images whose largest logit ``[N, K]`` is the label's ``[N]``."""
    labels = labels.to(logits.device)
    right = (logits.argmax(1) == labels).float().mean()
    return F.cross_entropy(logits, labels).item(), right.item()


def calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The expected calibration error, in [0, 1] (Guo et al. 2017, eq. 3).

    Images are put into bins ((b - 1) / B, b / B] by the probability of the predicted class; the error is the mean
    over images of |accuracy - mean probability| of their bin.
    """
    probability, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels.to(logits.device)).double()
    which = (probability * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=logits.device).index_add_(0, which, right - probability)
    return gap.abs().sum().item() / len(labels)


def sparsity(network: nn.Module) -> float:
    """Share of the weights of two or more dimensions with |w| < 1e-3."""
    weights = decaying(network)
    return sum(int((w.abs() < SMALL).sum()) for w in weights) / sum(w.numel() for w in weights)


def weight_norm(network: nn.Module) -> float:
    """The Euclidean norm of all weights of two or more dimensions together."""
    return math.sqrt(sum(w.detach().double().square().sum().item() for w in decaying(network)))
