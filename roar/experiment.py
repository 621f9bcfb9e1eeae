"""What is asked for: the settings of an experiment, from TOML and the command line.

A section of the file is a class here and a key is a field; unknown keys raise. Everything is frozen, and
importing this file costs no torch.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from roar.errors import ExperimentError, UnknownNameError

T = TypeVar("T", bound=BaseModel)

DEFAULT_THRESHOLDS = (0.0, 10.0, 30.0, 50.0, 70.0, 90.0)
DEFAULT_ESTIMATORS = ("gradient", "smoothgrad", "smoothgrad-squared", "vargrad", "random", "sobel")

Mode = Literal["roar", "kar", "recursive"]
RECURSIVE = "recursive"
Unit = Literal["sum", "mean", "max", "l2", "channel"]
Target = Literal["predicted", "label"]
Baseline = Literal["black", "mean", "zero"]
Randomisation = Literal["cascading", "independent", "labels"]  # layers from the output on, or one; shuffled labels
RetrainControl = Literal["mask-only", "random-blurred"]
Variant = Literal["scratch", "fine-tune", "head-only"]


def _percentage(threshold: float) -> float:
    if not 0 <= threshold <= 100:
        raise ValueError("a threshold is the percentage of pixels replaced, from 0 to 100")
    return threshold


Threshold = Annotated[float, AfterValidator(_percentage)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceSettings(Settings):
    """``[source]``: which images."""

    name: str = "digits"
    root: str | None = None  # where torchvision's classes download to
    limit_train: Count | None = None
    limit_test: Count | None = None
    image_size: Annotated[int, Field(ge=4, le=4096)] | None = None  # pixels, square


class ModelSettings(Settings):
    """``[[model]]``: a network to be explained."""

    name: str = "simplecnn"
    regularizer: str = "recipe"  # the recipe's weight decay and label smoothing; `none` is truly none
    weights: str | None = None  # a safetensors file: explain a network that somebody else trained
    normalise_mean: tuple[float, ...] | None = None  # of inputs in [0, 1]; default: the training split's
    normalise_std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    seed: Seed = 0
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1  # as many networks, with the seeds seed, seed + 1, ...

    @model_validator(mode="after")
    def _weights_are_one_network(self) -> ModelSettings:
        if self.weights is not None and self.seeds > 1:
            raise ValueError("several seeds need a training, and weights are one network: leave out seeds or weights")
        return self


class EstimatorSettings(Settings):
    """``[estimators]``: which rankings, and the parameters of their definitions."""

    names: tuple[str, ...] = DEFAULT_ESTIMATORS
    samples: Annotated[int, Field(ge=1, le=10_000)] = 15  # J
    noise: Annotated[float, Field(ge=0, le=10)] = 0.15  # s over the image's range
    ig_steps: Annotated[int, Field(ge=1, le=10_000)] = 25
    baseline: Baseline = "black"
    unit: Unit = "sum"
    target: Target = "predicted"
    shard_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000  # images per shard


class DegradeSettings(Settings):
    """``[degrade]``: what is removed and what replaces it."""

    thresholds: tuple[Threshold, ...] = DEFAULT_THRESHOLDS  # percent of pixels replaced
    modes: tuple[Mode, ...] = ("roar",)
    fill: str = "mean"

    @property
    def fixed_modes(self) -> tuple[Mode, ...]:
        """The modes in which a ranking is made once; `roar` where none is asked for."""
        return tuple(mode for mode in self.modes if mode != RECURSIVE) or ("roar",)

    @field_validator("thresholds")
    @classmethod
    def _sorted(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(thresholds)))


class Recipe(Settings):
    """How a network is trained; every number that decides its weights, besides data and seed."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 20  # passes over the training split
    steps: Annotated[int, Field(ge=1, le=10**9)] | None = None  # batches; where given, in place of epochs
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = 128  # images; a last, smaller batch is left out
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 0.1  # at the peak of the schedule
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
    window: Annotated[int, Field(ge=2, le=2**31)] | None = None  # images that are shuffled together; None: the split

    @model_serializer(mode="wrap")
    def _without_unset_window(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where no window is set it is left out: what was trained before there were windows keeps its key."""
        found: dict[str, Any] = dump(self)
        return {key: value for key, value in found.items() if key != "window" or value is not None}


class _WithRecipe(BaseModel):
    """A section that names a shipped recipe and may override any of its keys."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    recipe: str = "auto"  # "auto": the source's own if there is one, else cifar10's

    @model_validator(mode="after")
    def _only_recipe_keys(self) -> _WithRecipe:
        known = [*type(self).model_fields, *Recipe.model_fields]
        for key in self.model_extra or {}:
            if key not in known:
                raise UnknownNameError("key of a training section", key, known)
        shipped = {} if self.recipe == "auto" else load_recipe(self.recipe)
        _validated(Recipe, {**shipped, **(self.model_extra or {})}, "a training section")
        return self

    def resolve(self, source: str) -> Recipe:
        """The recipe for a source, with this section's own keys over the shipped ones."""
        name = self.recipe
        if name == "auto":
            name = source if source in recipe_names() else "cifar10"
        return _validated(Recipe, {**load_recipe(name), **(self.model_extra or {})}, f"recipe {name}")


class TrainSettings(_WithRecipe):
    """``[train]``: how the networks to be explained are trained."""


class RetrainSettings(_WithRecipe):
    """``[retrain]``: how networks are trained on degraded images."""

    model: str = "same"  # "same": as the explained one, its regulariser included
    regularizer: str = "recipe"  # of a named common retrainer
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 5
    variant: Variant = "scratch"  # or from the explained network's weights on: all of it, or its head alone
    controls: tuple[RetrainControl, ...] = ()  # retrained beside every estimator: its mask alone, noise as smooth as it

    @field_validator("controls")
    @classmethod
    def _each_once(cls, controls: tuple[RetrainControl, ...]) -> tuple[RetrainControl, ...]:
        return tuple(sorted(set(controls)))

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys that came later are left out at their defaults: what was asked for before keeps its key."""
        found: dict[str, Any] = dump(self)
        later: dict[str, Any] = {"variant": "scratch", "controls": ()}
        return {key: value for key, value in found.items() if key not in later or getattr(self, key) != later[key]}


class SanitySettings(Settings):
    """``[sanity]``: how the explained networks are randomised (Adebayo et al. 2018)."""

    kinds: tuple[Randomisation, ...] = ("cascading", "independent", "labels")
    steps: Annotated[int, Field(ge=1, le=10_000)] = 8  # at most; a step draws about as many layers anew as any other

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: tuple[Randomisation, ...]) -> tuple[Randomisation, ...]:
        if not kinds:
            raise ValueError("name one kind or more of cascading, independent and labels")
        return tuple(dict.fromkeys(kinds))


class CallbackSettings(Settings):
    """``[[compute.callback]]``: a Ray Tune callback, e.g. MLflow's or Weights & Biases'."""

    name: str  # "module:Class", e.g. "ray.air.integrations.mlflow:MLflowLoggerCallback"
    arguments: dict[str, Any] = Field(default_factory=dict)


class ComputeSettings(Settings):
    """``[compute]``: where the work runs; nothing here changes a result on a CPU but ``cpus_per_job``."""

    executor: Literal["ray", "serial"] = "ray"
    address: str | None = None  # of a Ray cluster; default: one is started here
    workers: Annotated[int, Field(ge=1, le=100_000)] | None = None  # jobs at a time; default: all that fit
    cpus_per_job: Annotated[float, Field(gt=0, le=1_024)] = 1.0
    gpus_per_job: Annotated[float, Field(ge=0, le=64)] | None = None  # default: 1 where there is a GPU
    memory_budget: Annotated[float, Field(gt=0)] | None = None  # GB for one ranking worker's activations
    image_budget: Annotated[float, Field(gt=0)] | None = None  # GB of images and ranks that a node may hold; else they
    # stream, which needs the recipe's window and changes no result; default: a quarter of this machine's memory
    pack: Annotated[int, Field(ge=1, le=1_024)] | None = None  # networks trained as one; default: what is fastest
    retries: Annotated[int, Field(ge=0, le=100)] = 2  # of a job whose worker or node died
    tensorboard: str | None = None  # folder for TensorBoard's event files; default: none are written
    callback: tuple[CallbackSettings, ...] = ()


class Experiment(Settings):
    """All that is asked for."""

    source: SourceSettings = SourceSettings()
    model: tuple[ModelSettings, ...] = (ModelSettings(),)
    train: TrainSettings = Field(default_factory=TrainSettings)
    estimators: EstimatorSettings = EstimatorSettings()
    degrade: DegradeSettings = DegradeSettings()
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    sanity: SanitySettings = SanitySettings()
    compute: ComputeSettings = ComputeSettings()
    seed: Seed = 0  # the root of every other seed
    store: str = "roar-store"

    @model_serializer(mode="wrap")
    def _without_default_sanity(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Left out at its defaults: a plan made before there were sanity checks keeps its key."""
        found: dict[str, Any] = dump(self)
        return {key: value for key, value in found.items() if key != "sanity" or self.sanity != SanitySettings()}

    @field_validator("model")
    @classmethod
    def _at_least_one(cls, models: tuple[ModelSettings, ...]) -> tuple[ModelSettings, ...]:
        if not models:
            raise ValueError("an experiment needs at least one [[model]]")
        return models


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


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ExperimentError: the file is missing, is not text, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExperimentError(f"There is no file '{path}'; give the path of a TOML file.") from None
    except OSError as error:
        raise ExperimentError(f"'{path}' cannot be read ({error.strerror}); give a readable TOML file.") from None
    except (ValueError, RecursionError) as error:  # not text, not TOML, a number of thousands of digits, too deep
        raise ExperimentError(f"'{path}' is not TOML: {error}.") from None


def load_experiment(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a file (``None``: all defaults) with the command line's settings over it.

    Args:
        path: a TOML file.
        overrides: nested tables as in the file. ``model`` may be a table, which is laid over every model.

    Raises:
        ExperimentError: a value breaks a rule; the message names the file, the key and the rule.
        UnknownNameError: a key does not exist; the message names the nearest.
    """
    tables = read_toml(path) if path is not None else {}
    for section, value in (overrides or {}).items():
        if section == "model" and isinstance(value, Mapping):
            models = tables.get("model") or [{}]
            if isinstance(models, list) and all(isinstance(m, dict) for m in models):
                models = [{**m, **value} for m in models]
            tables["model"] = models
        elif isinstance(value, Mapping) and isinstance(tables.get(section, {}), dict):
            tables[section] = {**tables.get(section, {}), **value}
        else:
            tables[section] = value
    return _validated(Experiment, tables, str(path) if path else "the command line")


def portable(experiment: Experiment, estimators: Iterable[str]) -> dict[str, Any]:
    """The settings as JSON that asks for the same from any directory; where it runs and is kept are left out.

    ``estimators`` are the names that groups and aliases stand for.
    """
    tables = experiment.model_dump(mode="json", exclude={"compute", "store"})
    tables["estimators"]["names"] = list(estimators)
    kind, colon, place = tables["source"]["name"].partition(":")
    if colon and kind in ("parquet", "folder"):
        tables["source"]["name"] = f"{kind}:{_absolute(place)}"
    tables["source"]["root"] = _absolute(tables["source"]["root"])
    for model in tables["model"]:
        model["weights"] = _absolute(model["weights"])
    for section in ("train", "retrain"):
        if tables[section]["recipe"].endswith(".toml"):
            tables[section]["recipe"] = _absolute(tables[section]["recipe"])
    return tables


def _absolute(path: str | None) -> str | None:
    return None if path is None or "://" in path else str(Path(path).expanduser().resolve())


def to_toml(experiment: Experiment) -> str:
    """The experiment as a file that asks for the same; where it runs and where it is kept are left out."""
    tables = experiment.model_dump(mode="json", exclude={"compute", "store"})
    lines = [f"seed = {tables.pop('seed')}"]
    models = tables.pop("model")
    for name, table in [("[source]", tables.pop("source")), *(("[[model]]", model) for model in models),
                        *((f"[{key}]", value) for key, value in tables.items())]:
        lines += ["", name, *(f"{key} = {_toml_value(value)}" for key, value in table.items() if value is not None)]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    """A number, a truth value, a text or a list of these; JSON spells them as TOML does."""
    return json.dumps(value, ensure_ascii=False)


def _validated(cls: type[T], tables: Mapping[str, Any], origin: str) -> T:
    try:
        return cls.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnknownNameError("key", str(first["loc"][-1]), _keys_at(cls, first["loc"][:-1]),
                                   f"(in {origin}, at {where})") from None
        rule = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        value = repr(first.get("input"))
        value = value if len(value) <= 60 else value[:57] + "..."
        raise ExperimentError(f"{where} = {value} in {origin} is refused: {rule}.") from None


def _keys_at(cls: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """The keys that are allowed at a place in the tree of settings."""
    here: type[BaseModel] = cls
    sections: dict[str, type[BaseModel]] = {"source": SourceSettings, "model": ModelSettings,
                                            "train": TrainSettings, "estimators": EstimatorSettings,
                                            "degrade": DegradeSettings, "retrain": RetrainSettings,
                                            "sanity": SanitySettings, "compute": ComputeSettings}
    for part in location:
        here = sections.get(str(part), here)
    return list(here.model_fields)
