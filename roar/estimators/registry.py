"""The registry of estimators: what each name stands for, and from which paper.

A *method* is a base attribution (one file each). Its ensembles are written down nowhere: every member of
``ensembles.MEMBERS`` around every method is an estimator. A *control* knows nothing of the network. An *oracle* is
told which pixels are informative. A *matched-spectrum control* is noise with the spectrum of an explainer's
ranks. All are registered by a decorator when their file is imported, which the registry does when it looks up a name;
that costs no torch. A name may take a parameter, ``oracle-noisy(0.2)``: then a *maker* is registered, which turns what
stands in the brackets into an estimator with a canonical name. What is not roar's is adapted by ``foreign.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from roar.errors import UsageError
from roar.estimators.ensembles import MEMBERS, Member
from roar.estimators.foreign import MARK, Mark, adapt
from roar.estimators.kinds import CONTROL, TRUTH, Control, Estimator, Explainer, Oracle
from roar.estimators.method import ROWS, Method
from roar.experiment import EstimatorSettings
from roar.plugins import Foreign
from roar.registry import Paper, Registry

Function = TypeVar("Function", bound=Callable[..., Any])

PAPER_METHODS = ("gradient", "integrated-gradients", "guided-backprop")
PAPER_CONTROLS = ("random", "sobel")
ORACLES = ("oracle", "oracle-noisy(0.2)", "oracle-noisy(0.5)", "oracle-inverted")


@dataclass(frozen=True)
class Maker:
    """A name with a parameter: ``oracle-noisy(q)``.

    Attributes:
        make: the estimator of what stands in the brackets. Raises UsageError.
    """

    name: str
    parameter: str
    family: str
    paper: Paper
    description: str
    make: Callable[[str], Estimator]

    @property
    def spelling(self) -> str:
        return f"{self.name}({self.parameter})"

    def __call__(self, text: str) -> Estimator:
        return self.make(text)


def _adapt(code: Foreign, given: Mapping[str, Any], name: str) -> Estimator:
    """An estimator from code that is not roar's, under a name that is none of roar's.

    Raises:
        UsageError: it is no estimator, its parameters do not fit, or its name is taken.
    """
    found = adapt(code, given, name)
    if not ESTIMATORS.is_taken(found.base.partition("(")[0]):
        return found
    if code.module_name and not name:
        return adapt(code, given, f"{code.module_name}.{code.name}", found.spelling)
    raise UsageError(f"'{found.base}' is the name of one of roar's own estimators; give yours another one, such as "
                     f"@roar.estimator('my-{found.base}').")


ESTIMATORS: Registry[Estimator] = Registry("estimator", "roar.estimators.methods", _adapt,
                                           "Your own is FILE.py:function or package.module:function.")


def method(name: str, paper: Paper, description: str, *, suffix: str = "", aliases: tuple[str, ...] = (),
           ensembles: bool = True, revision: int = 1,
           passes: Callable[[EstimatorSettings], int] = lambda settings: 1) -> Callable[[Function], Function]:
    """Register a base attribution method and the ensembles around it.

    Args:
        name: spelled with hyphens, e.g. ``"integrated-gradients"``.
        suffix: ends the names of its ensembles: ``"ig"`` gives ``smoothgrad-ig``; only the gradient has none.
        aliases: short names of the method, which also end the short names of its ensembles.
        ensembles: whether SmoothGrad and the others are listed with a name of their own.
        revision: raised when what the method computes is changed.
        passes: forward and backward passes of one attribution, for showing progress.
    """

    def register(attribute: Function) -> Function:
        named = [p.name for p in inspect.signature(attribute).parameters.values() if p.kind is p.KEYWORD_ONLY]
        parameters = tuple(n for n in named if n != ROWS)
        for parameter in parameters:
            if parameter not in EstimatorSettings.model_fields:
                raise ValueError(f"'{name}' names a parameter '{parameter}', which is no setting of [estimators].")
        made = Method(name, attribute, parameters, ROWS in named, passes)
        ending = f"-{suffix}" if suffix else ""
        for member in MEMBERS if ensembles else MEMBERS[:1]:
            _add(Explainer(member.name_around(name, ending), name, member.paper or paper,
                           member.words.format(method=description), member.aliases_around(aliases, ending),
                           revision, method=made, member=member))
        return attribute

    return register


def control(name: str, paper: Paper, description: str, *, aliases: tuple[str, ...] = (), revision: int = 1,
            sees_image: bool = False) -> Callable[[Function], Function]:
    """Register an estimator that knows nothing of the network."""

    def register(function: Function) -> Function:
        _add(Control(name, CONTROL, paper, description, aliases, revision, function=function, looks=sees_image))
        return function

    return register


def oracle(name: str, paper: Paper, description: str, *, revision: int = 1) -> Callable[[Function], Function]:
    """Register an estimator that is told which pixels are informative."""

    def register(function: Function) -> Function:
        _add(Oracle(name, TRUTH, paper, description, (), revision, function=function))
        return function

    return register


def maker(name: str, parameter: str, example: str, family: str, paper: Paper,
          description: str) -> Callable[[Function], Function]:
    """Register what turns the text in the brackets of a name into an estimator."""

    def register(make: Function) -> Function:
        made = Maker(name, parameter, family, paper, description, make)
        ESTIMATORS.add_maker(name, made.spelling, made, example)
        return make

    return register


def estimator(name: str, *, per_image: bool = False) -> Callable[[Function], Function]:
    """Name an estimator of one's own, a function or a class of captum's kind, which is returned as it is.

    Args:
        name: for tables and folders; must be none of roar's.
        per_image: whether images are explained one by one, each under a seed of its own: for what draws random numbers.
    """

    def mark(value: Function) -> Function:
        setattr(value, MARK, Mark(name, per_image))
        return value

    return mark


def distinct(estimators: Iterable[Estimator]) -> tuple[Estimator, ...]:
    """Estimators, each once.

    Raises:
        UsageError: two that differ have one name, which tables could not tell apart.
    """
    found: dict[str, Estimator] = {}
    settings = EstimatorSettings()
    for new in estimators:
        known = found.setdefault(new.name, new)
        if known.identity(settings) != new.identity(settings):
            raise UsageError(f"'{known.spelling}' and '{new.spelling}' are two estimators of the name '{new.name}'; "
                             "rank them in two runs, or name one @roar.estimator('another').")
    return tuple(found.values())


def around(inner: Explainer, member: Member) -> Explainer:
    """An ensemble around a method; where roar lists it under a name, that one."""
    for known in ESTIMATORS.values.values():
        if isinstance(known, Explainer) and known.method is inner.method and known.member is member:
            return known
    return Explainer(f"{member.label}({inner.name})", inner.family, member.paper or inner.paper,
                     member.words.format(method=inner.description), (), inner.revision, method=inner.method,
                     member=member, spelling=f"{member.label}({inner.spelling})")


def _ensemble(member: Member) -> Callable[[str], Explainer]:
    def make(text: str) -> Explainer:
        inner = ESTIMATORS.find(text)
        if not isinstance(inner, Explainer) or inner.ensemble != "base":
            raise UsageError(f"'{member.label}' takes a method that explains a network and is no ensemble, which "
                             f"'{inner.name}' is not; write {member.label}(gradient).")
        return around(inner, member)

    return make


for _member in MEMBERS[1:]:
    maker(_member.label, "X", f"{_member.label}(gradient)", "of X", _member.paper or Paper("", "", 0, ""),
          _member.words.format(method="any method X"))(_ensemble(_member))


def _add(new: Estimator) -> None:
    ESTIMATORS.add(new.name, new, new.aliases)


def _paper() -> list[str]:
    """The paper's 18 with 2 controls."""
    every = ESTIMATORS.values.values()
    return [*(e.name for family in PAPER_METHODS for e in every if e.family == family), *PAPER_CONTROLS]


ESTIMATORS.groups |= {
    "paper": _paper,
    "controls": lambda: [e.name for e in ESTIMATORS.values.values() if e.family == CONTROL],
    "oracles": lambda: list(ORACLES),
}
