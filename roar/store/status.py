"""What is done, running, failed and missing, from the names in the store and its plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from roar.store.artifacts import MANIFEST
from roar.store.claims import running
from roar.store.requests import planned, read_plans
from roar.store.results import finished_jobs
from roar.store.store import Store


@dataclass(frozen=True)
class Status:
    """Counts over everything that was ever asked of a store.

    Attributes:
        artifacts: how many are done and how many are missing, by kind: models, rankings, and each metric's.
        failed: keys of trainings.
        cells: what each planned training is, by its key.
    """

    location: str
    artifacts: dict[str, tuple[int, int]]
    planned: int
    done: int
    running: int | None  # None: not known, in object storage
    failed: list[str]
    missing: int
    cells: dict[str, list[object]]

    def text(self) -> str:
        width = max(map(len, (*self.artifacts, "trainings")))
        lines = [self.location]
        for kind, (done, missing) in self.artifacts.items():
            lines.append(f"  {kind:<{width}} {done:>7,} done" + (f", {missing:,} missing" if missing else ""))
        running = "running not known" if self.running is None else f"{self.running:,} running"
        lines.append(f"  {'trainings':<{width}} {self.done:>7,} done, {running}, "
                     f"{len(self.failed):,} failed, {self.missing:,} missing, of {self.planned:,}")
        for key in self.failed[:10]:
            lines.append(f"  failed: {key} {' '.join(map(str, self.cells.get(key, [])))}")
        return "\n".join(lines) + "\n"


def read_status(store: Store) -> Status:
    """The status of a store; all zeros where there is none."""
    if not store.exists:
        return Status(f"There is no store at '{store.location}' yet.", _counts((), ()), 0, 0, 0, [], 0, {})
    plans = read_plans(store)
    cells: dict[str, list[object]] = planned(plans)
    done, failed = finished_jobs(store.files)
    present = {path.rpartition("/")[0] for folder in ("models", "rankings", "metrics")
               for path in store.files.list(folder) if path.endswith(f"/{MANIFEST}")}
    artifacts = {folder for plan in plans for folder in plan.artifacts if not folder.startswith("degraded/")}
    missing = cells.keys() - done - failed
    return Status(store.location, _counts(present, artifacts - present), len(cells.keys() | done), len(done),
                  running(store.files), sorted(failed), len(missing), cells)


def _counts(present: Iterable[str], missing: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Artifacts done and missing by kind; the two splits of a ranking count once, done when both are."""
    incomplete = {_kind_and_name(folder) for folder in missing}
    complete = {_kind_and_name(folder) for folder in present} - incomplete
    kinds = ["models", "rankings", *sorted({kind for kind, _ in complete | incomplete} - {"models", "rankings"})]
    return {kind: (sum(each == kind for each, _ in complete), sum(each == kind for each, _ in incomplete))
            for kind in kinds}


def _kind_and_name(folder: str) -> tuple[str, str]:
    """``metrics/deletion/...`` is of kind ``deletion``; the name of a ranking leaves its split out."""
    kind, _, rest = folder.removeprefix("metrics/").partition("/")
    return kind, rest.rpartition("/")[0] if kind == "rankings" else rest
