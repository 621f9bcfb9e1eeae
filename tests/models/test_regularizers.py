"""Regularizers: how they are spelled, and every term against its literal formula."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from roar.datasets.statistics import Normalization
from roar.errors import ExperimentError, TrainingError, UnknownNameError, UsageError
from roar.jobs.training.evaluation import logits
from roar.jobs.training.loop import train
from roar.jobs.training.measures import calibration_error, loss_and_accuracy, sparsity, weight_norm
from roar.jobs.training.packing import train_packed
from roar.jobs.training.penalties import decay_weights, decaying, input_gradient_penalty, weight_penalty
from roar.models import create, model_kinds, weights_hash
from roar.models.regularizers import REGULARIZERS, Regularizer, Term, kinds, parse
from roar.recipes import Recipe

HALF = Normalization((0.5,), (0.25,))
MODELS = [kind.name for kind in model_kinds() if kind.parameters < 2e6 and kind.name != "resnet56"]


def pictures(count: int = 64, size: int = 8, channels: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % 10


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "weight_decay": 0.0} | changes)


def trained(regularizer: str, seed: int = 0, **changes: Any) -> nn.Module:
    chosen = parse(regularizer)
    network = create("simplecnn", in_channels=1, image_size=8, seed=seed, dropout=chosen.dropout)
    images, labels = pictures()
    train(network, images, labels, chosen.over(recipe(**changes)), HALF, seed, regularizer=chosen)
    return network


# -- spelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "spelled"), [
    ("none", "none"), ("recipe", "recipe"), ("L2(1e-05)", "l2(1e-5)"), ("weight_decay(5e-4)", "weight-decay(0.0005)"),
    ("l2(1e-5)+dropout(0.3)", "dropout(0.3)+l2(1e-5)"), (" dropout( .30 ) + l2( .00001 )", "dropout(0.3)+l2(1e-5)"),
    ("elastic(1e-5, 2)", "elastic(1e-5,2)"), ("recipe+dropout(.5)", "recipe+dropout(0.5)"), ("l2(1e+2)", "l2(100)"),
    ("label-smoothing(0.1)+group-lasso(1)", "group-lasso(1)+label-smoothing(0.1)"),
])
def test_a_regularizer_has_one_spelling(written: str, spelled: str) -> None:
    assert str(parse(written)) == spelled
    assert parse(spelled) == parse(written)


@given(st.lists(st.sampled_from([kind for kind in kinds().values() if kind.parameters]), min_size=1, unique=True),
       st.data())
def test_every_combination_is_read_back(chosen: list[Any], data: st.DataObject) -> None:
    parts = {}
    for kind in chosen:
        numbers = st.floats(0, kind.below, exclude_max=True)
        parts[kind.name] = tuple(data.draw(numbers) for _ in kind.parameters)
    asked = Regularizer(parts)
    assert parse(str(asked)).parts == parts


@pytest.mark.parametrize(("written", "error", "says"), [
    ("dropuot(0.3)", UnknownNameError, "did you mean 'dropout'"), ("l2", ExperimentError, "takes 1 number, not 0"),
    ("elastic(1)", ExperimentError, "elastic(l1, l2)"), ("none(1)", ExperimentError, "takes 0 numbers"),
    ("dropout(1)", ExperimentError, "below 1"), ("l1(-1)", ExperimentError, "at least 0"),
    ("l1(nan)", ExperimentError, "at least 0"), ("l1(x)", ExperimentError, "not made of numbers"),
    ("none+l1(1)", ExperimentError, "leave none out"), ("l1(1)+l1(2)", ExperimentError, "twice"),
    ("", ExperimentError, "a name with numbers"), ("l2(1", ExperimentError, "a name with numbers"),
])
def test_what_is_no_regularizer_is_refused_in_one_sentence(written: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says.replace("(", r"\(").replace(")", r"\)")) as raised:
        parse(written)
    assert "\n" not in str(raised.value)


def test_what_a_regularizer_does_to_a_recipe() -> None:
    given_recipe = recipe(weight_decay=5e-4, label_smoothing=0.1)

    def over(text: str) -> tuple[float, float]:
        changed = parse(text).over(given_recipe)
        assert changed.model_copy(update={"weight_decay": 5e-4, "label_smoothing": 0.1}) == given_recipe
        return changed.weight_decay, changed.label_smoothing

    assert over("recipe") == over("recipe+dropout(0.3)") == (5e-4, 0.1)
    assert over("none") == over("dropout(0.3)") == over("l2(1e-5)") == over("weight-decay(1e-5)") == (0.0, 0.0)
    assert over("label-smoothing(0.2)") == (0.0, 0.2)
    assert over("recipe+label-smoothing(0.2)") == (5e-4, 0.2)


# -- terms ---------------------------------------------------------------------------------------------------------


def literal(network: nn.Module, kind: str) -> tuple[float, dict[str, Tensor]]:
    """The term for lambda = 0.5 (elastic: 0.5 and 0.25) and its gradient, one number at a time."""
    value, gradients = 0.0, {}
    for name, weight in network.named_parameters():
        gradient = torch.zeros_like(weight)
        if weight.ndim >= 2:
            for place in range(weight.numel()):
                w = weight.flatten()[place].item()
                sign = (w > 0) - (w < 0)
                term, slope = {"l1": (0.5 * abs(w), 0.5 * sign), "l2": (0.25 * w * w, 0.5 * w),
                               "elastic": (0.5 * abs(w) + 0.125 * w * w, 0.5 * sign + 0.25 * w),
                               "group-lasso": (0.0, 0.0)}[kind]
                value += term
                gradient.view(-1)[place] = slope
            if kind == "group-lasso" and weight.ndim == 4:
                for f, one in enumerate(weight):
                    norm = math.sqrt(sum(w.item() ** 2 for w in one.flatten()))
                    value += 0.5 * math.sqrt(one.numel()) * norm
                    gradient[f] = 0.5 * math.sqrt(one.numel()) * one.detach() / norm
        gradients[name] = gradient
    return value, gradients


@pytest.mark.parametrize(("kind", "text"), [("l1", "l1(0.5)"), ("l2", "l2(0.5)"), ("elastic", "elastic(0.5,0.25)"),
                                            ("group-lasso", "group-lasso(0.5)")])
def test_a_penalty_is_its_formula(kind: str, text: str) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
    penalty = weight_penalty(network, parse(text))
    assert penalty is not None
    found = penalty()
    found.backward()
    value, gradients = literal(network, kind)
    assert value > 0.1
    assert found.item() == pytest.approx(value, rel=1e-5)
    for name, weight in network.named_parameters():
        given_gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(given_gradient, gradients[name])


def test_a_filter_of_zeros_has_a_finite_gradient() -> None:
    network = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(network.weight)
    penalty = weight_penalty(network, parse("group-lasso(1)"))
    assert penalty is not None
    penalty().backward()
    assert network.weight.grad is not None and network.weight.grad.abs().sum() == 0


def test_the_input_gradient_is_its_formula_and_its_gradient_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)).double()
    x, y = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.arange(5) % 3

    def literally() -> float:
        total = 0.0
        for i in range(5):
            one = x[i:i + 1].clone().requires_grad_()
            gradient, = torch.autograd.grad(F.cross_entropy(network(one), y[i:i + 1]), one)
            total += sum(g.item() ** 2 for g in gradient.flatten())
        return total / 5

    inputs = x.clone().requires_grad_()
    found = input_gradient_penalty(F.cross_entropy(network(inputs), y), inputs)
    assert found.item() == pytest.approx(literally(), rel=1e-5)
    found.backward()
    weight = network[4].weight
    for place in (0, 7, 13):
        gradient, flat = weight.grad.flatten()[place].item(), weight.detach().view(-1)
        before = flat[place].item()
        flat[place] = before + 1e-4
        above = literally()
        flat[place] = before - 1e-4
        below = literally()
        flat[place] = before
        assert gradient == pytest.approx((above - below) / 2e-4, rel=1e-3)


def test_decoupled_decay_shrinks_weights_and_nothing_else() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    decay_weights(list(decaying(network)), rate=0.1, decay=0.5)
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if p.ndim >= 2 else 1.0))


def test_coupled_l2_is_the_optimizers_weight_decay() -> None:
    """The gradient of lambda/2 sum w^2 is what SGD and Adam add for ``weight_decay``."""
    for optimizer in ("sgd", "adam"):
        coupled = trained("l2(0.01)", optimizer=optimizer, learning_rate=1e-3)
        own = create("simplecnn", in_channels=1, image_size=8, seed=0)
        images, labels = pictures()
        train(own, images, labels, recipe(optimizer=optimizer, learning_rate=1e-3, weight_decay=0.01), HALF, 0)
        for (_, a), (_, b) in zip(coupled.named_parameters(), own.named_parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


def test_decoupled_decay_is_adamw() -> None:
    decoupled = trained("weight-decay(0.1)", optimizer="adam", learning_rate=1e-3)
    own = create("simplecnn", in_channels=1, image_size=8, seed=0)
    images, labels = pictures()
    train(own, images, labels, recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=0.1), HALF, 0)
    for (_, a), (_, b) in zip(decoupled.named_parameters(), own.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


# -- trainings -----------------------------------------------------------------------------------------------------


def test_none_adds_nothing() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    images, labels = pictures()
    assert weight_penalty(network, parse("none")) is None
    train(network, images, labels, recipe(weight_decay=0.0, label_smoothing=0.0), HALF, 0)
    plain = weights_hash(network.state_dict())
    assert weights_hash(trained("none", weight_decay=5e-4, label_smoothing=0.1).state_dict()) == plain
    assert weights_hash(trained("recipe", weight_decay=5e-4).state_dict()) != plain
    for name in MODELS:
        assert all(module.p == 0 for module in create(name).modules() if isinstance(module, nn.Dropout))


def test_none_adds_nothing_to_vgg() -> None:
    with torch.device("meta"):
        for size in (32, 224):
            quiet, noisy = (create("vgg19", image_size=size, dropout=p) for p in (0.0, 0.3))
            drops = [[m.p for m in network.modules() if isinstance(m, nn.Dropout)] for network in (quiet, noisy)]
            assert drops[0] == [0.0] * len(drops[0])
            assert drops[1] == [0.3] * len(drops[1])
            assert len(drops[1]) == (1 if size == 32 else 2)


@pytest.mark.parametrize("text", ["l1(1e-3)", "l2(1e-2)", "weight-decay(0.5)", "dropout(0.5)", "elastic(1e-3,1e-3)",
                                  "group-lasso(1e-3)", "input-gradient(0.1)", "label-smoothing(0.2)",
                                  "l2(1e-3)+dropout(0.3)+input-gradient(0.01)"])
def test_every_regularizer_changes_a_training_and_repeats(text: str) -> None:
    hashes = [weights_hash(trained(text).state_dict()) for _ in range(2)]
    assert hashes[0] == hashes[1] != weights_hash(trained("none").state_dict())


@pytest.mark.parametrize("text", ["l1(3)", "group-lasso(3)"])
def test_a_large_lambda_drives_weights_to_zero(text: str) -> None:
    settings = {"epochs": 30, "learning_rate": 0.002, "momentum": 0.0}
    regularized, plain = trained(text, **settings), trained("none", **settings)
    filters = [m for m in regularized.modules() if isinstance(m, nn.Conv2d)]
    shrunk = sum(int((m.weight.abs() < 1e-2).sum()) for m in filters) / sum(m.weight.numel() for m in filters)
    assert shrunk > 0.95
    assert sparsity(plain) < 0.1
    assert weight_norm(regularized) < weight_norm(plain) / 2


def test_the_input_gradient_gets_smaller() -> None:
    images, labels = pictures()

    def size(network: nn.Module) -> float:
        x = HALF.apply(images).requires_grad_()
        return input_gradient_penalty(F.cross_entropy(network.eval()(x), labels), x).item()

    assert size(trained("input-gradient(5)", epochs=6)) < 0.8 * size(trained("none", epochs=6))


def test_packed_networks_are_regularized_as_alone() -> None:
    text = "l2(1e-2)+input-gradient(0.05)+group-lasso(1e-4)"
    together = [create("simplecnn", in_channels=1, image_size=8, seed=seed) for seed in (0, 1)]
    images, labels = pictures()
    train_packed(together, [images, images], labels, recipe(epochs=1), HALF, [0, 1], size=2, regularizer=parse(text))
    for seed, packed in enumerate(together):
        for a, b in zip(packed.parameters(), trained(text, seed, epochs=1).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_dropout_acts_in_training_only_and_changes_no_weight(name: str) -> None:
    plain, dropped = (create(name, seed=1, dropout=p) for p in (0.0, 0.5))
    assert weights_hash(plain.state_dict()) == weights_hash(dropped.state_dict())
    images, _ = pictures(6, 32, 3)
    normalization = Normalization((0.5,) * 3, (0.25,) * 3)
    dropped.train()  # evaluation must put it to rest by itself
    assert torch.equal(logits(plain, images, normalization), logits(dropped, images, normalization))
    x = normalization.apply(images)
    torch.manual_seed(0)
    assert not torch.equal(dropped.train()(x), plain.train()(x))


def test_dropout_is_off_while_pixels_are_ranked() -> None:
    import numpy as np
    from ranked import rank_images

    from roar.experiment import EstimatorSettings

    images, labels = pictures(6, 32, 3)
    normalization = Normalization((0.5,) * 3, (0.25,) * 3)
    ranks = []
    for p in (0.0, 0.5):
        network = create("simplecnn-relu", seed=1, dropout=p).train()  # as a training would leave it
        found = rank_images(network, images, labels.numpy(), np.arange(6), normalization, ["gradient", "vargrad"],
                            EstimatorSettings(samples=2), 0, "train", num_classes=10)
        ranks.append(found)
    for name in ("gradient", "vargrad"):
        assert np.array_equal(ranks[0][name].ranks, ranks[1][name].ranks)


# -- measures ------------------------------------------------------------------------------------------------------


def test_calibration_error_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    z, y = 2 * torch.randn(200, 4, generator=generator), torch.randint(0, 4, (200,), generator=generator)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(z.double().softmax(1), y, strict=True):
        confidence = row.max().item()
        bins.setdefault(max(1, math.ceil(confidence * 15)), []).append((confidence, int(row.argmax()) == int(label)))
    expected = sum(len(b) / 200 * abs(sum(r for _, r in b) / len(b) - sum(c for c, _ in b) / len(b))
                   for b in bins.values())
    assert calibration_error(z, y) == pytest.approx(expected, abs=1e-12)
    sure = torch.tensor([[100.0, 0.0]] * 4)
    assert calibration_error(sure, torch.tensor([0, 0, 0, 0])) == pytest.approx(0, abs=1e-9)
    assert calibration_error(sure, torch.tensor([1, 1, 1, 0])) == pytest.approx(0.75)


def test_loss_accuracy_sparsity_and_norm() -> None:
    z, y = torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1])
    loss, accuracy = loss_and_accuracy(z, y)
    assert loss == pytest.approx((math.log(2) + 3 + math.log1p(math.exp(-3))) / 2)
    assert accuracy == 0.5
    layer = nn.Linear(4, 1)
    layer.weight.data = torch.tensor([[3.0, -4.0, 0.0009, -0.0009]])
    layer.bias.data = torch.tensor([100.0])
    assert sparsity(layer) == 0.5
    assert weight_norm(layer) == pytest.approx(5.0, abs=1e-6)


# -- networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "activation"), [("simplecnn-gelu", nn.GELU), ("simplecnn-relu", nn.ReLU)])
def test_the_studys_network_is_as_published(name: str, activation: type[nn.Module]) -> None:
    network = create(name)
    assert sum(p.numel() for p in network.parameters()) == 1_156_310
    kernels = [(m.in_channels, m.out_channels, *m.kernel_size, *m.padding) for m in network.modules()
               if isinstance(m, nn.Conv2d)]
    assert kernels == [(3, 16, 8, 8, 0, 0), (16, 16, 5, 5, 0, 0), (16, 32, 3, 3, 0, 0)]
    linear = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert linear == [(2048, 524), (524, 128), (128, 10)]
    assert sum(isinstance(m, activation) for m in network.modules()) == 5
    assert create(name, 7, 1, 17)(torch.zeros(2, 1, 17, 17)).shape == (2, 7)


def test_each_relu_is_used_once() -> None:
    network, calls = create("simplecnn-relu"), []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    network(torch.zeros(1, 3, 32, 32))
    assert len(calls) == len(set(calls)) == 5


def test_a_model_of_timm_or_the_remedy() -> None:
    import importlib.util


    if importlib.util.find_spec("timm") is None:
        with pytest.raises(UsageError, match=r"install roar-bench\[timm\]"):
            create("timm/resnet18")
        return
    network = create("timm/resnet10t", num_classes=5, seed=0, dropout=0.3)
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert not any(m.inplace for m in network.modules() if isinstance(m, nn.ReLU))
    with pytest.raises(UnknownNameError, match="did you mean"):
        create("timm/resnet10x")


# -- functions that are not roar's -------------------------------------------------------------------------------------


def own(function: Any, **parameters: Any) -> Regularizer:
    term = REGULARIZERS.adapted(function)
    assert isinstance(term, Term)
    return Regularizer({}, (replace(term, parameters=parameters),))


def own_l2(network: nn.Module, loss: Tensor, images: Tensor, targets: Tensor, *, strength: float = 0.0) -> Tensor:
    return loss + strength / 2 * sum(w.square().sum() for w in network.parameters() if w.ndim >= 2)


def own_input_gradient(network: nn.Module, loss: Tensor, images: Tensor, targets: Tensor) -> Tensor:
    gradient, = torch.autograd.grad(loss * len(images), images, create_graph=True)
    return loss + 0.1 * gradient.square().sum() / len(images)


@pytest.mark.parametrize(("chosen", "same"), [(own(own_l2, strength=0.01), "l2(0.01)"),
                                              (own(own_input_gradient), "input-gradient(0.1)")])
def test_a_function_is_trained_with_as_the_built_in_term_of_its_formula(chosen: Regularizer, same: str) -> None:
    images, labels = pictures()
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    log = train(network, images, labels, chosen.over(recipe()), HALF, 0, regularizer=chosen)
    assert all(math.isfinite(loss) for loss in log.loss)
    for mine, theirs in zip(network.parameters(), trained(same).parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_function_replaces_what_the_recipe_has() -> None:
    changed = own(own_l2, strength=1.0).over(recipe(weight_decay=5e-4, label_smoothing=0.1))
    assert (changed.weight_decay, changed.label_smoothing) == (0.0, 0.0)


@pytest.mark.parametrize(("function", "says"), [
    (lambda network, loss, images, targets: 3.0, "returns the loss, a scalar tensor .* returned a float"),
    (lambda network, loss, images, targets: loss.detach(), r"returned shape \(\)"),
    (lambda network, loss, images, targets: images, r"returned shape \(16, 1, 8, 8\)"),
    (lambda network, loss, images, targets: network.nothing, "fails: AttributeError: .*; correct its function"),
])
def test_what_a_function_returns_is_checked(function: Any, says: str) -> None:
    images, labels = pictures()
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    with pytest.raises(TrainingError, match=says):
        train(network, images, labels, recipe(), HALF, 0, regularizer=own(function))


def test_a_function_takes_one_network_at_a_time() -> None:
    networks = [create("simplecnn", in_channels=1, image_size=8, seed=seed) for seed in (0, 1)]
    images, labels = pictures()
    with pytest.raises(TrainingError, match="takes one network, and 2 lie side by side"):
        train_packed(networks, [images, images], labels, recipe(), HALF, [0, 1], size=2,
                     regularizer=own(own_l2, strength=1.0))


@pytest.mark.parametrize(("text", "says"), [
    ("{}:nothing", "defines no 'nothing'"), ("{}:pull+none", "leave none out"), ("{}:pull+{}:pull", "names pull twice"),
    ("{}:pull(far=1)", "far"), ("{}:number", "A regularizer is a function"), ("recipe++l1(1)", "a name with numbers"),
])
def test_functions_are_combined_by_the_same_grammar(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def pull(network, loss, images, targets, *, by=1): return loss\nnumber = 3\n")
    with pytest.raises(UsageError, match=says):
        parse(text.format(path, path))
    assert str(parse(f"l1(1e+1)+{path}:pull(by=3)+recipe")) == "recipe+l1(10)+pull(by=3)"
