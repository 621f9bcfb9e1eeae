"""A study from Python: what ``roar run`` does, with objects in the place of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roar.errors import UnknownNameError
from roar.experiment import SECTIONS, Experiment, load_experiment
from roar.metrics import METRICS
from roar.options import options
from roar.pipeline.door import Objects
from roar.progress import Reporter, Silent
from roar.progress.notebook import Notebook, in_notebook
from roar.report.view import Results
from roar.store.store import open_store

if TYPE_CHECKING:
    from roar.pipeline import Session
    from roar.report.files import Report


class Study(Results):
    """An experiment with its store: run it, resume it, read its tables.

    It has the keys, rows and bytes of ``roar run`` with the same settings. A study that was interrupted resumes when
    the same program runs again. Arguments left out are those of ``config``, or of an experiment with nothing in it.

    Args:
        source: a name such as ``"cifar10"`` or ``"folder:PATH"``, or an object: :func:`roar.arrays`, a pair of
            torchvision-style data sets, a Hugging Face ``DatasetDict``, or a function that returns one of these.
        model: a name such as ``"resnet20"``, a class or factory of networks, or a trained ``torch.nn.Module``, which is
            explained as it is.
        estimators: names, groups, functions ``(network, images, targets) -> attributions``, and classes or objects with
            captum's ``attribute(inputs, target=...)``.
        thresholds: percent of the pixels that are replaced.
        seeds: trainings per cell.
        fill: what replaces a pixel: a name, or a function ``(images, removed, context) -> images``.
        store: a folder or a URL such as ``s3://bucket/prefix``.
        config: an experiment file that these settings lie over.
        reporter: is told of progress; default: a bar in a notebook, nothing elsewhere.
        settings: whatever else a flag of the command line sets, by its name (``limit_train=5000``, ``epochs=20``,
            ``mode=["roar", "kar"]``, ``executor="serial"``), or a section of an experiment file
            (``sanity={"steps": 4}``).

    Raises:
        ExperimentError: a setting breaks a rule.
        UnknownNameError: there is no such setting.

    >>> import roar
    >>> study = roar.Study("digits", estimators=["gradient", "random"], thresholds=[50], seeds=2)   # doctest: +SKIP
    >>> study.run().curves()                                                                        # doctest: +SKIP
    """

    def __init__(self, source: Any = None, model: Any = None, estimators: Sequence[Any] | None = None, *,
                 thresholds: Sequence[float] | None = None, seeds: int | None = None, fill: Any = None,
                 store: str | Path | None = None, config: str | Path | None = None, reporter: Reporter | None = None,
                 **settings: Any) -> None:
        self._objects, tables = _objects(source, model, estimators, fill)
        named = {"threshold": thresholds, "seeds": seeds, "store": None if store is None else str(store), **settings}
        tables = _with_settings(tables, {name: value for name, value in named.items() if value is not None})
        self.experiment = load_experiment(None if config is None else Path(config), tables)
        self._reporter = reporter or (Notebook() if in_notebook() else Silent())
        super().__init__(open_store(self.experiment.store))

    @cached_property
    def session(self) -> Session:
        """The experiment with its source and models open: what the stages of :mod:`roar.pipeline` take.

        Raises:
            UsageError: a name does not exist, a setting breaks a rule, or an object is not what it should be.
            FailureError: the source, the store or a weights file cannot be read, or a network does not fit.
        """
        from roar.pipeline import prepare

        return prepare(self.experiment, self._reporter, self._objects)

    def run(self) -> Study:
        """Train, rank, retrain, evaluate deletion and write the report, as far as it is missing; returns the study."""
        from roar.metrics.deletion.tasks import delete
        from roar.metrics.retraining.tasks import retrain
        from roar.report import report

        jobs = retrain(self.session)
        delete(self.session)
        report(self.session, jobs)
        return self

    def rank(self) -> Study:
        """Rank the pixels of every image by every estimator, as far as that is missing; returns the study."""
        from roar.pipeline import rank

        rank(self.session, noise_seeds=self.session.experiment.estimators.seeds)
        return self

    def measure(self, *metrics: str) -> Study:
        """Measure metrics by name, as far as they are missing; :meth:`table` gives their tables.

        >>> study.measure("sanity", "agreement").table("sanity")    # doctest: +SKIP

        Raises:
            UnknownNameError: there is no such metric.
        """
        for metric in [METRICS.find(name) for name in metrics]:
            metric.run(self.session)
        return self

    def report(self) -> Report:
        """Write tables, figures and the page of all that is in the store below ``reports/``.

        Raises:
            AnalysisError: nothing was measured yet.
        """
        from roar.report.files import write_report

        return write_report(self.store)

    def __repr__(self) -> str:
        return f"Study(store={self.location!r})"


def _with_settings(tables: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of an experiment with settings by the names of flags or of sections over them.

    Raises:
        UnknownNameError: a name is neither; the message suggests the nearest.
    """
    known = {option.parameter: option for option in options()}
    sections = [*Experiment.model_fields, *SECTIONS]
    models = tables.pop("model", None)
    for name, value in settings.items():
        if name in known:
            known[name].put(tables, list(value) if known[name].kind is list and not isinstance(value, str) else value)
        elif name in sections and isinstance(value, Mapping):
            tables[name] = {**value, **tables.get(name, {})}
        else:
            raise UnknownNameError("setting of a study", name, [*known, *sections])
    if models is not None:
        tables["model"] = [{**model, **tables.get("model", {})} for model in models]
    return tables


def _objects(source: Any, model: Any, estimators: Sequence[Any] | None, fill: Any) -> tuple[Objects, dict[str, Any]]:
    """What a program gives in the place of names, and the tables of an experiment that name it."""
    tables: dict[str, Any] = {}
    named: dict[str, Any] = {}
    if isinstance(source, str):
        tables["source"] = {"name": source}
    elif source is not None:
        from roar.datasets.registry import SOURCES

        kind = SOURCES.adapted(source)
        tables["source"], named["source"] = {"name": kind.name}, source
    if model is not None:
        from roar.models import MODELS

        given = list(model) if isinstance(model, list | tuple) else [model]
        architectures = [one if isinstance(one, str) else MODELS.adapted(one) for one in given]
        named["models"] = {one.name: one for one in architectures if not isinstance(one, str)}
        tables["model"] = [{"name": one if isinstance(one, str) else one.name} for one in architectures]
    if estimators is not None:
        from roar.estimators import ESTIMATORS

        chosen = [one if isinstance(one, str) else ESTIMATORS.adapted(one) for one in estimators]
        named["estimators"] = {one.spelling: one for one in chosen if not isinstance(one, str)}
        tables["estimators"] = {"names": [one if isinstance(one, str) else one.spelling for one in chosen]}
    if isinstance(fill, str):
        tables["degrade"] = {"fill": fill}
    elif fill is not None:
        from roar.datasets.fills.registry import FILLS

        adapted = FILLS.adapted(fill)
        tables["degrade"], named["fills"] = {"fill": adapted.name}, {adapted.name: adapted}
    return Objects(**named), tables
