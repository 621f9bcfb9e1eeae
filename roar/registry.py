"""What can be named: one registry per kind of thing, with one grammar of names.

    gradient                      a name, or an alias of one
    paper                         a group, which stands for several
    oracle-noisy(0.2)             a name with a parameter
    my_method.py:mine(alpha=2)    an object of a file
    package.module:Mine           an object of an installed package
    theirs                        the name of an entry point, such as ``roar.estimators``

A name is looked up once, where a person gives it; from there on the object travels. An object that is not roar's is
:class:`Foreign`: it knows what identifies its code, which becomes part of every key, and a worker gets it without the
file that it came from.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar

from roar.errors import UnknownNameError, UsageError
from roar.plugins import Foreign, foreign

T = TypeVar("T")


@dataclass(frozen=True)
class Paper:
    """A reference that listings and the report show."""

    title: str
    authors: str
    year: int
    url: str


ROAR = Paper("A Benchmark for Interpretability Methods in Deep Neural Networks",
             "Hooker, Erhan, Kindermans, Kim", 2019, "https://arxiv.org/abs/1806.10758")


@dataclass(frozen=True)
class Spelling:
    """A name with what stands in its brackets; ``arguments`` is ``None`` where there are none."""

    name: str
    arguments: str | None = None

    @property
    def is_object(self) -> bool:
        """Whether it is spelled ``FILE.py:object`` or ``package.module:object``."""
        return re.fullmatch(r"(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_][\w.]*", self.name) is not None

    def __str__(self) -> str:
        return self.name if self.arguments is None else f"{self.name}({self.arguments})"


def parse(text: str) -> Spelling:
    """A name and what stands in its brackets.

    >>> parse("smoothgrad(mine.py:f(alpha=2))")
    Spelling(name='smoothgrad', arguments='mine.py:f(alpha=2)')

    Raises:
        UsageError: the brackets do not match.
    """
    text = text.strip()
    name, bracket, rest = text.partition("(")
    in_file = re.match(r"(.+?\.py:[A-Za-z_][\w.]*)\s*(\(?)", text)
    in_file = in_file if in_file and _depth(in_file[1]) == 0 else None
    if in_file:  # the path of a file may have brackets
        name, bracket, rest = in_file[1], in_file[2], text[in_file.end():]
    if not bracket and ")" not in (rest if in_file else name):
        return Spelling(name + rest)
    if not rest.endswith(")") or _depth(rest[:-1]) != 0:
        raise UsageError(f"Parameters stand in brackets behind a name, which '{text}' does not close; write "
                         "name(parameter=value).")
    return Spelling(name.strip(), rest[:-1].strip())


def split(text: str, separator: str = ",") -> list[str]:
    """The parts between separators that stand outside brackets and quotes, without blanks around them.

    >>> split("a, f(x=1,y=2)")
    ['a', 'f(x=1,y=2)']
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth = max(0, depth - 1)
        if letter == separator and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def parameters(spelling: Spelling) -> dict[str, Any]:
    """The values of ``name(alpha=2, mode=fast)`` by their names: a literal of Python's, true or false, or a text.

    Raises:
        UsageError: a part is not spelled ``name=value``, or a name is given twice.
    """
    found: dict[str, Any] = {}
    for part in split(spelling.arguments or ""):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and name.isidentifier() and value) or name in found:
            raise UsageError(f"Parameters of '{spelling.name}' are spelled name=value, each once, not '{part}'; write "
                             f"{spelling.name}(name=value).")
        try:
            found[name] = _WORDS[value] if value in _WORDS else ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


_WORDS = {"true": True, "false": False}  # as TOML spells them


def load(spelling: object) -> Any:
    """The object that ``module:name`` spells, imported when it is used; an object is its own."""
    if not isinstance(spelling, str):
        return spelling
    module, _, name = spelling.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(eq=False)
class Registry(Generic[T]):
    """Things of one kind by their names.

    Attributes:
        kind: what a name stands for, e.g. ``"estimator"``, for messages.
        package: whose modules register the built-in things when they are imported, each with this registry.
        adapt: from a foreign object, the parameters in its brackets and the name given to it, what it stands for.
            Raises UsageError.
        makers: from what stands in the brackets behind a name, what it stands for. Raise UsageError. The name may
            also stand for something without brackets.
        groups: names that stand for several, each with a function that gives their names.
        hint: a further remedy for a name that is unknown.
    """

    kind: str
    package: str
    adapt: Callable[[Foreign, Mapping[str, Any], str], T]
    hint: str = ""
    values: dict[str, T] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    makers: dict[str, Callable[[str], T]] = field(default_factory=dict)
    groups: dict[str, Callable[[], Iterable[str]]] = field(default_factory=dict)
    spellings: dict[str, str] = field(default_factory=dict)  # of the makers, e.g. oracle-noisy(q)
    examples: dict[str, str] = field(default_factory=dict)  # of the makers, e.g. oracle-noisy(0.2)
    loaded: bool = False  # whether the built-in things are registered
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def entry_points(self) -> str:
        """The group of entry points that installed packages declare."""
        return f"roar.{self.kind}s"

    def add(self, name: str, value: T, aliases: Iterable[str] = ()) -> T:
        """Register a built-in thing; its name and aliases must be free, but a maker may have its name."""
        for new in (name, *aliases):
            if new in {*self.values, *self.aliases, *self.groups}:
                self._refuse(new)
        self.values[name] = value
        self.aliases |= dict.fromkeys(aliases, name)
        return value

    def add_maker(self, name: str, spelling: str, make: Callable[[str], T], example: str = "") -> None:
        """Register a name that takes parameters in brackets; ``spelling`` shows them.

        Without brackets the name may be that of a thing: ``smoothgrad`` and ``smoothgrad(X)``.
        """
        if name in {*self.aliases, *self.groups, *self.makers}:
            self._refuse(name)
        self.makers[name], self.spellings[name], self.examples[name] = make, spelling, example or spelling

    def load(self) -> None:
        """Import the modules of the package, so that they register what they define."""
        with self._lock:
            if self.loaded:
                return
            self.loaded = True  # what is imported now may ask for a name
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")

    def names(self) -> list[str]:
        """Every built-in name, in the order of registration, without aliases, groups and makers."""
        self.load()
        return list(self.values)

    def all(self) -> list[T]:
        """Everything built in, in the order of registration."""
        self.load()
        return list(self.values.values())

    def installed(self) -> dict[str, importlib.metadata.EntryPoint]:
        """What other packages declare, by name, not imported; a built-in name wins."""
        self.load()
        found: dict[str, importlib.metadata.EntryPoint] = {}
        for point in importlib.metadata.entry_points(group=self.entry_points):
            if self._canonical(point.name) not in {*self.values, *self.aliases, *self.groups, *self.makers}:
                found.setdefault(point.name, point)
        return found

    def resolve(self, names: Iterable[str]) -> list[T]:
        """What names and groups stand for, each once, in the order given.

        Raises:
            UnknownNameError: a name stands for nothing; the message suggests the nearest.
            UsageError: a parameter breaks a rule, or an object of a file or package cannot be had.
        """
        self.load()
        found: dict[str, T] = {}
        for text in names:
            group = self._canonical(text)
            for member in self.groups[group]() if group in self.groups else [text]:
                name = self._canonical(member)
                name = self.aliases.get(name, name)
                found.setdefault(name if name in self.values else member.strip(), self.find(member))
        return list(found.values())

    def find(self, text: str) -> T:
        """What one name stands for.

        Raises:
            UnknownNameError, UsageError: as :meth:`resolve`; the name is a group's.
        """
        self.load()
        try:
            spelling = parse(text)
        except UsageError:
            name = self._canonical(text.partition("(")[0])
            if name not in self.makers:
                raise
            spelling = Spelling(name, "")
        if spelling.is_object:
            return self.adapt(foreign(spelling.name), parameters(spelling), "")
        name = self._canonical(spelling.name)
        if name in self.groups:
            raise UnknownNameError(f"single {self.kind}", text.strip(), self.values)
        name = self.aliases.get(name, name)
        if name in self.makers and (spelling.arguments is not None or name not in self.values):
            if not spelling.arguments:
                shown = self.spellings[name]
                raise UsageError(f"'{name}' takes its parameter {shown[len(name) + 1:-1]} in brackets, which '{text}' "
                                 f"lacks; write {self.examples.get(name, shown)}.")
            return self.makers[name](spelling.arguments)
        if name in self.values:
            if spelling.arguments is not None:
                raise UsageError(f"The {self.kind} '{name}' takes no parameters in brackets, not "
                                 f"'({spelling.arguments})'; write '{name}'.")
            return self.values[name]
        installed = self.installed()
        if spelling.name in installed:
            point = installed[spelling.name]
            return self.adapt(foreign(f"{point.module}:{point.attr}"), parameters(spelling), point.name)
        known = [*self.values, *self.aliases, *self.groups, *self.spellings.values(), *installed]
        raise UnknownNameError(self.kind, text.strip(), known, self.hint)

    def adapted(self, value: Any, name: str = "") -> T:
        """What an object stands for that a program gives in the place of a name.

        Raises:
            UsageError: it is not of this kind.
        """
        return self.adapt(foreign(value), MappingProxyType({}), name)

    def is_taken(self, name: str) -> bool:
        """Whether a name stands for something of roar's, however it is spelled."""
        self.load()
        return self._canonical(name) in {*self.values, *self.aliases, *self.groups, *self.makers}

    def _canonical(self, name: str) -> str:
        """A built-in name is spelled with hyphens and small letters; the name of an entry point as it is declared."""
        return name.strip().lower().replace("_", "-")

    def _refuse(self, name: str) -> NoReturn:
        raise ValueError(f"The {self.kind} name '{name}' is taken; choose a name and aliases that are free.")


def _depth(text: str) -> int:
    """How many brackets are open at the end; -1 where one closes that was not open."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return -1
    return depth
