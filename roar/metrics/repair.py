"""Put right what is damaged: restore what was kept twice, keep what is whole, and make the rest again.

Only what is damaged is removed; what was asked for and is missing then is made by the pipeline from the plans.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from roar.errors import DamagedArtefactError, StoreError
from roar.experiment import load_experiment
from roar.metrics import METRICS
from roar.pipeline import Session, degrade, prepare, rank, train
from roar.store.compaction import write_compacted
from roar.store.files import Files
from roar.store.integrity import Damage, Missing, identity_of, missing, whole_plans
from roar.store.requests import COPIES, planned, read_plan
from roar.store.requests import FOLDER as PLANS
from roar.store.results import COMPACTED, MOST_COMPACTED, is_result
from roar.store.sealed import unseal
from roar.store.store import DESCRIPTION, Store

if TYPE_CHECKING:
    from roar.progress import Reporter


def remove_damage(store: Store, found: Iterable[Damage]) -> None:
    """Restore the description and the plans, save the whole rows of compacted results, remove what is unusable."""
    files, damages = store.files, list(found)
    if any(damage.path == DESCRIPTION for damage in damages):
        identity = identity_of(store) or uuid.uuid4().hex
        if files.exists(DESCRIPTION):
            files.delete(DESCRIPTION)
        store.describe(identity)
    for damage in damages:
        if damage.path.startswith(f"{PLANS}/"):
            _restore_plan(store, damage.path)
    for damage in damages:
        if damage.path.startswith(f"{COMPACTED}/"):
            _save_rows(files, damage.path)
        elif damage.path != DESCRIPTION and not damage.path.startswith(f"{PLANS}/"):
            for path in damage.unusable:
                files.delete(path)


def remake(store: Store, compute: Mapping[str, Any], reporter: Reporter) -> list[Missing]:
    """Make what was asked for and is missing; returns what could not be made since this roar does not know the stage.

    Args:
        compute: the settings of ``[compute]``; a plan has none.
    """
    stages: dict[str, Callable[[Session], Any]] = {"train": train, "rank": rank, "degrade": degrade}
    stages |= {metric.command: metric.run for metric in METRICS.all()}
    unknown = []
    for lost in missing(store):
        if lost.plan.stage not in stages:
            unknown.append(lost)
            continue
        tables = {**lost.plan.experiment, "compute": dict(compute), "store": store.location}
        session = prepare(load_experiment(None, tables), reporter)
        if session.source.fingerprint != lost.plan.fingerprint:
            raise StoreError(f"'{lost.plan.source}' holds other images than when '{store.location}' was made from "
                             "it; put them back, or run the experiment on the new ones.")
        stages[lost.plan.stage](session)
    return unknown


def _restore_plan(store: Store, path: str) -> None:
    """From the other one of its two places; where neither is whole, it is forgotten."""
    files, name = store.files, path.rpartition("/")[2]
    other = f"{COPIES}/{name}" if path == f"{PLANS}/{name}" else f"{PLANS}/{name}"
    try:
        if files.exists(other):
            read_plan(files, other, identity_of(store))
            files.write(path, files.read(other))
            return
    except DamagedArtefactError:
        pass
    files.delete(path)


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
    write_compacted(files, bodies, [path])
