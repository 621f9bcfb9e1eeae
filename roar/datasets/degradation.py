"""Degradation: the pixels a ranking names are replaced; 8-bit images in, 8-bit images out."""

from __future__ import annotations

from fractions import Fraction
from math import floor, isfinite

import torch
from torch import Tensor

from roar.datasets.fills.base import Fill, FillContext
from roar.datasets.fills.constant import mean
from roar.errors import SourceError, UnknownNameError, UsageError

MODES = ("roar", "kar")
CHUNK_VALUES = 2**24  # channel values handled at a time: bounds what degradation needs besides its result

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def replaced_count(threshold: float, pixels: int) -> int:
    """``floor(t * P / 100 + 1/2)``: how many of an image's P pixels are replaced at t percent.

    t counts as the decimal number it prints as, so halves are exact: 0.7 % of 500 pixels are 3.5, hence 4.

    Raises:
        UsageError: t is not in 0 .. 100.
    """
    if not (isfinite(threshold) and 0 <= threshold <= 100):
        raise UsageError(f"A threshold is in 0 .. 100 percent, not {threshold}; give one in that range.")
    return floor(Fraction(repr(float(threshold))) * pixels / 100 + Fraction(1, 2))


def replaced_mask(ranks: Tensor, threshold: float, mode: str) -> Tensor:
    """Which pixels are replaced: bool, of the shape of ``ranks``.

    Args:
        ranks: any integer type, ``[N, P]``, every row a permutation of ``0 .. P-1``.
        threshold: t, percent of the pixels that are replaced.
        mode: ``roar``: ranks below k; ``kar``: ranks of P - k and above.

    Raises:
        UnknownNameError: there is no such mode.
        UsageError: t is not in 0 .. 100.
    """
    pixels = ranks.shape[-1]
    k = replaced_count(threshold, pixels)
    if mode not in MODES:
        raise UnknownNameError("mode", mode, MODES)
    boundary = k if mode == "roar" else pixels - k
    if boundary == 0 or boundary == pixels:  # the boundary itself may not fit the type of the ranks
        everything = k == pixels
        return torch.full(ranks.shape, everything, dtype=torch.bool, device=ranks.device)
    if ranks.dtype in _SIGNED:  # torch does not compare these; with the top bit flipped they order as signed
        lowest = torch.iinfo(_SIGNED[ranks.dtype]).min
        ranks, boundary = ranks.view(_SIGNED[ranks.dtype]) ^ lowest, boundary + lowest
    return ranks < boundary if mode == "roar" else ranks >= boundary


def degrade(images: Tensor, ranks: Tensor, threshold: float, mode: str, fill: Tensor | Fill,
            context: FillContext | None = None) -> Tensor:
    """Images whose most (``roar``) or least (``kar``) important t percent of pixels are replaced.

    Args:
        images: uint8 ``[N, C, H, W]``, on any device.
        ranks: any integer type, ``[N, P]``, on the same device; P = H*W (a pixel is replaced in every
            channel) or C*H*W (each channel value ranks alone).
        threshold: t, percent.
        mode: ``roar`` or ``kar``.
        fill: one color, uint8 ``[C]``, or a fill, which then needs ``context``.
        context: what a fill may depend on, for these images.

    Returns:
        A new tensor, uint8 ``[N, C, H, W]``.

    Raises:
        SourceError: shapes do not fit.
        UnknownNameError: there is no such mode.
        UsageError: t is not in 0 .. 100.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise SourceError(f"Degradation takes uint8 images [N, C, H, W], not {images.dtype} of shape "
                          f"{tuple(images.shape)}; decode them with a source.")
    N, C, H, W = images.shape
    if ranks.ndim != 2 or len(ranks) != N or ranks.shape[1] not in (H * W, C * H * W):
        raise SourceError(f"Ranks are [N, H*W] or [N, C*H*W], that is {[N, H * W]} or {[N, C * H * W]}, not "
                          f"{list(ranks.shape)}; rank the same source.")
    if ranks.is_floating_point() or ranks.is_complex() or ranks.dtype == torch.bool:
        raise SourceError(f"Ranks are integers, not {ranks.dtype}; rank the scores first.")
    if isinstance(fill, Tensor):
        if fill.shape != (C,) or fill.dtype != torch.uint8:
            raise SourceError(f"A fill color is uint8 [{C}], one value per channel, not {fill.dtype} "
                              f"{list(fill.shape)}; take the channel mean of the same source.")
        context = FillContext(fill)
        fill = Fill("mean", "", mean)
    elif context is None:
        raise UsageError(f"The fill '{fill.name}' needs a context with the channel mean; give one.")
    fill.check_channels(C)
    planes = ranks.shape[1] // (H * W)
    degraded = torch.empty_like(images, memory_format=torch.contiguous_format)
    step = max(1, CHUNK_VALUES // max(1, C * H * W))
    for start in range(0, N, step):
        part = slice(start, start + step)
        mask = replaced_mask(ranks[part], threshold, mode).view(-1, planes, H, W)
        replacement = fill.function(images[part], mask, context.part(part))
        if fill.whole:
            degraded[part] = replacement
        else:
            torch.where(mask, replacement, images[part], out=degraded[part])
    return degraded
