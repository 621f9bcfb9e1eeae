"""`roar activate`: what excites the units of each network of an experiment most, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from roar.pipeline import train
from roar.report.files import FOLDER
from roar.report.heatmaps import network_of
from roar.seeds.streams import derive

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from roar.pipeline import Session

SAMPLE = 2_000  # images that the colors are taken from
NOTE = "gradient ascent in a decorrelated Fourier basis with jitter and scaling (Olah et al. 2017)"


def activate(session: Session, layers: Sequence[str], units: Sequence[int], steps: int) -> list[str]:
    """Write a grid per architecture and layer, and the first layer's filters, below ``reports/``.

    Args:
        layers: by name; none: the output, with all of its classes, which ``classes`` names too.
        units: of every layer but the output.
        steps: of the ascent.

    Returns:
        the files by their full names.

    Raises:
        UnknownNameError: a network has no such layer; the message names the nearest.
        ModelError: a layer has fewer units.
    """
    import torch

    from roar.analysis.figures.units import unit_grids
    from roar.models.activation import CLASSES, color_mixing, first_filters, most_exciting

    train(session)
    source = session.source
    split = source.statistics_split
    images = split.decode(np.arange(min(SAMPLE, len(split))))
    mixing = color_mixing(torch.from_numpy(images))
    written: list[str] = []
    for name in dict.fromkeys(model.network.name for model in session.models):
        loaded = {model.title: network_of(session.store, model) for model in session.models
                  if model.network.name == name}
        for layer in layers or [CLASSES]:
            chosen = list(range(source.num_classes)) if layer == CLASSES else list(units)
            labels = [source.class_names[u] for u in chosen] if layer == CLASSES else [str(u) for u in chosen]
            blocks = {}
            for title, (network, normalization) in loaded.items():
                bar = session.reporter.begin(f"activate {title} {layer}", len(chosen), "units")
                found = most_exciting(network, layer, chosen, source.channels, source.height, normalization.mean,
                                      normalization.std, mixing, steps, derive(session.experiment.seed, "activate"))
                blocks[title] = _pictures(found)
                bar.advance(len(chosen))
                session.reporter.end(bar)
            what = "What each class looks like to the network" if layer == CLASSES else f"What excites {layer} most"
            written += _write(session, f"activate-{name}-{layer}",
                              unit_grids(f"{what} · {name}, {source.label}", blocks, labels, NOTE))
        filters = {title: _pictures(first_filters(network)) for title, (network, _) in loaded.items()}
        count = len(next(iter(filters.values())))
        if next(iter(filters.values())).shape[3] in (1, 3):
            written += _write(session, f"filters-{name}",
                              unit_grids(f"Filters of the first layer · {name}, {source.label}", filters,
                                         [""] * count, "each scaled to its largest weight; gray is 0"))
    return written


def _pictures(images: Tensor) -> np.ndarray:
    """``[U, C, H, W]`` as ``[U, H, W, C]``."""
    pictures: np.ndarray = images.permute(0, 2, 3, 1).numpy()
    return pictures


def _write(session: Session, name: str, figure: Figure) -> list[str]:
    from roar.analysis.figures import render

    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
    files = [f"{FOLDER}/{plain}.png", f"{FOLDER}/{plain}.svg"]
    session.store.files.write(files[0], render(figure, "png"))
    session.store.files.write(files[1], render(figure, "svg"))
    return [f"{session.store.location}/{file}" for file in files]
