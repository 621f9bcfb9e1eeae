"""The stages in their order, each a function that makes what it needs and is missing.

    prepare -> train -> rank -> degrade | delete | agreement | sanity | retrain -> report

A stage asks the store what is done, runs the rest on the executor, and returns what there is now.
"""

from __future__ import annotations

from collections.abc import Sequence

from roar.experiment import to_toml
from roar.gallery import keep_gallery, make_gallery
from roar.jobs.job import Job
from roar.pipeline.agreeing import agreement
from roar.pipeline.degrading import degrade, delete
from roar.pipeline.outlook import Forecast, Overview, forecast, overview
from roar.pipeline.randomising import sanity
from roar.pipeline.ranking import rank, ranked_estimators
from roar.pipeline.retraining import retrain
from roar.pipeline.session import Session, asked_for, prepare
from roar.pipeline.training import train
from roar.reporting import Report, write_report

__all__ = ["Forecast", "Overview", "Session", "agreement", "degrade", "delete", "forecast", "overview", "prepare",
           "rank", "ranked_estimators", "report", "retrain", "sanity", "train"]


@asked_for("report")
def report(session: Session, jobs: Sequence[Job]) -> Report:
    """Tables, figures and page of the experiment's own jobs; those of an earlier run where nothing is new."""
    keep_gallery(session.store, make_gallery(session, rank(session)))
    return write_report(session.store, [job.key for job in jobs], to_toml(session.experiment), keep_current=True)
