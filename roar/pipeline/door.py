"""The door: names are looked up here, once, and what is not roar's is tried before anything is made.

Below, objects travel: a worker gets the architecture, the regularizer and the fill themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roar.errors import ExperimentError, ModelError, RoarError, UsageError
from roar.estimators import ESTIMATORS, Estimator, distinct
from roar.experiment import MASK_ONLY, RECURSIVE, Experiment, ModelSettings
from roar.jobs.network import Network
from roar.pipeline.plan import Given
from roar.plugins import described

if TYPE_CHECKING:
    from torch import Tensor, nn

    from roar.datasets import Source, Split
    from roar.datasets.fills.base import Fill
    from roar.datasets.source import OnProgress
    from roar.models.architecture import Architecture
    from roar.models.regularizers import Regularizer, Term

TRIED = 4  # images


@dataclass(frozen=True)
class Objects:
    """What a program gives in the place of names, each by the name that stands for it in the experiment.

    ``source`` is what :mod:`roar.datasets.adapters` takes; ``None``: the experiment names it.
    """

    source: Any = None
    estimators: Mapping[str, Estimator] = field(default_factory=dict)
    models: Mapping[str, Architecture] = field(default_factory=dict)
    regularizers: Mapping[str, Term] = field(default_factory=dict)
    fills: Mapping[str, Fill] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """What the names of an experiment stand for.

    Attributes:
        models: of every ``[[model]]`` the architecture and its regularizer.
        retrainer: of ``[retrain]``; ``None`` where each explained network's is retrained.
    """

    estimators: tuple[Estimator, ...]
    models: tuple[tuple[Architecture, Regularizer], ...]
    retrainer: tuple[Architecture, Regularizer] | None
    fill: Fill


def open_images(experiment: Experiment, source: Any = None, on_progress: OnProgress | None = None) -> Source:
    """The source of an experiment.

    Args:
        source: an object in the place of its name.
        on_progress: as :func:`roar.datasets.open_source` takes it.
    """
    from roar.datasets import open_source

    settings = experiment.source
    return open_source(settings.name if source is None else source, root=settings.root,
                       limit_train=settings.limit_train, limit_test=settings.limit_test,
                       image_size=settings.image_size, label_column=settings.label_column, channels=settings.channels,
                       seed=experiment.seed, on_progress=on_progress)


def look_up(experiment: Experiment, objects: Objects) -> Named:
    """Find what every name stands for, but that of the source.

    Raises:
        UnknownNameError: a name stands for nothing; the message names the nearest.
        UsageError: an object cannot be had, or does not fit another.
    """
    from roar.datasets.fills.registry import find_fill
    from roar.models import MODELS
    from roar.models.regularizers import parse

    def model(name: str, regularizer: str) -> tuple[Architecture, Regularizer]:
        architecture = objects.models.get(name) or MODELS.find(name)
        chosen = parse(regularizer, objects.regularizers)
        if chosen.dropout and not architecture.dropout:
            raise ExperimentError(f"The regularizer {chosen} drops units, which '{architecture.name}' does not do; let "
                                  "it take an argument `dropout`, or leave the regularizer out.")
        return architecture, chosen

    settings = experiment.retrain
    found = Named(_estimators(experiment, objects),
                  tuple(model(asked.name, asked.regularizer) for asked in experiment.model),
                  None if settings.model == "same" else model(settings.model, settings.regularizer),
                  objects.fills.get(experiment.degrade.fill) or find_fill(experiment.degrade.fill))
    parse(settings.regularizer, objects.regularizers)  # a wrong name is told also where it is not used
    experiment.check()
    if found.fill.whole and RECURSIVE in experiment.degrade.modes:
        raise ExperimentError(f"Mode recursive ranks the images that its networks see, and of these the fill "
                              f"'{MASK_ONLY}' leaves nothing; take another fill, or the modes roar and kar.")
    for asked, (architecture, _) in zip(experiment.model, found.models, strict=True):
        if architecture.is_trained and (asked.weights is not None or asked.seeds > 1):
            raise ExperimentError(f"'{architecture.name}' is one trained network, to which neither weights nor several "
                                  "seeds belong; leave them out, or give the function that makes it.")
    return found


def _estimators(experiment: Experiment, objects: Objects) -> tuple[Estimator, ...]:
    """The estimators asked for, each once and in their order, those of a program among them."""
    chosen: list[Estimator] = []
    for name in experiment.estimators.names:
        chosen += [objects.estimators[name]] if name in objects.estimators else ESTIMATORS.resolve([name])
    return distinct(chosen)


def network_of(source: Source, architecture: Architecture, regularizer: Regularizer) -> Network:
    """An architecture with its regularizer for the images of a source; weights stay behind."""
    return Network(replace(architecture, weights=None), regularizer, source.num_classes, source.channels, source.height)


def given_weights(settings: ModelSettings, architecture: Architecture, network: Network) -> Given | None:
    """The weights that a network comes with: those of a file, or its own; ``None`` where it is to be trained.

    Raises:
        ModelError: the file cannot be read.
    """
    if architecture.weights is not None:
        from roar.models import weights_bytes, weights_hash

        weights = architecture.weights
        return Given(weights_hash(weights), lambda: (weights_bytes(weights), []))
    if settings.weights is None:
        return None
    digest = _file_hash(settings.weights)
    return Given(digest, partial(_weights_of_file, network, settings.weights, digest))


def _weights_of_file(network: Network, path: str, digest: str) -> tuple[bytes, list[str]]:
    from roar.jobs.train_model import build
    from roar.models import load_weights, weights_bytes

    body = build(network)
    notes = load_weights(body, path)
    if _file_hash(path) != digest:
        raise ModelError(f"The weights file '{path}' has changed since the run began; start it again.")
    return weights_bytes(body.state_dict()), notes


def _file_hash(path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"The weights file '{path}' cannot be read ({error.strerror}); give the path of a "
                         "safetensors file or of a state dict.") from None


def try_network(network: Network, source: Source, given: Given | None = None) -> list[str]:
    """Build a network, give it its weights, and call it on an image of the source before anything is made.

    Returns:
        what was done to the weights so that they fit, in words.

    Raises:
        ModelError: the weights do not fit; or the network does not give finite logits ``[N, K]`` for images
            ``[N, C, H, W]`` of the source with its K classes, or other weights for the same seed.
        TrainingError: its regularizer gives no loss.
    """
    from safetensors.torch import load

    from roar.jobs.train_model import build

    is_foreign, notes = network.architecture.code is not None, list[str]()
    body = build(network, 0)
    if given is not None:
        data, notes = given.read()
        body.load_state_dict(load(data))
    elif is_foreign:
        _check_seed(body, network)
    images, labels = _first(source, 2)
    _check_logits(body, images, network)
    _try_terms(body, images, labels, network)
    return notes


def _check_seed(body: nn.Module, network: Network) -> None:
    from roar.jobs.train_model import build
    from roar.models import weights_hash

    if not network.architecture.is_trained and weights_hash(body.state_dict()) != weights_hash(
            build(network, 0).state_dict()):
        raise ModelError(f"'{network.name}' begins with other weights at every call under the same seed; draw them "
                         "with torch's global generator, which is seeded.")


def _check_logits(body: nn.Module, images: Tensor, network: Network) -> None:
    import torch

    from roar.estimators.network_checks import checked_logits

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = checked_logits(body.eval(), images[:1])
    except (RoarError, torch.OutOfMemoryError) as error:
        raise ModelError(f"'{network.name}' does not fit. {error}") from None if isinstance(error, RoarError) else error
    except Exception as error:  # code that is not roar's may raise anything
        shape = "x".join(map(str, network.image))
        raise ModelError(f"'{network.name}' fails for an image of {shape} ({described(error)}); correct it or choose "
                         "another network or [source] image_size.") from error
    if logits.shape[1] != network.num_classes:
        raise ModelError(f"'{network.name}' gives {logits.shape[1]} logits and the source has {network.num_classes} "
                         "classes; let it take an argument `num_classes`, or give one for these classes.")


def _try_terms(body: nn.Module, images: Tensor, labels: Tensor, network: Network) -> None:
    """Call every function of the regularizer once, as a training does."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for term in network.regularization.terms:
            x = images.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy(body.train()(x), labels)
            term(body, loss, x, labels)


def try_fill(fill: Fill, source: Source, root_seed: int) -> None:
    """Call a fill that is not roar's on a few images of the source, under masks of every kind.

    Raises:
        UsageError: it fails, gives something else than images, or other pixels in another call or batch.
    """
    import torch

    from roar.datasets.fills.base import FillContext

    if fill.code is None:
        return
    split, rows = _tried(source, TRIED)
    images, indices = torch.from_numpy(split.decode(rows)), torch.from_numpy(split.indices[rows])
    context = FillContext(images.float().mean((0, 2, 3)).round().to(torch.uint8), root_seed, "test", indices)
    removed = torch.rand(len(images), 1, *images.shape[2:], generator=torch.Generator().manual_seed(0)) < 0.5
    for mask in (removed, torch.ones_like(removed), removed.expand(images.shape).clone()):
        whole = fill.function(images, mask, context)
        parts = [slice(row, row + 1) for row in range(len(images))]
        alone = torch.cat([fill.function(images[row], mask[row], context.part(row)) for row in parts])
        again = fill.function(images, mask, context)
        for found, how in ((again, "when it is called again"), (alone, "image by image")):
            if not torch.equal(found, whole):
                raise UsageError(f"The fill '{fill.name}' gives other pixels {how}; let each image depend on itself "
                                 "alone, and draw random numbers from torch's global generator, which is seeded.")


def _first(source: Source, count: int) -> tuple[Tensor, Tensor]:
    """A few images, float32 about 0 ``[count, C, H, W]``, and their labels."""
    import torch

    split, rows = _tried(source, count)
    rows = np.resize(rows, count)
    images = torch.from_numpy(split.decode(rows)).float().div(255).sub(0.5).div(0.25)
    return images, torch.from_numpy(split.labels[rows])


def _tried(source: Source, count: int) -> tuple[Split, np.ndarray]:
    split = source.test if len(source.test) else source.train
    return split, np.arange(min(count, len(split)), dtype=np.int64)
