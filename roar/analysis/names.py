"""What an estimator's name says: its family, its ensemble, and its place in every table and figure.

The names are those of the project's design: a base (``gradient``, ``integrated-gradients``, ...), a base's
square (``...-magnitude``), or an ensemble around a base (``smoothgrad``, ``smoothgrad-ig``, ``vargrad-gb``).
Where one store holds two settings of one estimator, a key in brackets tells them apart: ``vargrad (3f2a19)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REFERENCE = "reference"  # the cell at threshold 0, which all estimators share
CONTROLS = ("random", "random-bernoulli", "sobel")
ORACLES = ("oracle", "oracle-noisy", "oracle-inverted")  # know the true pixels of made images
FAMILIES = ("gradient", "integrated-gradients", "guided-backprop", "others", "truth", "controls")
ENSEMBLES = ("base", "magnitude", "smoothgrad", "smoothgrad-magnitude", "smoothgrad-squared", "vargrad")

_SUFFIXES = {"": "gradient", "ig": "integrated-gradients", "gb": "guided-backprop"}
_KEY = re.compile(r" \([0-9a-f]{6}\)$")
_PREFIXES = {"base": "", "smoothgrad": "SG-", "smoothgrad-squared": "SG-SQ-", "vargrad": "VAR-"}
_SHORT = {"gradient": "GRAD", "integrated-gradients": "IG", "guided-backprop": "GB"}


@dataclass(frozen=True)
class Parts:
    """An estimator's name taken apart.

    Attributes:
        family: one of :data:`FAMILIES`.
        base: the base estimator's own name; a control is its own base.
        ensemble: one of :data:`ENSEMBLES`.
    """

    family: str
    base: str
    ensemble: str

    @property
    def is_control(self) -> bool:
        return self.family == "controls"


def parts(estimator: str) -> Parts:
    """Take an estimator's name apart; an unknown name is a base of the family ``others``.

    >>> parts("smoothgrad-squared-ig")
    Parts(family='integrated-gradients', base='integrated-gradients', ensemble='smoothgrad-squared')
    """
    estimator = without_key(estimator)
    if estimator in CONTROLS:
        return Parts("controls", estimator, "base")
    if estimator.partition("(")[0] in ORACLES:
        return Parts("truth", estimator, "base")
    for ensemble in ("smoothgrad-magnitude", "smoothgrad-squared", "smoothgrad", "vargrad"):
        if estimator == ensemble or estimator.startswith(ensemble + "-"):
            suffix = estimator[len(ensemble) + 1:]
            base = _SUFFIXES.get(suffix, suffix)
            return Parts(_family(base), base, ensemble)
    base = estimator.removesuffix("-magnitude")
    return Parts(_family(base), base, "base" if base == estimator else "magnitude")


def without_key(estimator: str) -> str:
    """The name without the key that tells two settings of one estimator apart."""
    return _KEY.sub("", estimator)


def knows_no_model(estimator: str) -> bool:
    """Whether all networks share an estimator's ranking: a control, or an oracle."""
    return parts(estimator).family in ("controls", "truth")


def _family(base: str) -> str:
    return base if base in FAMILIES[:3] else "others"


def order(estimator: str) -> tuple[int, int, str, int, str]:
    """A sorting key: the reference, then family by family, a base before its ensembles, controls last."""
    if estimator == REFERENCE:
        return (-1, 0, "", 0, "")
    p = parts(estimator)
    control = CONTROLS.index(p.base) if p.is_control else 0
    return (FAMILIES.index(p.family), control, p.base, ENSEMBLES.index(p.ensemble), estimator)


def paper_name(estimator: str) -> str | None:
    """The name in the published table (``SG-SQ-GRAD``, ``VAR-IG``, ``Random``); None where it has none."""
    p = parts(estimator)
    if p.base in ("random", "sobel"):
        return p.base.capitalize()
    if p.base not in _SHORT or p.ensemble not in _PREFIXES:
        return None
    return _PREFIXES[p.ensemble] + _SHORT[p.base]
