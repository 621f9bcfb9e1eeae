"""The estimators as their definitions read: slow, in float64, one image and one sample at a time.

Nothing here is shared with ``roar.estimators`` but the names of the seeds; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from roar.seeds.streams import derive, random_order

# From a network, an image [C, H, W] and its class, to attributions [C, H, W].
Base = Callable[[nn.Module, Tensor, int], Tensor]


def gradient(network: nn.Module, image: Tensor, target: int) -> Tensor:
    """d f_target(x) / dx."""
    x = image.clone().requires_grad_()
    network(x[None])[0, target].backward(inputs=[x])
    assert x.grad is not None
    return x.grad


def integrated_gradients(network: nn.Module, image: Tensor, target: int, baseline: Tensor, steps: int) -> Tensor:
    """(x - x') (1/K) sum_k grad f(x' + (k - 1/2)/K (x - x')), k = 1 .. K."""
    total = torch.zeros_like(image)
    for k in range(1, steps + 1):
        total += gradient(network, baseline + (k - 0.5) / steps * (image - baseline), target)
    return (image - baseline) * total / steps


class GuidedReLU(torch.autograd.Function):
    """ReLU whose backward pass keeps only positive gradients, as in figure 1 of Springenberg et al."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) & (gradient > 0), gradient, torch.zeros_like(gradient))


class GuideEveryReLU(TorchFunctionMode):
    """Within it, every call of a ReLU is a call of GuidedReLU; in place or not, the values are the same."""

    relus = (torch.relu, torch.relu_, torch.nn.functional.relu, torch.nn.functional.relu_, Tensor.relu, Tensor.relu_)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.relus:
            return GuidedReLU.apply(args[0])
        return function(*args, **(kwargs or {}))


def guided_backprop(network: nn.Module, image: Tensor, target: int) -> Tensor:
    with GuideEveryReLU():
        return gradient(network, image, target)


def noise(image: Tensor, index: int, family: str, samples: int, share: float, root_seed: int, split: str) -> Tensor:
    """e_1 .. e_J ~ N(0, s^2), s = share (max x - min x), [J, C, H, W]; drawn in float32."""
    generator = torch.Generator().manual_seed(derive(root_seed, f"{family}/noise", split, index))
    drawn = [torch.randn(image.shape, generator=generator) for _ in range(samples)]
    return torch.stack(drawn).to(image.dtype) * share * (image.max() - image.min())


def six_members(base: Tensor, noisy: list[Tensor]) -> dict[str, Tensor]:
    """The ensembles, from g and all of g_1 .. g_J, under the names of the gradient's family."""
    mean = sum(noisy) / len(noisy)
    return {
        "gradient": base,
        "gradient-magnitude": base * base,
        "smoothgrad": mean,
        "smoothgrad-magnitude": mean * mean,
        "smoothgrad-squared": sum(g * g for g in noisy) / len(noisy),
        "vargrad": sum((g - mean) ** 2 for g in noisy) / len(noisy),
    }


def name_in_family(name: str, base: str, suffix: str) -> str:
    """``smoothgrad`` is ``smoothgrad-ig`` in the family of integrated gradients, and so on."""
    if name.startswith("gradient"):
        return name.replace("gradient", base)
    return name + suffix


def ranks(scores: np.ndarray, index: int, seed: int) -> np.ndarray:
    """Shuffle the pixels, sort them by falling score so that equals stay as shuffled, and number them."""
    shuffled = random_order(seed, index, len(scores)).tolist()
    order = sorted(shuffled, key=lambda pixel: -float(scores[pixel]))
    result = np.empty(len(scores), np.int64)
    for rank, pixel in enumerate(order):
        result[pixel] = rank
    return result


def sobel(image: np.ndarray) -> np.ndarray:
    """sqrt(Gx^2 + Gy^2) of 0.299 R + 0.587 G + 0.114 B, pixel by pixel, [H, W]."""
    _, height, width = image.shape
    kernel = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]

    def light(y: int, x: int) -> float:
        red, green, blue = image[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)].tolist()
        return (299 * red + 587 * green + 114 * blue) / 1000

    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            window = [[light(y + i, x + j) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
            across = sum(kernel[i][j] * window[i][j] for i in range(3) for j in range(3))
            down = sum(kernel[j][i] * window[i][j] for i in range(3) for j in range(3))
            result[y, x] = (across**2 + down**2) ** 0.5
    return result
