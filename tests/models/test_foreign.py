"""Networks that are not roar's: how they are called, what of them is adapted, and what identifies them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roar.errors import ModelError, UsageError
from roar.jobs.network import Network
from roar.jobs.train_model import build
from roar.models import MODELS, create, head, model, weights_hash
from roar.models.foreign import structure
from roar.models.layers import layers
from roar.models.regularizers import REGULARIZERS, Regularizer, parse, regularizer


class Small(nn.Module):
    """A network of the usual kind, whose answer is what ``answer`` makes of its logits."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1, width: int = 4, dropout: float = 0.0,
                 answer: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(width, num_classes)
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(self.fc(self.dropout(self.relu(self.conv(images)).mean((2, 3)))))


@dataclass
class Answer:
    logits: Tensor


IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
ANSWERS: dict[str, Callable[[Tensor], Any]] = {
    "a tensor": lambda logits: logits, "a dict": lambda logits: {"features": logits + 1, "logits": logits},
    "a tuple": lambda logits: (logits, logits + 1), "an object": Answer}


def own_file(folder: Path, text: str, name: str = "own.py") -> str:
    path = folder / name
    path.write_text(f"import torch\nfrom torch import nn\n{text}")
    return str(path)


# -- factories ---------------------------------------------------------------------------------------------------------


def test_a_factory_is_called_with_the_arguments_that_it_names() -> None:
    seen: list[dict[str, Any]] = []

    def factory(in_channels: int, num_classes: int, depth: int = 2) -> nn.Module:
        seen.append({"in_channels": in_channels, "num_classes": num_classes, "depth": depth})
        return Small(num_classes, in_channels)

    create(MODELS.adapted(factory), num_classes=7, in_channels=2, image_size=9)
    assert seen == [{"in_channels": 2, "num_classes": 7, "depth": 2}]
    network = create(MODELS.adapted(lambda image_size: Small(image_size)), image_size=9)
    assert network(IMAGES).shape == (3, 9)


def test_parameters_in_brackets_lie_over_what_is_offered(tmp_path: Path) -> None:
    path = own_file(tmp_path, "def net(num_classes, in_channels, width=4):\n"
                              "    return nn.Sequential(nn.Conv2d(in_channels, width, 8), nn.Flatten(),\n"
                              "                         nn.Linear(width, num_classes))\n")
    found = MODELS.find(f"{path}:net(width=6, num_classes=5)")
    assert found.name == "net(num_classes=5,width=6)"
    network = create(found, num_classes=10, in_channels=1, image_size=8)
    assert network(IMAGES).shape == (3, 5)
    assert network[0].out_channels == 6
    with pytest.raises(UsageError, match=r"takes \(num_classes, in_channels, width\) and is called with those of "
                                         r"num_classes, .*'breadth'"):
        MODELS.find(f"{path}:net(breadth=6)")


@pytest.mark.parametrize(("text", "says"), [
    ("net = 3\n", r"a trained nn.Module, and '.*own.py:net' is of type int"),
    ("def net(classes): ...\n", "missing a required argument: 'classes'"),
])
def test_what_is_no_model_is_told_where_it_is_named(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        MODELS.find(f"{own_file(tmp_path, text)}:net")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("text", "says"), [
    ("def net():\n    raise KeyError('x')\n", r"makes no network of \(\): line 4: KeyError: 'x'"),
    ("def net():\n    return 3\n", "must make an nn.Module and made a int"),
    ("def net():\n    return nn.Flatten()\n", "has no parameters"),
])
def test_what_a_factory_makes_is_checked(text: str, says: str, tmp_path: Path) -> None:
    found = MODELS.find(f"{own_file(tmp_path, text)}:net")
    with pytest.raises(ModelError, match=says):
        create(found, in_channels=1, image_size=8)


def test_the_seed_decides_the_weights_of_a_factory() -> None:
    found = MODELS.adapted(Small)
    first, again, other = (weights_hash(create(found, in_channels=1, seed=seed).state_dict()) for seed in (0, 0, 1))
    assert first == again != other


def test_dropout_reaches_a_factory_that_takes_it() -> None:
    asked = Network(MODELS.adapted(Small), parse("dropout(0.3)"), 10, 1, 8)
    assert build(asked).dropout.p == 0.3


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_become_logits_and_everything_keeps_its_name(kind: str) -> None:
    plain, network = Small(), create(MODELS.adapted(lambda: Small(answer=ANSWERS[kind])), in_channels=1, seed=0)
    network.load_state_dict(plain.state_dict())
    assert torch.equal(network(IMAGES), plain(IMAGES))
    assert [*network.state_dict()] == [*plain.state_dict()]
    assert [name for name, _ in network.named_modules()] == [name for name, _ in plain.named_modules()]
    assert [type(module) for module in network.modules()] == [type(module) for module in plain.modules()]
    assert not network.relu.inplace  # gradient hooks need its input
    assert head(network, (1, 8, 8)) is network.fc
    assert [layer.name for layer in layers(network, IMAGES[:1])] == ["fc", "conv"]


# -- trained networks --------------------------------------------------------------------------------------------------


def test_a_trained_network_travels_without_its_weights_and_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
                            nn.Flatten(), nn.Linear(4, 100_000))
    before = weights_hash(network.state_dict())
    found = MODELS.adapted(network, "mine")
    assert found.is_trained and found.name == "mine"
    assert found.weights is not None and weights_hash(found.weights) == before
    body = build(Network(found, Regularizer(), 100_000, 1, 8))
    assert body is not network and not any(p.any() for p in body.parameters())
    body.load_state_dict(found.weights)
    assert torch.equal(body.eval()(IMAGES), network.eval()(IMAGES))
    assert weights_hash(network.state_dict()) == before
    assert network[2].inplace and not network._forward_hooks
    assert len(pickle.dumps(found.build)) < 20_000


def test_tied_weights_stay_tied_and_other_tensors_keep_their_values() -> None:
    network = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    network["b"].weight = network["a"].weight
    network.register_buffer("scale", torch.full((2,), 7.0), persistent=False)
    body = build(Network(MODELS.adapted(network), Regularizer(), 3, 1, 8))
    assert body["a"].weight is body["b"].weight
    assert body.scale.tolist() == [7.0, 7.0]


def test_half_precision_is_widened() -> None:
    found = MODELS.adapted(Small().half())
    assert found.weights is not None
    assert {tensor.dtype for tensor in found.weights.values()} == {torch.float32}
    body = build(Network(found, Regularizer(), 10, 1, 8))
    body.load_state_dict(found.weights)
    assert body(IMAGES).dtype == torch.float32


def test_a_trained_network_takes_no_parameters(tmp_path: Path) -> None:
    path = own_file(tmp_path, "net = nn.Linear(2, 3)\n")
    with pytest.raises(UsageError, match="takes no parameters in brackets"):
        MODELS.find(f"{path}:net(width=3)")
    assert MODELS.find(f"{path}:net").is_trained


# -- identity ----------------------------------------------------------------------------------------------------------


def identity(found: Any, text: str = "recipe") -> dict[str, Any]:
    return Network(found, parse(text), 10, 1, 8).identity


def test_a_built_in_network_is_identified_by_names_alone() -> None:
    assert identity(MODELS.find("simplecnn"), "l2(.1)") == {
        "name": "simplecnn", "regularizer": "l2(0.1)", "num_classes": 10, "in_channels": 1, "image_size": 8}


def test_an_edited_file_is_another_network(tmp_path: Path) -> None:
    text = "def net(width=1):\n    return nn.Linear(width, 2)\n"
    path = own_file(tmp_path, text)
    first = identity(MODELS.find(f"{path}:net"))
    assert first == identity(MODELS.find(f"{path}:net")) == identity(MODELS.find(
        f"{own_file(tmp_path, text, 'copy.py')}:net"))
    assert identity(MODELS.find(f"{path}:net(width=2)"))["code"] != first["code"]
    own_file(tmp_path, text + "# edited\n")
    assert identity(MODELS.find(f"{path}:net"))["code"] != first["code"]


def test_an_edited_regularizer_is_another_network(tmp_path: Path) -> None:
    path = own_file(tmp_path, "def pull(network, loss, images, targets, *, by=1): return loss\n")
    found = MODELS.find("simplecnn")
    first = identity(found, f"{path}:pull+dropout(.1)")
    assert first["regularizer"] == "dropout(0.1)+pull"
    assert first == identity(found, f"dropout(.1)+{path}:pull")
    assert identity(found, f"{path}:pull(by=2)+dropout(.1)")["regularizer_code"] != first["regularizer_code"]
    own_file(tmp_path, "def pull(network, loss, images, targets, *, by=1): return 2 * loss\n")
    assert identity(found, f"{path}:pull+dropout(.1)")["regularizer_code"] != first["regularizer_code"]


def test_layers_and_settings_are_a_part_of_a_trained_network_and_its_mode_is_not() -> None:
    def net(activation: nn.Module = nn.ReLU(), **settings: Any) -> nn.Module:
        found = Small()
        found.relu = activation
        for name, value in settings.items():
            setattr(found, name, value)
        return found

    first = structure(net())
    assert first == structure(net()) == structure(net().eval())
    assert structure(net(nn.GELU())) != first
    assert structure(net(scale=2.0)) != first
    hidden = net()
    hidden.register_buffer("shift", torch.ones(1), persistent=False)
    assert structure(hidden) != first


def test_a_decorator_gives_a_name_and_nothing_else() -> None:
    def make(num_classes: int) -> nn.Module:
        return Small(num_classes)

    assert model("my net")(make) is make
    assert MODELS.adapted(make).name == "my net"
    assert MODELS.adapted(make, "given").name == "given"

    def pull(network: nn.Module, loss: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return loss

    assert regularizer("tug")(pull) is pull
    assert REGULARIZERS.adapted(pull).name == "tug"
