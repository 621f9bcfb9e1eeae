"""Regularisers by name: parsed, spelled in one way, and laid over a recipe. No torch here.

    recipe                          weight decay and label smoothing as the recipe says (the default)
    none                            nothing: no weight decay, no label smoothing, no dropout
    l2(1e-5)+dropout(0.3)           exactly these; the recipe's own do not come on top
    recipe+dropout(0.3)             these besides the recipe's own

The formulas are in :data:`KINDS`; ``roar.jobs.training.penalties`` computes them. w runs over the weights of two or more
dimensions, so norms and biases are never penalised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from roar.errors import ExperimentError, UnknownNameError

if TYPE_CHECKING:
    from roar.recipes import Recipe

RECIPE, NONE = "recipe", "none"
DROPOUT, SMOOTHING, DECAY = "dropout", "label-smoothing", "weight-decay"


@dataclass(frozen=True)
class Kind:
    """A regulariser that can be asked for.

    Args:
        parameters: their names, in the order they are given in.
        below: every parameter is at least 0 and below this number.
        formula: what it adds or does.
        paper: where it comes from.
    """

    name: str
    parameters: tuple[str, ...]
    below: float
    formula: str
    paper: str

    @property
    def spelling(self) -> str:
        return f"{self.name}({', '.join(self.parameters)})" if self.parameters else self.name


KINDS: dict[str, Kind] = {kind.name: kind for kind in (
    Kind(RECIPE, (), 0, "weight decay and label smoothing as the recipe says; the default", ""),
    Kind(NONE, (), 0, "no weight decay, no label smoothing, no dropout", ""),
    Kind(DROPOUT, ("p",), 1, "an input of the layer that `roar list models --verbose` names is 0 with chance p",
         "Srivastava et al. 2014"),
    Kind("l2", ("lambda",), 1e6, "loss + lambda/2 sum w^2, whose gradient is lambda w", "Krogh and Hertz 1991"),
    Kind(DECAY, ("lambda",), 1e6, "w - rate lambda w before each step, apart from the loss",
         "Loshchilov and Hutter 2017"),
    Kind("l1", ("lambda",), 1e6, "loss + lambda sum |w|", "Tibshirani 1996"),
    Kind("elastic", ("l1", "l2"), 1e6, "loss + l1 sum |w| + l2/2 sum w^2", "Zou and Hastie 2005"),
    Kind("input-gradient", ("lambda",), 1e6, "loss + lambda mean_i ||d loss_i / d x_i||^2, x normalised",
         "Drucker and LeCun 1992"),
    Kind("group-lasso", ("lambda",), 1e6, "loss + lambda sum_f sqrt(size of f) ||w_f||, f a convolution's filter",
         "Yuan and Lin 2006, Wen et al. 2016"),
    Kind(SMOOTHING, ("e",), 1, "the target is 1 - e for the class and e / K spread over all K",
         "Szegedy et al. 2016"),
)}

_PART = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]*)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True)
class Regularizer:
    """What is asked for: each kind by name with its parameters, in the order of :data:`KINDS`.

    >>> str(parse("dropout(.3) + L2(1e-5)"))
    'dropout(0.3)+l2(1e-5)'
    """

    parts: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: {RECIPE: ()})

    def __str__(self) -> str:
        return "+".join(name + (f"({','.join(map(_shown, values))})" if values else "")
                        for name, values in self.parts.items())

    def value(self, name: str) -> float:
        """The parameter of a kind that has one; 0 where it is not asked for."""
        return self.parts.get(name, (0.0,))[0]

    @property
    def dropout(self) -> float:
        return self.value(DROPOUT)

    @property
    def decay(self) -> float:
        """Of the decoupled weight decay."""
        return self.value(DECAY)

    @property
    def input_gradient(self) -> float:
        return self.value("input-gradient")

    @property
    def l1(self) -> float:
        return self.value("l1") + self.parts.get("elastic", (0.0, 0.0))[0]

    @property
    def l2(self) -> float:
        return self.value("l2") + self.parts.get("elastic", (0.0, 0.0))[1]

    @property
    def group_lasso(self) -> float:
        return self.value("group-lasso")

    @property
    def changes_steps(self) -> bool:
        """Whether a step of the training differs from the plain one of a recipe."""
        return bool(set(self.parts) - {RECIPE, NONE, SMOOTHING})

    def over(self, recipe: Recipe) -> Recipe:
        """The recipe with its weight decay and label smoothing as this regulariser wants them."""
        changes: dict[str, float] = {} if RECIPE in self.parts else {"weight_decay": 0.0, "label_smoothing": 0.0}
        if SMOOTHING in self.parts:
            changes["label_smoothing"] = self.value(SMOOTHING)
        return recipe.model_copy(update=changes)


def parse(text: str) -> Regularizer:
    """The regulariser that a text such as ``l2(1e-5)+dropout(0.3)`` names.

    Raises:
        UnknownNameError: there is no such regulariser; the message names the nearest.
        ExperimentError: its parameters are too many, too few or out of range, or it is named twice.
    """
    found: dict[str, tuple[float, ...]] = {}
    for part in _split(text):
        match = _PART.fullmatch(part)
        if match is None:
            raise ExperimentError(f"A regulariser is a name with numbers in brackets, not '{part.strip()}'; "
                                  "write for instance l2(1e-5)+dropout(0.3).")
        name = match[1].lower().replace("_", "-")
        if name not in KINDS:
            raise UnknownNameError("regulariser", match[1], KINDS)
        if name in found:
            raise ExperimentError(f"'{text}' names {name} twice; add its parameters up.")
        found[name] = _parameters(KINDS[name], match[2], part.strip())
    if NONE in found and len(found) > 1:
        raise ExperimentError(f"'{text}' adds something to none, which stands alone; leave none out.")
    return Regularizer({name: found[name] for name in KINDS if name in found})


def _split(text: str) -> list[str]:
    """The parts between the ``+`` outside of brackets: ``l2(1e+1)`` is one."""
    return re.split(r"\+(?![^()]*\))", text)


def _parameters(kind: Kind, given: str | None, part: str) -> tuple[float, ...]:
    words = [word.strip() for word in given.split(",")] if given and given.strip() else []
    rule = f"'{part}' is not {kind.spelling}"
    if len(words) != len(kind.parameters):
        wanted = f"{len(kind.parameters)} number{'s' if len(kind.parameters) != 1 else ''}"
        raise ExperimentError(f"{rule}: it takes {wanted}, not {len(words)}; write {kind.spelling}.")
    try:
        values = tuple(float(word) for word in words)
    except ValueError:
        raise ExperimentError(f"{rule}: '{given}' is not made of numbers; write them as 0.3 or 1e-5.") from None
    for name, value in zip(kind.parameters, values, strict=True):
        if not 0 <= value < kind.below:  # also refuses NaN
            raise ExperimentError(f"{rule}: {name} = {value:g} is not at least 0 and below {kind.below:g}; "
                                  "give one in that range.")
    return values


def _shown(value: float) -> str:
    """A number as people write it: 1e-5 and not 1e-05; every digit that tells it from its neighbours."""
    text = re.sub(r"e([+-])0+", r"e\1", repr(value)).replace("e+", "e")
    return text.removesuffix(".0")
