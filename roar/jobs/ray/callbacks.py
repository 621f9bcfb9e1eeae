"""Ray Tune's callbacks that an experiment asks for, and TensorBoard's event files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ray import tune

from roar.errors import ExperimentError
from roar.experiment import ComputeSettings


def loggers(compute: ComputeSettings, stage: str) -> list[tune.Callback]:
    """The callbacks that the experiment names, and TensorBoard's where its folder is given.

    Raises:
        ExperimentError: a name is no Tune callback, or its arguments are not what it takes.
    """
    found = [EventFiles(Path(compute.tensorboard) / stage)] if compute.tensorboard else []
    for asked in compute.callback:
        kind = _callback_class(asked.name)
        try:
            found.append(kind(**asked.arguments))
        except Exception as error:  # the boundary to code that is not roar's; MLflow's raises what it likes
            told = " ".join(str(error).split()) or type(error).__name__
            raise ExperimentError(f"compute.callback '{asked.name}' cannot be made ({told}); give it its own "
                                  "arguments, and install what it needs.") from None
    return found


def _callback_class(spelling: str) -> type[tune.Callback]:
    """The class of a callback, which is one of Tune's before anything of it is called."""
    module, _, name = spelling.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ExperimentError(f"compute.callback '{spelling}' cannot be made ({error}); write it as module:Class, "
                              "and install what it needs.") from None
    if not (isinstance(kind, type) and issubclass(kind, tune.Callback)):
        raise ExperimentError(f"compute.callback '{spelling}' is not a subclass of ray.tune.Callback; give one that "
                              "is.")
    return kind


class EventFiles(tune.Callback):  # type: ignore[misc]
    """TensorBoard's event files: the accuracy of every task, in the order in which they end."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self.writer, self.ended = SummaryWriter(str(folder)), 0

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        return tune.Callback, ()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any],
                        **info: Any) -> None:
        self.ended += 1
        for name, value in result["outcome"][1].items():
            if isinstance(value, (int, float)):
                self.writer.add_scalar(name, value, self.ended)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self.writer.close()
