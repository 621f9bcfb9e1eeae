"""Put right what is damaged: restore what was kept twice, keep what is whole, and make the rest again.

Only what is damaged is put aside; what was asked for and is missing then is made by the pipeline from the plans.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from roar.errors import DamagedArtifactError, StoreError, UsageError
from roar.experiment import Experiment, load_experiment
from roar.metrics import METRICS
from roar.pipeline import Session, degrade, prepare, rank, train
from roar.plugins.named import code_in
from roar.store.artifacts import LOST
from roar.store.compaction import write_compacted
from roar.store.files import Files
from roar.store.integrity import Damage, identity_of, missing, whole_plans
from roar.store.requests import COPIES, Plan, planned, read_plan
from roar.store.requests import FOLDER as PLANS
from roar.store.results import COMPACTED, MOST_COMPACTED, is_result
from roar.store.sealed import unseal
from roar.store.store import DESCRIPTION, Store

if TYPE_CHECKING:
    from roar.progress import Reporter


def put_aside(store: Store, found: Iterable[Damage]) -> list[str]:
    """Restore the description and the plans, save the whole rows of compacted results, put aside what is unusable.

    Nothing is removed: what is unusable lies in ``lost+found/`` afterwards, under its old path.

    Returns:
        the plans that are lost: neither of their two places was whole, so what they asked for is not known any more.
    """
    files, damages = store.files, list(found)
    if any(damage.path == DESCRIPTION for damage in damages):
        identity = identity_of(store) or uuid.uuid4().hex
        if files.exists(DESCRIPTION):
            _put_aside(files, DESCRIPTION)
        store.describe(identity)
    lost = [damage.path for damage in damages
            if damage.path.startswith(f"{PLANS}/") and not _restored(store, damage.path)]
    for damage in damages:
        if damage.path.startswith(f"{COMPACTED}/"):
            _save_rows(files, damage.path)
        elif damage.path != DESCRIPTION and not damage.path.startswith(f"{PLANS}/"):
            for path in damage.unusable:
                _put_aside(files, path)
    return [path for path in lost if not path.startswith(f"{COPIES}/")]


def _put_aside(files: Files, path: str) -> None:
    place = next(place for place in chain([f"{LOST}/{path}"], (f"{LOST}/{path}.{n}" for n in count(2)))
                 if not files.exists(place))
    files.move(path, place)


@dataclass(frozen=True)
class Left:
    """What could not be made again, and why, as the end of a sentence that begins with the plan."""

    plan: Plan
    reason: str


def remake(store: Store, mine: Experiment, reporter: Reporter, trusted: Collection[str] = ()) -> list[Left]:
    """Make what was asked for and is missing; returns what could not be made.

    From a plan comes only what determines bytes. Where and how to compute, and where downloads lie, is of this machine.

    Args:
        mine: the settings of this command, of which ``[compute]`` and the source's root count.
        trusted: the spellings of the code that the plans may have executed, since a person has named them.
    """
    stages: dict[str, Callable[[Session], Any]] = {"train": train, "rank": _rank, "degrade": degrade}
    stages |= {metric.command: metric.run for metric in METRICS.all()}
    left = []
    for lost in missing(store):
        reason = _refusal(lost.plan, stages, trusted)
        if reason is not None:
            left.append(Left(lost.plan, reason))
            continue
        try:
            experiment = _experiment_of(lost.plan, store, mine)
        except UsageError as error:
            left.append(Left(lost.plan, f"asks for what this roar does not know: {error}"))
            continue
        session = prepare(experiment, reporter)
        if session.source.fingerprint != lost.plan.fingerprint:
            raise StoreError(f"'{lost.plan.source}' holds other images than when '{store.location}' was made from "
                             "it; put them back, or run the experiment on the new ones.")
        stages[lost.plan.stage](session)
    return left


def _rank(session: Session) -> None:
    rank(session, noise_seeds=session.experiment.estimators.seeds)


def _refusal(plan: Plan, stages: Collection[str], trusted: Collection[str]) -> str | None:
    if plan.stage not in stages:
        return f"asks for '{plan.stage}', which this roar does not know"
    code = [spelling for spelling in code_in(plan.experiment) if spelling not in trusted]
    if code:
        place = code[0].rpartition(":")[0]
        return f"would execute {place}; look at it, and add --trust '{code[0]}' to have it executed"
    return None


def _experiment_of(plan: Plan, store: Store, mine: Experiment) -> Experiment:
    tables = {**plan.experiment, "store": store.files.location,
              "compute": mine.compute.model_dump(mode="json", include=mine.compute.model_fields_set)}
    source = tables.get("source")
    if isinstance(source, dict):
        tables["source"] = {**source, "root": mine.source.root}
    return load_experiment(None, tables)


def _restored(store: Store, path: str) -> bool:
    """Restore a plan from the other one of its two places; where neither is whole, both are put aside."""
    files, name = store.files, path.rpartition("/")[2]
    other = f"{COPIES}/{name}" if path == f"{PLANS}/{name}" else f"{PLANS}/{name}"
    try:
        if files.exists(other):
            read_plan(files, other, identity_of(store))
            if files.exists(path):
                _put_aside(files, path)
            files.write(path, files.read(other))
            return True
    except DamagedArtifactError:
        pass
    if files.exists(path):
        _put_aside(files, path)
    return False


def _save_rows(files: Files, path: str) -> None:
    asked = planned(whole_plans(files))
    bodies = []
    for line in files.read(path, MOST_COMPACTED).splitlines():
        try:
            body = unseal(line)
        except ValueError:
            continue
        if is_result(body) and (not asked or body["row"]["job"] in asked):
            bodies.append(body)
    _put_aside(files, path)
    write_compacted(files, bodies)
