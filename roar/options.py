"""Every setting by the name of its flag: what the command line's flags and a study's keywords set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from roar.errors import ExperimentError
from roar.experiment import SECTIONS, Experiment, WithRecipe
from roar.recipes import Recipe
from roar.registry import split
from roar.settings import Flag, flags, section_type, value_type

_NUMBERS = ("thresholds", "normalize_mean", "normalize_std")  # the lists of numbers


@dataclass(frozen=True)
class Option:
    """A flag of the command line: the section and the key that it sets, and the type of a value."""

    flag: Flag
    section: str  # "" for the top level
    key: str
    kind: type

    @property
    def parameter(self) -> str:
        return self.flag.name.lstrip("-").replace("-", "_")

    def put(self, tables: dict[str, Any], value: Any) -> None:
        """Set the key in the tables of an experiment."""
        if self.section:
            tables.setdefault(self.section, {})[self.key] = self._converted(value)
        else:
            tables[self.key] = value

    def _converted(self, value: Any) -> Any:
        """The value for the settings; of words of a command line the parts between commas."""
        if self.kind is not list or not all(isinstance(word, str) for word in value):
            return value
        words = split_words(value)
        return [self._number(word) for word in words] if self.key in _NUMBERS else words

    def _number(self, word: str) -> float:
        try:
            return float(word)
        except ValueError:
            raise ExperimentError(f"{self.flag.name} takes numbers with commas between them, not '{word}'.") from None


def options() -> list[Option]:
    """Every flag there is, from the fields of the settings and of the metrics' sections."""
    found = [Option(flag, "", key, value_type(Experiment, key)) for key, flag in flags(Experiment)]
    for name in ("source", "model", "train", "estimators", "degrade", "retrain", "compute"):
        section = section_type(Experiment, name)
        found += [_option(section, name, key, flag) for key, flag in flags(section)]
        if issubclass(section, WithRecipe):
            found += [_option(Recipe, name, key, flag) for key, flag in flags(Recipe)]
    return found + [_option(section, name, key, flag) for name, section in SECTIONS.items()
                    for key, flag in flags(section)]


def _option(settings: type[BaseModel], section: str, key: str, flag: Flag) -> Option:
    """The flag of a field; in the section ``train``, whose keys are those of ``retrain``, it begins with ``train``."""
    name = f"--train-{flag.name.removeprefix('--')}" if section == "train" else flag.name
    return Option(Flag(name, flag.help), section, key, value_type(settings, key))


def split_words(values: Iterable[str]) -> list[str]:
    """``["a,b", "c(x=1,y=2)"]`` as ``["a", "b", "c(x=1,y=2)"]``."""
    return [word for value in values for word in split(value)]
