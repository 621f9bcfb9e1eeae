"""What identifies code that is not roar's: the version of a package, or the code itself with all that it uses.

An object of a program has no version. It is described by its source, by every global, default and closed-over value of
the program that it uses, and so on from there; of an installed package the version is enough. The description holds no
address and no order of a set, so that two runs of one program agree.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import importlib.metadata
import inspect
import json
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MADE_BY_PYTHON = {"__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__annotations__", "_abc_impl",
                   "__abstractmethods__", "__parameters__", "__firstlineno__", "__static_attributes__", "__slots__",
                   "__orig_bases__", "__annotate__", "__annotate_func__", "__annotations_cache__"}


@functools.lru_cache(maxsize=256)
def distribution_of(module: str) -> tuple[str, str, bool] | None:
    """Name and version of the distribution that a module belongs to, and whether it is installed editable."""
    top = module.partition(".")[0]
    if top == "roar":  # also where it is run from its repository
        return "roar-bench", _version("roar-bench"), False
    names = _distributions().get(top)
    if not names:
        return None
    distribution = importlib.metadata.distribution(names[0])
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return names[0], distribution.version, bool(origin.get("dir_info", {}).get("editable"))


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in importlib.metadata.packages_distributions().items()}


def is_installed(module: str) -> bool:
    """Whether a module is Python's own or an installed package's, so that every node has it."""
    return module.partition(".")[0] in sys.stdlib_module_names or distribution_of(module) is not None


def package_identity(module: types.ModuleType) -> dict[str, str]:
    """Distribution and version of a module; the hash of its file where no version stands for its code."""
    found, file = distribution_of(module.__name__), getattr(module, "__file__", None)
    named = {} if found is None else {"distribution": found[0], "version": found[1]}
    if (found is not None and not found[2]) or file is None or not Path(file).is_file():
        return named
    return {**named, "file": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


@dataclass(eq=False)
class Description:
    """The description of one object, and the modules beside the program whose code it uses.

    Attributes:
        modules: by name those that are neither installed nor the program itself.
    """

    value: Any
    modules: dict[str, types.ModuleType] = field(default_factory=dict)
    _seen: dict[int, tuple[int, Any]] = field(default_factory=dict)  # with the object, so that no address is used again

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for part in self._parts(self.value):
            digest.update(part.encode(errors="surrogatepass"))
            digest.update(b"\x1f")
        self.sha256 = digest.hexdigest()

    def _parts(self, value: Any) -> Iterator[str]:
        """The description of a value, piece by piece; the second time that it is met its number alone."""
        if value is None or (isinstance(value, bool | int | float | complex | str | bytes)
                             and not isinstance(value, enum.Enum)):
            yield f"{type(value).__name__} {value!r}"
            return
        if id(value) in self._seen:
            yield f"again {self._seen[id(value)][0]}"
            return
        self._seen[id(value)] = (len(self._seen), value)
        if isinstance(value, types.ModuleType):
            yield from self._module(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif isinstance(value, enum.Enum):
            yield f"{type(value).__qualname__}.{value.name}"
            yield from self._parts(type(value))
        elif isinstance(value, dict):
            yield "dict"
            for key, item in list(value.items()):
                yield from self._parts(key)
                yield from self._parts(item)
        elif isinstance(value, list | tuple):
            yield f"{type(value).__name__} {len(value)}"
            for item in list(value):
                yield from self._parts(item)
        elif isinstance(value, set | frozenset):
            yield f"set {sorted(map(_alone, value))}"
        elif type(value).__module__.partition(".")[0] in ("numpy", "torch") and hasattr(value, "shape"):
            yield _array(value)
        else:
            yield from self._object(value)

    def _module(self, module: types.ModuleType) -> Iterator[str]:
        yield f"module {module.__name__} {sorted(self._package(module.__name__).items())}"

    def _package(self, name: str) -> dict[str, str]:
        """The identity of the package of a module; the module itself is noted where it is not installed."""
        module = sys.modules.get(name)
        if name == "__main__" or module is None:
            return {}
        found = distribution_of(name)
        if found is not None:
            return {"distribution": found[0], "version": found[1]} if not found[2] else package_identity(module)
        if not is_installed(name):
            self.modules[name] = module
            return package_identity(module)
        return {}

    def _is_of_program(self, value: Any) -> bool:
        """Whether the code of a function or class is the program's, or that of a module beside it."""
        name = str(getattr(value, "__module__", None) or "__main__")
        if name != "__main__" and not is_installed(name) and name in sys.modules:
            self.modules[name] = sys.modules[name]
        return not is_installed(name)

    def _class(self, value: type) -> Iterator[str]:
        yield f"class {value.__module__}.{value.__qualname__}"
        if not self._is_of_program(value):
            yield str(sorted(self._package(value.__module__).items()))
            return
        for base in value.__bases__:
            yield from self._parts(base)
        for name, member in sorted(vars(value).items()):
            if name not in _MADE_BY_PYTHON:
                yield name
                yield from self._parts(member)

    def _function(self, function: types.FunctionType) -> Iterator[str]:
        yield f"function {function.__qualname__}"
        if not self._is_of_program(function):
            yield f"{function.__module__} {sorted(self._package(function.__module__).items())}"
            return
        try:
            yield inspect.getsource(function.__code__)
        except (OSError, TypeError):  # typed into an interpreter
            yield from self._code(function.__code__)
        for name in sorted(set(_globals_of(function.__code__))):
            if name in function.__globals__:
                yield name
                yield from self._parts(function.__globals__[name])
        for cell in function.__closure__ or ():
            yield from self._cell(cell)
        yield from self._parts(function.__defaults__)
        yield from self._parts(function.__kwdefaults__)

    def _cell(self, cell: types.CellType) -> Iterator[str]:
        try:
            value = cell.cell_contents
        except ValueError:  # nothing was put into it yet
            yield "empty"
            return
        yield from self._parts(value)

    def _code(self, code: types.CodeType) -> Iterator[str]:
        yield f"{code.co_code!r} {code.co_names} {code.co_varnames} {code.co_freevars}"
        for constant in code.co_consts:
            yield from self._parts(constant)

    def _object(self, value: Any) -> Iterator[str]:
        if isinstance(value, functools.partial):
            yield "partial"
            for part in (value.func, value.args, value.keywords):
                yield from self._parts(part)
            return
        if isinstance(value, types.MethodType):
            yield from self._parts(value.__func__)
            yield from self._parts(value.__self__)
            return
        if isinstance(value, staticmethod | classmethod):
            yield type(value).__name__
            yield from self._parts(value.__func__)
            return
        if isinstance(value, property):
            for accessor in (value.fget, value.fset, value.fdel):
                yield from self._parts(accessor)
            return
        if isinstance(value, functools.cached_property):
            yield from self._parts(value.func)
            return
        if isinstance(value, types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType):
            yield f"built-in {value.__qualname__}"
            return
        yield "object"
        yield from self._parts(type(value))
        if callable(value) and hasattr(value, "__wrapped__"):  # such as what functools.lru_cache makes
            yield from self._parts(inspect.unwrap(value))
            return
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict):
            yield from self._parts(state)
        elif not self._is_of_program(type(value)):
            text = repr(value)
            yield text if " at 0x" not in text else ""
        for name in _slots(type(value)) if self._is_of_program(type(value)) else ():
            if hasattr(value, name):
                yield name
                yield from self._parts(getattr(value, name))


def _alone(value: Any) -> str:
    """The hash of a value by itself, for what has no order."""
    return Description(value).sha256


def _array(value: Any) -> str:
    """Type, shape and bytes of an array or a tensor."""
    import numpy as np

    kind, shape = str(value.dtype), tuple(value.shape)
    if hasattr(value, "detach"):
        import torch

        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif value.dtype.hasobject:
        data = "".join(map(_alone, np.asarray(value).reshape(-1).tolist())).encode()
    else:
        data = np.ascontiguousarray(value).tobytes()
    return f"array {kind} {shape} {hashlib.sha256(data).hexdigest()}"


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """The names of globals that a body reads, those of functions within it too."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


def _slots(kind: type) -> Iterable[str]:
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from (name for name in ((slots,) if isinstance(slots, str) else slots) if not name.startswith("__"))
