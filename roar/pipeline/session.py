"""An experiment with its source and its store open; what is asked for is kept in the store before it is made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

from roar.datasets import Source, anywhere
from roar.datasets.statistics import is_constant
from roar.estimators import Estimator
from roar.experiment import Experiment, portable
from roar.jobs.executor import check_resources
from roar.jobs.network import Network
from roar.pipeline import door, plan
from roar.pipeline.door import Objects
from roar.pipeline.plan import Model
from roar.plugins import executed_files
from roar.progress import Bar, Reporter, Silent
from roar.store.artifacts import key_of
from roar.store.requests import JOB, Plan, write_plan
from roar.store.store import Store, open_store

if TYPE_CHECKING:
    from roar.datasets.fills.base import Fill

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
    fill: Fill
    retrainer: Network | None = None  # of [retrain]; None: each explained network's architecture is retrained
    reporter: Reporter = field(default_factory=Silent)
    stage: str | None = None  # that is asked for at this moment; the stages before it are only its means


def prepare(experiment: Experiment, reporter: Reporter | None = None, objects: Objects | None = None) -> Session:
    """Look up every name, open source and store, know the models by their keys, and try what is not roar's.

    Nothing else executes a file that is not roar's; each is named before.

    Args:
        objects: what a program gives in the place of names.

    Raises:
        UsageError: a name does not exist, a setting breaks a rule, or an object is not what it should be.
        FailureError: the source, the store or a weights file cannot be read, or a network or its weights do not fit.
    """
    reporter = reporter or Silent()
    with executed_files(lambda path: reporter.say(f"This run executes {path}.")):
        return _opened(experiment, reporter, objects or Objects())


def _opened(experiment: Experiment, reporter: Reporter, objects: Objects) -> Session:
    import pyarrow

    check_resources(experiment.compute)
    pyarrow.enable_signal_handlers(False)  # Ctrl-C is this program's, also while a file is read
    named = door.look_up(experiment, objects)
    store = open_store(experiment.store)
    with _bars(reporter) as on_progress:
        source = door.open_images(experiment, objects.source, on_progress)
    source = replace(source, facts=(*source.facts, *_constant(source)))
    named.fill.check_channels(source.channels)
    networks = [door.network_of(source, *model) for model in named.models]
    given = [door.given_weights(model, architecture, network) for model, (architecture, _), network in
             zip(experiment.model, named.models, networks, strict=True)]
    models = plan.models(experiment, source, networks, given)
    plan.check_estimators(named.estimators, source, models)
    session = Session(experiment, source, store, named.estimators, models, named.fill,
                      named.retrainer and door.network_of(source, *named.retrainer), reporter)
    for note in dict.fromkeys(note for estimator in named.estimators for note in estimator.notes):
        reporter.say(note)
    for fact in source.facts:
        reporter.say(fact)
    tell_notes(session)
    _try(session)
    return session


def _constant(source: Source) -> list[str]:
    """A sentence for each split whose pictures are all alike, as after a conversion that went wrong."""
    splits = {"training": source.train, "test": source.test}
    return [f"Every pixel of the {name} split is {split.decode(np.array([0])).flat[0]}; look at the pictures of "
            f"'{source.name}'." for name, split in splits.items() if is_constant(split)]


@contextmanager
def _bars(reporter: Reporter) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar for each pass over images, from its call with 0 images on."""
    bars: list[Bar] = []
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown
        if not bars:
            bars.append(reporter.begin("read", total, "images"))
            shown = 0
        bars[0].advance(done - shown)
        shown = done
        if done == total:
            reporter.end(bars.pop())

    try:
        yield show
    finally:
        for bar in bars:
            reporter.end(bar)


def tell_notes(session: Session) -> None:
    """What the source has to tell, once."""
    while session.source.notes:
        session.reporter.say(session.source.notes.pop(0))


def _try(session: Session) -> None:
    """Try what is not roar's, before anything is made; a model that is in the store was tried already.

    Raises:
        UsageError, FailureError: as :func:`prepare`.
    """
    tried = {key_of({"network": model.network.identity, "given": model.given and model.given.sha256}): model
             for model in session.models if session.store.manifest(model.folder) is None}
    for model in tried.values():
        notes = door.try_network(model.network, session.source, model.given)
        if notes:
            session.reporter.say(f"'{model.settings.weights}': {', '.join(notes)}.")
    if session.retrainer is not None:
        door.try_network(session.retrainer, session.source)
    door.try_fill(session.fill, session.source, session.experiment.seed)


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


def keep_plan(session: Session, stage: str, artifacts: Sequence[str] = (),
              rows: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> None:
    """Keep what is asked for and what it makes, so that `roar status` can tell what is missing without the source."""
    if session.stage == stage:
        asked = portable(session.experiment, [estimator.spelling for estimator in session.estimators])
        asked["source"]["name"] = anywhere(session.source.name)
        cells = {key: [row[column] for column in JOB] for key, row in rows.items()}
        source = session.source
        write_plan(session.store, Plan(stage, source.name, source.fingerprint, source.class_names, asked,
                                       tuple(artifacts), cells, source.facts))
