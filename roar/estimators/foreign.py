"""Estimators that are not roar's: a function, or what has captum's ``attribute(inputs, target=...)``.

    function    (network, images, targets, *, settings) -> attributions
    class       of captum's kind, made around the network: ``Occlusion(network).attribute(images, target=targets)``
    factory     (network, *, settings) -> an object with ``attribute``
    object      with ``attribute`` and without a network of its own

What stands in the brackets behind the name are its settings. ``per_image`` is roar's: with it, images are explained
one by one, each under a seed of its own, which is how a method that draws random numbers has one answer per image.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from roar.errors import EstimatorError, RoarError, UnknownNameError, UsageError
from roar.estimators.batch import Points, Task
from roar.estimators.contract import check_alone, check_deterministic, check_seeded
from roar.estimators.ensembles import MEMBERS
from roar.estimators.kinds import OWN, Explainer
from roar.estimators.method import ROWS, Method
from roar.experiment import EstimatorSettings
from roar.plugins import Foreign, described
from roar.registry import Spelling, parameters
from roar.seeds.streams import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MARK = "__roar_estimator__"  # the attribute that roar.estimator leaves
PER_IMAGE = "per_image"  # the parameter that is roar's own
SETTINGS = ("samples", "noise", "ig_steps", "baseline")  # of [estimators], for a parameter without a default
FIRST = 4  # images whose attributions are checked
WINDOW, STRIDE = "sliding_window_shapes", "strides"
EIGHTH, HALF = "side/8", "window/2"  # the window that occlusion gets where none is given


@dataclass(frozen=True)
class Mark:
    """What ``roar.estimator`` says of a function or class."""

    name: str
    per_image: bool


@dataclass(frozen=True)
class Form:
    """How an object is called.

    Attributes:
        kind: ``function``, ``class``, ``factory`` or ``object``.
        making, calling: the parameters that may be given when it is made around the network, and when it is called,
            each with whether it must be; ``None`` stands for any name.
    """

    kind: str
    making: Mapping[str, bool] | None
    calling: Mapping[str, bool] | None


@dataclass(frozen=True, eq=False)
class ForeignMethod(Method):
    """A base attribution method that is not roar's.

    Attributes:
        code: what is called; it is loaded in the process that calls it.
        kind: of its :class:`Form`.
        making, calling: its parameters.
        shown: all parameters as they were given, for the key.
        per_image: whether images are explained one by one.
    """

    code: Foreign = field(kw_only=True)
    kind: str = field(kw_only=True)
    making: Mapping[str, Any] = field(kw_only=True)
    calling: Mapping[str, Any] = field(kw_only=True)
    shown: Mapping[str, Any] = field(kw_only=True)
    per_image: bool = field(kw_only=True)
    takes_batch_size: bool = field(default=False, kw_only=True)  # captum's internal_batch_size

    @property
    def stochastic(self) -> bool:
        return self.per_image  # anything else that draws random numbers is refused

    @property
    def files(self) -> tuple[str, ...]:
        return () if self.code.file is None else (self.code.file,)

    @property
    def notes(self) -> tuple[str, ...]:
        if self.calling.get(WINDOW) != EIGHTH:
            return ()
        return (f"'{self.name}' occludes windows of an eighth of the image's side, by steps of half a window; "
                f"{self.code.name}({WINDOW}=(C,h,w)) takes others.",)

    def identity(self, settings: EstimatorSettings) -> dict[str, Any]:
        found = {**super().identity(settings), "code": self.code.identity}
        given = {**self.shown, **{name: value for name, value in self.calling.items() if value in (EIGHTH, HALF)}}
        if given:
            found["given"] = {name: _plain(value) for name, value in sorted(given.items())}
        return found | ({PER_IMAGE: True} if self.per_image else {})

    def check(self, task: Task) -> None:
        for check in self.checks(task, min(task.rows, FIRST)).values():
            check()

    def checks(self, task: Task, count: int) -> dict[str, Callable[[], None]]:
        first = task.points(slice(0, min(len(task.pictures), count)))

        def call(points: Points, salt: int) -> Tensor:
            return self._one_call(task, points, salt)

        if self.per_image:
            return {"the same answer twice under one seed, image by image":
                    lambda: check_seeded(self.name, call, first[:1])}
        remedy = spelled(self.code.name, {**self.shown, PER_IMAGE: True})
        return {"the same answer to the same call, whatever the seed":
                lambda: check_deterministic(self.name, call, first, remedy),
                "the same answer to an image alone and in company":
                lambda: check_alone(self.name, call, first, remedy)}

    def attributions(self, task: Task, points: Points) -> Tensor:
        import torch

        if self.per_image:
            parts = [self._one_call(task, points[row:row + 1]) for row in range(len(points))]
            found = torch.cat(parts)
        else:
            found = self._one_call(task, points)
        task.count_passes(len(points))
        return found

    def _one_call(self, task: Task, points: Points, salt: int = 0) -> Tensor:
        """Attributions of one call, float32 ``[B, C or 1, H, W]``, under the seed of its first point."""
        import torch

        seed = derive(task.root_seed, f"{self.name}/foreign", task.split, int(points.indices[0]),
                      *([] if points.copies is None else [int(points.copies[0])]), *([salt] if salt else []))
        images = points.images.detach().clone().requires_grad_()
        try:
            with seeded(seed, images.device), torch.enable_grad():
                found = self._called(task, images, points.targets.clone())
        except (RoarError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # code that is not roar's may raise anything
            raise EstimatorError(f"'{self.name}' failed for {points.named} ({described(error, self.code.file)}); "
                                 f"correct it, and try it with `roar check {self.code.spelling}`.") from None
        return self._whole(found, points, task)

    def _called(self, task: Task, images: Tensor, targets: Tensor) -> Any:
        calling, network = {**self.given(task), **self.calling}, task.network
        thing = self.code.load()
        if self.kind == "function":
            return thing(network, images, targets, **_values(calling, network, images))
        if self.kind != "object":
            thing = thing(network, **_values(self.making, network, images))
            if not callable(getattr(thing, "attribute", None)):
                raise EstimatorError(f"'{self.name}' made a {type(thing).__name__} without `attribute`; return an "
                                     "object with attribute(inputs, target=...), or take (network, images, targets).")
        elif _own_network(thing) is not None:
            raise UsageError(_holds_network(self.name))
        if self.takes_batch_size:
            calling["internal_batch_size"] = max(len(images), task.rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # captum tells what it does, call after call
            return thing.attribute(images, target=targets, **_values(calling, network, images))

    def _whole(self, found: Any, points: Points, task: Task) -> Tensor:
        """An answer with one value, or one per channel, for every pixel.

        Raises:
            EstimatorError: it is none.
        """
        import torch
        from torch.nn.functional import interpolate

        images = points.images
        fault = f"returned a {type(found).__name__}"
        if isinstance(found, torch.Tensor):
            maps = found.detach()[:, None] if found.ndim == 3 else found.detach()
            size, whole = tuple(maps.shape[2:]), tuple(images.shape[2:])
            if maps.ndim != 4 or len(maps) != len(images) or maps.shape[1] not in (1, images.shape[1]) or not all(
                    0 < few <= many for few, many in zip(size, whole, strict=True)):
                fault = f"returned the shape {tuple(found.shape)} and not {tuple(images.shape)}"
            elif maps.dtype != images.dtype or maps.device != images.device:
                fault = (f"returned {maps.dtype} on {maps.device} and not {images.dtype} on {images.device}")
            elif not bool(maps.isfinite().all()):
                number = int((~maps.isfinite()).sum())
                fault = f"gave {number} attributions of {maps.numel()} that are not finite"
            elif size == whole:
                return maps
            else:
                task.say(f"'{self.name}' gives maps of {size[0]}x{size[1]} pixels; they are upsampled bilinearly to "
                         f"{whole[0]}x{whole[1]}.")
                return interpolate(maps, whole, mode="bilinear", align_corners=False)
        raise EstimatorError(f"'{self.name}' {fault} for {points.named}; a method must return finite attributions "
                             "[B, C, H, W] or [B, 1, H, W], or smaller maps, of the type and on the device of its "
                             "images.")


def adapt(code: Foreign, given: Mapping[str, Any], name: str = "", spelling: str = "") -> Explainer:
    """The estimator that an object which is not roar's stands for.

    Args:
        given: the parameters in its brackets.
        name: for tables; empty: that of ``roar.estimator``, or the object's own.
        spelling: how it is asked for again; empty: by the name given, or by its place.

    Raises:
        UsageError: it is no estimator, or the parameters do not fit.
    """
    thing = code.load()
    mark = getattr(thing, MARK, None)
    mark = mark if isinstance(mark, Mark) else Mark("", False)
    form = _form(thing, code.name)
    shown = dict(given)
    per_image = shown.pop(PER_IMAGE, mark.per_image)
    if not isinstance(per_image, bool):
        raise UsageError(f"{PER_IMAGE} is true or false, not '{per_image}'; write {code.name}({PER_IMAGE}=true).")
    making, calling, settings = _sorted(form, shown, code)
    label = spelled(name or mark.name or code.name, given)
    place = name or (code.spelling if code.module_name else mark.name or code.name)
    method = ForeignMethod(label, thing_is_loaded_later, tuple(s for s in settings if s != ROWS), ROWS in settings,
                           code=code, kind=form.kind, making=making, calling=calling, shown=shown, per_image=per_image,
                           takes_batch_size="internal_batch_size" in (form.calling or {}) and
                           "internal_batch_size" not in calling and form.kind in ("class", "object"))
    words = (inspect.getdoc(thing) or "").partition("\n")[0] or f"{form.kind} {code.name}"
    return Explainer(label, label, OWN, words, method=method, member=MEMBERS[0],
                     spelling=spelling or spelled(place, given))


def thing_is_loaded_later(*arguments: Any) -> Any:
    """In the place of the function of a method whose code is loaded where it is called."""
    raise NotImplementedError


def spelled(name: str, given: Mapping[str, Any]) -> str:
    """``name(alpha=2,mode=fast)``, as ``roar.registry.parameters`` reads it."""
    return name if not given else f"{name}({','.join(f'{key}={_text(value)}' for key, value in given.items())})"


def looks_like_one(thing: Any) -> bool:
    """Whether an object could be an estimator: it is marked as one or has the form of one."""
    if isinstance(getattr(thing, MARK, None), Mark) or callable(getattr(thing, "attribute", None)):
        return True
    try:
        return inspect.isfunction(thing) and _form(thing, "").kind == "function"
    except UsageError:
        return False


def parameters_of(thing: Any) -> str:
    """The parameters that may stand in the brackets, for a listing."""
    form = _form(thing, "")
    return ", ".join([*(form.making or {}), *(form.calling or {})])


def _form(thing: Any, name: str) -> Form:
    """How an object is called.

    Raises:
        UsageError: it is no estimator.
    """
    if callable(getattr(thing, "attribute", None)):
        first = list(inspect.signature(thing).parameters)[:1] if inspect.isclass(thing) else []
        if first == ["attribution_method"]:
            raise UsageError(f"'{name}' goes around another method; ask for smoothgrad(X) or vargrad(X), or write a "
                             f"function that takes the network and returns {name}(...).")
        calling = _named(thing.attribute, ("inputs",), skip_self=inspect.isclass(thing))
        if calling is not None and "target" not in calling:
            raise UsageError(f"`attribute` of '{name}' takes no target; write attribute(inputs, target=...), as captum "
                             "does.")
        calling = calling and {key: needed for key, needed in calling.items() if key != "target"}
        if not inspect.isclass(thing):
            if _own_network(thing) is not None:
                raise UsageError(_holds_network(name))
            return Form("object", {}, calling)
        return Form("class", _named(thing, tuple(first)), calling)
    if callable(thing) and not inspect.isclass(thing):
        try:
            names = list(inspect.signature(thing).parameters.values())
        except (TypeError, ValueError):  # written in C
            return Form("function", {}, None)
        places = [p for p in names if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        needed = [p for p in places if p.default is p.empty]
        if len(places) >= 3 or any(p.kind is p.VAR_POSITIONAL for p in names):
            return Form("function", {}, _named(thing, tuple(p.name for p in places[:3])))
        if len(places) >= 1 and len(needed) <= 1:
            return Form("factory", _named(thing, (places[0].name,)), {})
    kind = "a class without `attribute`" if inspect.isclass(thing) else f"a {type(thing).__name__}"
    raise UsageError(f"'{name}' is {kind} and no estimator; give a function (network, images, targets) -> "
                     "attributions, or what has captum's attribute(inputs, target=...).")


def _named(function: Callable[..., Any], taken: tuple[str, ...], skip_self: bool = False) -> dict[str, bool] | None:
    """The parameters that can be given by name, with whether they must be; ``None`` where any name is taken."""
    found = list(inspect.signature(function).parameters.values())[1 if skip_self else 0:]
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    if taken == ("inputs",):
        taken = tuple(p.name for p in found[:1])
    return {p.name: p.default is p.empty for p in found
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in taken}


def _sorted(form: Form, given: Mapping[str, Any],
            code: Foreign) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """The parameters for making and for calling, and the settings of ``[estimators]`` that fill what has no default.

    Raises:
        UnknownNameError: a parameter does not exist.
        UsageError: one that is needed is missing.
    """
    making, calling = {}, {}
    known = [*(form.making or {}), *(form.calling or {})]
    for name, value in given.items():
        if name in (form.calling or {}) or (form.calling is None and name not in (form.making or {})):
            calling[name] = value
        elif form.making is None or name in form.making:
            making[name] = value
        elif not known:
            raise UsageError(f"'{code.name}' takes no parameters, not '{name}'; write {code.name}, or give it "
                             f"a keyword-only parameter {name}.")
        else:
            raise UnknownNameError(f"parameter of '{code.name}'", name, [*known, PER_IMAGE])
    needed = {**(form.making or {}), **(form.calling or {})}
    missing = [name for name, must in needed.items() if must and name not in given]
    settings = tuple(name for name in missing if name in (*SETTINGS, ROWS) and form.kind == "function")
    missing = [name for name in missing if name not in settings]
    if missing == [WINDOW]:
        calling[WINDOW] = EIGHTH
        if STRIDE in needed and STRIDE not in given:
            calling[STRIDE] = HALF
        missing = []
    if missing:
        shown = ", ".join([*(f"{key}={_text(value)}" for key, value in given.items()),
                           *(f"{name}=..." for name in missing)])
        place = code.spelling if code.module_name else code.name
        raise UsageError(f"'{code.name}' needs {' and '.join(missing)}; give it in brackets: {place}({shown}).")
    return making, calling, settings


def _values(given: Mapping[str, Any], network: nn.Module, images: Tensor) -> dict[str, Any]:
    """Parameters as they are called with: a layer by its name, a baseline by its value, a window by its rule."""
    found = dict(given)
    if isinstance(found.get("layer"), str):
        modules = dict(network.named_modules())
        if found["layer"] not in modules:
            raise UnknownNameError("layer of the network", found["layer"], [name for name in modules if name])
        found["layer"] = modules[found["layer"]]
    if isinstance(found.get("baselines"), int | float):
        found["baselines"] = images.new_full((1, *images.shape[1:]), float(found["baselines"]))
    if found.get(WINDOW) == EIGHTH:
        height, width = (max(1, round(side / 8)) for side in images.shape[2:])
        found[WINDOW] = (images.shape[1], height, width)
    if found.get(STRIDE) == HALF:
        found[STRIDE] = (images.shape[1], *(max(1, side // 2) for side in found[WINDOW][1:]))
    return found


def _own_network(thing: Any) -> Any:
    """The network that an object of captum's holds; ``None`` where it holds none."""
    return next((held for name in ("forward_func", "model") if (held := getattr(thing, name, None)) is not None), None)


def _holds_network(name: str) -> str:
    return (f"'{name}' holds a network of its own, and roar explains one after another; give its class, or a function "
            "that takes the network and returns it.")


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators of torch (of the CPU and of the images' GPU), NumPy and Python, and put them back."""
    import torch

    python, array = random.getstate(), np.random.get_state()
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


def _plain(value: Any) -> Any:
    """A value as JSON keeps it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _text(value: Any) -> str:
    """A value as it is written in brackets."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        inner = ",".join(repr(item) if isinstance(item, str) else _text(item) for item in value)
        inner += "," if isinstance(value, tuple) and len(value) == 1 else ""
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, str):
        plain = value and not set(value) & set("()[]{},'\" \t\n=") and parameters(Spelling("x", f"x={value}")) == {
            "x": value}
        return value if plain else repr(value)
    return repr(value)
