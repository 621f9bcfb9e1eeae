"""From scores to ranks: the order of falling score, ties broken by lot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from roar.seeds.streams import random_words

if TYPE_CHECKING:
    from torch import Tensor

CACHED = 2**18  # scores that a CPU sorts at once: what is made of them stays in its cache


def rank_type(pixels: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned type that holds ``pixels - 1``; at most 2^32 pixels."""
    return np.dtype(np.min_scalar_type(pixels - 1))


def rank_scores(scores: Tensor, indices: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """The place of every pixel in the order of falling score.

    Equal scores (0.0 and -0.0 are equal) are ordered by lot, the smaller of ``random_words(seed, index, P)``
    first, never by position: the result is that of a stable sort after a shuffle.

    Score and pixel are packed into one 64-bit integer, the score's bits above: integers sort several times
    faster than an ``argsort``, and the sorted scores show the ties.

    Args:
        scores: float32 ``[N, P]``, finite, on any device; the sort runs there.
        indices: position of each image in its split, int64 ``[N]``.
        seed: of the lots.

    Returns:
        ranks ``[N, P]`` in ``0 .. P - 1``, each row a permutation, 0 the largest score; and how many pixels
        share their score with another of their image.
    """
    rows = max(1, CACHED // scores.shape[1] if scores.device.type == "cpu" else len(scores))
    ranks = np.empty(tuple(scores.shape), rank_type(scores.shape[1]))
    tied = 0
    for first in range(0, len(scores), rows):
        block = slice(first, first + rows)
        order, shared = _falling_order(scores[block], indices[block], seed)
        ranks[block] = _inverse(order)
        tied += shared
    return ranks, tied


def accumulated(before: np.ndarray, count: int, present: np.ndarray) -> np.ndarray:
    """Ranks in which what was replaced stays first and the rest follows by a new ranking.

    Args:
        before: ``[N, P]``, every row a permutation of ``0 .. P - 1``.
        count: pixels replaced already: those with ``before < count``, which keep their ranks.
        present: ranks of the same pixels; of those replaced already they do not matter.
    """
    if count == 0:
        return present
    kept = before < count
    left = np.where(kept, before, present.astype(np.int64) + before.shape[1])
    ranks = np.empty_like(before)
    order = np.argsort(left, axis=1)
    np.put_along_axis(ranks, order, np.arange(before.shape[1], dtype=before.dtype)[None], axis=1)
    return ranks


def _falling_order(scores: Tensor, indices: np.ndarray, seed: int) -> tuple[Tensor, int]:
    """The pixels of every image by falling score, int64 ``[N, P]``, and how many share their score."""
    import torch

    pixels = scores.shape[1]
    # Adding 0.0 makes -0.0 positive. The bits of a float order like integers, the negative ones upside down.
    bits = (scores + 0.0).view(torch.int32)
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    keys = ((~rising).long() << 32) | torch.arange(pixels, device=scores.device)
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)  # in place, and several times as fast as torch's
    else:
        keys = keys.sort(dim=1).values
    equal = (keys[:, 1:] ^ keys[:, :-1]) >> 32 == 0
    order = keys & 0xFFFFFFFF
    tied = 0
    for row in equal.any(dim=1).nonzero()[:, 0].tolist():
        lots = random_words(seed, int(indices[row]), pixels)
        drawn, involved = _draw_lots(order[row].cpu().numpy(), equal[row].cpu().numpy(), lots)
        order[row] = torch.from_numpy(drawn)
        tied += involved
    return order, tied


def _draw_lots(order: np.ndarray, equal: np.ndarray, lots: np.ndarray) -> tuple[np.ndarray, int]:
    """An order with its runs of equal scores sorted by lot, and the number of pixels in such runs.

    Args:
        order: pixels by falling score, int64 ``[P]``.
        equal: whether place p + 1 has the score of place p, ``[P - 1]``.
        lots: a number per pixel, ``[P]``.
    """
    in_run = np.concatenate([equal, [False]]) | np.concatenate([[False], equal])
    run = np.cumsum(np.concatenate([[True], ~equal]))
    places = np.flatnonzero(in_run)
    pixels = order[places]
    drawn = order.copy()
    drawn[places] = pixels[np.lexsort((pixels, lots[pixels], run[places]))]
    return drawn, len(places)


def _inverse(order: Tensor) -> np.ndarray:
    """``ranks[i, order[i, r]] = r`` in the smallest unsigned type."""
    import torch

    count, pixels = order.shape
    if order.device.type == "cpu":
        ranks = np.empty(count * pixels, rank_type(pixels))
        starts = np.arange(count)[:, None] * pixels
        ranks[(order.numpy() + starts).reshape(-1)] = np.tile(np.arange(pixels, dtype=ranks.dtype), count)
        return ranks.reshape(count, pixels)
    places = torch.arange(pixels, device=order.device).expand(count, pixels)
    return torch.empty_like(order).scatter_(1, order, places).cpu().numpy().astype(rank_type(pixels))
