"""Random numbers per image and pixel from counters: the same on every device and in every batch.

The draws of an image depend on (root seed, purpose, the image's index) and on nothing else. Only whole numbers
and a table are used, no transcendental function, whose last bit may depend on where in a batch a value lies.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from roar.seeds.streams import derive


def random_words(seed: int, indices: Tensor, count: int) -> Tensor:
    """64 random bits for each of ``count`` counters of each image: int64 ``[n, count]``.

    SplitMix64 (Steele, Lea & Flood 2014), keyed by the image's own first word.

    Args:
        seed: from :func:`roar.seeds.streams.derive`.
        indices: int64 ``[n]``.
        count: how many words an image needs.
    """
    keys = _mixed(indices * _GAMMA + seed)
    counters = torch.arange(1, count + 1, device=indices.device)
    return _mixed(keys[:, None] + counters * _GAMMA)


def random_bytes(root_seed: int, purpose: str, split: str, indices: Tensor, count: int) -> Tensor:
    """Uniform bytes, uint8 ``[n, count]``."""
    words = random_words(derive(root_seed, purpose, split), indices, count)
    return words.bitwise_right_shift(56).bitwise_and_(0xFF).to(torch.uint8)


def random_normal(root_seed: int, purpose: str, split: str, indices: Tensor, count: int) -> Tensor:
    """Standard normal numbers, float32 ``[n, count]``: one of 65,536 equally likely quantiles each."""
    words = random_words(derive(root_seed, purpose, split), indices, -(-count // 4))
    places = words.view(torch.int16)[:, :count].to(torch.int32).add_(2**15)
    return _quantiles().to(indices.device).index_select(0, places.flatten()).view(places.shape)


@cache
def _quantiles() -> Tensor:
    levels = (torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16
    quantiles: Tensor = torch.special.ndtri(levels)
    return quantiles.float()


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _mixed(words: Tensor) -> Tensor:
    words = _shifted(words, 30).bitwise_xor_(words).mul_(_FIRST)
    words = _shifted(words, 27).bitwise_xor_(words).mul_(_SECOND)
    return _shifted(words, 31).bitwise_xor_(words)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """A shift to the right that brings in zeros, as of unsigned words."""
    return words.bitwise_right_shift(bits).bitwise_and_(2**(64 - bits) - 1)
