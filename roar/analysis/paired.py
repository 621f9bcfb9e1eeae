"""Statistics of differences that are paired by seed: interval, test, bootstrap, correction for many tests.

Seed s starts every training from the same weights and the same order of batches, so the difference of two
cells is taken seed by seed, and the differences are a sample of size n. Everything here works on the last
axis of an array and skips NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Paired:
    """A sample's mean, what is known about it, and whether it is zero; arrays of one shape.

    Attributes:
        mean, std: of the differences, std with n - 1 in the denominator.
        n: how many there are.
        low, high: the Student t interval of the mean; NaN below two differences.
        p: two-sided, of the t test that the mean is zero; NaN below two differences or where all are the same
            and not zero, for then there is no spread to judge them by.
    """

    mean: Floats
    std: Floats
    n: npt.NDArray[np.int64]
    low: Floats
    high: Floats
    p: Floats


def paired(differences: npt.ArrayLike, confidence: float = CONFIDENCE) -> Paired:
    """Student's paired test and interval along the last axis; NaN are left out.

    The numbers are those of ``scipy.stats.ttest_1samp``, for many samples of different sizes at a time.
    """
    from scipy import stats

    d = np.asarray(differences, dtype=np.float64)
    here = np.isfinite(d)
    n = here.sum(axis=-1)
    filled = np.where(here, d, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, filled.sum(axis=-1) / n, np.nan)
        squares = np.where(here, (filled - mean[..., None]) ** 2, 0.0).sum(axis=-1)
        std = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
        std = np.where(std <= 1e-12 * np.abs(mean), 0.0, std)  # equal but for rounding
        error = std / np.sqrt(n)
        freedom = np.where(n > 1, n - 1, np.nan)
        half = stats.t.ppf((1 + confidence) / 2, freedom) * error
        p = 2 * stats.t.sf(np.abs(mean / error), freedom)
    p = np.where(std == 0, np.where(mean == 0, 1.0, np.nan), p)
    return Paired(mean, std, n, mean - half, mean + half, p)


def holm(p: npt.ArrayLike) -> Floats:
    """P values corrected by Holm's method (1979) over all tests that have one; NaN stay NaN and do not count.

    The numbers are those of ``statsmodels.stats.multitest.multipletests``, which collects garbage at every call
    and so takes a thousand times as long.
    """
    values = np.asarray(p, dtype=np.float64)
    rising = np.argsort(values)  # NaN last
    m = int(np.isfinite(values).sum())
    stepped = np.maximum.accumulate(values[rising[:m]] * np.arange(m, 0, -1))
    corrected = np.full_like(values, np.nan)
    corrected[rising[:m]] = np.minimum(stepped, 1.0)
    return corrected


def bootstrap_intervals(samples: npt.ArrayLike, seed: int = 0, resamples: int = RESAMPLES,
                        confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Percentile bootstrap intervals of the means of samples ``[rows, S]`` (``scipy.stats.bootstrap``).

    NaN are left out; samples with the same seeds are resampled together. With as few as five differences the
    interval is too narrow (it covers the mean about five times in six, see the tests); it is given beside the t
    interval because it assumes no normal distribution. Below three differences it is NaN: resampling one or two
    numbers says nothing.
    """
    from scipy import stats

    d = np.asarray(samples, dtype=np.float64)
    low, high = np.full(len(d), np.nan), np.full(len(d), np.nan)
    here = np.isfinite(d)
    for pattern in np.unique(here, axis=0):
        rows = (here == pattern).all(axis=1)
        if pattern.sum() >= 3:
            found = stats.bootstrap((d[rows][:, pattern],), np.mean, axis=1, n_resamples=resamples, vectorized=True,
                                    confidence_level=confidence, method="percentile",
                                    rng=np.random.default_rng(seed))
            low[rows], high[rows] = found.confidence_interval
    return low, high


def few_seeds(n: int) -> str:
    """What so few seeds cannot say; empty from three seeds on.

    >>> few_seeds(1)
    'one seed: no spread, no interval, no test'
    """
    if n == 0:
        return "no common seed"
    if n == 1:
        return "one seed: no spread, no interval, no test"
    if n == 2:
        return "two seeds: one degree of freedom, so the interval is very wide; no bootstrap"
    return ""
