"""`roar check`: does an estimator keep its contract? And what can be named besides roar's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roar.cli.flags import experiment_options
from roar.cli.printing import tell
from roar.errors import EstimatorError
from roar.experiment import Experiment

IMAGES = 8

if TYPE_CHECKING:
    from roar.datasets import Source
    from roar.estimators import Batch, Estimator, Explained


@experiment_options("estimators")
def check(
    experiment: Experiment,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An estimator, e.g. my_method.py:my_method.")],
) -> None:
    """Check an estimator on eight test images: the contract, and ties, seconds and passes per image.

    The network is not trained, unless --weights gives some: a rule is kept or broken all the same.
    """
    from roar.estimators import ESTIMATORS
    from roar.estimators.examination import examine
    from roar.pipeline.door import open_images
    from roar.plugins import executed_files
    from roar.progress.terminal import Terminal

    with executed_files(lambda path: Terminal().say(f"This run executes {path}.")):
        estimator = ESTIMATORS.find(name)
        source = open_images(experiment)
        estimator.check_source(source, ())
        batch, (explained, trained) = _batch(estimator, source, experiment.seed, IMAGES), _explained(experiment, source)
        found = examine(estimator, batch, explained, experiment.estimators)
    tell(f"{estimator.name}: {len(batch)} test images of {source.name}, {experiment.model[0].name} "
         f"{'trained' if trained else 'not trained'}")
    for note in found.notes:
        tell(f"note   {note}")
    for rule in found.rules:
        tell(f"{'kept' if rule.broken is None else 'BROKE'}\t{rule.text}".expandtabs(7))
    if found.broken is not None:
        raise EstimatorError(found.broken)
    tell(f"per image: {100 * found.tied_share:.1f} % of the pixels tie, {_shown(found.seconds)} s, "
          f"{found.forward:g} forward and {found.backward:g} backward passes")


def listed_estimators() -> list[list[str]]:
    """A row for every estimator of roar's: name, short names, family, paper and year."""
    from roar.estimators import ESTIMATORS

    makers: Any = ESTIMATORS.makers
    return [*([e.name, ", ".join(e.aliases), e.family, e.paper.authors, str(e.paper.year)]
              for e in (ESTIMATORS.find(name) for name in ESTIMATORS.names())),
            *([m.spelling, "", m.family, m.paper.authors, str(m.paper.year or "")] for m in makers.values())]


def installed_estimators() -> list[list[str]]:
    """A row for every estimator of an installed package; none is imported."""
    from roar.estimators import ESTIMATORS

    return [[name, "", "installed", f"{point.dist.name} {point.dist.version}" if point.dist else point.value, ""]
            for name, point in sorted(ESTIMATORS.installed().items())]


def plugin_estimators(path: str) -> list[list[str]]:
    """A row for every estimator that a file defines: spelling, parameters and description."""
    from roar.errors import UsageError
    from roar.estimators import ESTIMATORS
    from roar.estimators.foreign import looks_like_one, parameters_of
    from roar.plugins import defined_in

    rows = []
    for name, value in defined_in(path).items():
        if looks_like_one(value):
            try:
                words = ESTIMATORS.find(f"{path}:{name}").description
            except UsageError as error:  # such as one that needs a parameter
                words = str(error)
            rows.append([f"{path}:{name}", parameters_of(value), words])
    return rows


def _batch(estimator: Estimator, source: Source, seed: int, most: int) -> Batch:
    """The first test images."""
    import numpy as np

    from roar.estimators import Batch

    test = source.test
    where = np.arange(min(most, len(test)), dtype=np.int64)
    inputs = {estimator.name: estimator.maps_loader(source, "test", True)()(where)} if estimator.reads_maps else {}
    return Batch(test.decode(where), test.labels[where], test.indices[where], "test", seed,
                 test.truth(where) if test.truth else None, inputs)


def _explained(experiment: Experiment, source: Source) -> tuple[Explained, bool]:
    """The first network of the experiment, and whether it is trained.

    What normalizes its images is a guess where it is not given, for no rule depends on it.
    """
    from safetensors.torch import load

    from roar.datasets import Normalization
    from roar.estimators import Explained
    from roar.estimators.examination import untrained
    from roar.jobs.train_model import build
    from roar.pipeline import door

    settings = experiment.model[0]
    alone = experiment.model_copy(update={"estimators": experiment.estimators.model_copy(update={"names": ()})})
    architecture, regularizer = door.look_up(alone, door.Objects()).models[0]
    network = door.network_of(source, architecture, regularizer)
    body, given = build(network, 0), door.given_weights(settings, architecture, network)
    if given is None:
        untrained(body)
    else:
        body.load_state_dict(load(given.read()[0]))
    normalization = Normalization(settings.normalize_mean or (0.5,) * source.channels,
                                  settings.normalize_std or (0.25,) * source.channels)
    return Explained(body.eval(), normalization, source.num_classes), given is not None


def _shown(seconds: float) -> str:
    """Seconds with two digits that say something."""
    return f"{seconds:.{max(0, 1 - math.floor(math.log10(max(seconds, 1e-6))))}f}"
