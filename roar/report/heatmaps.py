"""`roar show`: heat maps of a few test images, for every network and estimator of an experiment, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from roar.errors import ExperimentError
from roar.pipeline import plan, rank, train
from roar.pipeline.ranking import spectrum
from roar.report.files import FOLDER
from roar.report.some_images import degraded_steps, stored_ranks
from roar.store.store import Store

if TYPE_CHECKING:
    from torch import nn

    from roar.analysis.heatmaps import Column, HeatStrip
    from roar.datasets import Normalisation
    from roar.pipeline import Session
    from roar.pipeline.plan import Model


def show(session: Session, positions: Sequence[int] | None = None) -> list[str]:
    """Write a strip per image below ``reports/``, as PNG and SVG; trains what is not trained.

    Args:
        positions: of the images in the test split, from 0; default: the first image of every class.

    Returns:
        the files by their full names.

    Raises:
        ExperimentError: there is no such image.
    """
    from roar.analysis.figures import render
    from roar.analysis.figures.heatmaps import heat_strip

    written = []
    for position, strip in strips(session, positions).items():
        figure = heat_strip(strip)
        for kind in ("png", "svg"):
            name = f"{FOLDER}/show-{position:05d}.{kind}"
            session.store.files.write(name, render(figure, kind))
            written.append(f"{session.store.location}/{name}")
    return written


def strips(session: Session, positions: Sequence[int] | None = None) -> dict[int, HeatStrip]:
    """The strips by the position of their image; see :func:`show`."""
    from roar.analysis.heatmaps import HeatStrip

    test, source = session.source.test, session.source
    chosen = first_of_each_class(test.labels) if positions is None else list(dict.fromkeys(positions))
    for position in chosen:
        if not 0 <= position < len(test):
            raise ExperimentError(f"There is no test image {position}: --index goes from 0 to {len(test) - 1}.")
    where = np.array(chosen)
    thresholds = tuple(t for t in session.experiment.degrade.thresholds if t > 0)
    manifests = train(session)
    rank(session, names=_surrogates(session))
    columns = [_columns(session, model, manifest["facts"]["weights"], where, thresholds)
               for model, manifest in zip(session.models, manifests, strict=True)]
    pictures = test.decode(where).transpose(0, 2, 3, 1)
    return {position: HeatStrip(f"{source.label} · test image {position}", source.class_names[test.labels[position]],
                                pictures[i], thresholds, tuple(column[i] for column in columns))
            for i, position in enumerate(chosen)}


def first_of_each_class(labels: np.ndarray) -> list[int]:
    """The first position of every label, in the order of the labels."""
    return [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]


def network_of(store: Store, model: Model) -> tuple[nn.Module, Normalisation]:
    """An explained network with its weights, in evaluation mode, and what normalises its images."""
    from safetensors.torch import load

    from roar.datasets import Normalisation
    from roar.jobs.train_model import WEIGHTS, build

    network = build(model.network)
    network.load_state_dict(load(store.read_file(model.folder, WEIGHTS)))
    manifest = store.manifest(model.folder)
    facts = manifest["facts"] if manifest else {}
    return network.eval(), Normalisation(tuple(facts["normalise_mean"]), tuple(facts["normalise_std"]))


def _columns(session: Session, model: Model, weights: str, where: np.ndarray,
             thresholds: Sequence[float]) -> list[Column]:
    """One network's column of each image's strip."""
    from roar.analysis.heatmaps import Column
    from roar.estimators.maps import maps
    from roar.pipeline.images import statistics

    source, experiment = session.source, session.experiment
    images, labels, indices = source.test.decode(where), source.test.labels[where], source.test.indices[where]
    mean = statistics(session)[0]
    network, normalisation = network_of(session.store, model)
    spectra = {name: spectrum(session, ranking.of) for name in _surrogates(session)
               if (ranking := plan.ranking(experiment, source, name, model, weights)).of is not None}
    found = maps(network, images, labels, indices, normalisation, session.estimators, experiment.estimators,
                 experiment.seed, "test", mean, truth=source.test.truth(where) if source.test.truth else None,
                 spectra=spectra)
    left = {name: degraded_steps(session, where, _ranks(session, model, weights, name, where), thresholds)
            for name in session.estimators}
    classes = found.probabilities.argmax(1)
    return [Column(model.title,
                   f"{source.class_names[classes[i]]} {100 * found.probabilities[i, classes[i]]:.0f} %",
                   bool(classes[i] == labels[i]), {name: found.scores[name][i] for name in session.estimators},
                   {name: left[name][i] for name in session.estimators}) for i in range(len(where))]


def _surrogates(session: Session) -> list[str]:
    """What is ranked from another estimator's ranks and so cannot be ranked on a few images alone."""
    from roar.estimators import SURROGATE, find

    return [name for name in session.estimators if find(name).family == SURROGATE]


def _ranks(session: Session, model: Model, weights: str, name: str, where: np.ndarray) -> np.ndarray:
    """The ranks of some test images: those in the store, which a retrained network saw, or else made now."""
    from roar.estimators import rank_images
    from roar.pipeline.images import statistics

    ranking = plan.ranking(session.experiment, session.source, name, model, weights)
    if session.store.manifest(f"{ranking.folder}/test") is not None:
        return stored_ranks(session, ranking, where)
    network, normalisation = network_of(session.store, model)
    test, experiment = session.source.test, session.experiment
    found = rank_images(network, test.decode(where), test.labels[where], test.indices[where], normalisation, [name],
                        experiment.estimators, experiment.seed, "test",
                        channel_mean=statistics(session)[0],
                        num_classes=session.source.num_classes, truth=test.truth(where) if test.truth else None)
    ranks: np.ndarray = found[name].ranks
    return ranks
