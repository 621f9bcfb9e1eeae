"""The models and rankings that an experiment asks for, with their keys; nothing is computed and nothing is read here.

    model     <- source, architecture and recipe, or the file of its weights
    ranking   <- source, the model's weights, the estimator's own settings

A key further down contains the key of what it is made from, so a change upstream gives new artefacts beside the
old ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roar.datasets import Source
from roar.errors import UnknownNameError
from roar.estimators import ESTIMATORS, Estimator, Surrogate, distinct
from roar.experiment import Experiment, ModelSettings, RetrainSettings, TrainSettings
from roar.jobs.network import Network
from roar.recipes import Recipe
from roar.store.artefacts import key_of

SPLITS = ("train", "test")
MOST_LETTERS = 80  # of a name in a path


@dataclass(frozen=True)
class Model:
    """A network to be explained, and where its weights lie in the store."""

    label: str
    folder: str
    network: Network
    settings: ModelSettings
    recipe: Recipe  # with the regulariser's changes
    identity: dict[str, Any]

    @property
    def title(self) -> str:
        """``simplecnn, dropout(0.3)``; an architecture alone where the recipe decides."""
        regularizer = self.network.regularizer
        return self.label if regularizer == "recipe" else f"{self.label}, {regularizer}"


@dataclass(frozen=True)
class Ranking:
    """An estimator's ranking of one model's images; ``model`` is ``None`` where all models share it.

    ``of``: for a surrogate, the ranking whose spectrum it has.
    """

    by: Estimator
    model: Model | None
    folder: str  # with one folder per split below it
    identity: dict[str, Any]
    of: Ranking | None = None

    @property
    def estimator(self) -> str:
        """The estimator's name, as tables have it."""
        return self.by.name

    @property
    def key(self) -> str:
        return key_of(self.identity)

    @property
    def explains(self) -> bool:
        """Whether it explains its model, and so tells of the network; a surrogate tells of another ranking."""
        return self.by.explains


def source_folder(source: Source) -> str:
    return f"{source.label}-{source.fingerprint[:10]}"


def models(experiment: Experiment, source: Source, weights: dict[str, str]) -> list[Model]:
    """The networks to be explained, each once; ``weights`` holds the hash of every weights file that is named."""
    found: dict[str, Model] = {}
    for settings in [one for several in experiment.model for one in _each_seed(several)]:
        network = network_for(settings.name, settings.regularizer, source)
        recipe = recipe_for(experiment.train, source, network)
        identity: dict[str, Any] = {"artefact": "model", "source": source.fingerprint, "network": asdict(network)}
        if settings.weights is not None:
            identity |= {"weights": weights[settings.weights], "normalise_mean": settings.normalise_mean,
                         "normalise_std": settings.normalise_std}
        else:
            identity |= {"recipe": recipe.model_dump(), "seed": settings.seed, "root_seed": experiment.seed}
        label = settings.name if settings.seed == 0 else f"{settings.name}#{settings.seed}"
        name = _safe("-".join(part for part in (label, network.regularizer) if part != "recipe"))
        folder = f"models/{source_folder(source)}/{name}-{key_of(identity)}"
        found[folder] = Model(label, folder, network, settings, recipe, identity)
    return list(found.values())


def _each_seed(settings: ModelSettings) -> list[ModelSettings]:
    return [settings.model_copy(update={"seed": seed, "seeds": 1})
            for seed in range(settings.seed, settings.seed + settings.seeds)]


def network_for(name: str, regularizer: str, source: Source) -> Network:
    """An architecture with its regulariser, which has one spelling however it was written."""
    from roar.models.regularizers import parse

    return Network(name, str(parse(regularizer)), source.num_classes, source.channels, source.height)


def recipe_for(settings: TrainSettings | RetrainSettings, source: Source, network: Network) -> Recipe:
    """How a network is trained: its regulariser decides on weight decay and label smoothing."""
    from roar.models.regularizers import parse

    return parse(network.regularizer).over(settings.resolve(source.label))


def ranking(experiment: Experiment, source: Source, estimator: Estimator, model: Model, weights: str) -> Ranking:
    """One estimator's ranking of one model, whose weights have this hash."""
    identity: dict[str, Any] = {
        "artefact": "ranking", "source": source.fingerprint, "root_seed": experiment.seed,
        "shard_size": experiment.estimators.shard_size, **estimator.identity(experiment.estimators),
    }
    explained, of = model if belongs_to_model(estimator) else None, None
    if isinstance(estimator, Surrogate):
        of = ranking(experiment, source, estimator.of, model, weights)
        identity |= {"of": of.key}
    elif explained is not None:
        identity |= {"weights": weights, "network": asdict(model.network), **seen_as(model)}
    below = model.folder.rsplit("/", 1)[-1] if explained else estimator.shelf
    folder = f"rankings/{source_folder(source)}/{below}/{in_path(estimator.name)}-{key_of(identity)}"
    return Ranking(estimator, explained, folder, identity, of)


def belongs_to_model(estimator: Estimator) -> bool:
    """Whether each model has a ranking of its own by an estimator; what knows nothing of a model is shared by all."""
    return not estimator.shelf or bool(estimator.of_model)


def ranks_model(estimator: Estimator, model: Model) -> bool:
    """Whether an estimator ranks for a model: attributions made elsewhere may be those of one model alone."""
    return estimator.of_model in ("", model.label, model.network.name)


def seen_as(model: Model) -> dict[str, Any]:
    """The normalisation that a model sees images through; ``None`` is that of the source."""
    return {"normalise_mean": model.settings.normalise_mean, "normalise_std": model.settings.normalise_std}


def check_names(experiment: Experiment, others: Iterable[Any] = ()) -> tuple[Estimator, ...]:
    """The estimators asked for, each once, after every name in the experiment is known to exist.

    Args:
        others: further estimators of a program: objects that are none yet are adapted.

    Raises:
        UnknownNameError: an estimator, a model, a regulariser or a fill does not exist.
        UsageError: an object of a file, a package or the program cannot be had, or is no estimator.
    """
    from roar.datasets.fills.base import find_fill
    from roar.models import check_name
    from roar.models.regularizers import parse

    retrained = [] if experiment.retrain.model == "same" else [experiment.retrain.model]
    for name in [*(model.name for model in experiment.model), *retrained]:
        check_name(name)
    for name in [*(model.regularizer for model in experiment.model), experiment.retrain.regularizer]:
        parse(name)
    find_fill(experiment.degrade.fill)
    experiment.check()
    found: list[Estimator] = ESTIMATORS.resolve(experiment.estimators.names)
    for other in others:
        if isinstance(other, Estimator):
            found.append(other)
        else:
            found += ESTIMATORS.resolve([other]) if isinstance(other, str) else [ESTIMATORS.adapted(other)]
    return distinct(found)


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
    return _safe(name)[:MOST_LETTERS]


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=+()#-]+", "-", name)
