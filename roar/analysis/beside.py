"""Controls of what is not importance: each belongs to one estimator and stands beside it, never among the others.

Replacing pixels leaves a shape, and a shape may tell the class by itself; and a smooth ranking removes whole patches,
which hurts more than scattered pixels whether or not they matter. Two trainings measure the one and the other:

    fill ``mask-only``              the estimator's binary masks alone, without any pixel of the image
    estimator ``random-blurred(E)`` a random ranking that is as smooth as E's
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

MASK_ONLY = "mask-only"
BLURRED = "random-blurred"


@dataclass(frozen=True, eq=False)
class Separated:
    """Results in three parts, each with the columns of the whole.

    Attributes:
        results: those of the estimators.
        blurred: those of ``random-blurred(E)``, with E in the column ``estimator``.
        masks: those of the masks alone; ``fill`` is ``mask-only``.
    """

    results: pd.DataFrame
    blurred: pd.DataFrame
    masks: pd.DataFrame


def separate(results: pd.DataFrame) -> Separated:
    """The results of the estimators apart from their controls of smoothness and of shape."""
    owner = results["control_of"].astype(str)
    smooth, shape = owner != "", results["fill"].astype(str) == MASK_ONLY
    blurred = results.assign(estimator=owner)[smooth & ~shape]
    return Separated(results[~smooth & ~shape], blurred, results[shape & ~smooth])
