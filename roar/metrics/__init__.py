"""What is measured with rankings: one folder per metric, each with a descriptor named ``METRIC``.

A folder is found by its presence; to add a metric, write one.
"""

from __future__ import annotations

import importlib
import pkgutil

from roar.experiment import add_section
from roar.metrics.base import Metric, Table

__all__ = ["METRICS", "Metric", "Table"]

METRICS: dict[str, Metric] = {}  # by name

for _module in pkgutil.iter_modules(__path__):
    if _module.ispkg:
        _metric = importlib.import_module(f"{__name__}.{_module.name}").METRIC
        METRICS[_metric.name] = _metric
        if _metric.settings is not None:
            add_section(_metric.command, _metric.settings)
