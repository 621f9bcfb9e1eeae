"""roar: an exact, fast and interruptible benchmark of feature attribution (ROAR, Hooker et al. 2019).

>>> import roar
>>> store = roar.open_store("roar-store")    # doctest: +SKIP
>>> store.curves()                           # doctest: +SKIP

The way of the data: source -> train -> model -> rank -> rankings -> degrade -> retrain -> results -> report.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["__version__", "errors", "estimators", "models", "open_store"]

if TYPE_CHECKING:
    from roar import errors, estimators, models
    from roar.report.view import open_store


def __getattr__(name: str) -> Any:
    """Load what is used when it is used: ``import roar`` costs no torch."""
    if name == "open_store":
        return importlib.import_module("roar.report.view").open_store
    if name in ("analysis", "datasets", "errors", "estimators", "jobs", "models"):
        return importlib.import_module(f"roar.{name}")
    raise AttributeError(f"module 'roar' has no attribute '{name}'")
