"""A random ranking as smooth as an estimator's: what its smoothness alone, which knows nothing of an image, is worth.

An estimator's ranks are not independent from pixel to pixel, and a mask of blobs takes away more, or less, than a mask
of single pixels whatever they cover. Its matched-spectrum control is noise with the same power in every spatial
frequency, as the surrogate data of a time series are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from roar.errors import UsageError
from roar.estimators.kinds import MATCHED_SPECTRUM, Estimator, Explainer, MatchedSpectrum
from roar.estimators.ranks import rank_scores
from roar.estimators.registry import ESTIMATORS, maker
from roar.registry import Paper
from roar.seeds.streams import derive

BLURRED = "random-blurred"
THEILER = Paper("Testing for nonlinearity in time series: the method of surrogate data",
                "Theiler, Eubank, Longtin, Galdrikian, Farmer", 1992, "https://doi.org/10.1016/0167-2789(92)90102-S")


@maker(BLURRED, "E", f"{BLURRED}(vargrad)", MATCHED_SPECTRUM, THEILER,
       "a random ranking as smooth as the estimator E's")
def random_blurred(text: str) -> MatchedSpectrum:
    """The matched-spectrum control of an estimator that explains a network.

    Raises:
        UnknownNameError: there is no such estimator.
        UsageError: it explains no network.
    """
    return matched_spectrum_of(ESTIMATORS.find(text))


def matched_spectrum_of(estimator: Estimator) -> MatchedSpectrum:
    """A random ranking as smooth as an estimator's.

    Raises:
        UsageError: the estimator explains no network.
    """
    if not isinstance(estimator, Explainer):
        raise UsageError(f"'{BLURRED}' takes an estimator that explains a network, which '{estimator.name}' does not; "
                         f"write {BLURRED}(vargrad).")
    return MatchedSpectrum(f"{BLURRED}({estimator.name})", MATCHED_SPECTRUM, THEILER,
                           f"a random ranking as smooth as that of {estimator.name}", of=estimator,
                           function=matched_spectrum_ranks, kind=BLURRED,
                           spelling=f"{BLURRED}({estimator.spelling})")


def mean_periodogram(blocks: Iterable[np.ndarray], planes: int, height: int, width: int) -> np.ndarray:
    """S, the mean over images of ``|FFT2(R_i)|^2``: float64 ``[planes, H, W]``.

    R_i is the map of an image's ranks less its mean and over its standard deviation, so every image counts alike. With
    unit ``channel`` each channel's plane is a map of its own. One image is taken at a time and added in order: how they
    lie in blocks changes no bit.

    Args:
        blocks: ranks ``[n, planes H W]`` of some images each.
    """
    total, count = np.zeros((planes, height, width)), 0
    for ranks in blocks:
        for row in ranks:
            maps = row.reshape(planes, height, width).astype(np.float64)
            maps -= maps.mean(axis=(1, 2), keepdims=True)
            deviation = maps.std(axis=(1, 2), keepdims=True)
            total += np.abs(np.fft.fft2(maps / np.where(deviation > 0, deviation, 1))) ** 2
        count += len(ranks)
    return total / max(1, count)


def matched_spectrum_ranks(spectrum: np.ndarray, indices: np.ndarray, root_seed: int,
                           split: str) -> tuple[np.ndarray, float]:
    """Ranks of noise with a given spectrum, ``[N, P]``, and the share of tied pixels.

    White Gaussian noise from (root seed, ``"random-blurred"``, split, index), its Fourier transform times sqrt(S), is
    transformed back and ranked by falling value, ties by lot. The noise is the same for every estimator. It has no
    border, as the transform has none: what leaves an image on one side enters on the other. The planes of unit
    ``channel`` are independent of each other. To rank is to flatten, so the ranks are a little less smooth than the
    estimator's: of blurred noise of 16x16 pixels, autocorrelations are lower by 0.03 or less, and by up to 0.07 where a
    map is one or two blobs.

    Args:
        spectrum: S, ``[planes, H, W]``, from :func:`mean_periodogram`.
        indices: position of each image in its split, ``[N]``.
    """
    import torch

    from roar.seeds.tensors import random_normal

    amplitude = np.sqrt(spectrum)
    scores = np.empty((len(indices), spectrum.size), np.float32)
    for row, index in zip(scores, torch.from_numpy(indices), strict=True):
        noise = random_normal(root_seed, BLURRED, split, index[None], spectrum.size).numpy().astype(np.float64)
        smooth = np.fft.ifft2(np.fft.fft2(noise.reshape(spectrum.shape)) * amplitude)
        row[:] = smooth.real.reshape(-1)
    ranks, tied = rank_scores(torch.from_numpy(scores), indices, derive(root_seed, "ties", split))
    return ranks, tied / max(1, scores.size)
