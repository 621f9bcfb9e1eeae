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
    from roar.datasets import Normalization, Source
    from roar.estimators import Estimator
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
    rank(session, estimators=_matched_spectra(session))
    columns = [_columns(session, model, manifest["facts"]["weights"], where, thresholds)
               for model, manifest in zip(session.models, manifests, strict=True)]
    pictures = test.decode(where).transpose(0, 2, 3, 1)
    return {position: HeatStrip(f"{source.label} · test image {position}", source.class_names[test.labels[position]],
                                pictures[i], thresholds, tuple(column[i] for column in columns))
            for i, position in enumerate(chosen)}


def first_of_each_class(labels: np.ndarray) -> list[int]:
    """The first position of every label, in the order of the labels."""
    return [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]


def network_of(store: Store, model: Model) -> tuple[nn.Module, Normalization]:
    """An explained network with its weights, in evaluation mode, and what normalizes its images."""
    from roar.datasets import Normalization
    from roar.jobs.train_model import WEIGHTS, load_network

    network = load_network(lambda folder: store.read_file(folder, WEIGHTS), model.network, model.folder, "cpu")
    manifest = store.manifest(model.folder)
    facts = manifest["facts"] if manifest else {}
    return network, Normalization(tuple(facts["normalize_mean"]), tuple(facts["normalize_std"]))


def _columns(session: Session, model: Model, weights: str, where: np.ndarray,
             thresholds: Sequence[float]) -> list[Column]:
    """One network's column of each image's strip."""
    from roar.analysis.heatmaps import Column
    from roar.estimators import Batch, Explained
    from roar.estimators.maps import maps
    from roar.pipeline.images import statistics

    source, experiment = session.source, session.experiment
    images, labels, indices = source.test.decode(where), source.test.labels[where], source.test.indices[where]
    mean = statistics(session)[0]
    network, normalization = network_of(session.store, model)
    shown = [estimator for estimator in session.estimators if plan.ranks_model(estimator, model)]
    inputs = {**_maps(shown, source, where), **{
        estimator.name: spectrum(session, ranking.of) for estimator in _matched_spectra(session)
        if (ranking := plan.ranking(experiment, source, estimator, model, weights)).of is not None}}
    found = maps(shown, Batch(images, labels, indices, "test", experiment.seed, _truth(source, where), inputs),
                 Explained(network, normalization, channel_mean=mean), experiment.estimators)
    ranks = {estimator.name: _ranks(session, model, weights, estimator, where) for estimator in shown}
    left = {name: degraded_steps(session, where, ranks[name], thresholds) for name in ranks}
    classes = found.probabilities.argmax(1)
    return [Column(model.title,
                   f"{source.class_names[classes[i]]} {100 * found.probabilities[i, classes[i]]:.0f} %",
                   bool(classes[i] == labels[i]), {name: scores[i] for name, scores in found.scores.items()},
                   {name: steps[i] for name, steps in left.items()}) for i in range(len(where))]


def _matched_spectra(session: Session) -> list[Estimator]:
    """What is ranked from another estimator's ranks and so cannot be ranked on a few images alone."""
    from roar.estimators import MatchedSpectrum

    return [estimator for estimator in session.estimators if isinstance(estimator, MatchedSpectrum)]


def _truth(source: Source, where: np.ndarray) -> np.ndarray | None:
    return source.test.truth(where) if source.test.truth else None


def _maps(estimators: Sequence[Estimator], source: Source, where: np.ndarray) -> dict[str, np.ndarray]:
    """Of attributions that were made elsewhere those of some test images."""
    return {estimator.name: estimator.maps_loader(source, "test", True)()(where) for estimator in estimators
            if estimator.reads_maps}


def _ranks(session: Session, model: Model, weights: str, estimator: Estimator, where: np.ndarray) -> np.ndarray:
    """The ranks of some test images: those in the store, which a retrained network saw, or else made now."""
    from roar.estimators import Batch, Explained, rank_images
    from roar.pipeline.images import statistics

    ranking = plan.ranking(session.experiment, session.source, estimator, model, weights)
    if session.store.manifest(f"{ranking.folder}/test") is not None:
        return stored_ranks(session, ranking, where)
    network, normalization = network_of(session.store, model)
    source, test, experiment = session.source, session.source.test, session.experiment
    found = rank_images(
        [estimator], Batch(test.decode(where), test.labels[where], test.indices[where], "test", experiment.seed,
                           _truth(source, where), _maps([estimator], source, where)),
        Explained(network, normalization, source.num_classes, statistics(session)[0]), experiment.estimators)
    ranks: np.ndarray = found[estimator.name].ranks
    return ranks
