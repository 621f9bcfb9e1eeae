"""The audit: every metric on images whose informative pixels are known, through the stages that everybody uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roar.analysis.facts import BLIND
from roar.errors import DamagedArtifactError, FailureError
from roar.experiment import RECURSIVE, Experiment, Mode
from roar.metrics.deletion.frames import read_deletion_images
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.tasks import retrain
from roar.pipeline.ranking import rank
from roar.pipeline.session import Session, prepare
from roar.progress import Reporter
from roar.store.artifacts import key_of
from roar.store.results import read_results
from roar.store.sealed import read_sealed, seal
from roar.store.shards import read_ranks
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

KNOWN = ("oracle", "oracle-noisy(0.2)", "oracle-noisy(0.5)", "random", "oracle-inverted")  # best to worst
COSTS = "reports/audit-costs.json"


@dataclass(frozen=True)
class AuditedMetric:
    """A way to judge estimators.

    Attributes:
        mode, fill: what is replaced, and by what.
        retrains: whether new networks are trained on it; else the explained network is evaluated.
        measure: what is averaged over the thresholds; ``probability`` is that of the class explained.
        sign: +1 where a better estimator has more of it.
    """

    name: str
    mode: Mode
    fill: str
    retrains: bool
    measure: Literal["accuracy", "probability"]
    sign: int
    paper: str


AUDITED = (
    AuditedMetric("ROAR", "roar", "mean", True, "accuracy", -1, "Hooker et al. 2019"),
    AuditedMetric("KAR", "kar", "mean", True, "accuracy", 1, "Hooker et al. 2019"),
    AuditedMetric("recursive ROAR", "recursive", "mean", True, "accuracy", -1, "Madsen et al. 2022"),
    AuditedMetric("ROAD, retrained", "roar", "noisy-linear", True, "accuracy", -1, "Rong et al. 2022"),
    AuditedMetric("deletion", "roar", "mean", False, "probability", -1, "Petsiuk et al. 2018"),
    AuditedMetric("insertion", "kar", "mean", False, "probability", 1, "Petsiuk et al. 2018"),
    AuditedMetric("ROAD", "roar", "noisy-linear", False, "accuracy", -1, "Rong et al. 2022"),
)


@dataclass(frozen=True)
class Audit:
    """What an audit spans: images of several difficulties, estimators, thresholds and trainings."""

    sources: tuple[str, ...]
    estimators: tuple[str, ...]
    thresholds: tuple[float, ...]
    seeds: int
    epochs: int
    model: str = "simplecnn"
    recipe: str = "digits"


SMALL = Audit(tuple(f"planted:size=12,train=600,test=400,difficulty={d}" for d in (0.2, 0.4)),
              (*KNOWN, "gradient", "gradient-magnitude", "integrated-gradients", "guided-backprop",
               "smoothgrad-squared", "sobel"), (10.0, 50.0, 90.0), 5, 8)
FULL = Audit(tuple(f"planted:size=14,train=2000,test=1000,difficulty={d}" for d in (0.2, 0.5, 0.7, 0.8)),
             (*KNOWN, "paper"), (10.0, 30.0, 50.0, 70.0, 90.0), 10, 10)


@dataclass(frozen=True, eq=False)
class Audited:
    """What was measured: scores, true qualities and seconds as :func:`roar.audit.table.audit` takes them."""

    scores: pd.DataFrame
    quality: pd.DataFrame
    seconds: dict[tuple[str, str], float]


def run_audit(base: Experiment, audit: Audit, reporter: Reporter | None = None) -> Audited:
    """Measure every metric on every source of an audit, what is missing of it.

    Args:
        base: gives the store, the root seed and where networks are retrained. The rest is too small to be worth the
            start of workers on this machine, so without a cluster's address it is done in this process.

    Raises:
        UsageError: a source has no known truth.
        FailureError: a training failed, so that its metric has no score.
    """
    import pandas as pd

    here = base if base.compute.address else base.model_copy(
        update={"compute": base.compute.model_copy(update={"executor": "serial"})})
    scores: list[pd.DataFrame] = []
    quality: dict[str, pd.DataFrame] = {}
    seconds: dict[tuple[str, str], float] = {}
    for source in audit.sources:
        measured: list[tuple[AuditedMetric, pd.DataFrame, float]] = []
        for fill in dict.fromkeys(metric.fill for metric in AUDITED):
            judged = [metric for metric in AUDITED if metric.fill == fill and not metric.retrains]
            retrained = [metric for metric in AUDITED if metric.fill == fill and metric.retrains]
            evaluated = _session(here, audit, source, judged, reporter)
            if source not in quality:
                quality[source] = _qualities(evaluated, source)
            trained = _session(base, audit, source, retrained, reporter)
            measured += [*_retrained(trained, retrained), *_evaluated(evaluated, judged)]
        for metric, found, spent in sorted(measured, key=lambda one: AUDITED.index(one[0])):
            scores.append(found.assign(source=source, metric=metric.name,
                                       draws="seeds" if metric.retrains else "images"))
            seconds[source, metric.name] = spent
    return Audited(pd.concat(scores, ignore_index=True), pd.concat(quality.values(), ignore_index=True), seconds)


def _session(base: Experiment, audit: Audit, source: str, metrics: Sequence[AuditedMetric],
             reporter: Reporter | None) -> Session:
    """What measures metrics of one fill on a source."""
    changes: dict[str, Any] = {
        "source": {"name": source}, "model": ({"name": audit.model},),
        "train": {"recipe": audit.recipe, "epochs": audit.epochs}, "estimators": {"names": audit.estimators},
        "degrade": {"thresholds": audit.thresholds, "modes": [metric.mode for metric in metrics],
                    "fill": metrics[0].fill},
        "retrain": {"recipe": audit.recipe, "epochs": audit.epochs, "seeds": audit.seeds}}
    kept = base.model_dump(include={"compute", "store", "seed"})
    return prepare(Experiment.model_validate({**kept, **changes}), reporter)


def _qualities(session: Session, source: str) -> pd.DataFrame:
    """The mean share of the informative pixels of the test images that every estimator finds."""
    import pandas as pd

    from roar.audit.table import found_share

    split = session.source.test
    assert split.truth is not None  # the oracles were refused otherwise
    truth = split.truth(np.arange(len(split))).reshape(len(split), -1)
    return pd.DataFrame([
        {"source": source, "estimator": ranking.estimator, "family": ranking.by.family, "base": ranking.by.base,
         "quality": float(found_share(read_ranks(session.store, f"{ranking.folder}/test"), truth).mean())}
        for ranking in rank(session)])


def _retrained(session: Session, metrics: Sequence[AuditedMetric]) -> list[tuple[AuditedMetric, pd.DataFrame, float]]:
    """Each metric's score per estimator and seed, and the seconds that its trainings took.

    An estimator without a network to explain ranks the same again, so its rows of mode `roar` are those of `recursive`.
    """
    rows = read_results(session.store.files, [job.key for job in retrain(session)])
    rows = rows[rows["threshold"] > 0]
    failed = rows[rows["status"] != "ok"]
    if len(failed):
        raise FailureError(f"The audit lacks {len(failed)} trainings, the first because: "
                           f"{failed['message'].iloc[0]} The same command tries them again.")
    blind = rows["family"].isin(BLIND)
    found = []
    for metric in metrics:
        own = rows[(rows["mode"] == metric.mode) | (blind & (rows["mode"] == "roar") & (metric.mode == RECURSIVE))]
        means = own.groupby(["estimator", "seed"], observed=True)["accuracy"].mean()
        frame = (metric.sign * means).rename("score").reset_index().rename(columns={"seed": "draw"})
        found.append((metric, frame, float(own["train_seconds"].sum())))
    return found


def _evaluated(session: Session, metrics: Sequence[AuditedMetric]) -> list[tuple[AuditedMetric, pd.DataFrame, float]]:
    """Each metric's score per estimator and test image, and its part of the seconds when they were measured first."""
    import pandas as pd

    rank(session)
    started = time.perf_counter()
    folders = delete(session)
    spent = _first_cost(session.store, key_of({"folders": folders}), time.perf_counter() - started)
    images = pd.concat(read_deletion_images(session.store, folders), ignore_index=True)
    return [(metric, _image_scores(images, metric), spent / len(metrics)) for metric in metrics]


def _image_scores(images: pd.DataFrame, metric: AuditedMetric) -> pd.DataFrame:
    rows = images[(images["threshold"] > 0) & (images["mode"] == metric.mode)]
    values = rows["correct" if metric.measure == "accuracy" else "probability"].astype("float64")
    means = rows.assign(score=metric.sign * values).groupby(["estimator", "index"], observed=True)["score"].mean()
    return means.reset_index().rename(columns={"index": "draw"})


def _first_cost(store: Store, key: str, spent: float) -> float:
    """What was measured when there was still something to do; later it is only read."""
    try:
        known = read_sealed(store.files, COSTS)["seconds"] if store.files.exists(COSTS) else {}
    except DamagedArtifactError:
        known = {}
    if key not in known:
        known[key] = spent
        store.files.write(COSTS, seal({"seconds": known}))
    return float(known[key])
