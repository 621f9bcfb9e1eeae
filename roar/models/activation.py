"""Images that excite a unit of a network most: gradient ascent on the input (Olah et al. 2017, "Feature
Visualization", doi:10.23915/distill.00007; the recipe of its library lucid).

The image is a sum of Fourier waves whose coefficients are learned, each divided by its frequency, so that all of them
take steps of equal energy; its colors are mixed so that they vary together as in photographs (``color_mixing``). A
sigmoid keeps it in [0, 1]. At every step it is moved and scaled a little at random, so that what excites the unit is a
pattern and not the exact value of some pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.errors import ModelError, UnknownNameError

JITTER = 2 / 32  # of the image's size, to every side
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
RATE = 0.05  # of Adam, as lucid's
START = 0.01  # standard deviation of the first coefficients
CLASSES = "classes"  # the network's output, as a layer


def layer_names(network: nn.Module) -> list[str]:
    """Layers with units: every convolution, linear layer and activation by its name in the network, and the output."""
    kinds = (nn.Conv2d, nn.Linear, nn.ReLU, nn.GELU, nn.SiLU, nn.BatchNorm2d)
    return [*(name for name, module in network.named_modules() if isinstance(module, kinds)), CLASSES]


def most_exciting(network: nn.Module, layer: str, units: Sequence[int], channels: int, size: int, mean: Sequence[float],
                  std: Sequence[float], mixing: Tensor, steps: int = 256, seed: int = 0) -> Tensor:
    """One image per unit, float32 ``[U, C, size, size]`` in [0, 1], the same for the same seed.

    What grows is the mean over the plane of a unit's channel, or the unit itself where there is no plane. All images
    are climbed at once and do not touch each other, for the network is in evaluation mode.

    Args:
        network: of normalized images; left as it was.
        layer: one of :func:`layer_names`.
        units: channels of the layer, from 0.
        channels: C, of the images; mean, std: what normalizes them, in [0, 1] units.
        mixing: of :func:`color_mixing`, ``[C, C]``.

    Raises:
        UnknownNameError: there is no such layer; the message names the nearest.
        ModelError: the layer has fewer units.
    """
    if layer not in layer_names(network):
        raise UnknownNameError("layer", layer, layer_names(network))
    frozen = {p: p.requires_grad for p in network.parameters()}
    was_training = network.training
    answers: list[Tensor] = []
    watched = network if layer == CLASSES else network.get_submodule(layer)
    hook = watched.register_forward_hook(lambda module, given, out: answers.append(out))
    generator = torch.Generator().manual_seed(seed)
    waves = START * torch.randn(1, channels, size, size // 2 + 1, 2, generator=generator)
    waves = waves.repeat(len(units), 1, 1, 1, 1).requires_grad_()  # units start from one image: differences are theirs
    center, spread = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    optimizer = torch.optim.Adam([waves], lr=RATE)
    network.eval()
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for _ in range(steps):
            answers.clear()
            network((moved(painted(waves, size, mixing), generator) - center) / spread)
            excitement = _excitement(answers[0], layer, units)
            optimizer.zero_grad()
            (-excitement.sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return painted(waves, size, mixing).detach()
    finally:
        hook.remove()
        network.train(was_training)
        for parameter, wanted in frozen.items():
            parameter.requires_grad_(wanted)


def _excitement(answer: Tensor, layer: str, units: Sequence[int]) -> Tensor:
    """How much each image excites its own unit, ``[U]``: of answers ``[U, units, ...]``, or a transformer's
    ``[U, tokens, units]``."""
    answer = answer.transpose(1, 2) if answer.ndim == 3 else answer
    if max(units) >= answer.shape[1]:
        raise ModelError(f"The layer '{layer}' has {answer.shape[1]} units, and unit {max(units)} is not among them; "
                         f"give --unit 0:{answer.shape[1]} or fewer.")
    chosen = answer[torch.arange(len(units)), torch.tensor(units)]
    return chosen.flatten(1).mean(1) if chosen.ndim > 1 else chosen


def painted(waves: Tensor, size: int, mixing: Tensor) -> Tensor:
    """Images ``[U, C, size, size]`` in [0, 1] from Fourier coefficients ``[U, C, size, size // 2 + 1, 2]``."""
    down, across = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / size)
    coefficients = torch.view_as_complex(waves.contiguous()) / frequency
    plane = torch.fft.irfft2(coefficients, s=(size, size), norm="ortho") / 4  # together lucid's scale
    return torch.einsum("dc,uchw->udhw", mixing, plane).sigmoid()


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image scaled and shifted at random, mirrored at its border; shape and range stay."""
    count = len(images)
    scale = torch.tensor(SCALES)[torch.randint(len(SCALES), (count,), generator=generator)]
    shift = 2 * JITTER * (2 * torch.rand(count, 2, generator=generator) - 1)  # the plane is -1 .. 1
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    there: Tensor = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return there


def color_mixing(images: Tensor) -> Tensor:
    """``[C, C]``: turns independent colors into colors that vary together as those of ``images`` do.

    The symmetric root of the colors' covariance, scaled so that its largest column has norm 1 (lucid's
    ``color_correlation_svd_sqrt`` is that of ImageNet; here it is that of the images at hand, uint8 ``[N, C, H, W]``).
    """
    colors = images.double().div(255).movedim(1, 0).flatten(1)
    centered = colors - colors.mean(1, keepdim=True)
    covariance = centered @ centered.T / max(1, centered.shape[1])
    values, vectors = torch.linalg.eigh(covariance + 1e-8 * torch.eye(len(colors)))
    root: Tensor = vectors @ values.sqrt().diag() @ vectors.T
    mixing: Tensor = root / root.norm(dim=0).max()
    return mixing.float()


def first_filters(network: nn.Module) -> Tensor:
    """The filters of the first convolution ``[F, C, h, w]``, each shifted and scaled to [0, 1] with 0 at 0.5.

    Raises:
        ModelError: the network has no convolution.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().cpu()
            scaled: Tensor = 0.5 + weight / (2 * weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=math.ulp(1.0)))
            return scaled
    raise ModelError("The network has no convolution, so there are no filters to show; choose another model.")
