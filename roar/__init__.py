"""roar: does a feature attribution method find the pixels a network needs?

ROAR (RemOve And Retrain, Hooker et al. 2019) ranks the pixels of every image, replaces the top t percent, trains new
networks from scratch on what is left, and looks at how far accuracy falls. A study does all of it, and resumes:

>>> import roar
>>> study = roar.Study(source="digits", model="simplecnn", estimators=["gradient", "vargrad", "random", "sobel"],
...                    thresholds=[50, 90], seeds=5, store="roar-store")
>>> study.run()                               # doctest: +SKIP
>>> study.leaderboard()                       # doctest: +SKIP

Your own method, network, images and fill go where a name goes:

>>> @roar.estimator("mine")
... def mine(network, images, targets):
...     images = images.requires_grad_()
...     return torch.autograd.grad(network(images).gather(1, targets[:, None]).sum(), images)[0].abs()
>>> roar.testing.check_estimator(mine)        # doctest: +SKIP
>>> study = roar.Study(source=roar.arrays(train=(x, y), test=(x_test, y_test)), model=MyNetwork,   # doctest: +SKIP
...                    estimators=["gradient", mine, "random"])

    Study                  an experiment with its store: run, measure, tables, report
    open_store             the tables of a store that somebody else filled
    arrays                 images and labels in memory as a source
    estimator, model, source, fill, regularizer      decorators that give your own object a name
    testing                check_estimator: the contract, for your own method
    errors                 every error that roar raises on purpose

The same on the command line: ``roar --help``. What each number means: docs/design.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Study", "__version__", "arrays", "errors", "estimator", "fill", "model", "open_store", "regularizer",
           "source", "testing"]

if TYPE_CHECKING:
    from roar import errors, testing
    from roar.datasets import arrays
    from roar.datasets.fills.registry import fill
    from roar.datasets.registry import source
    from roar.estimators import estimator
    from roar.models.registry import model
    from roar.models.regularizers import regularizer
    from roar.report.view import open_store
    from roar.study import Study

_PLACES = {"Study": "roar.study", "arrays": "roar.datasets", "estimator": "roar.estimators",
           "fill": "roar.datasets.fills.registry", "model": "roar.models.registry", "open_store": "roar.report.view",
           "regularizer": "roar.models.regularizers", "source": "roar.datasets.registry"}


def __getattr__(name: str) -> Any:
    """Load what is used when it is used: ``import roar`` costs no torch."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in ("analysis", "datasets", "errors", "estimators", "jobs", "metrics", "models", "pipeline", "testing"):
        return importlib.import_module(f"roar.{name}")
    raise AttributeError(f"module 'roar' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
