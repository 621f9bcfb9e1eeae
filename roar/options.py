"""The command line's flags, each bound to one key of the experiment.

A flag is declared once here and joins every command that takes its section; a flag given on the command line
lies over the key in the file, which lies over the default.
"""

from __future__ import annotations

import functools
import inspect
import signal
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from roar.errors import ExperimentError
from roar.experiment import Experiment, load_experiment

DEFAULT_FILE = "roar.toml"


@dataclass(frozen=True)
class Flag:
    """One flag: its name, the section and key it sets, its type and its help."""

    name: str
    section: str  # "" for the top level
    key: str
    kind: Any
    help: str
    convert: Callable[[Any], Any] = lambda value: value

    @property
    def parameter(self) -> str:
        return self.name.lstrip("-").replace("-", "_")


def split_words(values: Iterable[str]) -> list[str]:
    """``["a,b", "c"]`` as ``["a", "b", "c"]``."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


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


def _numbers(name: str) -> Callable[[Any], list[float]]:
    def convert(value: Any) -> list[float]:
        words = split_words(value if isinstance(value, list) else [value])
        try:
            return [float(word) for word in words]
        except ValueError:
            raise ExperimentError(f"{name} takes numbers with commas between them, not '{','.join(words)}'.") from None
    return convert


PANELS = {"source": "Images", "model": "Network to be explained", "estimators": "Estimators", "degrade": "Removal",
          "retrain": "Retraining", "sanity": "Randomisation", "compute": "Where the work runs",
          "": "Where the work runs"}

FLAGS = (
    Flag("--source", "source", "name", str, "digits, cifar10, ..., parquet:PATH or folder:PATH."),
    Flag("--root", "source", "root", str, "Folder that torchvision's data sets are downloaded to."),
    Flag("--limit-train", "source", "limit_train", int, "Use this many training images, every class in proportion."),
    Flag("--limit-test", "source", "limit_test", int, "Use this many test images, every class in proportion."),
    Flag("--image-size", "source", "image_size", int, "Resize and centre-crop images to this many pixels."),
    Flag("--model", "model", "name", str, "Architecture; see `roar list models`."),
    Flag("--regularizer", "model", "regularizer", str, "Its regulariser: none, l2(1e-5)+dropout(.3), ..."),
    Flag("--weights", "model", "weights", str, "A safetensors file: explain a network that is already trained."),
    Flag("--normalise-mean", "model", "normalise_mean", str,
         "Channel means that the weights expect, e.g. .485,.456,.406.",
         _numbers("--normalise-mean")),
    Flag("--normalise-std", "model", "normalise_std", str, "Channel standard deviations that the weights expect.",
         _numbers("--normalise-std")),
    Flag("--model-seed", "model", "seed", int, "Seed of the network to be explained."),
    Flag("--model-seeds", "model", "seeds", int, "Explain as many networks of each kind, with successive seeds."),
    Flag("--estimator", "estimators", "names", list[str], "Estimator or group, repeatable or with commas.",
         split_words),
    Flag("--samples", "estimators", "samples", int, "Noise samples J of an ensemble."),
    Flag("--noise", "estimators", "noise", float, "Noise level, as a share of the image's range."),
    Flag("--ig-steps", "estimators", "ig_steps", int, "Steps of integrated gradients."),
    Flag("--baseline", "estimators", "baseline", str, "Reference image of integrated gradients: black, mean or zero."),
    Flag("--unit", "estimators", "unit", str, "How channels become one score: sum, mean, max, l2; or channel."),
    Flag("--target", "estimators", "target", str, "Class that is explained: predicted or label."),
    Flag("--shard-size", "estimators", "shard_size", int, "Images per shard."),
    Flag("--threshold", "degrade", "thresholds", list[str], "Percent of pixels replaced, repeatable or with commas.",
         _numbers("--threshold")),
    Flag("--mode", "degrade", "modes", list[str], "roar: replace the most important; kar: the least; "
         "recursive: the most important, ranked again after every threshold.", split_words),
    Flag("--fill", "degrade", "fill", str, "What replaces a pixel."),
    Flag("--seeds", "retrain", "seeds", int, "Trainings per cell."),
    Flag("--epochs", "retrain", "epochs", int, "Epochs of a retraining."),
    Flag("--batch-size", "retrain", "batch_size", int, "Images per step of a retraining."),
    Flag("--learning-rate", "retrain", "learning_rate", float, "Peak learning rate of a retraining."),
    Flag("--window", "retrain", "window", int, "Images shuffled together; needed where they do not fit in memory."),
    Flag("--recipe", "retrain", "recipe", str, "Shipped recipe or a TOML file; default: the source's own."),
    Flag("--retrain-regularizer", "retrain", "regularizer", str, "Regulariser of a --retrain-model."),
    Flag("--retrain-model", "retrain", "model", str, "Architecture that is retrained; default: the explained one's."),
    Flag("--variant", "retrain", "variant", str,
         "scratch; or fine-tune, head-only: the explained network is trained further."),
    Flag("--control", "retrain", "controls", list[str],
         "Retrain beside every estimator: mask-only, random-blurred; repeatable or with commas.", split_words),
    Flag("--randomise", "sanity", "kinds", list[str],
         "cascading (layers from the output on), independent (one at a time), labels (trained on shuffled ones).",
         split_words),
    Flag("--steps", "sanity", "steps", int, "Draw the layers anew in at most so many steps."),
    Flag("--train-epochs", "train", "epochs", int, "Epochs of the network to be explained."),
    Flag("--train-recipe", "train", "recipe", str, "Recipe of the network to be explained."),
    Flag("--executor", "compute", "executor", str, "ray, or serial: everything in this process, without Ray."),
    Flag("--address", "compute", "address", str, "Ray cluster (auto, ray://HOST:PORT); default: start one here."),
    Flag("--workers", "compute", "workers", int, "Jobs at a time; default: as many as fit."),
    Flag("--cpus-per-job", "compute", "cpus_per_job", float, "CPUs, and threads, of one job."),
    Flag("--pack", "compute", "pack", int, "Networks trained side by side as one; default: what is fastest."),
    Flag("--gpus-per-job", "compute", "gpus_per_job", float, "GPUs of one job; may be a fraction."),
    Flag("--tensorboard", "compute", "tensorboard", str, "Folder for TensorBoard's event files; default: none."),
    Flag("--memory-budget", "compute", "memory_budget", float, "GB that one ranking worker may use for activations."),
    Flag("--image-budget", "compute", "image_budget", float,
         "GB of images and ranks that a node may hold; what is larger streams. Default: a quarter of the memory."),
    Flag("--seed", "", "seed", int, "Root of every other seed."),
    Flag("--store", "", "store", str, "Folder or URL (s3://...) where everything is kept."),
)

COMMON = ("source", "model", "train", "compute", "")


def experiment_options(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the common flags and those of the sections, and its ``experiment`` as first argument."""
    flags = [flag for flag in FLAGS if flag.section in (*COMMON, *sections)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            config = values.pop("config")
            given = {flag: values.pop(flag.parameter) for flag in flags}
            try:
                with _terminable():
                    command(_experiment(values.get("file") or config, given), **values)
            except KeyboardInterrupt as end:
                print("\nInterrupted; what is finished is kept, and the same command goes on from there.",
                      file=sys.stderr)
                namedtuple("Nothing", "")  # made from a string, as what SIGINT struck may be: else Python dies of it
                raise typer.Exit(128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT)) from None

        config = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[
            Path | None, typer.Option("--config", help=f"Experiment file; default: {DEFAULT_FILE} if there is one.",
                                      rich_help_panel=PANELS[""])])
        # inspect.Signature is what typer reads, so the flags need no copy in every command.
        run.__signature__ = inspect.Signature([*own, *map(_parameter, flags), config])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
        return run

    return decorate


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers send some seconds before they kill."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM end what runs inside as Ctrl-C does."""
    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only there are signals received
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parameter(flag: Flag) -> inspect.Parameter:
    panel = PANELS.get(flag.section, PANELS["model"])
    option = typer.Option(flag.name, help=flag.help, rich_help_panel=panel, show_default=False)
    annotation: Any = Annotated.__class_getitem__((flag.kind | None, option))  # type: ignore[attr-defined]
    return inspect.Parameter(flag.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _experiment(file: Path | None, given: dict[Flag, Any]) -> Experiment:
    overrides: dict[str, Any] = {}
    for flag, value in given.items():
        if value is None or value == []:
            continue
        if flag.section:
            overrides.setdefault(flag.section, {})[flag.key] = flag.convert(value)
        else:
            overrides[flag.key] = value
    if file is None and Path(DEFAULT_FILE).is_file():
        file = Path(DEFAULT_FILE)
    return load_experiment(file, overrides)
