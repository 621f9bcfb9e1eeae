"""Regularizers by name: parsed, spelled in one way, and laid over a recipe.

    recipe                          weight decay and label smoothing as the recipe says (the default)
    none                            nothing: no weight decay, no label smoothing, no dropout
    l2(1e-5)+dropout(0.3)           exactly these; the recipe's own do not come on top
    recipe+dropout(0.3)             these besides the recipe's own
    my_reg.py:pull(strength=2)      a function of a file, a package or a program, alone or with others

The built-in ones and their formulas are in ``built_in``; ``roar.jobs.training.penalties`` computes them. w runs over
the weights of two or more dimensions, so norms and biases are never penalized. A function that is not roar's maps the
network, the loss of a batch, its images and its targets to the loss that is minimized: :class:`Term`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from roar.errors import ExperimentError, RoarError, TrainingError, UnknownNameError, UsageError
from roar.plugins import Foreign, described
from roar.plugins.calling import code_of, display_name, named, taken
from roar.registry import Registry, split
from roar.registry import parse as spelled

if TYPE_CHECKING:
    from torch import Tensor, nn

    from roar.recipes import Recipe

T = TypeVar("T")

RECIPE, NONE = "recipe", "none"
DROPOUT, SMOOTHING, DECAY = "dropout", "label-smoothing", "weight-decay"


@dataclass(frozen=True)
class Kind:
    """A built-in regularizer.

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


@dataclass(frozen=True)
class Term:
    """A regularizer that is not roar's: a function ``(network, loss, images, targets) -> loss``.

    Attributes:
        name: in tables and keys.
        foreign: the function.
        parameters: its further keyword arguments.
    """

    name: str
    foreign: Foreign
    parameters: Mapping[str, Any]

    @property
    def code(self) -> dict[str, Any]:
        """What a key contains of it."""
        return code_of(self.foreign.identity, self.parameters)

    def __call__(self, network: nn.Module, loss: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """The loss that is minimized.

        Args:
            network: in training mode.
            loss: the mean cross entropy of the batch with the terms before this one, a scalar.
            images: normalized, float32 ``[B, C, H, W]``, of which ``loss`` can be differentiated.
            targets: int64 ``[B]``.

        Raises:
            TrainingError: the function raises, or returns something else than a scalar that depends on weights.
        """
        import torch

        try:
            found = self.foreign.load()(network, loss, images, targets, **self.parameters)
        except (RoarError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # code that is not roar's may raise anything
            raise TrainingError(f"The regularizer '{self.name}' fails: {described(error, self.foreign.file)}; "
                                "correct its function.") from error
        if not isinstance(found, torch.Tensor) or found.ndim or not found.requires_grad:
            what = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
            raise TrainingError(f"A regularizer returns the loss, a scalar tensor with a gradient, and '{self.name}' "
                                f"returned {what}; return loss + penalty.")
        return found


def adapt(given: Foreign, parameters: Mapping[str, Any], name: str) -> Term:
    """The term that a function stands for.

    Raises:
        UsageError: it cannot be called as :class:`Term` calls it.
    """
    value = given.load()
    if not callable(value) or isinstance(value, type):
        raise UsageError("A regularizer is a function (network, loss, images, targets) -> loss, and "
                         f"'{given.spelling}' is of type {type(value).__name__}; give a function.")
    taken(value, given.spelling, 4, (), parameters)
    return Term(display_name(value, (name, given.name), parameters), given, dict(parameters))


REGULARIZERS: Registry[Kind | Term] = Registry("regularizer", "roar.models.regularizers", adapt)


def regularizer(name: str) -> Callable[[T], T]:
    """A decorator that gives a function its name in tables, and leaves it as it is."""
    return named(name)


def kinds() -> dict[str, Kind]:
    """The built-in regularizers by name."""
    REGULARIZERS.load()
    return {name: kind for name, kind in REGULARIZERS.values.items() if isinstance(kind, Kind)}


_PART = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]*)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True)
class Regularizer:
    """What is asked for: each built-in kind by name with its parameters, in the order of their definition, and the
    terms that are not roar's.

    >>> str(parse("dropout(.3) + L2(1e-5)"))
    'dropout(0.3)+l2(1e-5)'
    """

    parts: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: {RECIPE: ()})
    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return "+".join([name + (f"({','.join(map(_shown, values))})" if values else "")
                         for name, values in self.parts.items()] + [term.name for term in self.terms])

    @property
    def code(self) -> list[dict[str, Any]]:
        """What a key contains of the terms that are not roar's."""
        return [term.code for term in self.terms]

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

    def over(self, recipe: Recipe) -> Recipe:
        """The recipe with its weight decay and label smoothing as this regularizer wants them."""
        changes: dict[str, float] = {} if RECIPE in self.parts else {"weight_decay": 0.0, "label_smoothing": 0.0}
        if SMOOTHING in self.parts:
            changes["label_smoothing"] = self.value(SMOOTHING)
        return recipe.model_copy(update=changes)


def parse(text: str, objects: Mapping[str, Term] = MappingProxyType({})) -> Regularizer:
    """The regularizer that a text such as ``l2(1e-5)+dropout(0.3)`` names.

    Args:
        objects: terms that a program gives, by the names that stand for them in the text.

    Raises:
        UnknownNameError: there is no such regularizer; the message names the nearest.
        ExperimentError: its parameters are too many, too few or out of range, or it is named twice.
        UsageError: a function of a file or a package cannot be had.
    """
    known = kinds()
    found: dict[str, tuple[float, ...]] = {}
    terms: dict[str, Term] = {}
    lacking = re.search(r"(^|\+)\s*(\+|$)", text)  # a part before, between or behind the signs
    for part in [""] if lacking else split(text, "+"):
        term = objects.get(part) or _term(part)
        match = _PART.fullmatch(part)
        if term is not None:
            name = term.name
        elif match is None:
            raise ExperimentError(f"A regularizer is a name with numbers in brackets, not '{part}'; "
                                  "write for instance l2(1e-5)+dropout(0.3).")
        else:
            name = match[1].lower().replace("_", "-")
            if name not in known:
                raise UnknownNameError("regularizer", match[1], [*known, *REGULARIZERS.installed()])
        if name in {**found, **terms}:
            raise ExperimentError(f"'{text}' names {name} twice; add its parameters up.")
        if term is not None:
            terms[name] = term
        elif match is not None:
            found[name] = _parameters(known[name], match[2], part)
    if NONE in found and len(found) + len(terms) > 1:
        raise ExperimentError(f"'{text}' adds something to none, which stands alone; leave none out.")
    return Regularizer({name: found[name] for name in known if name in found}, tuple(terms.values()))


def _term(part: str) -> Term | None:
    """The function that a part of a text names; ``None`` where it is not spelled as one."""
    try:
        spelling = spelled(part)
    except UsageError:
        return None
    if not spelling.is_object and spelling.name not in REGULARIZERS.installed():
        return None
    term = REGULARIZERS.find(part)
    return term if isinstance(term, Term) else None


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
    """A number as people write it: 1e-5 and not 1e-05; every digit that tells it from its neighbors."""
    text = re.sub(r"e([+-])0+", r"e\1", repr(value)).replace("e+", "e")
    return text.removesuffix(".0")
