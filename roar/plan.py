"""What an experiment asks for, as artefacts and jobs with their keys; nothing is computed and nothing is read here.

    model     <- source, architecture and recipe, or the file of its weights
    ranking   <- source, the model's weights, the estimator's own settings
    job       <- source, the network retrained, its recipe, the ranking, what is replaced by what, the seed

A key further down contains the key of what it is made from, so a change upstream gives new artefacts beside the
old ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from roar.datasets import Normalisation, Source
from roar.errors import ExperimentError, UsageError
from roar.experiment import RECURSIVE, Experiment, ModelSettings, Recipe, RetrainSettings, TrainSettings
from roar.jobs.job import Job, Network, Start
from roar.store import key_of

REFERENCE = "reference"  # the cell that every estimator shares: nothing is replaced
SPLITS = ("train", "test")
SURROGATES = "random-blurred"  # the control that is a surrogate of every estimator
SCRATCH = "scratch"  # the variant of retraining that starts from fresh weights
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
        network = _network(settings.name, settings.regularizer, source)
        recipe = _recipe(experiment.train, source, network)
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


def _network(name: str, regularizer: str, source: Source) -> Network:
    """An architecture with its regulariser, which has one spelling however it was written."""
    from roar.models.regularizers import parse

    return Network(name, str(parse(regularizer)), source.num_classes, source.channels, source.height)


def _recipe(settings: TrainSettings | RetrainSettings, source: Source, network: Network) -> Recipe:
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
        identity |= {"weights": weights, "network": asdict(model.network), **_seen_as(model)}
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


def jobs(experiment: Experiment, source: Source, model: Model, rankings: Sequence[Ranking],
         facts: Mapping[str, Any]) -> list[Job]:
    """Every training of one explained model: the reference first, then cell by cell.

    Args:
        facts: of the model's manifest: the hash of its weights, and what normalises its images.
    """
    settings = experiment.retrain
    same = settings.model == "same"
    name = model.network.name if same else settings.model
    regularizer = model.network.regularizer if same else settings.regularizer
    network = _network(name, regularizer, source)
    recipe = _recipe(settings, source, network)
    common: dict[str, Any] = {"artefact": "job", "source": source.fingerprint, "network": asdict(network),
                              "recipe": recipe.model_dump(), "root_seed": experiment.seed}
    start = None
    if settings.variant != SCRATCH:
        seen = Normalisation(tuple(facts["normalise_mean"]), tuple(facts["normalise_std"]))
        start = Start(model.folder, settings.variant, seen)
        common |= {"variant": settings.variant, "weights": facts["weights"], "normalise_mean": seen.mean,
                   "normalise_std": seen.std}
        name = f"{name} ({settings.variant})"
    protocol = key_of(common)
    described = {"source": source.label, "model": model.label, "regularizer": model.network.regularizer,
                 "retrainer": name, "protocol": protocol}

    def job(ranked: Ranking | None, mode: str, fill: str, threshold: float, seed: int) -> Job:
        cell = {"ranking": ranked.key, "mode": mode, "fill": fill, "threshold": threshold} if ranked else {}
        identity = {**common, **cell, "seed": seed}
        row = {**described, "estimator": ranked.estimator if ranked else REFERENCE, "mode": mode, "fill": fill,
               "threshold": threshold, "seed": seed, "ranking": ranked.key if ranked else ""}
        return Job(key_of(identity), network, recipe, ranked.folder if ranked else None, row, identity, start)

    def link(ranked: Ranking, fill: str, threshold: float, seed: int) -> Job:
        """One network of a chain: what it is trained on follows from the networks before it, and from no other."""
        from roar import estimators

        again = {"artefact": "recursion", "root_seed": experiment.seed,
                 **estimators.identity(ranked.estimator, experiment.estimators)}
        steps = [step for step in replacing if step <= threshold]
        identity = {**common, "recursion": again, "mode": RECURSIVE, "fill": fill, "thresholds": steps, "seed": seed}
        row = {**described, "estimator": ranked.estimator, "mode": RECURSIVE, "fill": fill, "threshold": threshold,
               "seed": seed, "ranking": key_of(again)}
        return Job(key_of(identity), network, recipe, None, row, identity)

    seeds = range(settings.seeds)
    replacing = [threshold for threshold in experiment.degrade.thresholds if threshold > 0]
    found = [job(None, "roar", "none", 0.0, seed) for seed in seeds]
    for ranked in rankings:
        for fill, mode in kinds_of_cells(experiment, ranked.estimator):
            for threshold in replacing:
                found += [link(ranked, fill, threshold, seed) if mode == RECURSIVE else
                          job(ranked, mode, fill, threshold, seed) for seed in seeds]
    return found


def kinds_of_cells(experiment: Experiment, estimator: str) -> list[tuple[str, str]]:
    """The fills and modes in which an estimator's pixels are replaced.

    What explains no network would rank the same again, so it has no mode `recursive`: it runs in the other modes, and
    in `roar` where there are none. The mask alone is a control of rankings that are made once.
    """
    settings, again = experiment.degrade, explains(estimator)
    modes = settings.modes if again else settings.fixed_modes
    return [(fill, mode) for fill in fills(experiment, estimator) for mode in modes
            if mode != RECURSIVE or fill == settings.fill]


def chains(jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """The jobs of mode `recursive`, those of one estimator, fill and seed together by rising threshold."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        if job.row["mode"] == RECURSIVE:
            chain = {key: value for key, value in job.identity.items() if key != "thresholds"}
            found.setdefault(key_of(chain), []).append(job)
    return [tuple(sorted(chain, key=lambda job: job.row["threshold"])) for chain in found.values()]


def retrained(experiment: Experiment, names: Sequence[str]) -> tuple[str, ...]:
    """The estimators whose rankings are retrained: those asked for, each that explains a network with its surrogate."""
    if SURROGATES not in experiment.retrain.controls:
        return tuple(names)
    pairs = [(name, f"{SURROGATES}({name})") if explains(name) else (name,) for name in names]
    return tuple(dict.fromkeys(name for pair in pairs for name in pair))


def fills(experiment: Experiment, estimator: str) -> tuple[str, ...]:
    """What replaces an estimator's pixels: the fill asked for, and the mask alone where the image decides it."""
    from roar.datasets.fills import MASK_ONLY
    from roar.estimators import sees_image

    masks = (MASK_ONLY,) if MASK_ONLY in experiment.retrain.controls and sees_image(estimator) else ()
    return tuple(dict.fromkeys((experiment.degrade.fill, *masks)))


def _seen_as(model: Model) -> dict[str, Any]:
    """The normalisation that a model sees images through; ``None`` is that of the source."""
    return {"normalise_mean": model.settings.normalise_mean, "normalise_std": model.settings.normalise_std}


def deletion(experiment: Experiment, source: Source, model: Model, weights: str,
             ranked: Ranking) -> tuple[str, dict[str, Any]]:
    """Where one model's deletion curves under one ranking lie, and what determines them."""
    settings = experiment.degrade
    identity = {"artefact": "deletion", "source": source.fingerprint, "network": asdict(model.network),
                "weights": weights, **_seen_as(model), "ranking": ranked.key, "modes": settings.fixed_modes,
                "fill": settings.fill, "thresholds": sorted({0.0, *settings.thresholds}),
                "root_seed": experiment.seed}
    below = f"{source_folder(source)}/{model.folder.rsplit('/', 1)[-1]}"
    return f"deletion/{below}/{ranked.estimator}-{key_of(identity)}", identity


def seed_groups(found: Sequence[Model]) -> list[list[Model]]:
    """The models that differ from each other in their seed alone, where there are two or more; given weights do not."""
    groups: dict[str, list[Model]] = {}
    for model in found:
        if model.settings.weights is None:
            alike = {"network": asdict(model.network), "recipe": model.recipe.model_dump(), **_seen_as(model)}
            groups.setdefault(key_of(alike), []).append(model)
    return [group for group in groups.values() if len(group) > 1]


def agreement(source: Source, across: str, compared: Sequence[Model], rankings: Sequence[Ranking],
              thresholds: Sequence[float]) -> tuple[str, dict[str, Any]]:
    """Where the agreement of rankings lies, and what determines it.

    Args:
        across: ``estimators`` of one model, or ``seeds`` of several.
    """
    identity = {"artefact": "agreement", "source": source.fingerprint, "across": across,
                "models": [key_of(model.identity) for model in compared],
                "rankings": [ranking.key for ranking in rankings], "thresholds": list(thresholds)}
    below = compared[0].folder.rsplit("/", 1)[-1]
    return f"agreement/{source_folder(source)}/{below}/{across}-{key_of(identity)}", identity


def shuffled(experiment: Experiment, source: Source, model: Model) -> Model:
    """A model's twin of the same architecture, recipe and seed that is trained on shuffled labels."""
    identity = {"artefact": "model", "source": source.fingerprint, "network": asdict(model.network),
                "recipe": model.recipe.model_dump(), "seed": model.settings.seed, "root_seed": experiment.seed,
                "labels": "shuffled", **{key: value for key, value in _seen_as(model).items() if value is not None}}
    name = model.folder.rsplit("/", 1)[-1].rpartition("-")[0]
    folder = f"models/{source_folder(source)}/{name}-shuffled-labels-{key_of(identity)}"
    return replace(model, folder=folder, settings=model.settings.model_copy(update={"weights": None}),
                   identity=identity)


def sanity(experiment: Experiment, source: Source, model: Model, weights: str, row: Mapping[str, Any],
           layers: Sequence[str], rankings: Sequence[Ranking],
           thresholds: Sequence[float]) -> tuple[str, dict[str, Any]]:
    """Where the sanity check of one randomised network lies, and what determines it.

    Args:
        weights: the hash of those that the layers are drawn anew in, or that were trained on shuffled labels.
        row: the randomisation's ``kind``, ``step`` and ``steps``.
        layers: names of those drawn anew.
        rankings: of the real network.
    """
    identity = {"artefact": "sanity", "source": source.fingerprint, "network": asdict(model.network),
                "weights": weights, **_seen_as(model), **row, "drawn_anew": list(layers),
                "rankings": [ranking.key for ranking in rankings], "thresholds": list(thresholds),
                "root_seed": experiment.seed}
    below = f"{source_folder(source)}/{model.folder.rsplit('/', 1)[-1]}"
    return f"sanity/{below}/{row['kind']}-{row['step']}-{key_of(identity)}", identity


def unique(found: Iterable[Job]) -> list[Job]:
    """Each job once: models that share a retrainer share its reference and its controls."""
    first: dict[str, Job] = {}
    for job in found:
        first.setdefault(job.key, job)
    return list(first.values())


def check_names(experiment: Experiment) -> tuple[str, ...]:
    """The estimators asked for, by their full names, after every name in the experiment is known to exist.

    Raises:
        UnknownNameError: an estimator, a model, a regulariser or a fill does not exist.
    """
    from roar.datasets.fills import find_fill
    from roar.estimators import resolve
    from roar.models import check_name
    from roar.models.regularizers import parse

    retrained = [] if experiment.retrain.model == "same" else [experiment.retrain.model]
    for name in [*(model.name for model in experiment.model), *retrained]:
        check_name(name)
    for name in [*(model.regularizer for model in experiment.model), experiment.retrain.regularizer]:
        parse(name)
    find_fill(experiment.degrade.fill)
    _check_variant(experiment)
    return resolve(experiment.estimators.names)


def _check_variant(experiment: Experiment) -> None:
    """Refuse chains of explained networks trained further or of bare masks, and weights that do not fit."""
    from roar.datasets.fills import MASK_ONLY

    settings = experiment.retrain
    if settings.variant != SCRATCH and RECURSIVE in experiment.degrade.modes:
        raise ExperimentError(f'Mode recursive trains every network from scratch, and [retrain] variant is '
                              f'"{settings.variant}"; leave the variant out or the mode.')
    if experiment.degrade.fill == MASK_ONLY and RECURSIVE in experiment.degrade.modes:
        raise ExperimentError(f"Mode recursive ranks the images that its networks see, and of these the fill "
                              f"'{MASK_ONLY}' leaves nothing; take another fill, or the modes roar and kar.")
    others = [model.name for model in experiment.model if settings.model not in ("same", model.name)]
    if settings.variant != SCRATCH and others:
        raise ExperimentError(f'[retrain] variant = "{settings.variant}" starts from the weights of the explained '
                              f"network, {others[0]}, which do not fit {settings.model}; leave [retrain] model out.")


def check_truth(source: Source, names: Sequence[str]) -> None:
    """Refuse an oracle where the source does not know which pixels are informative.

    Raises:
        UsageError: it does not; the sentence names sources that do.
    """
    from roar.estimators import TRUTH, find
    from roar.estimators.oracle import no_truth

    for name in names:
        if find(name).family == TRUTH and (source.train.truth is None or source.test.truth is None):
            raise UsageError(no_truth(name, f"'{source.name}'"))


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=+()#-]+", "-", name)
