"""The register of estimators: what each name stands for, and from which paper.

A *method* is a base attribution (one file each). Its ensembles are written down nowhere: every member of
``ensembles.MEMBERS`` around every method is an estimator. A *control* knows nothing of the network. An *oracle* is
told which pixels are informative. A *surrogate* is noise with the spectrum of an explainer's ranks. All are registered
by a decorator when their file is imported, which ``roar.estimators`` does; that costs no torch. A name may take a
parameter, ``oracle-noisy(0.2)``: then a *maker* is registered, which turns what stands in the brackets into an
estimator with a canonical name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from roar.errors import UnknownNameError, UsageError
from roar.estimators.ensembles import MEMBERS, Member
from roar.experiment import EstimatorSettings
from roar.registry import Paper

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    # (network, normalised images [B, C, H, W], targets [B], *, parameters) -> attributions [B, C or 1, H, W]
    Attribute = Callable[..., Tensor]
    # (images uint8 [N, C, H, W], indices [N], root seed, split, per channel) -> ranks [N, P], tied share
    RankWithout = Callable[[Tensor, np.ndarray, int, str, bool], tuple[np.ndarray, float]]
    # (informative bool [N, H, W], indices [N], root seed, split, channels that rank alone) -> ranks [N, P], tied share
    RankTruth = Callable[[np.ndarray, np.ndarray, int, str, int], tuple[np.ndarray, float]]

Function = TypeVar("Function", bound=Callable[..., Any])

PAPER_METHODS = ("gradient", "integrated-gradients", "guided-backprop")
PAPER_CONTROLS = ("random", "sobel")
CONTROL = "control"  # the family of the controls
TRUTH = "truth"  # the family of the oracles
SURROGATE = "surrogate"  # the family of random rankings as smooth as an estimator's
ORACLES = ("oracle", "oracle-noisy(0.2)", "oracle-noisy(0.5)", "oracle-inverted")
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
    """What a name stands for: an ``Explainer``, a ``Control``, an ``Oracle`` or a ``Surrogate``.

    Attributes:
        family: estimators of one family share their base attributions; ``"control"`` for the controls, ``"truth"``
            for the oracles, ``"surrogate"`` for the surrogates.
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
    """An estimator that knows nothing of the network; ``sees_image``: whether the image decides its ranks."""

    rank: RankWithout
    sees_image: bool


@dataclass(frozen=True)
class Oracle(Estimator):
    """An estimator that is told which pixels are informative, where the source knows."""

    rank: RankTruth


@dataclass(frozen=True)
class Surrogate(Estimator):
    """A random ranking with the spatial spectrum of another estimator's; ``of`` is that one's name."""

    of: str


@dataclass(frozen=True)
class Maker:
    """A name with a parameter: ``oracle-noisy(q)``.

    Attributes:
        make: the estimator of what stands in the brackets. Raises UsageError.
    """

    name: str
    parameter: str
    example: str
    family: str
    paper: Paper
    description: str
    make: Callable[[str], Estimator]

    @property
    def spelling(self) -> str:
        return f"{self.name}({self.parameter})"


ESTIMATORS: dict[str, Estimator] = {}
MAKERS: dict[str, Maker] = {}


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


def control(name: str, paper: Paper, description: str, *, aliases: tuple[str, ...] = (), revision: int = 1,
            sees_image: bool = False) -> Callable[[Function], Function]:
    """Register an estimator that knows nothing of the network."""

    def register(function: Function) -> Function:
        _add(Control(name, CONTROL, paper, description, aliases, revision, function, sees_image))
        return function

    return register


def oracle(name: str, paper: Paper, description: str, *, revision: int = 1) -> Callable[[Function], Function]:
    """Register an estimator that is told which pixels are informative."""

    def register(function: Function) -> Function:
        _add(Oracle(name, TRUTH, paper, description, (), revision, function))
        return function

    return register


def maker(name: str, parameter: str, example: str, family: str, paper: Paper,
          description: str) -> Callable[[Function], Function]:
    """Register what turns the text in the brackets of a name into an estimator."""

    def register(make: Function) -> Function:
        _check_free(name)
        MAKERS[name] = Maker(name, parameter, example, family, paper, description, make)
        return make

    return register


def _add(new: Estimator) -> None:
    _check_free(new.name, *new.aliases)
    ESTIMATORS[new.name] = new


def _check_free(*names: str) -> None:
    taken = {*ESTIMATORS, *known_aliases(), *groups(), *MAKERS}
    for name in names:
        if name in taken:
            raise ValueError(f"The name '{name}' is taken; an estimator needs a name and aliases of its own.")


def known_aliases() -> dict[str, str]:
    """Short names that people type, each with the name it stands for."""
    return {alias: name for name, known in ESTIMATORS.items() for alias in known.aliases}


def groups() -> dict[str, tuple[str, ...]]:
    """Names that stand for several estimators: the paper's 18 with 2 controls, every control, and oracles."""
    paper = [e.name for family in PAPER_METHODS for e in ESTIMATORS.values() if e.family == family]
    controls = [e.name for e in ESTIMATORS.values() if e.family == CONTROL]
    return {"paper": (*paper, *PAPER_CONTROLS), "controls": tuple(controls), "oracles": ORACLES}


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """The estimators that names, aliases and groups stand for, each once, in the order asked for.

    Raises:
        UnknownNameError: a name is none of these; the message suggests the nearest.
        UsageError: the parameter of a name is missing or breaks a rule.
    """
    aliases, members = known_aliases(), groups()
    found: dict[str, None] = {}
    for given in names:
        name = given.strip().lower().replace("_", "-")
        made = _made(name)
        if made is None and name not in {*ESTIMATORS, *aliases, *members}:
            known = [*ESTIMATORS, *aliases, *members, *(maker.spelling for maker in MAKERS.values())]
            raise UnknownNameError("estimator", given, known)
        found.update(dict.fromkeys([made.name] if made else members.get(name, (aliases.get(name, name),))))
    return tuple(found)


def _made(name: str) -> Estimator | None:
    """The estimator of a name with a parameter; ``None`` where it is no such name.

    Raises:
        UsageError: the parameter is missing or breaks a rule.
    """
    word, bracket, argument = (part.strip() for part in name.partition("("))
    known = MAKERS.get(word)
    if known is None:
        return None
    if not (bracket and argument.endswith(")") and argument[:-1].strip()):
        raise UsageError(f"'{word}' takes its parameter {known.parameter} in brackets, which '{name}' lacks; write "
                         f"{known.example}.")
    return known.make(argument[:-1].strip())


def find(name: str) -> Estimator:
    """The estimator of one name or alias.

    Raises:
        UnknownNameError: there is none, or the name is a group's.
    """
    if name in groups():
        raise UnknownNameError("single estimator", name, ESTIMATORS)
    full = resolve([name])[0]
    return _made(full) or ESTIMATORS[full]


def sees_image(name: str) -> bool:
    """Whether the image decides an estimator's ranking, so that the shape of its mask may tell the class."""
    found = find(name)
    return isinstance(found, Explainer | Oracle) or (isinstance(found, Control) and found.sees_image)


def identity(name: str, settings: EstimatorSettings) -> dict[str, Any]:
    """The settings that decide an estimator's ranking, and no others: a change of the rest keeps its ranking.

    To what explains no network only matters whether pixels or channel values are ranked.
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
