"""Networks by name: shapes, seeds, errors; the published ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from roar.errors import ModelError, UnknownNameError
from roar.models import create, model_kinds

NAMES = [kind.name for kind in model_kinds()]


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_gives_logits_and_a_gradient(name: str, channels: int) -> None:
    network = create(name, num_classes=7, in_channels=channels, image_size=32, seed=0).eval()
    images = torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(1), requires_grad=True)
    logits = network(images)
    assert logits.shape == (2, 7)
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(("name", "size"), [("simplecnn", 4), ("simplecnn", 8), ("simplecnn", 28),
                                            ("simplecnn", 64), ("resnet18", 96), ("resnet20", 8)])
def test_other_image_sizes(name: str, size: int) -> None:
    network = create(name, image_size=size, seed=0).eval()
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 10)


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    first, second, other = (create("simplecnn", seed=s).state_dict() for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_without_a_seed_the_global_state_decides() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        unseeded = create("simplecnn").state_dict()
    seeded = create("simplecnn", seed=3).state_dict()
    assert torch.equal(unseeded["conv1.weight"], seeded["conv1.weight"])


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 0.27e6), ("resnet56", 0.85e6)])
def test_parameter_counts_are_those_of_the_paper(name: str, parameters: float) -> None:
    """He et al. 2016, table 6."""
    assert count(create(name)) == pytest.approx(parameters, rel=0.01)


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("resnet50", 25_557_032)])
def test_large_images_get_torchvisions_network(name: str, parameters: int) -> None:
    assert count(create(name, num_classes=1000, image_size=224)) == parameters


def test_small_images_keep_their_plane_in_the_stem() -> None:
    network = create("resnet18", image_size=32, seed=0).eval()
    seen: list[torch.Size] = []
    network.get_submodule("layer4").register_forward_hook(lambda module, args, out: seen.append(out.shape))
    network(torch.zeros(1, 3, 32, 32))
    assert seen == [torch.Size([1, 512, 4, 4])]


def test_parameter_names_of_the_published_weights() -> None:
    names = {name for name, _ in create("resnet20").named_parameters()}
    block = {f"layer{stage}.{n}.{part}" for stage in (1, 2, 3) for n in range(3)
             for part in ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias")}
    assert names == block | {"conv1.weight", "bn1.weight", "bn1.bias", "linear.weight", "linear.bias"}


def test_no_relu_works_in_place() -> None:
    for name in NAMES:
        assert not any(m.inplace for m in create(name).modules() if isinstance(m, nn.ReLU))


def test_kinds_say_what_there_is() -> None:
    kinds = {kind.name: kind for kind in model_kinds()}
    assert {"simplecnn", "resnet18", "resnet20", "resnet50", "resnet56", "vgg19"} <= kinds.keys()
    for kind in kinds.values():
        assert kind.description
        assert kind.parameters == count(create(kind.name))


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'resnet51' is not a model; did you mean .*'resnet50'"):
        create("resnet51")


def test_too_small_images() -> None:
    with pytest.raises(ModelError, match="vgg19 needs images of at least 32 pixels, not 8"):
        create("vgg19", image_size=8)


@pytest.mark.parametrize("wrong", [{"num_classes": 1}, {"in_channels": 0}])
def test_too_few_classes_or_channels(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="at least 2 classes and 1 channel"):
        create("simplecnn", **wrong)
