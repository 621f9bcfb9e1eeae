"""How alike two rankings of one image are: Spearman's rank correlation, and the overlap of the pixels on top.

Everything is counted in whole numbers, which floating point adds up exactly, so the result depends neither on how many
images are taken at a time nor on the order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roar.datasets.degradation import replaced_count
from roar.errors import EstimatorError

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
SPEARMAN, IOU = "spearman", "iou"
HELD = 2**23  # numbers of a block of rankings that are held at a time


@dataclass(frozen=True, eq=False)
class Similarity:
    """Of n pairs of rankings (or ``[n, E, E]``, of every two of E).

    Attributes:
        spearman: in [-1, 1]; NaN where a ranking puts all pixels in one place.
        iou: ``[..., T]`` in [0, 1], one for each threshold; NaN where no pixel is on top.
    """

    spearman: Floats
    iou: Floats


def inner_thresholds(thresholds: Iterable[float]) -> tuple[float, ...]:
    """Those between 0 and 100 percent, where the pixels on top are some and not all."""
    return tuple(t for t in sorted(set(thresholds)) if 0 < t < 100)


def every_two(rankings: Sequence[np.ndarray], thresholds: Sequence[float]) -> Similarity:
    """Every two of E rankings of the same n images, ``[n, E, E]``.

    Args:
        rankings: E arrays ``[n, P]`` of ranks in ``0 .. P - 1``, 0 the most important. Equal ranks (of
            `random-bernoulli`) share the mean of their places, as in Spearman's correlation with ties.
        thresholds: percent of the pixels, each above 0 and below 100; rounded as in the degradation.

    Raises:
        EstimatorError: the rankings are not of the same images and pixels.
    """
    stacked = _stacked(rankings)
    places = _centered_places(stacked)
    products = places @ places.swapaxes(1, 2)
    squares = np.diagonal(products, axis1=1, axis2=2)
    overlaps = []
    for threshold in thresholds:
        top = (stacked < replaced_count(threshold, stacked.shape[2])).astype(np.float64)
        overlaps.append(_iou(top @ top.swapaxes(1, 2), top.sum(axis=2)[:, :, None], top.sum(axis=2)[:, None, :]))
    shape = products.shape
    return Similarity(_correlation(products, squares[:, :, None] * squares[:, None, :]),
                      np.stack(overlaps, axis=-1) if overlaps else np.empty((*shape, 0)))


def one_by_one(first: np.ndarray, second: np.ndarray, thresholds: Sequence[float]) -> Similarity:
    """Two rankings ``[n, P]`` of the same n images, as :func:`every_two`: ``[n]``."""
    _ = _shape([first, second])
    size = images_at_a_time(2, max(1, first.shape[1]))
    return joined([_two(first[start:start + size], second[start:start + size], thresholds)
                   for start in range(0, max(1, len(first)), size)])


def _two(first: np.ndarray, second: np.ndarray, thresholds: Sequence[float]) -> Similarity:
    found = every_two([first, second], thresholds)
    return Similarity(found.spearman[:, 0, 1], found.iou[:, 0, 1])


def joined(parts: Sequence[Similarity]) -> Similarity:
    """Those of some images after those of others."""
    return Similarity(np.concatenate([part.spearman for part in parts]), np.concatenate([part.iou for part in parts]))


def images_at_a_time(rankings: int, pixels: int) -> int:
    return max(1, HELD // (rankings * pixels))


def chance(threshold: float, pixels: int) -> float:
    """The mean overlap of two independent uniform rankings at a threshold; their mean correlation is 0.

    With k of P pixels on top of each, the number in common is hypergeometric.
    """
    from scipy import stats

    k = replaced_count(threshold, pixels)
    if not 0 < k <= pixels:
        return float("nan")
    common = np.arange(max(0, 2 * k - pixels), k + 1)
    return float(np.sum(stats.hypergeom.pmf(common, pixels, k, k) * common / (2 * k - common)))


def averages(similarity: Similarity, thresholds: Sequence[float], pixels: int) -> list[dict[str, Any]]:
    """The means over n images with their spread and 95 % t interval: a row for Spearman, one for each threshold.

    Values are rounded to float32 first, as they are kept per image, so both tell the same. Where fewer than two images
    have a value, there is no spread.
    """
    measures = [(SPEARMAN, float("nan"), similarity.spearman, 0.0)]
    measures += [(IOU, threshold, similarity.iou[:, t], chance(threshold, pixels))
                 for t, threshold in enumerate(thresholds)]
    return [{"measure": measure, "threshold": threshold, **_summary(values), "by_chance": by_chance}
            for measure, threshold, values, by_chance in measures]


def _summary(values: Floats) -> dict[str, Any]:
    from scipy import stats

    kept = values.astype(np.float32).astype(np.float64)
    kept = kept[np.isfinite(kept)]
    n = len(kept)
    mean = float(kept.mean()) if n else float("nan")
    std = float(kept.std(ddof=1)) if n > 1 else float("nan")
    half = float(stats.t.ppf(0.975, n - 1)) * std / n**0.5 if n > 1 else float("nan")
    return {"mean": mean, "std": std, "n": n, "ci_low": mean - half, "ci_high": mean + half}


def image_table(words: Mapping[str, Sequence[str]], indices: np.ndarray, values: Sequence[Similarity]) -> pa.Table:
    """A row for each comparison and image: its correlation and, in the order of the thresholds, its overlaps.

    Args:
        words: columns that tell the comparisons apart, a word for each.
        indices: positions of the images in their split, int64 ``[n]``.
        values: of each comparison, over the n images.
    """
    import pyarrow as pa

    count = len(indices)
    columns = {name: pa.array(np.repeat(own, count)).dictionary_encode() for name, own in words.items()}
    columns |= {"index": pa.array(np.tile(indices, len(values)), pa.int64()),
                "spearman": pa.array(np.concatenate([own.spearman for own in values]), pa.float32())}
    overlaps = np.concatenate([own.iou for own in values]).astype(np.float32)
    if overlaps.shape[1]:
        columns["iou"] = pa.FixedSizeListArray.from_arrays(pa.array(overlaps.reshape(-1)), overlaps.shape[1])
    return pa.table(columns)


def _stacked(rankings: Sequence[np.ndarray]) -> np.ndarray:
    """``[n, E, P]``"""
    _ = _shape(rankings)
    return np.stack(rankings, axis=1)


def _shape(rankings: Sequence[np.ndarray]) -> tuple[int, ...]:
    """``[n, P]``, which all have."""
    shapes = sorted({ranks.shape for ranks in rankings})
    if len(shapes) != 1:
        sizes = " and ".join(f"{n} images of {p} pixels" for n, p in shapes)
        raise EstimatorError(f"Rankings are compared image by image and pixel by pixel, and these have {sizes}; rank "
                             "the same images with one estimators.unit.")
    return shapes[0]


def _centered_places(ranks: np.ndarray) -> Floats:
    """Twice each pixel's place less the mean place, ties at the mean of theirs: whole numbers, float64."""
    pixels = ranks.shape[-1]
    if all(_is_permutation(row) for row in ranks.reshape(-1, pixels)):
        return np.asarray(2.0 * ranks - (pixels - 1), dtype=np.float64)
    from scipy import stats

    return np.asarray(2.0 * (stats.rankdata(ranks, axis=-1) - 1) - (pixels - 1), dtype=np.float64)


def _is_permutation(row: np.ndarray) -> bool:
    return bool((np.bincount(row, minlength=len(row)) == 1).all())


def _correlation(products: Floats, squares: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(squares > 0, products / np.sqrt(squares), np.nan), dtype=np.float64)


def _iou(common: Floats, first: Floats, second: Floats) -> Floats:
    either = first + second - common
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(either > 0, common / either, np.nan), dtype=np.float64)
