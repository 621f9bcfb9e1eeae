"""Objects that are not roar's: where their code is, what identifies it, and how it reaches a worker.

    FILE.py:object            the text of the file travels with the task, so no node needs the file on its disk
    package.module:object     travels as this name; every node has the package
    an object of a program    travels by value where it was defined in ``__main__`` or a notebook

The identity of an object is part of the key of everything that it makes: the SHA-256 of a file's text, distribution
and version of an installed package (of an editable one also the hash of the module), the hash of the source of an
object of a program with all that it uses of that program.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import linecache
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roar.errors import UsageError

MOST_BYTES = 10_000_000  # of a file of code


@dataclass(frozen=True)
class Foreign:
    """An object that is not roar's.

    Attributes:
        name: for tables, e.g. ``my_method``.
        spelling: how it is asked for again: ``my_method.py:my_method``, or the name alone of an object of a program.
        identity: JSON that changes whenever the code does.
    """

    name: str
    spelling: str
    identity: dict[str, Any]

    def load(self) -> Any:
        """The object, in this process.

        Raises:
            UsageError: its code cannot be run here, or does not define it.
        """
        raise NotImplementedError

    @property
    def file(self) -> str | None:
        """The file that is executed, for the sentence that says so."""
        return None


@dataclass(frozen=True)
class FileObject(Foreign):
    """An object of a file, whose text travels."""

    path: str
    text: str

    def load(self) -> Any:
        return _attribute(_module_of(self.path, self.text), self.identity["object"], self.spelling)

    @property
    def file(self) -> str | None:
        return self.path


@dataclass(frozen=True)
class PackageObject(Foreign):
    """An object of a package that every node has."""

    module: str

    def load(self) -> Any:
        return _attribute(_imported(self.module, self.spelling), self.identity["object"], self.spelling)


@dataclass(frozen=True)
class LiveObject(Foreign):
    """An object of a running program, which travels by value."""

    value: Any = field(compare=False)

    def load(self) -> Any:
        return self.value


def foreign(given: Any) -> Foreign:
    """A foreign object from its spelling, or from itself.

    Raises:
        UsageError: the file or the package cannot be read, or does not define the object.
    """
    if isinstance(given, Foreign):
        return given
    if isinstance(given, str):
        place, _, name = given.rpartition(":")
        return _of_file(place, name, given) if place.endswith(".py") else _of_package(place, name, given)
    return _of_program(given)


def _of_file(path: str, name: str, spelling: str) -> FileObject:
    file = Path(path).expanduser()
    try:
        if not file.is_file():
            raise UsageError(f"There is no file '{path}'; give the path of the Python file that defines '{name}'.")
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"'{path}' has more than {MOST_BYTES:,} bytes, which no file of code has; give the path "
                             f"of the Python file that defines '{name}'.")
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read ({error.strerror}); give a readable Python file.") from None
    except ValueError:
        raise UsageError(f"'{path}' is not UTF-8 text; give the path of a Python file.") from None
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = FileObject(name, spelling, {"file": digest, "object": name}, str(file.resolve()), text)
    found.load()  # what is wrong with it is said where it is named
    return found


def _of_package(module: str, name: str, spelling: str) -> PackageObject:
    loaded = _imported(module, spelling)
    _attribute(loaded, name, spelling)
    return PackageObject(name.rpartition(".")[2], spelling, {**_distribution(module), **_code_of(loaded, module),
                                                            "object": f"{module}:{name}"}, module)


def _of_program(value: Any) -> Foreign:
    """An object that a program holds: by name where a worker can import it, else by value."""
    named = value if hasattr(value, "__qualname__") else type(value)
    module, name = str(getattr(named, "__module__", "__main__")), str(named.__qualname__)
    if named is value and module != "__main__" and "<" not in name and _is_importable(module, name, value):
        return _of_package(module, name, f"{module}:{name}")
    digest = hashlib.sha256()
    for part in _sources(value, set()):
        digest.update(part.encode())
    label = name.rpartition(".")[2].replace("<", "").replace(">", "")
    return LiveObject(label, label, {"source": digest.hexdigest(), "object": name}, value)


def _is_importable(module: str, name: str, value: Any) -> bool:
    """Whether a worker finds the very object under its name: in an installed package, not beside a notebook."""
    if not _distribution(module) and module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


@functools.lru_cache(maxsize=128)
def _module_of(path: str, text: str) -> types.ModuleType:
    """The module that a file's text defines; run once per process and text.

    Raises:
        UsageError: running the text raises.
    """
    name = f"roar_file_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    module = types.ModuleType(name)
    module.__file__ = path
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # for tracebacks, and getsource
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), module.__dict__)
    except Exception as error:  # code that is not roar's may raise anything
        sys.modules.pop(name, None)
        raise UsageError(f"'{path}' cannot be run ({described(error, path)}); correct it.") from None
    return module


def _imported(module: str, spelling: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:  # code that is not roar's may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            raise UsageError(f"'{spelling}' needs the package '{error.name}', which is not installed; install it or "
                             "correct the name.") from None
        raise UsageError(f"'{spelling}' cannot be imported ({described(error)}); mend or upgrade the package.",
                         ) from None


def _attribute(module: types.ModuleType, name: str, spelling: str) -> Any:
    found: Any = module
    for part in name.rpartition(":")[2].split("."):
        if not hasattr(found, part):
            defined = sorted(key for key in vars(module) if not key.startswith("_"))
            raise UsageError(f"'{spelling}' does not exist: '{module.__file__}' defines no '{part}', but "
                             f"{', '.join(defined[:10])}; correct the name behind the colon.")
        found = getattr(found, part)
    return found


def described(error: Exception, path: str | None = None) -> str:
    """An error on one line, with the last line of a file that it came through."""
    lines = [entry.tb_lineno for entry in _trace(error) if entry.tb_frame.f_code.co_filename == path]
    if isinstance(error, SyntaxError) and error.lineno:
        lines = [error.lineno]
    text = " ".join(f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".split())[:300]
    return f"line {lines[-1]}: {text}" if lines else text


def _trace(error: BaseException) -> Iterator[types.TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


@functools.lru_cache(maxsize=128)
def _distribution_of(top: str) -> tuple[str, str, bool] | None:
    """Name and version of the distribution that a package belongs to, and whether it is installed editable."""
    names = importlib.metadata.packages_distributions().get(top)
    if not names:
        return None
    distribution = importlib.metadata.distribution(names[0])
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return names[0], distribution.version, bool(origin.get("dir_info", {}).get("editable"))


def _distribution(module: str) -> dict[str, str]:
    found = _distribution_of(module.partition(".")[0])
    return {} if found is None else {"distribution": found[0], "version": found[1]}


def _code_of(loaded: types.ModuleType, module: str) -> dict[str, str]:
    """The hash of a module's file where no version stands for it: of an editable or of no distribution."""
    found, file = _distribution_of(module.partition(".")[0]), getattr(loaded, "__file__", None)
    if (found is not None and not found[2]) or file is None or not Path(file).is_file():
        return {}
    return {"file": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


def _sources(value: Any, seen: set[int]) -> Iterator[str]:
    """The source of an object and, after it, all that it uses of the program that defines it, each once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    function = inspect.unwrap(value) if callable(value) else value
    if isinstance(function, functools.partial):
        yield repr(sorted(function.keywords.items())) + repr(function.args)
        yield from _sources(function.func, seen)
    elif inspect.isfunction(function) or inspect.isclass(function) or inspect.ismethod(function):
        yield _source(function)
        yield from _used(function, seen)
    elif isinstance(function, types.ModuleType | types.BuiltinFunctionType):
        yield function.__name__
    elif isinstance(function, int | float | complex | str | bytes | bool | type(None) | tuple | frozenset):
        yield repr(function)
    else:
        yield from _sources(type(function), seen)
        yield repr(sorted(vars(function).items(), key=lambda item: item[0])) if hasattr(function, "__dict__") else ""


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed into an interpreter
        code = getattr(function, "__code__", None)
        return f"{function.__qualname__}" if code is None else f"{code.co_code!r}{code.co_consts!r}{code.co_names!r}"


def _used(function: Any, seen: set[int]) -> Iterator[str]:
    """Globals, closed-over values and defaults of a function of a program; an installed package is its version."""
    bodies = [function] if not inspect.isclass(function) else [
        member for member in vars(function).values() if inspect.isfunction(member)]
    for body in bodies:
        body = getattr(body, "__func__", body)
        names = [*body.__code__.co_names, *(name for constant in body.__code__.co_consts
                                            if isinstance(constant, types.CodeType) for name in constant.co_names)]
        cells = [cell.cell_contents for cell in body.__closure__ or () if _is_filled(cell)]
        for used in [*(body.__globals__[name] for name in names if name in body.__globals__), *cells,
                     *(body.__defaults__ or ()), *(body.__kwdefaults__ or {}).values()]:
            module = str(getattr(used, "__module__", None) or "")
            if isinstance(used, types.ModuleType):
                yield used.__name__
            elif module and module != "__main__" and _distribution(module):
                yield f"{_distribution(module)}{getattr(used, '__qualname__', '')}"
            else:
                yield from _sources(used, seen)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
