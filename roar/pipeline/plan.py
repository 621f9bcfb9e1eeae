"""The models and rankings that an experiment asks for, with their keys; nothing is computed and nothing is read here.

    model     <- source, architecture and recipe, or the file of its weights
    ranking   <- source, the model's weights, the estimator's own settings

A key further down contains the key of what it is made from, so a change upstream gives new artefacts beside the
old ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roar.datasets import Source
from roar.errors import UsageError
from roar.experiment import Experiment, ModelSettings, RetrainSettings, TrainSettings
from roar.jobs.network import Network
from roar.recipes import Recipe
from roar.store.artefacts import key_of

SPLITS = ("train", "test")
_SHARED = {"control": "controls", "truth": "truth"}  # families that all models share, and the folder of their rankings


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
    """An estimator's ranking of one model's images; ``model`` is ``None`` for a control and for an oracle.

    ``of``: for a surrogate, the ranking whose spectrum it has.
    """

    estimator: str
    family: str
    model: Model | None
    folder: str  # with one folder per split below it
    identity: dict[str, Any]
    of: Ranking | None = None

    @property
    def key(self) -> str:
        return key_of(self.identity)

    @property
    def explains(self) -> bool:
        """Whether it explains its model, and so tells of the network; a surrogate tells of another ranking."""
        return self.model is not None and self.of is None


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


def ranking(experiment: Experiment, source: Source, estimator: str, model: Model, weights: str) -> Ranking:
    """One estimator's ranking of one model, whose weights have this hash."""
    from roar import estimators

    known = estimators.find(estimator)
    identity: dict[str, Any] = {
        "artefact": "ranking", "source": source.fingerprint, "root_seed": experiment.seed,
        "shard_size": experiment.estimators.shard_size,
        **estimators.identity(estimator, experiment.estimators),
    }
    explained, of = None if known.family in _SHARED else model, None
    if isinstance(known, estimators.Surrogate):
        of = ranking(experiment, source, known.of, model, weights)
        identity |= {"of": of.key}
    elif explained is not None:
        identity |= {"weights": weights, "network": asdict(model.network), **seen_as(model)}
    below = model.folder.rsplit("/", 1)[-1] if explained else _SHARED[known.family]
    folder = f"rankings/{source_folder(source)}/{below}/{known.name}-{key_of(identity)}"
    return Ranking(known.name, known.family, explained, folder, identity, of)


def is_shared(estimator: str) -> bool:
    """Whether all models share an estimator's ranking, because it knows nothing of them."""
    from roar import estimators

    return estimators.find(estimator).family in _SHARED


def explains(estimator: str) -> bool:
    """Whether an estimator explains a network."""
    from roar import estimators

    return isinstance(estimators.find(estimator), estimators.Explainer)


def seen_as(model: Model) -> dict[str, Any]:
    """The normalisation that a model sees images through; ``None`` is that of the source."""
    return {"normalise_mean": model.settings.normalise_mean, "normalise_std": model.settings.normalise_std}


def check_names(experiment: Experiment) -> tuple[str, ...]:
    """The estimators asked for, by their full names, after every name in the experiment is known to exist.

    Raises:
        UnknownNameError: an estimator, a model, a regulariser or a fill does not exist.
    """
    from roar.datasets.fills.base import find_fill
    from roar.estimators import resolve
    from roar.models import check_name
    from roar.models.regularizers import parse

    retrained = [] if experiment.retrain.model == "same" else [experiment.retrain.model]
    for name in [*(model.name for model in experiment.model), *retrained]:
        check_name(name)
    for name in [*(model.regularizer for model in experiment.model), experiment.retrain.regularizer]:
        parse(name)
    find_fill(experiment.degrade.fill)
    experiment.check()
    return resolve(experiment.estimators.names)


def check_splits(source: Source, names: Sequence[str]) -> None:
    """Refuse a surrogate where there is a test split alone: its spectrum is that of the training split's rankings.

    Raises:
        UsageError: there is no training split.
    """
    from roar.estimators import SURROGATE, find

    for name in names:
        if "train" not in source.splits and find(name).family == SURROGATE:
            raise UsageError(f"'{name}' has the spectrum of a training split's rankings, and '{source.name}' has a "
                             "test split alone; leave it out, or take a source with both.")


def check_truth(source: Source, names: Sequence[str]) -> None:
    """Refuse an oracle where the source does not know which pixels are informative.

    Raises:
        UsageError: it does not; the sentence names sources that do.
    """
    from roar.estimators import TRUTH, find
    from roar.estimators.methods.oracle import no_truth

    for name in names:
        if find(name).family == TRUTH and any(getattr(source, split).truth is None for split in source.splits):
            raise UsageError(no_truth(name, f"'{source.name}'"))


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=+()#-]+", "-", name)
