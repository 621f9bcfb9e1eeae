"""The register of estimators: what each name stands for, and from which paper.

A *method* is a base attribution (one file each). Its ensembles are written down nowhere: every member of
``ensembles.MEMBERS`` around every method is an estimator. A *control* knows nothing of the network. Both are
registered by a decorator when their file is imported, which ``roar.estimators`` does; that costs no torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from roar.errors import UnknownNameError
from roar.estimators.ensembles import MEMBERS, Member
from roar.estimators.papers import Paper
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    # (network, normalised images [B, C, H, W], targets [B], *, parameters) -> attributions [B, C or 1, H, W]
    Attribute = Callable[..., Tensor]
    # (images uint8 [N, C, H, W], indices [N], root seed, split, per channel) -> ranks [N, P], tied share
    RankWithout = Callable[[Tensor, np.ndarray, int, str, bool], tuple[np.ndarray, float]]

Function = TypeVar("Function", bound=Callable[..., Any])

PAPER_METHODS = ("gradient", "integrated-gradients", "guided-backprop")
PAPER_CONTROLS = ("random", "sobel")
CONTROL = "control"  # the family of the controls
ROWS = "rows"  # the one parameter of a method that changes its speed and not its output


@dataclass(frozen=True)
class Method:
    """A base attribution method.

    Attributes:
        attribute: the function.
        parameters: the settings that the function names as keyword-only arguments; they determine its output.
        wants_rows: whether it names ``rows``, the images that one pass may hold.
        passes: forward and backward passes that one attribution of one image takes under given settings.
    """

    name: str
    attribute: Attribute
    parameters: tuple[str, ...]
    wants_rows: bool
    passes: Callable[[EstimatorSettings], int]


@dataclass(frozen=True)
class Estimator:
    """What a name stands for; either an ``Explainer`` or a ``Control``.

    Attributes:
        family: estimators of one family share their base attributions; ``"control"`` for the controls.
        aliases: short names that people type.
        revision: of its definition, from 1 on; rankings of an earlier one are not used again.
    """

    name: str
    family: str
    paper: Paper
    description: str
    aliases: tuple[str, ...]
    revision: int


@dataclass(frozen=True)
class Explainer(Estimator):
    """A base method, or an ensemble around one."""

    method: Method
    member: Member


@dataclass(frozen=True)
class Control(Estimator):
    """An estimator that knows nothing of the network."""

    rank: RankWithout


ESTIMATORS: dict[str, Estimator] = {}


def method(name: str, paper: Paper, description: str, *, suffix: str = "", aliases: tuple[str, ...] = (),
           ensembles: bool = True, revision: int = 1,
           passes: Callable[[EstimatorSettings], int] = lambda settings: 1) -> Callable[[Function], Function]:
    """Register a base attribution method and the ensembles around it.

    Args:
        name: spelled with hyphens, e.g. ``"integrated-gradients"``.
        suffix: ends the names of its ensembles: ``"ig"`` gives ``smoothgrad-ig``; only the gradient has none.
        aliases: short names of the method, which also end the short names of its ensembles.
        ensembles: whether SmoothGrad and the others are made around it.
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
                           revision, made, member))
        return attribute

    return register


def control(name: str, paper: Paper, description: str, *, aliases: tuple[str, ...] = (),
            revision: int = 1) -> Callable[[Function], Function]:
    """Register an estimator that knows nothing of the network."""

    def register(function: Function) -> Function:
        _add(Control(name, CONTROL, paper, description, aliases, revision, function))
        return function

    return register


def _add(new: Estimator) -> None:
    taken = {*ESTIMATORS, *known_aliases(), *groups()}
    for name in (new.name, *new.aliases):
        if name in taken:
            raise ValueError(f"The name '{name}' is taken; an estimator needs a name and aliases of its own.")
    ESTIMATORS[new.name] = new


def known_aliases() -> dict[str, str]:
    """Short names that people type, each with the name it stands for."""
    return {alias: name for name, known in ESTIMATORS.items() for alias in known.aliases}


def groups() -> dict[str, tuple[str, ...]]:
    """Names that stand for several estimators: the paper's 18 with 2 controls, and every control."""
    paper = [e.name for family in PAPER_METHODS for e in ESTIMATORS.values() if e.family == family]
    controls = [e.name for e in ESTIMATORS.values() if e.family == CONTROL]
    return {"paper": (*paper, *PAPER_CONTROLS), "controls": tuple(controls)}


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """The estimators that names, aliases and groups stand for, each once, in the order asked for.

    Raises:
        UnknownNameError: a name is none of these; the message suggests the nearest.
    """
    aliases, members = known_aliases(), groups()
    found: dict[str, None] = {}
    for given in names:
        name = given.strip().lower().replace("_", "-")
        if name not in {*ESTIMATORS, *aliases, *members}:
            raise UnknownNameError("estimator", given, [*ESTIMATORS, *aliases, *members])
        found.update(dict.fromkeys(members.get(name, (aliases.get(name, name),))))
    return tuple(found)


def find(name: str) -> Estimator:
    """The estimator of one name or alias.

    Raises:
        UnknownNameError: there is none, or the name is a group's.
    """
    if name in groups():
        raise UnknownNameError("single estimator", name, ESTIMATORS)
    return ESTIMATORS[resolve([name])[0]]


def identity(name: str, settings: EstimatorSettings) -> dict[str, Any]:
    """The settings that decide an estimator's ranking, and no others: a change of the rest keeps its ranking.

    To a control only matters whether pixels or channel values are ranked.
    """
    chosen = find(name)
    found: dict[str, Any] = {"estimator": chosen.name}
    if chosen.revision > 1:
        found["revision"] = chosen.revision
    if not isinstance(chosen, Explainer):
        return found | {"per_channel": settings.unit == "channel"}
    found |= {"unit": settings.unit, "target": settings.target}
    if chosen.member.needs_noise:
        found |= {"samples": settings.samples, "noise": settings.noise}
    return found | {parameter: getattr(settings, parameter) for parameter in chosen.method.parameters}
