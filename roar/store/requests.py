"""What was asked of a store: the whole experiment, and what it makes; so it can be told what is missing, and remade.

A plan cannot be computed from anything else, so it is kept twice: ``plans/<key>.json`` and below ``plans/copies/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from roar.errors import DamagedArtifactError, without_credentials
from roar.store.artifacts import FORMAT, key_of
from roar.store.files import Files
from roar.store.sealed import read_sealed, seal
from roar.store.store import Store

FOLDER = "plans"
COPIES = "plans/copies"
JOB = ("source", "model", "estimator", "mode", "threshold", "seed")  # the columns that tell a person which job it is


_OF_A_MACHINE = {"compute", "store"}  # sections of an experiment that determine no bytes


@dataclass(frozen=True)
class Plan:
    """What one command was asked to make.

    Attributes:
        stage: the last stage asked for.
        source: how the images are named; fingerprint and class_names: of the images.
        experiment: every setting that decides what is made, and none of where it is made.
        artifacts: the folders it makes; jobs: what the trainings are, by their keys. Both are known when the stage
            before is done, and empty until then.
        facts: what was read of the images and what was left out, in sentences.
    """

    stage: str
    source: str
    fingerprint: str
    class_names: tuple[str, ...]
    experiment: Mapping[str, Any]
    artifacts: tuple[str, ...] = ()
    jobs: Mapping[str, list[Any]] = field(default_factory=dict)
    facts: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        return {"artefact": "plan", "stage": self.stage, "source": self.fingerprint, "experiment": self.experiment}

    @property
    def key(self) -> str:
        return key_of(self.identity)


def write_plan(store: Store, plan: Plan) -> None:
    """Keep a plan, without the credentials of URLs; what is known already of what it makes is not forgotten."""
    plan = replace(plan, source=without_credentials(plan.source), experiment=_without_credentials(plan.experiment))
    path, store_id = f"{FOLDER}/{plan.key}.json", store.description["id"]
    if store.files.exists(path):
        known = read_plan(store.files, path, store_id)
        plan = replace(plan, artifacts=plan.artifacts or known.artifacts, jobs=plan.jobs or known.jobs)
    data = plan_bytes(plan, store_id)
    for place in (path, f"{COPIES}/{plan.key}.json"):  # in this order: a copy alone means that the plan is lost
        if not store.files.exists(place) or store.files.read(place) != data:
            store.files.write(place, data)


def _without_credentials(settings: Any) -> Any:
    """Settings whose texts carry none."""
    if isinstance(settings, Mapping):
        return {key: _without_credentials(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_without_credentials(value) for value in settings]
    return without_credentials(settings) if isinstance(settings, str) else settings


def plan_bytes(plan: Plan, store_id: str) -> bytes:
    return seal({"format": FORMAT, "store": store_id, **asdict(plan)}, indent=1)


def read_plan(files: Files, path: str, store_id: str | None = None) -> Plan:
    """A plan; with ``store_id``, one that was kept in the store of that identity.

    Raises:
        DamagedArtifactError: it is not what was written, or not in its place.
    """
    body = read_sealed(files, path)
    plan = _plan(body)
    named = path.rpartition("/")[2].removesuffix(".json")
    if plan is None or plan.key != named or store_id not in (None, body.get("store")):
        raise DamagedArtifactError(f"'{files.location}/{path}' is not the plan that was kept there; "
                                   "`roar verify --repair` puts it back.")
    return plan


def plan_paths(files: Files, folder: str = FOLDER) -> list[str]:
    return [path for path in files.list(folder) if path.endswith(".json") and path.rpartition("/")[0] == folder]


def read_plans(store: Store) -> list[Plan]:
    """Every plan.

    Raises:
        DamagedArtifactError: one is not what was written, or is gone though its copy is there.
    """
    paths = plan_paths(store.files)
    for copy in plan_paths(store.files, COPIES):
        if f"{FOLDER}/{copy.rpartition('/')[2]}" not in paths:
            raise DamagedArtifactError(f"'{store.location}/{FOLDER}/{copy.rpartition('/')[2]}' is gone; "
                                       "`roar verify --repair` puts it back.")
    return [read_plan(store.files, path, store.description["id"]) for path in paths]


def class_names(store: Store) -> list[str] | None:
    """The classes' names, where every plan in the store names the same ones."""
    named = {plan.class_names for plan in read_plans(store)}
    return list(named.pop()) if len(named) == 1 and () not in named else None


def planned(plans: Iterable[Plan]) -> dict[str, list[Any]]:
    """What every planned training is, by its key."""
    return {key: cell for plan in plans for key, cell in plan.jobs.items()}


def _plan(body: Mapping[str, Any]) -> Plan | None:
    """A plan from its JSON; ``None`` where that has another shape."""
    jobs, artifacts, names, facts = (body.get(key) for key in ("jobs", "artifacts", "class_names", "facts"))
    experiment, stage = body.get("experiment"), body.get("stage")
    if isinstance(experiment, dict) and not _OF_A_MACHINE.isdisjoint(experiment):
        return None
    if not (isinstance(jobs, dict) and all(isinstance(cell, list) for cell in jobs.values())
            and isinstance(artifacts, list) and all(isinstance(folder, str) for folder in artifacts)
            and isinstance(names, list) and isinstance(facts, list)
            and isinstance(experiment, dict) and isinstance(stage, str)):
        return None
    return Plan(stage, str(body.get("source", "")), str(body.get("fingerprint", "")), tuple(map(str, names)),
                experiment, tuple(artifacts), jobs, tuple(map(str, facts)))
