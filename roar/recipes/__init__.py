"""Recipes: how a network is trained, as TOML files that ship with roar or that a user writes."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from roar.errors import UnknownNameError
from roar.settings import Flag, Settings, read_toml


class Recipe(Settings):
    """How a network is trained; every number that decides its weights, besides data and seed."""

    epochs: Annotated[int, Field(ge=1, le=100_000), Flag(
        "--epochs", "Epochs of a training: passes over the training split.")] = 20
    steps: Annotated[int, Field(ge=1, le=10**9)] | None = None  # batches; where given, in place of epochs
    batch_size: Annotated[int, Field(ge=2, le=1_000_000), Flag(
        "--batch-size", "Images per step; a last, smaller batch is left out.")] = 128
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=1_000), Flag(
        "--learning-rate", "Learning rate at the peak of the schedule.")] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # Nesterov's, for sgd
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 5e-4  # not on norms and biases
    schedule: Literal["one-cycle", "step", "constant"] = "one-cycle"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0  # the rate rises; one-cycle: 0 is a quarter of all
    milestones: tuple[Annotated[float, Field(ge=0)], ...] = ()  # epochs at which `step` multiplies by `decay`
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: tuple[Literal["flip", "alternating-flip", "crop", "resized-crop"], ...] = ()
    padding: Annotated[int, Field(ge=1, le=1_000)] = 4  # pixels on every side before `crop`
    padding_mode: Literal["reflect", "fill"] = "reflect"  # fill: the training images' channel mean
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # of a GPU; a CPU uses float32
    compile: bool = False  # torch.compile, for long trainings on a GPU
    window: Annotated[Annotated[int, Field(ge=2, le=2**31)] | None, Flag(  # None: the whole split
        "--window", "Images shuffled together; needed where they do not fit in memory.")] = None

    @model_serializer(mode="wrap")
    def _without_unset_window(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where no window is set it is left out: what was trained before there were windows keeps its key."""
        found: dict[str, Any] = dump(self)
        return {key: value for key, value in found.items() if key != "window" or value is not None}


def recipe_names() -> list[str]:
    """The recipes that ship with roar."""
    return sorted(p.name.removesuffix(".toml") for p in resources.files("roar.recipes").iterdir()
                  if p.name.endswith(".toml"))


def load_recipe(name: str) -> dict[str, Any]:
    """The keys of a shipped recipe or of a recipe file (a path that ends in ``.toml``)."""
    if name.endswith(".toml"):
        return read_toml(Path(name))
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    return tomllib.loads((resources.files("roar.recipes") / f"{name}.toml").read_text(encoding="utf-8"))
