"""The models and rankings that an experiment asks for, with their keys; nothing is computed and nothing is read here.

    model     <- source, architecture and recipe, or the file of its weights
    ranking   <- source, the model's weights, the estimator's own settings

A key further down contains the key of what it is made from, so a change upstream gives new artifacts beside the
old ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from roar.datasets import Source
from roar.errors import ModelError, UnknownNameError
from roar.estimators import Estimator, MatchedSpectrum
from roar.experiment import Experiment, ModelSettings, RetrainSettings, TrainSettings
from roar.jobs.network import Network
from roar.recipes import Recipe
from roar.store.artifacts import key_of

SPLITS = ("train", "test")
MOST_LETTERS = 80  # of a name in a path


@dataclass(frozen=True)
class Given:
    """Weights of a network that somebody else trained.

    Attributes:
        sha256: of their file, or of the weights themselves.
        read: the weights that fit the network, as safetensors, and what was done to make them fit, in words.
    """

    sha256: str
    read: Callable[[], tuple[bytes, list[str]]]


@dataclass(frozen=True)
class Model:
    """A network to be explained, and where its weights lie in the store."""

    label: str
    folder: str
    network: Network
    settings: ModelSettings
    recipe: Recipe  # with the regularizer's changes
    identity: dict[str, Any]
    given: Given | None = None  # weights that somebody else trained

    @property
    def title(self) -> str:
        """``simplecnn, dropout(0.3)``; an architecture alone where the recipe decides."""
        regularizer = self.network.regularizer
        return self.label if regularizer == "recipe" else f"{self.label}, {regularizer}"

    @property
    def facts(self) -> dict[str, Any]:
        """The columns of every table that say which network it is."""
        return {"model": self.label, "regularizer": self.network.regularizer, "architecture": self.network.name,
                "model_seed": self.settings.seed}


@dataclass(frozen=True)
class Ranking:
    """An estimator's ranking of one model's images; ``model`` is ``None`` where all models share it.

    ``of``: for a matched-spectrum control, the ranking whose spectrum it has. ``noise_seed``: of the estimator.
    """

    by: Estimator
    model: Model | None
    folder: str  # with one folder per split below it
    identity: dict[str, Any]
    of: Ranking | None = None
    noise_seed: int = 0

    @property
    def estimator(self) -> str:
        """The estimator's name, as tables have it."""
        return self.by.name

    @property
    def key(self) -> str:
        return key_of(self.identity)

    @property
    def first_key(self) -> str:
        """The key of the same ranking under noise seed 0: what stays when its noise is drawn anew."""
        return key_of({key: value for key, value in self.identity.items() if key != "noise_seed"})

    @property
    def explains(self) -> bool:
        """Whether it explains its model; a matched-spectrum control does not, it imitates another ranking."""
        return self.by.explains

    @property
    def facts(self) -> dict[str, str]:
        """The columns of every table that say whose it is; the keys tell two settings of one estimator apart."""
        return {**self.by.facts, "ranking": self.first_key, "control_of_ranking": self.of.key if self.of else ""}


def source_folder(source: Source) -> str:
    return f"{source.label}-{source.fingerprint[:10]}"


def models(experiment: Experiment, source: Source, networks: Sequence[Network],
           given: Sequence[Given | None]) -> list[Model]:
    """The networks to be explained, each once.

    Args:
        networks, given: the network of each ``[[model]]`` and its weights, where somebody else trained it.
    """
    found: dict[str, Model] = {}
    for settings, network, weights in [(one, network, weights) for several, network, weights in zip(
            experiment.model, networks, given, strict=True) for one in _each_seed(several)]:
        recipe = recipe_for(experiment.train, source, network)
        identity: dict[str, Any] = {"artefact": "model", "source": source.fingerprint, "network": network.identity}
        if weights is not None:
            identity |= {"weights": weights.sha256, "normalize_mean": settings.normalize_mean,
                         "normalize_std": settings.normalize_std}
        else:
            identity |= {"recipe": recipe.model_dump(), "seed": settings.seed, "root_seed": experiment.seed}
        label = network.name if settings.seed == 0 else f"{network.name}#{settings.seed}"
        name = safe("-".join(part for part in (label, network.regularizer) if part != "recipe"))
        folder = f"models/{source_folder(source)}/{name}-{key_of(identity)}"
        found[folder] = Model(label, folder, network, settings, recipe, identity, weights)
    return list(found.values())


def _each_seed(settings: ModelSettings) -> list[ModelSettings]:
    return [settings.model_copy(update={"seed": seed, "seeds": 1})
            for seed in range(settings.seed, settings.seed + settings.seeds)]


def recipe_for(settings: TrainSettings | RetrainSettings, source: Source, network: Network) -> Recipe:
    """How a network is trained: its regularizer decides on weight decay and label smoothing."""
    return network.regularization.over(settings.resolve(source.label))


def check_trainable(networks: Iterable[Network], what: str) -> None:
    """Refuse a network that is trained already where fresh ones are needed.

    Raises:
        ModelError: one is.
    """
    for network in networks:
        if network.architecture.is_trained:
            raise ModelError(f"'{network.name}' is one trained network, and {what} needs networks with fresh weights; "
                             "give a class or a function that makes such networks, for a retraining with "
                             "--retrain-model.")


def ranking(experiment: Experiment, source: Source, estimator: Estimator, model: Model, weights: str,
            noise_seed: int = 0) -> Ranking:
    """One estimator's ranking of one model, whose weights have this hash.

    The spectrum of a matched-spectrum control is that of its estimator under noise seed 0.
    """
    identity: dict[str, Any] = {
        "artefact": "ranking", "source": source.fingerprint, "root_seed": experiment.seed,
        "shard_size": experiment.estimators.shard_size, **estimator.identity(experiment.estimators),
    }
    explained, of = model if belongs_to_model(estimator) else None, None
    if isinstance(estimator, MatchedSpectrum):
        of = ranking(experiment, source, estimator.of, model, weights)
        identity |= {"of": of.key}
    elif explained is not None:
        identity |= {"weights": weights, "network": model.network.identity, **seen_as(model)}
    if noise_seed:
        identity["noise_seed"] = noise_seed
    below = model.folder.rsplit("/", 1)[-1] if explained else estimator.shelf
    folder = f"rankings/{source_folder(source)}/{below}/{in_path(estimator.name)}-{key_of(identity)}"
    return Ranking(estimator, explained, folder, identity, of, noise_seed)


def belongs_to_model(estimator: Estimator) -> bool:
    """Whether each model has a ranking of its own by an estimator; what knows nothing of a model is shared by all."""
    return not estimator.shelf or bool(estimator.of_model)


def ranks_model(estimator: Estimator, model: Model) -> bool:
    """Whether an estimator ranks for a model: attributions made elsewhere may be those of one model alone."""
    return estimator.of_model in ("", model.label, model.network.name)


def seen_as(model: Model) -> dict[str, Any]:
    """The normalization that a model sees images through; ``None`` is that of the source."""
    return {"normalize_mean": model.settings.normalize_mean, "normalize_std": model.settings.normalize_std}


def check_estimators(estimators: Iterable[Estimator], source: Source, models: Sequence[Model],
                     splits: Sequence[str] = ()) -> None:
    """Refuse estimators that a source or the models do not fit, before anything is made.

    Raises:
        UsageError: the source lacks what one needs.
        UnknownNameError: the model that one belongs to is not there.
    """
    for estimator in estimators:
        estimator.check_source(source, splits)
        if not any(ranks_model(estimator, model) for model in models):
            raise UnknownNameError("model of this experiment", estimator.of_model, [model.label for model in models],
                                   f"'{estimator.name}' belongs to it.")


def in_path(name: str) -> str:
    """A name as a part of a path: of somebody's own it may hold anything."""
    return safe(name)[:MOST_LETTERS]


def safe(name: str) -> str:
    """A name as a part of a path in the store."""
    return re.sub(r"[^A-Za-z0-9._=+()#-]+", "-", name)
