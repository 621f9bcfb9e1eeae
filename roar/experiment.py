"""What is asked for: the settings of an experiment, from TOML and the command line.

A section of the file is a class and a key is a field, which carries its flag; unknown keys raise. A metric brings a
section of its own (:func:`add_section`). Everything is frozen, and this file costs no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from roar.errors import ExperimentError, UnknownNameError, without_credentials
from roar.recipes import Recipe, load_recipe, recipe_names
from roar.settings import Flag, Settings, read_toml, validated

S = TypeVar("S", bound=Settings)

DEFAULT_THRESHOLDS = (0.0, 10.0, 30.0, 50.0, 70.0, 90.0)
DEFAULT_ESTIMATORS = ("gradient", "smoothgrad", "smoothgrad-squared", "vargrad", "random", "sobel")

Mode = Literal["roar", "kar", "recursive"]
RECURSIVE = "recursive"
MASK_ONLY = "mask-only"  # the fill that shows the mask alone
SCRATCH = "scratch"  # the variant of retraining that starts from fresh weights
Unit = Literal["sum", "mean", "max", "l2", "channel"]
Target = Literal["predicted", "label"]
Baseline = Literal["black", "mean", "zero"]
RetrainControl = Literal["mask-only", "random-blurred"]
Variant = Literal["scratch", "fine-tune", "head-only"]


def _percentage(threshold: float) -> float:
    if not 0 <= threshold <= 100:
        raise ValueError("a threshold is the percentage of pixels replaced, from 0 to 100")
    return threshold


Threshold = Annotated[float, AfterValidator(_percentage)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class SourceSettings(Settings):
    """``[source]``: which images."""

    name: Annotated[str, Flag(
        "--source", "digits, cifar10, ..., parquet:PATH, folder:PATH or FILE.py:function.")] = "digits"
    root: Annotated[str | None, Flag("--root", "Folder that torchvision's data sets are downloaded to.")] = None
    limit_train: Annotated[Count | None, Flag(
        "--limit-train", "Use this many training images, every class in proportion.")] = None
    limit_test: Annotated[Count | None, Flag(
        "--limit-test", "Use this many test images, every class in proportion.")] = None
    image_size: Annotated[Annotated[int, Field(ge=4, le=4096)] | None, Flag(
        "--image-size", "Resize and center-crop images to this many pixels.")] = None
    channels: Annotated[Literal[3] | None, Flag(
        "--channels", "3: give gray images to the network as color, with three equal channels.")] = None
    label_column: Annotated[str | None, Flag(
        "--label-column", "Column of the labels in Parquet files; default: label.")] = None


class ModelSettings(Settings):
    """``[[model]]``: a network to be explained."""

    name: Annotated[str, Flag("--model", "Architecture; see `roar list models`.")] = "simplecnn"
    regularizer: Annotated[str, Flag("--regularizer", "Its regularizer: none, l2(1e-5)+dropout(.3), ...")] = "recipe"
    weights: Annotated[str | None, Flag(
        "--weights", "A safetensors file: explain a network that is already trained.")] = None
    normalize_mean: Annotated[tuple[float, ...] | None, Flag(
        "--normalize-mean", "Channel means that the weights expect, e.g. .485,.456,.406.")] = None
    normalize_std: Annotated[tuple[Annotated[float, Field(gt=0)], ...] | None, Flag(
        "--normalize-std", "Channel standard deviations that the weights expect.")] = None
    seed: Annotated[Seed, Flag("--model-seed", "Seed of the network to be explained.")] = 0
    seeds: Annotated[int, Field(ge=1, le=1_000), Flag(
        "--model-seeds", "Explain as many networks of each kind, with successive seeds.")] = 1

    @model_validator(mode="after")
    def _weights_are_one_network(self) -> ModelSettings:
        if self.weights is not None and self.seeds > 1:
            raise ValueError("several seeds need a training, and weights are one network: leave out seeds or weights")
        return self


class EstimatorSettings(Settings):
    """``[estimators]``: which rankings, and the parameters of their definitions."""

    names: Annotated[tuple[str, ...], Flag(
        "--estimator", "Estimator or group, repeatable or with commas; your own is FILE.py:function, or "
                       "package.module:function.")] = DEFAULT_ESTIMATORS
    samples: Annotated[int, Field(ge=1, le=10_000), Flag(
        "--samples", "Noise samples J of an ensemble.")] = 15
    noise: Annotated[float, Field(ge=0, le=10), Flag(
        "--noise", "Noise level, as a share of the image's range.")] = 0.15
    ig_steps: Annotated[int, Field(ge=1, le=10_000), Flag(
        "--ig-steps", "Steps of integrated gradients.")] = 25
    baseline: Annotated[Baseline, Flag(
        "--baseline", "Reference image of integrated gradients: black, mean or zero.")] = "black"
    unit: Annotated[Unit, Flag("--unit", "How channels become one score: sum, mean, max, l2; or channel.")] = "sum"
    target: Annotated[Target, Flag("--target", "Class that is explained: predicted or label.")] = "predicted"
    shard_size: Annotated[int, Field(ge=1, le=1_000_000), Flag(
        "--shard-size", "Images per shard.")] = 1_000
    seeds: Annotated[int, Field(ge=1, le=100), Flag(
        "--estimator-seeds", "Rankings, under other noise, of every estimator that draws random numbers.")] = 1

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came later is left out at its default: what was asked for before keeps its key."""
        found: dict[str, Any] = dump(self)
        return {key: value for key, value in found.items() if key != "seeds" or value != 1}


class DegradeSettings(Settings):
    """``[degrade]``: what is removed and what replaces it."""

    thresholds: Annotated[tuple[Threshold, ...], Flag(
        "--threshold", "Percent of pixels replaced, repeatable or with commas.")] = DEFAULT_THRESHOLDS
    modes: Annotated[tuple[Mode, ...], Flag(
        "--mode", "roar: replace the most important; kar: the least; recursive: the most important, ranked again "
                  "after every threshold.")] = ("roar",)
    fill: Annotated[str, Flag("--fill", "What replaces a pixel.")] = "mean"
    percent: Annotated[bool, Flag("--percent", "Thresholds below 1 are percent, and no shares.")] = False

    @model_validator(mode="after")
    def _no_shares(self) -> DegradeSettings:
        shares = [threshold for threshold in self.thresholds if 0 < threshold < 1]
        if shares and not self.percent:
            given, meant = (", ".join(f"{factor * share:.10g}" for share in shares) for factor in (1, 100))
            raise ExperimentError(f"A threshold is a percentage of the pixels, and {given} is less than one; write "
                                  f"{meant} if a share is meant, or set percent (--percent, percent = true) for "
                                  f"{given} %.")
        return self

    @model_serializer(mode="wrap")
    def _without_default(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """``percent`` decides nothing that is made, so a plan has it only where its thresholds need it."""
        found: dict[str, Any] = dump(self)
        return {key: value for key, value in found.items() if key != "percent" or value}

    @property
    def fixed_modes(self) -> tuple[Mode, ...]:
        """The modes in which a ranking is made once; `roar` where none is asked for."""
        return tuple(mode for mode in self.modes if mode != RECURSIVE) or ("roar",)

    @field_validator("thresholds")
    @classmethod
    def _sorted(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(thresholds)))


class WithRecipe(BaseModel):
    """A section that names a shipped recipe and may override any of its keys."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    recipe: Annotated[str, Flag(  # "auto": the source's recipe if there is one, else cifar10's
        "--recipe", "Shipped recipe or a TOML file; default: the source's.")] = "auto"

    @model_validator(mode="after")
    def _only_recipe_keys(self) -> WithRecipe:
        known = [*type(self).model_fields, *Recipe.model_fields]
        for key in self.model_extra or {}:
            if key not in known:
                raise UnknownNameError("key of a training section", key, known)
        shipped = {} if self.recipe == "auto" else load_recipe(self.recipe)
        validated(Recipe, {**shipped, **(self.model_extra or {})}, "a training section")
        return self

    def resolve(self, source: str) -> Recipe:
        """The recipe for a source, with this section's own keys over the shipped ones."""
        name = self.recipe
        if name == "auto":
            name = source if source in recipe_names() else "cifar10"
        return validated(Recipe, {**load_recipe(name), **(self.model_extra or {})}, f"recipe {name}")


class TrainSettings(WithRecipe):
    """``[train]``: how the networks to be explained are trained."""


class RetrainSettings(WithRecipe):
    """``[retrain]``: how networks are trained on degraded images."""

    model: Annotated[str, Flag(
        "--retrain-model", "Architecture that is retrained; default: the explained one's.")] = "same"
    regularizer: Annotated[str, Flag("--retrain-regularizer", "Regularizer of a --retrain-model.")] = "recipe"
    seeds: Annotated[int, Field(ge=1, le=10_000), Flag("--seeds", "Trainings per cell.")] = 5
    variant: Annotated[Variant, Flag(
        "--variant", "scratch; or fine-tune, head-only: the explained network is trained further.")] = "scratch"
    controls: Annotated[tuple[RetrainControl, ...], Flag(
        "--control", "Retrain beside every estimator: mask-only, random-blurred; repeatable or with commas.")] = ()

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


class CallbackSettings(Settings):
    """``[[compute.callback]]``: a Ray Tune callback, e.g. MLflow's or Weights & Biases'."""

    name: str  # "module:Class", e.g. "ray.air.integrations.mlflow:MLflowLoggerCallback"
    arguments: dict[str, Any] = Field(default_factory=dict)


class ComputeSettings(Settings):
    """``[compute]``: where the work runs; nothing here changes a result on a CPU but ``cpus_per_job``."""

    executor: Annotated[Literal["ray", "serial"], Flag(
        "--executor", "ray, or serial: everything in this process, without Ray.")] = "ray"
    address: Annotated[str | None, Flag(
        "--address", "Ray cluster (auto, ray://HOST:PORT); default: start one on this machine.")] = None
    workers: Annotated[Annotated[int, Field(ge=1, le=100_000)] | None, Flag(
        "--workers", "Jobs at a time; default: as many as fit.")] = None
    cpus_per_job: Annotated[float, Field(gt=0, le=1_024), Flag(
        "--cpus-per-job", "CPUs, and threads, of one job.")] = 1.0
    gpus_per_job: Annotated[Annotated[float, Field(ge=0, le=64)] | None, Flag(
        "--gpus-per-job", "GPUs of one job; may be a fraction.")] = None
    memory_budget: Annotated[Annotated[float, Field(gt=0)] | None, Flag(
        "--memory-budget", "GB that one ranking worker may use for activations.")] = None
    image_budget: Annotated[Annotated[float, Field(gt=0)] | None, Flag(
        "--image-budget", "GB of images and ranks that a node may hold; larger sets stream, which needs the recipe's "
                          "window and changes no result. Default: a quarter of the memory.")] = None
    pack: Annotated[Annotated[int, Field(ge=1, le=1_024)] | None, Flag(
        "--pack", "Networks trained side by side as one; default: what is fastest.")] = None
    timeout: Annotated[float, Field(gt=0, le=86_400), Flag(
        "--timeout", "Seconds that one request to a store far away may take, all attempts together.")] = 60.0
    retries: Annotated[int, Field(ge=0, le=100)] = 2  # of a job whose worker or node died
    tensorboard: Annotated[str | None, Flag(
        "--tensorboard", "Folder for TensorBoard's event files; default: none.")] = None
    callback: tuple[CallbackSettings, ...] = ()
    env: tuple[str, ...] = ()  # variables, or patterns such as "AWS_*", that the nodes of a cluster get from here


SECTIONS: dict[str, type[Settings]] = {}  # of the metrics, by the name of the section


def add_section(name: str, section: type[Settings]) -> None:
    """Give a metric a section of the experiment file; the flags of its fields join the metric's command."""
    SECTIONS[name] = section


class Experiment(BaseModel):
    """All that is asked for; :meth:`section` gives the settings of a metric."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    source: SourceSettings = SourceSettings()
    model: tuple[ModelSettings, ...] = (ModelSettings(),)
    train: TrainSettings = Field(default_factory=TrainSettings)
    estimators: EstimatorSettings = EstimatorSettings()
    degrade: DegradeSettings = DegradeSettings()
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    compute: ComputeSettings = ComputeSettings()
    seed: Annotated[Seed, Flag("--seed", "Root of every other seed.")] = 0
    store: Annotated[str, Flag("--store", "Folder or URL (s3://...) where everything is kept.")] = "roar-store"

    def section(self, section: type[S]) -> S:
        """The settings of a metric, its defaults where the experiment says nothing."""
        for value in (self.model_extra or {}).values():
            if isinstance(value, section):
                return value
        return section()

    @model_validator(mode="before")
    @classmethod
    def _metrics(cls, tables: Any) -> Any:
        """The sections of the metrics; what is neither a section nor a key raises."""
        if not isinstance(tables, dict):
            return tables
        sections = {}
        for key in tables.keys() - cls.model_fields.keys():
            if key not in SECTIONS:
                raise UnknownNameError("key", str(key), [*cls.model_fields, *SECTIONS])
            table = tables[key]
            sections[key] = table if isinstance(table, SECTIONS[key]) else validated(
                SECTIONS[key], table if isinstance(table, dict) else {"": table}, "the experiment", f"{key}.")
        return {**tables, **sections}

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A metric's section is left out at its defaults, so that a later metric changes no key."""
        tables: dict[str, Any] = dump(self)
        extra = self.model_extra or {}
        return {key: value for key, value in tables.items() if key not in extra or extra[key] != SECTIONS[key]()}

    @field_validator("model")
    @classmethod
    def _at_least_one(cls, models: tuple[ModelSettings, ...]) -> tuple[ModelSettings, ...]:
        if not models:
            raise ValueError("an experiment needs at least one [[model]]")
        return models

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        self.check()
        return self

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ExperimentError: mode recursive with a variant, with bare masks or with several noise seeds, or weights
                that do not fit.
        """
        settings = self.retrain
        recursive = RECURSIVE in self.degrade.modes
        if settings.variant != SCRATCH and recursive:
            raise ExperimentError(f'Mode recursive trains every network from scratch, and [retrain] variant is '
                                  f'"{settings.variant}"; leave the variant out or the mode.')
        if self.degrade.fill == MASK_ONLY and recursive:
            raise ExperimentError(f"Mode recursive ranks the images that its networks see, and of these the fill "
                                  f"'{MASK_ONLY}' leaves nothing; take another fill, or the modes roar and kar.")
        if self.estimators.seeds > 1 and recursive:
            raise ExperimentError("Mode recursive ranks anew with every network and takes one noise seed, and "
                                  f"[estimators] seeds is {self.estimators.seeds}; take 1, or the modes roar and kar.")
        others = [model.name for model in self.model if settings.model not in ("same", model.name)]
        if settings.variant != SCRATCH and others:
            raise ExperimentError(f'[retrain] variant = "{settings.variant}" starts from the weights of the explained '
                                  f"network, {others[0]}, which do not fit {settings.model}; leave [retrain] model "
                                  "out.")


def load_experiment(path: Path | None, overrides: Mapping[str, Any] | None = None,
                    given: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a file (``None``: all defaults) with the command line's settings over it.

    Args:
        path: a TOML file.
        given: the tables that count in the place of the file's.
        overrides: nested tables as in the file. ``model`` may be a table, which is laid over every model.

    Raises:
        ExperimentError: a value breaks a rule; the message names the file, the key and the rule.
        UnknownNameError: a key does not exist; the message names the nearest.
    """
    tables = dict(given) if given is not None else read_toml(path) if path is not None else {}
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
    return validated(Experiment, tables, str(path) if path else "the command line")


def portable(experiment: Experiment, estimators: Iterable[str]) -> dict[str, Any]:
    """The settings as JSON that asks for the same from any directory; where it runs and is kept are left out.

    The name of the source stays as it is, since its kind alone knows what is a path in it.

    ``estimators`` are the spellings of what groups and aliases stand for, with the absolute paths of files.
    """
    tables = experiment.model_dump(mode="json", exclude={"compute", "store"})
    tables["estimators"]["names"] = list(estimators)
    del tables["source"]["root"]  # where this machine keeps what it downloads
    for model in tables["model"]:
        model["weights"] = _absolute(model["weights"])
        model["name"], model["regularizer"] = _anywhere(model["name"]), _anywhere(model["regularizer"])
    for section, key in (("retrain", "model"), ("retrain", "regularizer"), ("degrade", "fill")):
        tables[section][key] = _anywhere(tables[section][key])
    for section in ("train", "retrain"):
        if tables[section]["recipe"].endswith(".toml"):
            tables[section]["recipe"] = _absolute(tables[section]["recipe"])
    return tables


def _anywhere(text: str) -> str:
    """Names with the whole path of every file: ``dropout(0.1)+/home/me/my_reg.py:pull``."""
    return re.sub(r"(?:^|(?<=\+))([^+()]+\.py)(?=:)", lambda match: str(_absolute(match[1].strip())), text)


def _absolute(path: str | None) -> str | None:
    return path if path is None or "://" in path else str(Path(path).expanduser().resolve())


def to_toml(experiment: Experiment) -> str:
    """The experiment as a file that asks for the same; where it runs and where it is kept are left out."""
    tables = experiment.model_dump(mode="json", exclude={"compute", "store"})
    lines = [f"seed = {tables.pop('seed')}"]
    models = tables.pop("model")
    for name, table in [("[source]", tables.pop("source")), *(("[[model]]", model) for model in models),
                        *((f"[{key}]", value) for key, value in tables.items())]:
        lines += ["", name, *(f"{key} = {_toml_value(value)}" for key, value in table.items() if value is not None)]
    return without_credentials("\n".join(lines) + "\n")


def _toml_value(value: Any) -> str:
    """A number, a truth value, a text or a list of these; JSON spells them as TOML does."""
    return json.dumps(value, ensure_ascii=False)
