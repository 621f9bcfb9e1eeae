"""The linear task of Hooker et al. 2019 (arXiv:1806.10758, section 4.1) as 4x4 images.

    x = a z / 10 + d eta + epsilon / 10,        y = z > 0

a, d and epsilon have 16 dimensions, z and eta one; all are standard normal, a and d are drawn once, and only the
first four values of a are not zero. So the first row of pixels carries the class, under a disturbance d eta that
is much larger and that only the other pixels let one take away.

A pixel is x in steps of 1/16 around 128: ``round(128 + 16 x)``, cut off at 0 and 255. A step is then 0.6 of the
standard deviation of epsilon / 10, and nothing below |x| = 7.9 is cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from roar.datasets.registry import source_kind
from roar.datasets.source import Request, WholeSource, WholeSplit
from roar.datasets.sources.arrays import array_split
from roar.datasets.sources.options import check_range, parse_options
from roar.errors import UsageError
from roar.seeds.streams import derive

DEFAULTS = {"train": 5_000, "test": 1_000, "seed": 0}
DIMENSIONS = 16
INFORMATIVE = 4
STEPS = 16  # of a pixel for 1 of x


@source_kind("hooker-toy", "the 16-dimensional linear task of Hooker et al. 2019, 1x4x4, 2 classes; offline", "OPTIONS",
             argument_required=False)
def open_hooker_toy(argument: str, request: Request) -> WholeSource:
    """Open ``hooker-toy`` or ``hooker-toy:train=5000,test=1000,seed=0``.

    Raises:
        UnknownNameError, UsageError: an option does not exist or is out of range.
    """
    options = parse_options("hooker-toy", argument, DEFAULTS)
    for name, low, high in (("train", 1, 10**7), ("test", 1, 10**7), ("seed", 0, 2**63 - 1)):
        check_range("hooker-toy", options, name, low, high)
    if request.image_size not in (None, 4):
        raise UsageError(f"The images of 'hooker-toy' have 4x4 pixels and are not scaled to {request.image_size}; "
                         "leave the image size out.")
    return WholeSource("hooker-toy", ("z <= 0", "z > 0"), 1, 4, 4, _split(options, "train"), _split(options, "test"))


def _split(options: Mapping[str, int | float], split: str) -> WholeSplit:
    seed, count = int(options["seed"]), int(options[split])
    a, d = _normal(seed, "vectors", (2, DIMENSIONS))
    a[INFORMATIVE:] = 0
    draws = _normal(seed, split, (count, 2 + DIMENSIONS))
    z, eta, epsilon = draws[:, :1], draws[:, 1:2], draws[:, 2:]
    x = a * z / 10 + d * eta + epsilon / 10
    images = np.rint(128 + STEPS * x).clip(0, 255).astype(np.uint8).reshape(count, 1, 4, 4)
    whole = array_split(images, (z[:, 0] > 0).astype(np.int64), None)
    text = json.dumps(["hooker-toy", dict(options), split], sort_keys=True)
    return WholeSplit(whole.labels, whole.decode, _Digest(hashlib.sha256(text.encode()).digest()), _Truth())


def _normal(seed: int, purpose: str, shape: tuple[int, int]) -> np.ndarray:
    """Standard normal numbers from counters, the same for every version of NumPy."""
    from scipy.special import ndtri

    key = np.array([derive(seed, "hooker-toy", purpose), 0], dtype=np.uint64)
    words = np.random.Philox(key=key).random_raw(shape[0] * shape[1])
    return np.asarray(ndtri(((words >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53)).reshape(shape)


@dataclass(frozen=True)
class _Digest:
    digest: bytes

    def __call__(self, positions: np.ndarray) -> bytes:
        return self.digest


@dataclass(frozen=True)
class _Truth:
    def __call__(self, positions: np.ndarray) -> np.ndarray:
        truth = np.zeros((len(positions), DIMENSIONS), dtype=bool)
        truth[:, :INFORMATIVE] = True
        return truth.reshape(-1, 4, 4)
