"""What is known of an estimator, as columns say it: its family, its place in every table, its name in the paper.

A column ``estimator`` holds a name to show, with a key behind it where one store holds two settings of one estimator:
``vargrad (3f2a19)``. What the estimator is stands in columns of its own, which were written where it was known.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from roar.errors import AnalysisError

REFERENCE = "reference"  # the cell at threshold 0, which all estimators share
CONTROLS = ("random", "random-bernoulli", "sobel")
GROUPS = ("gradient", "integrated-gradients", "guided-backprop", "others", "truth", "controls")
ENSEMBLES = ("base", "magnitude", "smoothgrad", "smoothgrad-magnitude", "smoothgrad-squared", "vargrad")
ESTIMATOR_FACTS = ("family", "base", "ensemble", "control_of")  # columns beside ``estimator``
MODEL_FACTS = ("architecture", "model_seed")  # columns beside ``model``
FACTS = (*ESTIMATOR_FACTS, *MODEL_FACTS, "variant")
CONTROL, TRUTH = "control", "truth"  # families of estimators that explain no network
BLIND = (CONTROL, TRUTH, REFERENCE)  # families whose trainings all networks share

_PREFIXES = {"base": "", "smoothgrad": "SG-", "smoothgrad-squared": "SG-SQ-", "vargrad": "VAR-"}
_SHORT = {"gradient": "GRAD", "integrated-gradients": "IG", "guided-backprop": "GB"}
_PUBLISHED_CONTROLS = ("random", "sobel")


@dataclass(frozen=True)
class Facts:
    """An estimator in a frame.

    Attributes:
        name: to show, unique in a panel.
        family: what shares its passes; ``control``, ``truth`` and ``matched-spectrum`` are families too.
        base: the name of the method that it is, or that it is an ensemble around.
        ensemble: one of :data:`ENSEMBLES`.
        control_of: the name of the estimator whose smoothness it has; empty for others.
    """

    name: str
    family: str
    base: str
    ensemble: str
    control_of: str = ""

    @classmethod
    def of(cls, row: Mapping[Hashable, object], column: str = "estimator", prefix: str = "") -> Facts:
        """Those of a frame's row."""
        return cls(str(row[column]), *(str(row[f"{prefix}{name}"]) for name in ESTIMATOR_FACTS))

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a row: ``estimator`` and :data:`ESTIMATOR_FACTS`."""
        return {"estimator": self.name, **{name: getattr(self, name) for name in ESTIMATOR_FACTS}}

    @property
    def is_control(self) -> bool:
        return self.family == CONTROL

    @property
    def knows_no_model(self) -> bool:
        """Whether all networks share its ranking: a control, or an oracle."""
        return self.family in BLIND

    @property
    def group(self) -> str:
        """Which of :data:`GROUPS` it is shown among."""
        if self.is_control:
            return "controls"
        return self.family if self.family in GROUPS else "others"

    @property
    def order(self) -> tuple[int, int, str, int, str]:
        """A sorting key: the reference, then group by group, a base before its ensembles, controls last."""
        if self.family == REFERENCE:
            return (-1, 0, "", 0, "")
        control = CONTROLS.index(self.base) if self.is_control and self.base in CONTROLS else 0
        ensemble = ENSEMBLES.index(self.ensemble) if self.ensemble in ENSEMBLES else len(ENSEMBLES)
        return (GROUPS.index(self.group), control, self.base, ensemble, self.name)

    @property
    def paper_name(self) -> str | None:
        """The name in the published table (``SG-SQ-GRAD``, ``VAR-IG``, ``Random``); None where it has none."""
        if self.is_control:
            return self.base.capitalize() if self.base in _PUBLISHED_CONTROLS else None
        if self.family not in _SHORT or self.base != self.family or self.ensemble not in _PREFIXES:
            return None
        return _PREFIXES[self.ensemble] + _SHORT[self.base]


UNTOUCHED = Facts(REFERENCE, REFERENCE, REFERENCE, "base")


def facts_of(frame: pd.DataFrame, column: str = "estimator", prefix: str = "") -> dict[str, Facts]:
    """What is known of every estimator in a frame by its name, in the order of all tables.

    Args:
        column: of the names.
        prefix: of the columns of its facts.

    Raises:
        AnalysisError: the frame lacks the columns of the facts.
    """
    columns = [f"{prefix}{name}" for name in ESTIMATOR_FACTS]
    require(frame, [column, *columns], "rows")
    known = [Facts.of(row, column, prefix) for row in
             frame[[column, *columns]].drop_duplicates(column).to_dict("records")]
    return {facts.name: facts for facts in sorted(known, key=lambda facts: facts.order)}


def require(frame: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    """Raise an AnalysisError that names the columns which a frame lacks."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise AnalysisError(f"The {name} lack the columns {', '.join(missing)}; give a frame with all of "
                            f"{', '.join(columns)}.")
