"""The command line's flags, which the fields of the settings carry.

A flag joins every command that takes its section; a flag given on the command line lies over the key in the file, which
lies over the default.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from roar.cli.printing import complain
from roar.errors import ExperimentError
from roar.experiment import Experiment, load_experiment
from roar.options import Option, options
from roar.plugins.named import without_code
from roar.settings import read_toml

DEFAULT_FILE = "roar.toml"


def whole_numbers(name: str, text: str) -> list[int]:
    """``"0:3,7"`` as ``[0, 1, 2, 7]``.

    Raises:
        ExperimentError: the text is something else, or names nothing.
    """
    found: list[int] = []
    for word in text.split(","):
        first, colon, last = word.strip().partition(":")
        if not (first.isdigit() and (last.isdigit() if colon else not last)):
            raise ExperimentError(f"{name} takes whole numbers and ranges such as 3,17 or 0:16, not '{text}'.")
        found += range(int(first), int(last)) if colon else [int(first)]
    if not found:
        raise ExperimentError(f"{name} '{text}' is an empty range; let the second number be the larger one.")
    return found


PANELS = {"source": "Images", "model": "Network to be explained", "train": "Network to be explained",
          "estimators": "Estimators", "degrade": "Removal", "retrain": "Retraining", "compute": "Where the work runs",
          "": "Where the work runs"}


COMMON = ("source", "model", "train", "compute", "")


def experiment_options(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the common flags and those of the sections, and its ``experiment`` as first argument."""
    taken = [option for option in options() if option.section in (*COMMON, *sections)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        others = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            config = values.pop("config")
            given = {option: values.pop(option.parameter) for option in taken}
            try:
                with _terminable():
                    experiment = _experiment(values.get("file") or config, given)
                    if "timeout" in experiment.compute.model_fields_set:
                        os.environ["ROAR_TIMEOUT"] = str(experiment.compute.timeout)  # workers inherit it
                    command(experiment, **values)
            except KeyboardInterrupt as end:
                complain("\nInterrupted; what is finished is kept. Run the same command to resume.")
                clear_unhandled_interrupt()
                raise typer.Exit(128 + (end.number if isinstance(end, Terminated) else signal.SIGINT)) from None

        config = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[
            Path | None, typer.Option("--config", help=f"Experiment file; default: {DEFAULT_FILE} if there is one.",
                                      rich_help_panel=PANELS[""])])
        # inspect.Signature is what typer reads, so the flags need no copy in every command.
        run.__signature__ = inspect.Signature([*others, *map(_parameter, taken), config])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
        return run

    return decorate


def clear_unhandled_interrupt() -> None:
    """Run code made from a string, which resets CPython's flag for a SIGINT that struck such code.

    CPython kills itself by SIGINT at its end where an interrupt left ``exec`` (see ``_PyRun_SimpleString`` and
    ``_Py_UnhandledKeyboardInterrupt``); ``namedtuple`` executes such a string.
    """
    namedtuple("Nothing", "")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers send some seconds before they kill, or SIGHUP, of a terminal that is closed."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end what runs inside as Ctrl-C does."""
    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():  # only there are signals received
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)
              if signal.getsignal(number) != signal.SIG_IGN}  # as nohup has it
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parameter(option: Option) -> inspect.Parameter:
    panel = PANELS.get(option.section, PANELS["estimators"])
    kind: Any = list[str] if option.kind is list else option.kind
    made = typer.Option(option.flag.name, help=option.flag.help, rich_help_panel=panel, show_default=False)
    annotation: Any = Annotated.__class_getitem__((kind | None, made))  # type: ignore[attr-defined]
    return inspect.Parameter(option.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _experiment(file: Path | None, given: dict[Option, Any]) -> Experiment:
    overrides: dict[str, Any] = {}
    for option, value in given.items():
        if value is None or value == []:
            continue
        option.put(overrides, value)
    if file is None and Path(DEFAULT_FILE).is_file():
        return _found(Path(DEFAULT_FILE), overrides)
    return load_experiment(file, overrides)


def _found(file: Path, overrides: dict[str, Any]) -> Experiment:
    """The experiment of a file that nobody named, which may name neither code nor a cluster."""
    tables, ignored = without_code(read_toml(file))
    if ignored:
        complain(f"Ignored in {file}, which --config does not name: {'; '.join(ignored)}. Look at the file and "
                 f"give --config {file} to have it run code or join a cluster.")
    return load_experiment(file, overrides, tables)


def american(word: str) -> str:
    """A flag in the one spelling that there is; ``--normalise-mean`` is accepted as ``--normalize-mean``."""
    flag, equals, value = word.partition("=")
    return re.sub("(normal|regular)is", r"\1iz", flag) + equals + value if flag.startswith("--") else word
