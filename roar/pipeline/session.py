"""An experiment with its source and its store open; what is asked for is kept in the store before it is made."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from roar.datasets import Source, anywhere, open_source
from roar.errors import ModelError
from roar.experiment import Experiment, portable
from roar.pipeline import plan
from roar.pipeline.plan import Model
from roar.progress import Reporter, Silent
from roar.store.requests import JOB, Plan, write_plan
from roar.store.store import Store, open_store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class Session:
    """An experiment with its source and its store open."""

    experiment: Experiment
    source: Source
    store: Store
    estimators: tuple[str, ...]
    models: list[Model]
    reporter: Reporter = field(default_factory=Silent)
    stage: str | None = None  # that is asked for at this moment; the stages before it are only its means


def prepare(experiment: Experiment, reporter: Reporter | None = None, source: Any = None) -> Session:
    """Check every name, open source and store, and know the models by their keys.

    Args:
        source: an object in the place of the experiment's ``[source] name``; see :mod:`roar.datasets.adapters`.

    Raises:
        UsageError: a name does not exist or a setting breaks a rule.
        FailureError: the source, the store or a weights file cannot be read.
    """
    import pyarrow

    from roar.datasets.fills.base import find_fill

    pyarrow.enable_signal_handlers(False)  # Ctrl-C is this program's, also while a file is read
    estimators = plan.check_names(experiment)
    settings = experiment.source
    store = open_store(experiment.store)
    opened = open_source(settings.name if source is None else source, root=settings.root,
                         limit_train=settings.limit_train, limit_test=settings.limit_test,
                         image_size=settings.image_size, seed=experiment.seed, reporter=reporter)
    find_fill(experiment.degrade.fill, opened.channels)
    plan.check_splits(opened, estimators)
    plan.check_truth(opened, estimators)
    weights = {m.weights: _file_hash(m.weights) for m in experiment.model if m.weights is not None}
    session = Session(experiment, opened, store, estimators, plan.models(experiment, opened, weights),
                      reporter or Silent())
    tell_notes(session)
    return session


def tell_notes(session: Session) -> None:
    """What the source has to tell, once."""
    while session.source.notes:
        session.reporter.say(session.source.notes.pop(0))


def asked_for(stage: str, *, kept: bool = True) -> Callable[
        [Callable[Concatenate[Session, P], T]], Callable[Concatenate[Session, P], T]]:
    """Keep in the store that a stage was asked for, before anything is made."""
    def decorate(run: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate[Session, P], T]:
        @functools.wraps(run)
        def asked(session: Session, *arguments: P.args, **named: P.kwargs) -> T:
            if session.stage is not None:
                return run(session, *arguments, **named)
            session.stage = stage
            try:
                if kept:
                    keep_plan(session, stage)
                return run(session, *arguments, **named)
            finally:
                session.stage = None
        return cast(Callable[Concatenate[Session, P], T], asked)
    return decorate


def keep_plan(session: Session, stage: str, artefacts: Sequence[str] = (),
              rows: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> None:
    """Keep what is asked for and what it makes, so that `roar status` can tell what is missing without the source."""
    if session.stage == stage:
        asked = portable(session.experiment, session.estimators)
        asked["source"]["name"] = anywhere(session.source.name)
        cells = {key: [row[column] for column in JOB] for key, row in rows.items()}
        source = session.source
        write_plan(session.store, Plan(stage, source.name, source.fingerprint, source.class_names, asked,
                                       tuple(artefacts), cells))


def _file_hash(path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"The weights file '{path}' cannot be read ({error.strerror}); give the path of a "
                         "safetensors file.") from None
