"""Train the networks to be explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from roar import machine
from roar.errors import ModelError, UsageError
from roar.jobs.stage import Task
from roar.pipeline.images import check_window, shared_images
from roar.pipeline.plan import Given, Model
from roar.pipeline.running import make
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.store.artifacts import MANIFEST

_SMALL = 16 * 16  # pixels


@asked_for("train")
def train(session: Session) -> list[dict[str, Any]]:
    """The manifest of every model, trained where it is missing.

    Raises:
        ModelError: a network could not be trained or its weights do not fit.
        UsageError: a network is to be trained and there is a test split alone.
    """
    keep_plan(session, "train", [model.folder for model in session.models])
    return train_missing(session, session.models)


def train_missing(session: Session, models: Sequence[Model], title: str = "train",
                  shuffled: bool = False) -> list[dict[str, Any]]:
    """The manifests of some models, trained where they are missing; ``shuffled``: on labels in a random order."""
    store, experiment = session.store, session.experiment
    missing = [model for model in models if store.manifest(model.folder) is None]
    for model in missing:
        if model.settings.weights is None:
            check_training_split(session, f"Training {model.title}", "; give its weights (--weights), or ")
    if missing:
        from roar.jobs.train_model import TrainModel

        check_window(session, [model.recipe for model in missing if model.given is None], "train")

        tasks = [Task(model.folder, TrainModel(
            model.network, model.folder, model.identity, experiment.seed, model.settings.seed,
            model.recipe, _given_name(model) if model.given else None,
            model.settings.normalize_mean, model.settings.normalize_std, shuffled), (f"{model.folder}/{MANIFEST}",))
            for model in missing]
        make(session, title, "models", tasks, "roar.jobs.train_model:open_worker",
             lambda tasks: {**shared_images(session), **_given(missing)}, ModelError, _training_threads(session))
    manifests = [store.manifest(model.folder) for model in models]
    return [manifest for manifest in manifests if manifest is not None]


def check_training_split(session: Session, what: str, remedy: str = "; ") -> None:
    """Refuse what trains networks where there is a test split alone.

    Raises:
        UsageError: there is no training split.
    """
    if "train" not in session.source.splits:
        raise UsageError(f"{what} needs a training split, and '{session.source.name}' has a test split alone{remedy}"
                         "take a source with both.")


def _training_threads(session: Session) -> float:
    """Threads for one network to be explained: the machine's, shared by the models; one does best on small images."""
    if session.source.height * session.source.width < _SMALL:
        return session.experiment.compute.cpus_per_job
    return max(session.experiment.compute.cpus_per_job, machine.cpus() // len(session.models))


def _given(models: Sequence[Model]) -> dict[str, Callable[[], bytes]]:
    """The loaders of the weights that somebody else trained."""
    return {_given_name(model): partial(_bytes_of, model.given) for model in models if model.given is not None}


def _given_name(model: Model) -> str:
    """What weights that somebody else trained are shared with the workers as."""
    return f"{model.folder}/given"


def _bytes_of(given: Given) -> bytes:
    return given.read()[0]
