"""Tables, figures and the page: what people see of a store."""

from __future__ import annotations

from collections.abc import Sequence

from roar.experiment import to_toml
from roar.metrics.retraining.job import Job
from roar.pipeline import Session, asked_for, rank
from roar.report.files import Report, write_report
from roar.report.gallery import keep_gallery, make_gallery


@asked_for("report", kept=False)
def report(session: Session, jobs: Sequence[Job]) -> Report:
    """Tables, figures and page of the experiment's own jobs; those of an earlier run where nothing is new."""
    keep_gallery(session.store, make_gallery(session, rank(session)))
    return write_report(session.store, [job.key for job in jobs], to_toml(session.experiment), keep_current=True)
