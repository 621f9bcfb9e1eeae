"""Noisy linear imputation (Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution
methods", arXiv:2202.00449, section 4.2).

Every replaced pixel is the weighted mean of its eight neighbors, 1/6 for those beside it and 1/12 for those
across a corner; the equations of all replaced pixels of an image are solved together, and Gaussian noise is
added. At the border, as in the paper's code, neighbors outside of the image are left out and the weights of the
others are scaled to sum to 1. Where no pixel of a plane is kept there is nothing to go by: the training split's
channel mean fills it.

Times 12 the weights are [1 2 1]^T [1 2 1] without its center, so no matrix is ever built. With

    S x = [1 2 1]^T [1 2 1] * x    (zero outside of the image),        c = S 1,

the equations are m (c x - S x) = 0 for the replaced pixels m: a Laplacian, symmetric and positive definite, with
the diagonal c - 4. Many planes are solved at once: small holes by Chebyshev's steps, those of about the same condition
number together (``chebyshev``), and large holes, where these would be too many, by conjugate gradients. Who is not
solved by the steps for one condition number gets those for twice as large a one.

An image's result does not depend on its batch, on the number of threads or on how the work is divided.
"""

from __future__ import annotations

import torch
from torch import Tensor

from roar.datasets.fills.base import FillContext
from roar.datasets.fills.noisy_linear import chebyshev
from roar.datasets.fills.noisy_linear.conjugate_gradients import conjugate_gradients
from roar.datasets.fills.noisy_linear.scratch import Scratch
from roar.datasets.fills.registry import built_in
from roar.seeds.tensors import random_normal

NOISE = 0.01 * 255  # standard deviation in 8-bit units: the paper's code has 0.01 for images in [0, 1]
SINGLE = 256 * 256  # pixels up to which float32 is exact enough
TWICE = 4  # places between a condition number and one twice as large
CHUNK_VALUES = {"cpu": 2**21}  # images read and written at a time: enough to find many planes that are alike
CACHED_VALUES = {"cpu": 3 * 2**15}  # of planes in Chebyshev's steps, for each thread: five arrays in a core's cache
GRADIENT_VALUES = {"cpu": 2**18}  # of planes in conjugate gradients, which make more calls
LARGE_CHUNK = 2**24  # on other devices


@built_in("noisy-linear", "the weighted mean of the neighbors, solved jointly, plus noise (Rong et al. 2022)")
def noisy_linear(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    """The fill: images uint8 ``[n, C, H, W]``, mask bool ``[n, 1 or C, H, W]``, to uint8 ``[n, C, H, W]``."""
    filled, scratch, values = torch.empty_like(images), Scratch(), images.shape[1:].numel()
    for chunk in _slices(len(images), CHUNK_VALUES.get(images.device.type, LARGE_CHUNK) // values):
        solved, inside = interpolate(images[chunk], mask[chunk], context.mean, scratch), context.part(chunk)
        for part in _slices(len(solved), _cached_values(images.device) // values):
            noise = random_normal(context.root_seed, "noisy-linear", context.split,
                                  inside.part(part).image_indices(images.device), values)
            noisy = solved[part].add_(noise.view_as(solved[part]).mul_(NOISE))
            filled[chunk][part] = noisy.round_().clamp_(0, 255)
    return filled


def interpolate(images: Tensor, mask: Tensor, mean: Tensor, scratch: Scratch | None = None) -> Tensor:
    """The solution of the equations, without noise.

    Args:
        images: uint8 ``[n, C, H, W]``; what lies under the mask does not matter.
        mask: bool ``[n, 1 or C, H, W]``, the replaced pixels.
        mean: ``[C]``, for planes of which nothing is kept.
        scratch: of earlier calls; the result is in its memory.

    Returns:
        float ``[n, C, H, W]``, in 8-bit units; the kept pixels as they are.
    """
    n, C, H, W = images.shape
    scratch, shared = scratch or Scratch(), C // mask.shape[1]  # planes that have a mask in common: an "image" below
    means = mean.to(images.device, torch.float32 if H * W <= SINGLE else torch.float64).repeat(n).view(-1, shared)
    planes, masks = images.reshape(-1, shared, H, W), mask.reshape(-1, H, W)
    result = scratch("result", planes.shape, means)

    cached = _cached_values(images.device) // (H * W)
    group = torch.cat([chebyshev.forecast(masks[part], means, scratch) for part in _slices(len(masks), cached)])
    waiting = [[torch.nonzero(group == index).flatten()] for index in range(len(chebyshev.CONDITIONS) + 1)]
    for index, condition in enumerate(chebyshev.CONDITIONS):
        for chosen in _parts(waiting[index], cached // shared):
            solution, solved = chebyshev.steps(planes.index_select(0, chosen), masks.index_select(0, chosen),
                                               means.index_select(0, chosen), condition, scratch)
            result.index_copy_(0, chosen, solution)
            waiting[min(index + TWICE, len(waiting) - 1)].append(chosen[~solved])
    for chosen in _parts(waiting[-1], GRADIENT_VALUES.get(images.device.type, LARGE_CHUNK) // (shared * H * W)):
        solution = conjugate_gradients(planes.index_select(0, chosen), masks.index_select(0, chosen),
                                       means.index_select(0, chosen), scratch)
        result.index_copy_(0, chosen, solution)
    return result.view(n, C, H, W)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + max(1, size)) for start in range(0, count, max(1, size))]


def _parts(rows: list[Tensor], size: int) -> list[Tensor]:
    together = torch.cat(rows)
    return [together[part] for part in _slices(len(together), size)]


def _cached_values(device: torch.device) -> int:
    return CACHED_VALUES[device.type] * torch.get_num_threads() if device.type in CACHED_VALUES else LARGE_CHUNK
