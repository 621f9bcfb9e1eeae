"""Objects that are not roar's: where their code is, what identifies it, and how it reaches a worker.

    FILE.py:object            the text of the file travels with the task, so no node needs the file on its disk
    package.module:object     travels as this name; every node has the package
    an object of a program    travels by value where it was defined in ``__main__``, a notebook or a module beside them

The identity of an object is part of the key of everything that it makes: the SHA-256 of a file's text, distribution
and version of an installed package (of an editable one also the hash of the module), the hash of the source of an
object of a program with all that it uses of that program.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roar.errors import UsageError
from roar.plugins.identity import Description, is_installed, package_identity

MOST_BYTES = 10_000_000  # of a file of code
_executes: ContextVar[Callable[[str], None]] = ContextVar("executes", default=lambda path: None)


@dataclass(frozen=True)
class Foreign:
    """An object that is not roar's.

    Attributes:
        name: for tables, e.g. ``my_method``.
        spelling: how it is asked for again from any directory: ``/home/me/my_method.py:my_method``, or the name alone
            of an object of a program.
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

    @property
    def module_name(self) -> str:
        """The last part of the name of its module, which tells two objects of one name apart; empty where none does."""
        return ""


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

    @property
    def module_name(self) -> str:
        return Path(self.path).stem


@dataclass(frozen=True)
class PackageObject(Foreign):
    """An object of a package that every node has."""

    module: str

    def load(self) -> Any:
        return _attribute(_imported(self.module, self.spelling), self.identity["object"], self.spelling)

    @property
    def module_name(self) -> str:
        return self.module.rpartition(".")[2]


@dataclass(frozen=True)
class LiveObject(Foreign):
    """An object of a running program, which travels by value.

    Attributes:
        modules: whose functions and classes travel by value too, since no other node has them.
    """

    value: Any = field(compare=False)
    modules: tuple[str, ...] = ()

    def load(self) -> Any:
        return self.value

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle

        known = [sys.modules[name] for name in self.modules if name in sys.modules]
        for module in known:
            cloudpickle.register_pickle_by_value(module)
        try:
            value = cloudpickle.dumps(self.value)
        except Exception as error:  # an object that is not roar's may hold anything
            raise UsageError(f"'{self.name}' cannot travel to a worker ({described(error)}); let it hold nothing such "
                             "as an open file, or put it into a file and give FILE.py:object.") from None
        finally:
            for module in known:
                cloudpickle.unregister_pickle_by_value(module)
        return _unpacked, (self.name, self.spelling, self.identity, value, self.modules)


def _unpacked(name: str, spelling: str, identity: dict[str, Any], value: bytes, modules: tuple[str, ...]) -> LiveObject:
    import cloudpickle

    return LiveObject(name, spelling, identity, cloudpickle.loads(value), modules)


@contextlib.contextmanager
def executed_files(tell: Callable[[str], None]) -> Iterator[None]:
    """Have ``tell`` called with the path of every file before it is executed, once each."""
    seen: set[str] = set()

    def once(path: str) -> None:
        if path not in seen:
            seen.add(path)
            tell(path)

    token = _executes.set(once)
    try:
        yield
    finally:
        _executes.reset(token)


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


def defined_in(path: str) -> dict[str, Any]:
    """The public objects that a file defines, by name; the file is executed.

    Raises:
        UsageError: it cannot be read or run.
    """
    file, text = _read(path)
    _executes.get()(str(file))
    module = _module_of(str(file), text)
    return {name: value for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__}


def _read(path: str) -> tuple[Path, str]:
    """A file of code and its text."""
    file = Path(path).expanduser()
    try:
        if not file.is_file():
            raise UsageError(f"There is no file '{path}'; give the path of a Python file.")
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"'{path}' has more than {MOST_BYTES:,} bytes, which no file of code has; give the path "
                             "of a Python file.")
        return file.resolve(), file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read ({error.strerror}); give a readable Python file.") from None
    except ValueError:
        raise UsageError(f"'{path}' is not UTF-8 text; give the path of a Python file.") from None


def _of_file(path: str, name: str, spelling: str) -> FileObject:
    file, text = _read(path)
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = FileObject(name.rpartition(".")[2], f"{file}:{name}", {"file": digest, "object": name}, str(file), text)
    _executes.get()(str(file))
    _attribute(_module_of(str(file), text), name, spelling)  # what is wrong with it is said where it is named
    _check_alone(path, file, text)
    return found


def _check_alone(path: str, file: Path, text: str) -> None:
    """Refuse a file that imports another one beside it: that one neither travels nor is part of the key.

    Raises:
        UsageError: it does.
    """
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
            [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in names:
            module = sys.modules.get(name.partition(".")[0])
            other = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
            if other and file.parent in Path(other).resolve().parents and not is_installed(name):
                raise UsageError(f"'{path}' imports '{name}' from '{other}', which is no part of the key and would not "
                                 "travel to a worker; put it into the file, or install it as a package.")


def _of_package(module: str, name: str, spelling: str) -> PackageObject:
    loaded = _imported(module, spelling)
    _attribute(loaded, name, spelling)
    return PackageObject(name.rpartition(".")[2], spelling, {**package_identity(loaded), "object": f"{module}:{name}"},
                         module)


def _of_program(value: Any) -> Foreign:
    """An object that a program holds: by name where a worker can import it, else by value."""
    inner = value
    while isinstance(inner, functools.partial):
        inner = inner.func
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    module, name = str(getattr(named, "__module__", "__main__")), str(named.__qualname__)
    if named is value and "<" not in name and _is_importable(module, name, value):
        return _of_package(_public(module, name, value), name, f"{_public(module, name, value)}:{name}")
    described_value = Description(value)
    label = name.rpartition(".")[2].replace("<", "").replace(">", "")
    return LiveObject(label, label, {"source": described_value.sha256, "object": name}, value,
                      tuple(sorted(described_value.modules)))


def _is_importable(module: str, name: str, value: Any) -> bool:
    """Whether a worker finds the very object under its name: in an installed package, not beside a notebook."""
    return module != "__main__" and is_installed(module) and _is_there(module, name, value)


def _is_there(module: str, name: str, value: Any) -> bool:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


def _public(module: str, name: str, value: Any) -> str:
    """The shortest name of a module that offers an object: ``captum.attr`` for ``captum.attr._core.occlusion``.

    So an object and its spelling have one key, and a later version may move the private module.
    """
    parts = module.split(".")
    public = parts[:next((i for i, part in enumerate(parts) if part.startswith("_")), len(parts))]
    shorter = ".".join(public)
    return shorter if shorter and _is_there(shorter, name, value) else module


@functools.lru_cache(maxsize=128)
def _module_of(path: str, text: str) -> types.ModuleType:
    """The module that a file's text defines; run once per process and text.

    Raises:
        UsageError: running the text raises.
    """
    name = f"roar_file_{hashlib.sha256(f'{path} {text}'.encode()).hexdigest()[:16]}"
    module = types.ModuleType(name)
    module.__file__ = path
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # for tracebacks, and getsource
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # code that is not roar's may raise anything
        sys.modules.pop(name, None)
        raise UsageError(f"'{path}' cannot be run ({described(error, path)}); correct it.") from None
    return module


def _imported(module: str, spelling: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # code that is not roar's may raise anything
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
                             f"{', '.join(defined[:10]) or 'nothing'}; correct the name behind the colon.")
        found = getattr(found, part)
    return found


def described(error: BaseException, path: str | None = None) -> str:
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
