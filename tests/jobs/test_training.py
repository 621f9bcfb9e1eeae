"""The training loop: seeds, schedules, resuming, errors, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from roar.datasets import open_source
from roar.datasets.statistics import Normalization, normalization
from roar.errors import ModelError, TrainingError
from roar.jobs.training.checkpoint import State
from roar.jobs.training.evaluation import affine
from roar.jobs.training.loop import TrainingLog, evaluate, learning_rate, logits, make_optimizer, train
from roar.models import create, weights_bytes, weights_hash
from roar.recipes import Recipe, load_recipe

HALF = Normalization((0.5,), (0.25,))


@dataclass(frozen=True)
class Pictures:
    images: Tensor
    labels: Tensor
    normalization: Normalization = HALF


def noise(count: int = 70, size: int = 8, seed: int = 0) -> Pictures:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, size, size), generator=generator, dtype=torch.uint8)
    return Pictures(images, torch.arange(count) % 10)


@pytest.fixture(scope="module")
def digits() -> tuple[Pictures, Pictures]:
    source = open_source("digits")
    train_images = normalization(source.train.images)
    parts = [Pictures(torch.from_numpy(split.images), torch.from_numpy(split.labels), train_images)
             for split in (source.train, source.test)]
    return parts[0], parts[1]


def trained(pictures: Pictures, recipe: Recipe, seed: int = 0, **more: Any) -> tuple[nn.Module, TrainingLog]:
    network = create("simplecnn", in_channels=1, image_size=8, seed=seed)
    log = train(network, pictures.images, pictures.labels, recipe, pictures.normalization, seed, **more)
    return network, log


def small(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.05} | changes)


AUGMENTED = small(augmentation=("flip", "crop"), padding=2)


def test_digits_are_learned(digits: tuple[Pictures, Pictures]) -> None:
    pictures, test = digits
    recipe = Recipe(**load_recipe("digits"))
    accuracies = []
    for seed in range(2):
        network, log = trained(pictures, recipe, seed)
        accuracies.append(evaluate(network, test.images, test.labels, test.normalization).accuracy)
        assert log.loss[-1] < 0.1 < log.loss[0]
        assert log.accuracy[0] < log.accuracy[-1] <= 1
        assert log.epochs == len(log.loss) == len(log.accuracy) == recipe.epochs
        assert log.steps == recipe.epochs * (len(pictures.images) // recipe.batch_size)
    assert min(accuracies) >= 0.97


@pytest.mark.parametrize("recipe", [small(), AUGMENTED, small(optimizer="adamw", learning_rate=1e-3),
                                    small(augmentation=("resized-crop", "alternating-flip"))])
def test_the_same_seed_gives_the_same_bytes(recipe: Recipe) -> None:
    first, second, other = (trained(noise(), recipe, seed)[0].state_dict() for seed in (1, 1, 2))
    assert weights_hash(first) == weights_hash(second) != weights_hash(other)


def test_batches_are_the_same_whatever_the_images_show() -> None:
    """Cells are compared in pairs: a seed's batches and augmentation do not depend on the cell."""
    seen: dict[str, list[Tensor]] = {}

    class Recorder(nn.Module):
        """Says how bright each image is; ``images`` are constant planes, so that names the image."""

        def __init__(self, cell: str) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 40)
            self.cell = cell

        def forward(self, images: Tensor) -> Tensor:
            seen.setdefault(self.cell, []).append(images.mean((1, 2, 3)))
            out: Tensor = self.linear(images.mean((1, 2, 3))[:, None])
            return out

    planes = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    for cell, images in (("a", planes), ("b", planes + 100)):
        train(Recorder(cell), images, torch.arange(40), AUGMENTED, Normalization((0.0,), (1 / 255,)), seed=4)
    assert torch.allclose(torch.stack(seen["a"]) + 100, torch.stack(seen["b"]), atol=1e-4)
    first_epoch, second_epoch = torch.cat(seen["a"][:2]).round(), torch.cat(seen["a"][2:4]).round()
    assert len(set(first_epoch.tolist())) == 32
    assert first_epoch.tolist() != second_epoch.tolist()


def test_the_global_random_state_is_left_alone_and_has_no_influence() -> None:
    class WithDropout(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10, bias=False))
            nn.init.zeros_(self.get_submodule("2").weight)

    hashes = set()
    for state in (1, 2):
        torch.manual_seed(state)
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
        network = WithDropout()
        before = torch.get_rng_state()
        train(network, noise().images, noise().labels, AUGMENTED, HALF, seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        assert np.array_equal(np.random.get_state()[1], numpy_before)
        hashes.add(weights_hash(network.state_dict()))
    assert len(hashes) == 1


@pytest.mark.parametrize("recipe", [AUGMENTED, small(optimizer="adam", learning_rate=1e-3), small(steps=11)])
@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_and_resumed_is_the_same_training(recipe: Recipe, stop: int) -> None:
    kept: list[bytes] = []

    def keep(state: Callable[[], State]) -> None:
        kept.append(weights_bytes(state()))
        if len(kept) == stop:
            raise KeyboardInterrupt

    whole, log = trained(noise(), recipe)
    with pytest.raises(KeyboardInterrupt):
        trained(noise(), recipe, checkpoint=keep)
    resumed, resumed_log = trained(noise(), recipe, resume=load(kept[-1]))
    assert weights_hash(whole.state_dict()) == weights_hash(resumed.state_dict())
    assert (log.loss, log.accuracy) == (resumed_log.loss, resumed_log.accuracy)


def test_a_finished_training_resumes_to_itself() -> None:
    kept: list[State] = []
    whole, log = trained(noise(), small(), checkpoint=lambda state: kept.append(state()))
    resumed, resumed_log = trained(noise(), small(), resume=kept[-1])
    assert weights_hash(whole.state_dict()) == weights_hash(resumed.state_dict())
    assert resumed_log.loss == log.loss


def test_progress_is_told_after_each_epoch() -> None:
    told: list[tuple[int, float]] = []
    log = trained(noise(), small(), on_epoch=lambda epoch, loss: told.append((epoch, loss)))[1]
    assert told == list(enumerate(log.loss, start=1))


def test_divergence_says_when_and_what_to_do() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Linear(10, 10))
    recipe = small(learning_rate=1000.0, warmup_epochs=0.1)
    with pytest.raises(TrainingError, match=r"not finite in epoch \d of 3, at a learning rate of 1000; low"):
        train(network, noise().images, noise().labels, recipe, Normalization((0.5,), (1e-6,)), seed=0)


def test_one_image_is_too_few() -> None:
    with pytest.raises(TrainingError, match="at least 2 images, not 1"):
        trained(noise(1), small())


def test_a_small_split_is_one_batch() -> None:
    assert trained(noise(9), small())[1].steps == 3


def test_steps_take_the_place_of_epochs() -> None:
    log = trained(noise(70), small(steps=10))[1]
    assert (log.steps, log.epochs) == (10, 3)


def test_the_loop_is_plain_stochastic_gradient_descent() -> None:
    """Against torch's own SGD with the batches written out: Nesterov, weight decay on weights only."""
    from roar.seeds.streams import derive, random_order

    recipe, pictures = small(schedule="constant", label_smoothing=0.1), noise()
    network = trained(pictures, recipe, seed=7)[0]
    literal = create("simplecnn", in_channels=1, image_size=8, seed=7).train()
    optimizer = torch.optim.SGD([{"params": [p], "weight_decay": 5e-4 if p.ndim > 1 else 0}
                                 for p in literal.parameters()], lr=0.05, momentum=0.9, nesterov=True)
    x = pictures.normalization.apply(pictures.images)
    for epoch in range(3):
        order = random_order(derive(7, "batches"), epoch, 70)
        for start in (0, 16, 32, 48):
            index = torch.from_numpy(order[start:start + 16])
            optimizer.zero_grad()
            z = literal(x[index])
            nn.functional.cross_entropy(z, pictures.labels[index], label_smoothing=0.1).backward()
            optimizer.step()
    for name, tensor in network.state_dict().items():
        assert torch.allclose(tensor, literal.state_dict()[name], atol=1e-4), name


def test_norms_and_biases_do_not_decay() -> None:
    network = create("simplecnn", seed=0)
    decayed, free = make_optimizer(network, Recipe(weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0
    assert {p.ndim for p in free["params"]} == {1}
    assert len(decayed["params"]) + len(free["params"]) == len(list(network.parameters()))


def test_one_cycle_rises_and_falls_in_lines() -> None:
    recipe = Recipe(learning_rate=0.8, schedule="one-cycle", warmup_epochs=2)
    rates = [learning_rate(recipe, step, total=40, per_epoch=4) for step in range(40)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[7] == rates[8] == 0.8
    assert np.diff(rates[:8]) == pytest.approx(0.1)
    assert np.diff(rates[8:]) == pytest.approx(-0.8 / 32)
    assert rates[-1] == pytest.approx(0.8 / 32)


def test_a_cycle_of_one_step_has_a_rate() -> None:
    assert learning_rate(Recipe(learning_rate=0.1), 0, total=1, per_epoch=1) == 0.1


def test_steps_at_the_papers_epochs() -> None:
    recipe = Recipe(**load_recipe("imagenet"))
    expected = {5: 1.6, 29: 1.6, 30: 0.16, 59: 0.16, 60: 0.016, 79: 0.016, 80: 0.0016, 100: 0.0016}
    rates = {epoch: learning_rate(recipe, epoch * 312, 32_000, 312) for epoch in expected}
    assert rates == pytest.approx(expected)
    assert learning_rate(recipe, 0, 32_000, 312) == pytest.approx(1.6 / (5 * 312))


def test_the_affine_form_is_the_normalization() -> None:
    pictures = noise()
    scale, shift = affine(HALF, torch.device("cpu"))
    assert torch.allclose(pictures.images * scale + shift, HALF.apply(pictures.images), atol=1e-6)


def test_evaluation_counts_and_does_not_depend_on_the_batch_size() -> None:
    network, pictures = create("simplecnn", in_channels=1, image_size=8, seed=0), noise()
    z = logits(network, pictures.images, HALF)
    assert torch.allclose(z, logits(network, pictures.images, HALF, batch_size=3), atol=1e-5)
    assert torch.allclose(z, network.eval()(HALF.apply(pictures.images)), atol=1e-5)
    measured = evaluate(network, pictures.images, z.argmax(1), HALF)
    assert (measured.accuracy, measured.n, measured.correct) == (1.0, 70, 70)


def test_evaluation_restores_the_mode_and_learns_nothing() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0).train()
    before = weights_hash(network.state_dict())
    evaluate(network, noise().images, noise().labels, HALF)
    assert network.training
    assert weights_hash(network.state_dict()) == before


def test_evaluation_without_images() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    with pytest.raises(ModelError, match="at least one image"):
        evaluate(network, torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), HALF)


def test_evaluation_of_broken_weights() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    nn.init.constant_(network.get_submodule("linear").weight, math.nan)
    with pytest.raises(ModelError, match="not finite"):
        evaluate(network, noise().images, noise().labels, HALF)


class Cramped(nn.Module):
    """A linear network that stands for a device whose memory holds so many images."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.holds = holds
        self.seen: list[int] = []
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        if len(images) > self.holds:
            raise torch.OutOfMemoryError("out of memory")
        out: Tensor = self.linear(images.flatten(1))
        return out


@pytest.mark.parametrize("regularizer", ["recipe", "l2(0.01)", "input-gradient(0.1)", "weight-decay(0.1)"])
def test_a_batch_that_does_not_fit_goes_in_halves(regularizer: str) -> None:
    from roar.models.regularizers import parse

    pictures, logs, networks = noise(), [], [Cramped(15), Cramped(8)]
    for network in networks:
        logs.append(train(network, pictures.images, pictures.labels, small(batch_size=15), HALF, 0,
                          regularizer=parse(regularizer)))
    whole, halved = networks
    assert whole.seen == [15] * 12
    assert halved.seen == [15, *[8, 7] * 12]  # the whole batch is tried once
    assert [log.parts for log in logs] == [1, 2]
    assert logs[1].loss == pytest.approx(logs[0].loss, rel=1e-5)
    assert logs[1].accuracy == logs[0].accuracy
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(tensor, halved.state_dict()[name], atol=1e-6), name


def test_halves_that_do_not_fit_either_end_the_training() -> None:
    network, pictures = Cramped(7), noise()
    with pytest.raises(TrainingError, match="memory cannot hold a batch of 16 images; lower batch_size"):
        train(network, pictures.images, pictures.labels, small(), HALF, 0)
    assert network.seen == [16, 8]


def test_the_row_says_that_batches_went_in_halves() -> None:
    import json

    from roar.jobs.network import Network
    from roar.metrics.retraining.job import Job
    from roar.metrics.retraining.worker import row_file
    from roar.models import MODELS
    from roar.models.regularizers import Regularizer

    job = Job("0" * 12, Network(MODELS.find("simplecnn"), Regularizer(), 10, 1, 8), small(), None, {"seed": 0}, {})
    messages = [json.loads(row_file(job, 9, TrainingLog(3, 12, (), (), 1.0, parts))[1])["row"]["message"]
                for parts in (1, 2)]
    assert messages[0] == ""
    assert messages[1].startswith("A batch did not fit into the memory and went through the network in 2 halves")
