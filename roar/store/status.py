"""What is done, running, failed and missing, from the names in the store alone."""

from __future__ import annotations

from dataclasses import dataclass

from roar.store.artefacts import MANIFEST
from roar.store.claims import running
from roar.store.requests import planned, read_plans
from roar.store.results import finished_jobs
from roar.store.store import Store


@dataclass(frozen=True)
class Status:
    """Counts over everything that was ever asked of a store."""

    location: str
    models: int
    rankings: int
    planned: int
    done: int
    running: int
    failed: list[str]  # keys of jobs
    missing: int
    cells: dict[str, list[object]]  # what each planned job is, by its key

    def text(self) -> str:
        lines = [f"{self.location}",
                 f"  models    {self.models:>7,} done",
                 f"  rankings  {self.rankings:>7,} done",
                 f"  trainings {self.done:>7,} done, {self.running:,} running, {len(self.failed):,} failed, "
                 f"{self.missing:,} missing, of {self.planned:,}"]
        for key in self.failed[:10]:
            lines.append(f"  failed: {key} {' '.join(map(str, self.cells.get(key, [])))}")
        return "\n".join(lines) + "\n"


def read_status(store: Store) -> Status:
    """The status of a store; all zeros where there is none."""
    if not store.exists:
        return Status(f"There is no store at '{store.location}' yet.", 0, 0, 0, 0, 0, [], 0, {})
    cells: dict[str, list[object]] = planned(read_plans(store))
    done, failed = finished_jobs(store.files)
    manifests = [path for path in (*store.files.list("models"), *store.files.list("rankings"))
                 if path.endswith(f"/{MANIFEST}")]
    models = sum(path.startswith("models/") for path in manifests)
    rankings = len({path.rsplit("/", 2)[0] for path in manifests if path.startswith("rankings/")})
    missing = cells.keys() - done - failed
    asked = len(cells.keys() | done)
    return Status(store.location, models, rankings, asked, len(done), running(store.files), sorted(failed),
                  len(missing), cells)
