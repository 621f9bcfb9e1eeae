"""Weights as safetensors: round trip, hash, every way in which a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from roar.datasets import open_source
from roar.datasets.statistics import Normalisation
from roar.errors import ModelError
from roar.jobs.training.evaluation import evaluate
from roar.models import create, load_weights, weights_bytes, weights_hash


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(weights_bytes(create("simplecnn", seed=1).state_dict()))
    return path


def rewritten(path: Path, **changes: torch.Tensor | None) -> Path:
    tensors = load(path.read_bytes()) | {name.replace("__", "."): t for name, t in changes.items()}
    save_file({name: t for name, t in tensors.items() if t is not None}, path)
    return path


def test_round_trip(saved: Path) -> None:
    network = create("simplecnn", seed=2)
    load_weights(network, saved)
    expected = create("simplecnn", seed=1).state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in network.state_dict().items())


def test_bytes_do_not_depend_on_the_memory_format_and_carry_metadata() -> None:
    network = create("simplecnn", seed=1)
    plain = weights_bytes(network.state_dict(), {"kind": "test"})
    network.to(memory_format=torch.channels_last)
    assert weights_bytes(network.state_dict(), {"kind": "test"}) == plain
    assert b'"kind":"test"' in plain


def test_tied_weights_are_written_twice() -> None:
    tensor = torch.ones(3)
    assert load(weights_bytes({"a": tensor, "b": tensor}))["b"].tolist() == [1, 1, 1]


def test_hash_sees_names_types_shapes_and_values() -> None:
    tensor = torch.arange(6, dtype=torch.float32)
    others = [{"b": tensor}, {"a": tensor.view(2, 3)}, {"a": tensor.view(torch.int32)}, {"a": tensor + 1},
              {"a": tensor, "b": torch.tensor(1)}]
    hashes = [weights_hash(state) for state in ({"a": tensor}, *others)]
    assert len(set(hashes)) == len(hashes)
    assert weights_hash({"a": tensor.clone()}) == hashes[0]
    assert weights_hash({"x": tensor, "y": tensor}) == weights_hash({"y": tensor, "x": tensor})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no weights file"):
        load_weights(create("simplecnn"), tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 100])
def test_not_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_weights(create("simplecnn"), path)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_weights(create("simplecnn"), tmp_path)


def test_other_keys_are_named(saved: Path) -> None:
    rewritten(saved, linear__bias=None, extra=torch.zeros(1))
    with pytest.raises(ModelError, match=r"lack linear.bias and have extra"):
        load_weights(create("simplecnn"), saved)


def test_many_keys_are_counted(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"lack .* and \d+ more"):
        load_weights(create("resnet20"), saved)


def test_another_number_of_classes(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"'linear.*shape \(10.*network's has \(7"):
        load_weights(create("simplecnn", num_classes=7), saved)


def test_values_that_are_not_finite_change_nothing(saved: Path) -> None:
    network = create("simplecnn", seed=2)
    before = weights_hash(network.state_dict())
    rewritten(saved, conv2__weight=torch.full((32, 16, 3, 3), float("nan")))
    with pytest.raises(ModelError, match=r"'conv2.weight' .* has 4608 values that are not finite"):
        load_weights(network, saved)
    assert weights_hash(network.state_dict()) == before


def test_the_counter_of_batch_norm_may_be_missing(saved: Path) -> None:
    rewritten(saved, **{f"bn{n}__num_batches_tracked": None for n in (1, 2, 3)})
    network = create("simplecnn", seed=99)
    before = [parameter.clone() for parameter in network.parameters()]
    load_weights(network, saved)
    assert any(not p.equal(old) for p, old in zip(network.parameters(), before, strict=True))


def published_accuracy(data: Path, weights: Path, name: str, images: int) -> float:
    test = open_source(f"parquet:{data}").test
    network = create(name)
    load_weights(network, weights / f"cifar10-{name}.safetensors")
    normalisation = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    first = np.arange(images)
    labels = torch.from_numpy(test.labels[first])
    return evaluate(network, torch.from_numpy(test.decode(first)), labels, normalisation).accuracy


@pytest.mark.slow
def test_resnet20_is_as_accurate_as_published(cifar10_path: Path, weights_path: Path) -> None:
    accuracy = published_accuracy(cifar10_path, weights_path, "resnet20", 10_000)
    assert accuracy == pytest.approx(0.9173, abs=5e-4)


def test_resnet56_is_as_accurate_as_published(cifar10_path: Path, weights_path: Path) -> None:
    """93.39 % of all 10,000; four standard errors for the first 500."""
    assert published_accuracy(cifar10_path, weights_path, "resnet56", 500) == pytest.approx(0.9339, abs=0.044)
