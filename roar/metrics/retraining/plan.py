"""Every training that an experiment asks for, with its key; nothing is computed and nothing is read.

    job  <- source, the network retrained, its recipe, the ranking, what is replaced by what, the seed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roar.datasets import Normalization
from roar.estimators import Estimator, distinct
from roar.estimators.methods.matched_spectrum import matched_spectrum_of
from roar.experiment import MASK_ONLY, RECURSIVE, SCRATCH, Experiment
from roar.metrics.retraining.job import Job, Start
from roar.pipeline import plan
from roar.pipeline.plan import Model, Ranking
from roar.pipeline.session import Session
from roar.store.artifacts import key_of

if TYPE_CHECKING:
    from roar.datasets.fills.base import Fill

REFERENCE = "reference"  # the cell that every estimator shares: nothing is replaced
_UNTOUCHED = {"estimator": REFERENCE, "family": REFERENCE, "base": REFERENCE, "ensemble": "base", "control_of": "",
              "ranking": "", "control_of_ranking": ""}
MATCHED_SPECTRUM = "random-blurred"  # the control with the spectrum of an estimator's rankings


def jobs(session: Session, model: Model, rankings: Sequence[Ranking], facts: Mapping[str, Any]) -> list[Job]:
    """Every training of one explained model: the reference first, then cell by cell.

    Args:
        facts: of the model's manifest: the hash of its weights, and what normalizes its images.
    """
    from roar.datasets.fills.registry import find_fill

    experiment, source, settings = session.experiment, session.source, session.experiment.retrain
    network = session.retrainer or model.network
    name = network.name
    recipe = plan.recipe_for(settings, source, network)
    fill_of = {MASK_ONLY: find_fill(MASK_ONLY), experiment.degrade.fill: session.fill}
    common: dict[str, Any] = {"artefact": "job", "source": source.fingerprint, "network": network.identity,
                              "recipe": recipe.model_dump(), "root_seed": experiment.seed}
    start = None
    if settings.variant != SCRATCH:
        seen = Normalization(tuple(facts["normalize_mean"]), tuple(facts["normalize_std"]))
        start = Start(model.folder, settings.variant, seen)
        common |= {"variant": settings.variant, "weights": facts["weights"], "normalize_mean": seen.mean,
                   "normalize_std": seen.std}
        name = f"{name} ({settings.variant})"
    protocol = key_of(common)
    described = {"source": source.label, **model.facts, "retrainer": name, "variant": settings.variant,
                 "protocol": protocol, "chance": source.largest_class}

    def job(ranked: Ranking | None, mode: str, fill: Fill | None, threshold: float, seed: int) -> Job:
        cell = {"ranking": ranked.first_key, "mode": mode, **fill.identity, "threshold": threshold} \
            if ranked and fill else {}
        again = {"noise_seed": ranked.noise_seed} if ranked and ranked.noise_seed else {}
        identity = {**common, **cell, "seed": seed, **again}
        row = {**described, **(ranked.facts if ranked else _UNTOUCHED), "mode": mode,
               "fill": fill.name if fill else "none", "threshold": threshold, "seed": seed, **again}
        return Job(key_of(identity), network, recipe, ranked.folder if ranked else None, row, identity, start, fill)

    def link(ranked: Ranking, fill: Fill, threshold: float, seed: int) -> Job:
        """One network of a chain: what it is trained on follows from the networks before it, and from no other."""
        again = {"artefact": "recursion", "root_seed": experiment.seed, **ranked.by.identity(experiment.estimators)}
        steps = [step for step in replacing if step <= threshold]
        identity = {**common, "recursion": again, "mode": RECURSIVE, **fill.identity, "thresholds": steps, "seed": seed}
        row = {**described, **ranked.facts, "mode": RECURSIVE, "fill": fill.name, "threshold": threshold,
               "seed": seed, "ranking": key_of(again)}
        return Job(key_of(identity), network, recipe, None, row, identity, fill=fill)

    seeds = range(settings.seeds)
    replacing = [threshold for threshold in experiment.degrade.thresholds if threshold > 0]
    found = [job(None, "roar", None, 0.0, seed) for seed in seeds]
    for ranked in rankings:
        for fill, mode in kinds_of_cells(experiment, ranked.by):
            if ranked.noise_seed and fill != experiment.degrade.fill:
                continue  # the mask alone is a control of the first ranking
            for threshold in replacing:
                found += [link(ranked, fill_of[fill], threshold, seed) if mode == RECURSIVE else
                          job(ranked, mode, fill_of[fill], threshold, seed) for seed in seeds]
    return found


def kinds_of_cells(experiment: Experiment, estimator: Estimator) -> list[tuple[str, str]]:
    """The fills and modes in which an estimator's pixels are replaced.

    What explains no network would rank the same again, so it has no mode `recursive`: it runs in the other modes, and
    in `roar` where there are none. The mask alone is a control of rankings that are made once.
    """
    settings, again = experiment.degrade, estimator.explains
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


def retrained(experiment: Experiment, estimators: Sequence[Estimator]) -> tuple[Estimator, ...]:
    """The estimators whose rankings are retrained: those asked for, with the matched-spectrum control of each."""
    if MATCHED_SPECTRUM not in experiment.retrain.controls:
        return tuple(estimators)
    pairs = [(one, matched_spectrum_of(one)) if one.explains else (one,) for one in estimators]
    return distinct(one for pair in pairs for one in pair)


def fills(experiment: Experiment, estimator: Estimator) -> tuple[str, ...]:
    """What replaces an estimator's pixels: the fill asked for, and the mask alone where the image decides it."""
    masks = (MASK_ONLY,) if MASK_ONLY in experiment.retrain.controls and estimator.sees_image else ()
    return tuple(dict.fromkeys((experiment.degrade.fill, *masks)))


def unique(found: Iterable[Job]) -> list[Job]:
    """Each job once: models that share a retrainer share its reference and its controls."""
    first: dict[str, Job] = {}
    for job in found:
        first.setdefault(job.key, job)
    return list(first.values())
