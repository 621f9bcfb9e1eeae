"""An experiment with its source and its store open; what is asked for is kept in the store before it is made."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from roar.datasets import Source, open_source
from roar.errors import ModelError
from roar.estimators import Estimator
from roar.experiment import Experiment, portable
from roar.pipeline import plan
from roar.pipeline.plan import Model
from roar.plugins import executed_files
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
    estimators: tuple[Estimator, ...]
    models: list[Model]
    reporter: Reporter = field(default_factory=Silent)
    stage: str | None = None  # that is asked for at this moment; the stages before it are only its means


def prepare(experiment: Experiment, reporter: Reporter | None = None, estimators: Iterable[Any] = ()) -> Session:
    """Check every name, open source and store, and know the models by their keys.

    Nothing else executes a file that is not roar's; each is named before.

    Args:
        estimators: of a program, beside those that the experiment names: estimators, functions, classes or spellings.

    Raises:
        UsageError: a name does not exist or a setting breaks a rule.
        FailureError: the source, the store or a weights file cannot be read.
    """
    reporter = reporter or Silent()
    with executed_files(lambda path: reporter.say(f"This run executes {path}.")):
        return _opened(experiment, reporter, estimators)


def _opened(experiment: Experiment, reporter: Reporter, others: Iterable[Any]) -> Session:
    import pyarrow

    from roar.datasets.fills.base import find_fill

    pyarrow.enable_signal_handlers(False)  # Ctrl-C is this program's, also while a file is read
    estimators = plan.check_names(experiment, others)
    settings = experiment.source
    store = open_store(experiment.store)
    source = open_source(settings.name, root=settings.root, limit_train=settings.limit_train,
                         limit_test=settings.limit_test, image_size=settings.image_size, seed=experiment.seed)
    find_fill(experiment.degrade.fill, source.channels)
    weights = {m.weights: _file_hash(m.weights) for m in experiment.model if m.weights is not None}
    models = plan.models(experiment, source, weights)
    plan.check_estimators(estimators, source, models)
    for note in dict.fromkeys(note for estimator in estimators for note in estimator.notes):
        reporter.say(note)
    return Session(experiment, source, store, estimators, models, reporter)


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
        asked = portable(session.experiment, [estimator.spelling for estimator in session.estimators])
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
