"""What is measured with rankings: one folder per metric, each with a descriptor named ``METRIC``.

A folder registers itself by its presence; to add a metric, write one. A metric of another package is an entry point of
the group ``roar.metrics``, one of a file is named as ``FILE.py:METRIC``; both are a :class:`Metric`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from roar.errors import UsageError
from roar.experiment import add_section
from roar.metrics.base import Metric, Table
from roar.plugins import Foreign
from roar.registry import Registry, load
from roar.store.rows import Rows
from roar.store.store import Store

__all__ = ["METRICS", "Metric", "Table", "kept_tables", "metrics_of"]

FOLDER = "metrics"  # of the store


def _adapt(given: Foreign, parameters: Mapping[str, Any], name: str) -> Metric:
    """A metric that is not roar's."""
    metric = given.load()
    if not isinstance(metric, Metric):
        raise UsageError(f"'{given.spelling}' is of type {type(metric).__name__}, which is no metric; name a "
                         "roar.metrics.Metric.")
    if parameters:
        raise UsageError(f"A metric takes no parameters in brackets, and '{given.spelling}' was given "
                         f"{', '.join(parameters)}; set them in its section of the experiment file.")
    if metric.settings is not None:
        add_section(metric.command, metric.settings)
    return metric


METRICS: Registry[Metric] = Registry("metric", __name__, _adapt)

for _module in pkgutil.iter_modules(__path__):
    if _module.ispkg:
        _metric = importlib.import_module(f"{__name__}.{_module.name}").METRIC
        METRICS.add(_metric.name, _metric, [_metric.command] if _metric.command != _metric.name else [])
        if _metric.settings is not None:
            add_section(_metric.command, _metric.settings)
METRICS.loaded = True


def metrics_of(store: Store) -> list[Metric]:
    """The metrics to report: the built-in ones, and those of installed packages that measured something here.

    Raises:
        UsageError: a package whose metric measured something cannot be imported.
    """
    measured = {path.split("/")[1] for path in store.files.list(FOLDER)}
    return [*METRICS.all(), *(METRICS.find(name) for name in METRICS.installed() if name in measured)]


def kept_tables() -> dict[str, Rows]:
    """What the tables of every metric may hold, by the metric's folder in the store and the file's name."""
    return {f"{FOLDER}/{metric.name}/{name}": load(rows) for metric in METRICS.all()
            for name, rows in metric.kept.items()}
