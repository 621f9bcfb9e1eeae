"""Rank every image by every estimator, shard by shard; whole shards of an interrupted run are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from roar.datasets import Normalization
from roar.errors import DamagedArtifactError, EstimatorError, UsageError
from roar.estimators import ESTIMATORS, Estimator
from roar.jobs.stage import Outcome, Stage, Task
from roar.pipeline import plan
from roar.pipeline.images import shared_images, streams
from roar.pipeline.plan import SPLITS, Model, Ranking
from roar.pipeline.running import execute, running
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import train
from roar.registry import parse
from roar.seeds.streams import noise_root
from roar.store.artifacts import MANIFEST, file_entry, manifest_bytes
from roar.store.local import LocalFiles
from roar.store.requests import read_plans
from roar.store.shards import rank_blocks, shard_name, whole_shard
from roar.store.store import Store

WORTH_TELLING = 0.5  # of the pixels whose scores tie


@asked_for("rank")
def rank(session: Session, splits: Sequence[str] = SPLITS,
         estimators: Sequence[Estimator] | None = None, noise_seeds: int = 1) -> list[Ranking]:
    """Every ranking of the experiment, made where it is missing; what retrains nothing needs the test split alone.

    Of a source with a test split alone, that is ranked.

    A matched-spectrum control is ranked after the estimator whose spectrum it has, which is then ranked on both
    splits: the spectrum is always that of the training split, whatever was ranked before.

    Args:
        estimators: default: those of the session.
        noise_seeds: rankings of each estimator of the session that draws random numbers; what looks at one ranking of
            each takes the first.

    Raises:
        UsageError: attributions made elsewhere are not there for a split.
        EstimatorError: scores could not be ranked; no shard of that estimator's batch is left behind.
    """
    estimators = session.estimators if estimators is None else estimators
    splits = [split for split in splits if split in session.source.splits]
    plan.check_estimators(estimators, session.source, session.models, splits)
    rankings = rankings_of(session, estimators, noise_seeds)
    keep_plan(session, "rank", artifacts_of(session, rankings))
    bases = list({r.of.folder: r.of for r in rankings if r.of is not None}.values())
    first = {r.folder: r for r in [*rankings, *bases] if r.of is None}
    _make(session, list(first.values()), splits)
    _make(session, bases, SPLITS)
    _make(session, [r for r in rankings if r.of is not None], splits)
    return rankings


def _make(session: Session, rankings: Sequence[Ranking], splits: Sequence[str]) -> None:
    """Make those of the rankings that are missing, all that they are made from being there."""
    missing = [r for r in rankings if not _ranked(session.store, r, splits)]
    if missing:
        from roar.jobs.rank_shard import open_worker

        found: dict[str, dict[str, Any]] = {}
        tasks = _shard_tasks(session, missing, splits, found)
        total = sum(task.work.stop - task.work.start for task in tasks)
        with running(session, "rank", total, "images") as watcher:
            watcher.sizes = {task.key: task.work.stop - task.work.start for task in tasks}
            said: set[str] = set()

            def done(outcome: Outcome) -> None:
                found.update(outcome.facts["shards"])
                for note in outcome.facts["notes"]:
                    if note not in said:
                        said.add(note)
                        session.reporter.say(note)

            watcher.on_success = done
            shared = {**shared_images(session), **weights_loaders(session), **_inputs(session, missing, splits)}
            stage = Stage("rank", open_worker, shared, tasks, session.experiment.compute.cpus_per_job)
            execute(session, stage, watcher)
        if watcher.elsewhere or not isinstance(session.store.files, LocalFiles):  # another run may have written them
            found.update(_kept_shards(session, missing, splits))
        for ranking in _withdraw(session, missing, tasks, watcher.failures):
            _finish(session, ranking, splits, found)
        watcher.raise_first(EstimatorError)


def rankings_of(session: Session, estimators: Sequence[Estimator], noise_seeds: int = 1) -> list[Ranking]:
    """Every ranking asked for, each once: models share the controls."""
    again = {estimator.name for estimator in session.estimators if estimator.stochastic}
    found: dict[str, Ranking] = {}
    for model, manifest in zip(session.models, train(session), strict=True):
        for estimator in estimators:
            if plan.ranks_model(estimator, model):
                weights = manifest["facts"]["weights"]
                for noise_seed in range(noise_seeds if estimator.name in again else 1):
                    ranking = plan.ranking(session.experiment, session.source, estimator, model, weights, noise_seed)
                    found.setdefault(ranking.folder, ranking)
    return list(found.values())


def artifacts_of(session: Session, rankings: Sequence[Ranking]) -> list[str]:
    """The folders of the models and of their rankings."""
    every = dict.fromkeys(r.folder for ranking in rankings for r in (ranking, ranking.of) if r is not None)
    return [*(model.folder for model in session.models),
            *(f"{folder}/{split}" for folder in every for split in session.source.splits)]


def _ranked(store: Store, ranking: Ranking, splits: Sequence[str]) -> bool:
    return all(store.manifest(f"{ranking.folder}/{split}") is not None for split in splits)


def ranked_estimators(session: Session) -> tuple[Estimator, ...]:
    """The estimators of roar's that are already ranked for every model of the session.

    What is not roar's must be named, and this is said: a store does not decide which code a run executes.
    """
    for spelling in _asked_before(session):
        session.reporter.say(f"'{spelling}' was asked for in this store before; name it with --estimator to take it "
                             "up.")
    manifests = [session.store.manifest(model.folder) for model in session.models]
    found = []
    for estimator in [*ESTIMATORS.resolve(ESTIMATORS.names()), *_with_parameter(session)]:
        rankings = [plan.ranking(session.experiment, session.source, estimator, model, manifest["facts"]["weights"])
                    for model, manifest in zip(session.models, manifests, strict=True) if manifest is not None]
        if len(rankings) == len(session.models) and all(
                _ranked(session.store, r, session.source.splits) for r in rankings):
            found.append(estimator)
    return tuple(found)


def _asked_before(session: Session) -> list[str]:
    """The spellings of estimators that are not roar's among what was asked for of the source."""
    try:
        plans = read_plans(session.store)
    except DamagedArtifactError:  # `roar verify` speaks of it
        return []
    names = [name for plan in plans if plan.fingerprint == session.source.fingerprint
             for name in plan.experiment.get("estimators", {}).get("names", [])]
    return sorted({name for name in names if not _is_roars(name)})


def _is_roars(name: str) -> bool:
    """Whether a name, what stands in its brackets too, needs no code or file but roar's."""
    spelling = parse(name)
    if spelling.arguments is None or not ESTIMATORS.is_taken(spelling.name):
        return ESTIMATORS.is_taken(spelling.name)
    return spelling.arguments[:1].isdigit() or _is_roars(spelling.arguments)


def _with_parameter(session: Session) -> list[Estimator]:
    """The estimators of roar's whose names have a parameter among the rankings that the store holds of the source."""
    paths = session.store.files.list(f"rankings/{plan.source_folder(session.source)}")
    names = {path.split("/")[3].rpartition("-")[0] for path in paths}
    found = []
    for name in sorted(name for name in names if "(" in name):
        with suppress(UsageError):  # a name that an earlier or a later roar knows
            if _is_roars(name):
                found.append(ESTIMATORS.find(name))
    return found


def shards_of(session: Session, split: str) -> list[tuple[int, int, int]]:
    """Number, start and stop of every shard of a split."""
    count, size = len(getattr(session.source, split)), session.experiment.estimators.shard_size
    return [(number, start, min(start + size, count)) for number, start in enumerate(range(0, count, size))]


def _shard_paths(session: Session, ranking: Ranking, splits: Sequence[str]) -> set[str]:
    return {f"{ranking.folder}/{split}/{shard_name(number)}"
            for split in splits for number, _, _ in shards_of(session, split)}


def _shard_tasks(session: Session, missing: Sequence[Ranking], splits: Sequence[str],
                 found: dict[str, dict[str, Any]]) -> list[Task]:
    """One task per shard and family; shards of an interrupted run that are whole are put into ``found``."""
    from roar.jobs.rank_shard import RankShard

    kept = _kept_shards(session, missing, splits)
    found.update(kept)
    experiment, tasks = session.experiment, []
    for members in _families(missing):
        model = members[0].model if members[0].explains else None  # a matched-spectrum control looks at no network
        for split in splits:
            for number, start, stop in shards_of(session, split):
                wanted = [r for r in members if f"{r.folder}/{split}/{shard_name(number)}" not in kept]
                if not wanted:
                    continue
                work = RankShard(
                    tuple(r.by for r in wanted), split, number, start, stop,
                    {r.estimator: f"{r.folder}/{split}" for r in wanted},
                    {r.estimator: r.identity for r in wanted}, experiment.estimators,
                    noise_root(experiment.seed, members[0].noise_seed),
                    model_normalization(session, model), model.folder if model else None,
                    model.network if model else None, experiment.compute.memory_budget,
                    {r.estimator: name for r in wanted if (name := _input_name(r, split)) is not None})
                makes = tuple(f"{below}/{shard_name(number)}" for below in work.folders.values())
                tasks.append(Task("+".join(makes), work, makes))
    return tasks


def _families(rankings: Sequence[Ranking]) -> list[list[Ranking]]:
    """The rankings whose estimators share their passes, of one model and noise seed each."""
    found: dict[tuple[str | None, str, int], list[Ranking]] = {}
    for ranking in rankings:
        model = ranking.model.folder if ranking.model else None
        found.setdefault((model, ranking.by.family, ranking.noise_seed), []).append(ranking)
    return list(found.values())


def _input_name(ranking: Ranking, split: str) -> str | None:
    """What is shared with the workers, besides images, that a ranking is made from; ``None`` where nothing is."""
    if ranking.of is not None:
        return f"{ranking.of.folder}/spectrum"
    return f"{ranking.folder}/{split}/maps" if ranking.by.reads_maps else None


def spectrum(session: Session, ranking: Ranking) -> np.ndarray:
    """The mean periodogram of a ranking's training split, float64 ``[planes, H, W]``, shard by shard."""
    from roar.estimators.methods.matched_spectrum import mean_periodogram

    source = session.source
    planes = source.channels if session.experiment.estimators.unit == "channel" else 1
    blocks = rank_blocks(session.store, f"{ranking.folder}/train")
    return mean_periodogram(blocks, planes, source.height, source.width)


def _inputs(session: Session, rankings: Sequence[Ranking], splits: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """The loaders of the spectra that matched-spectrum controls need, and of attributions made elsewhere."""
    found: dict[str, Callable[[], Any]] = {}
    for ranking in rankings:
        for split in splits:
            name = _input_name(ranking, split)
            if name is not None:
                found[name] = partial(spectrum, session, ranking.of) if ranking.of is not None else \
                    ranking.by.maps_loader(session.source, split, streams(session))
    return found


def _kept_shards(session: Session, missing: Sequence[Ranking], splits: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Shards that an interrupted run left whole, with their sizes and hashes."""
    kept: dict[str, dict[str, Any]] = {}
    for ranking in missing:
        for path in _shard_paths(session, ranking, splits) & set(session.store.files.list(ranking.folder)):
            data = session.store.files.read(path)
            description = whole_shard(data)
            if description.get("identity") == ranking.identity and path.endswith(
                    f"/{description['split']}/{shard_name(description['shard'])}"):
                kept[path] = {**file_entry(data), **description}
    return kept


def _finish(session: Session, ranking: Ranking, splits: Sequence[str], found: Mapping[str, dict[str, Any]]) -> None:
    """Write the manifests of a ranking whose shards are all there."""
    for split in splits:
        folder = f"{ranking.folder}/{split}"
        names = [shard_name(number) for number, _, _ in shards_of(session, split)]
        shards = {name: found[f"{folder}/{name}"] for name in names if f"{folder}/{name}" in found}
        if session.store.manifest(folder) is not None or len(shards) < len(names) or not all(
                session.store.files.exists(f"{folder}/{name}") for name in names):
            continue
        images = sum(shard["images"] for shard in shards.values())
        tied = sum(shard["tied_share"] * shard["images"] for shard in shards.values()) / images
        entries = {name: {"bytes": shard["bytes"], "sha256": shard["sha256"]} for name, shard in shards.items()}
        manifest = manifest_bytes("ranking", ranking.identity, entries, {
            "estimator": ranking.estimator, "split": split, "images": images, "tied_share": tied})
        session.store.files.write(f"{folder}/{MANIFEST}", manifest)
        if ranking.explains and tied >= WORTH_TELLING:
            session.reporter.say(_ties(ranking.estimator, split, tied))


def _ties(estimator: str, split: str, share: float) -> str:
    """What a share of tied pixels means."""
    if share > 0.999:
        return (f"'{estimator}' scores all pixels of each image of the {split} split alike, so its ranking is a random "
                "one: the network does not depend on its input, or the estimator does not suit it.")
    return (f"'{estimator}' scores {100 * share:.0f} % of the pixels of the {split} split alike; these ties are "
            "broken at random.")


def _withdraw(session: Session, missing: Sequence[Ranking], tasks: Sequence[Task],
              failures: Sequence[Outcome]) -> list[Ranking]:
    """Take back every shard of a ranking that failed: what cannot be finished is not left half-done.

    Returns the rankings that did not fail.
    """
    keys = {outcome.key for outcome in failures}
    broken = {path.rsplit("/", 2)[0] for task in tasks if task.key in keys for path in task.makes}
    for folder in (f"{folder}/{split}" for folder in broken for split in SPLITS):
        if not session.store.files.exists(f"{folder}/{MANIFEST}"):  # another run may have finished it
            for path in session.store.files.list(folder):
                session.store.files.delete(path)
    return [ranking for ranking in missing if ranking.folder not in broken]


def weights_loaders(session: Session) -> dict[str, Callable[[], bytes]]:
    return {model.folder: weights_loader(session, model.folder) for model in session.models}


def weights_loader(session: Session, folder: str) -> Callable[[], bytes]:
    from roar.jobs.train_model import WEIGHTS

    return lambda: session.store.read_file(folder, WEIGHTS)


def model_normalization(session: Session, model: Model | None) -> Normalization:
    """What the model was trained with; controls look at the images as they are."""
    manifest = session.store.manifest(model.folder) if model else None
    if manifest is None:
        channels = session.source.channels
        return Normalization((0.0,) * channels, (1.0,) * channels)
    return Normalization(tuple(manifest["facts"]["normalize_mean"]), tuple(manifest["facts"]["normalize_std"]))
