"""Weights: round trip, hash, other people's files, every way in which a file can be wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from roar.datasets import open_source
from roar.datasets.statistics import Normalization
from roar.errors import ModelError
from roar.jobs.training.evaluation import evaluate
from roar.models import create, load_weights, weights_bytes, weights_hash
from roar.models.weights import without_prefixes


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
    normalization = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    first = np.arange(images)
    labels = torch.from_numpy(test.labels[first])
    return evaluate(network, torch.from_numpy(test.decode(first)), labels, normalization).accuracy


@pytest.mark.slow
def test_resnet20_is_as_accurate_as_published(cifar10_path: Path, weights_path: Path) -> None:
    accuracy = published_accuracy(cifar10_path, weights_path, "resnet20", 10_000)
    assert accuracy == pytest.approx(0.9173, abs=5e-4)


def test_resnet56_is_as_accurate_as_published(cifar10_path: Path, weights_path: Path) -> None:
    """93.39 % of all 10,000; four standard errors for the first 500."""
    assert published_accuracy(cifar10_path, weights_path, "resnet56", 500) == pytest.approx(0.9339, abs=0.044)


# -- other people's files ----------------------------------------------------------------------------------------------


def state() -> dict[str, torch.Tensor]:
    return dict(create("simplecnn", seed=1).state_dict())


def loads(content: object, tmp_path: Path, name: str = "weights.pt") -> list[str]:
    """Save a checkpoint and load it into a network, which then has the weights of ``state``; what was done."""
    torch.save(content, tmp_path / name)
    network = create("simplecnn", seed=2)
    notes = load_weights(network, tmp_path / name)
    assert all(torch.equal(tensor, state()[key]) for key, tensor in network.state_dict().items())
    return notes


def refused(content: object, tmp_path: Path, says: str, name: str = "weights.pt") -> None:
    torch.save(content, tmp_path / name)
    network = create("simplecnn", seed=2)
    before = weights_hash(network.state_dict())
    with pytest.raises(ModelError, match=says) as raised:
        load_weights(network, tmp_path / name)
    assert "\n" not in str(raised.value)
    assert weights_hash(network.state_dict()) == before


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.PTH", "a.bin", "a.ckpt", "a.pth.tar"])
def test_a_state_dict_of_torch(name: str, tmp_path: Path) -> None:
    assert loads(state(), tmp_path, name) == []


def test_a_state_dict_in_the_old_format(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    network = create("simplecnn", seed=2)
    assert load_weights(network, tmp_path / "old.pth") == []
    assert weights_hash(network.state_dict()) == weights_hash(state())


@pytest.mark.parametrize("container", ["state_dict", "model_state_dict", "model", "net"])
def test_weights_inside_a_checkpoint(container: str, tmp_path: Path) -> None:
    checkpoint = {"epoch": 3, "optimizer": {"lr": 0.1}, container: state()}
    assert loads(checkpoint, tmp_path) == [f"took its '{container}'"]
    nested = {"model": {"state_dict": state()}}
    assert loads(nested, tmp_path) == ["took its 'model'", "took its 'state_dict'"]


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "_orig_mod.", "module.module.",
                                    "model.net._orig_mod.module."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, suffix: str, tmp_path: Path) -> None:
    weights = {prefix + name: tensor for name, tensor in state().items()}
    network = create("simplecnn", seed=2)
    path = tmp_path / f"weights{suffix}"
    torch.save(weights, path) if suffix == ".pt" else save_file(weights, path)
    assert load_weights(network, path) == [f"took '{prefix}' off the names"]
    assert weights_hash(network.state_dict()) == weights_hash(state())


def test_a_prefix_of_the_networks_own_stays() -> None:
    own = ["model.fc.weight", "model.fc.bias"]
    weights = {name: torch.zeros(1) for name in own}
    assert without_prefixes(weights, own) == (weights, "")
    assert without_prefixes({f"module.{name}": tensor for name, tensor in weights.items()}, own) == (weights, "module.")
    part = {"model.fc.weight": torch.zeros(1)}  # the sentence then says what is missing of it
    assert without_prefixes(part, own) == (part, "")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype, tmp_path: Path) -> None:
    half = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state().items()}
    torch.save(half, tmp_path / "half.pt")
    network = create("simplecnn", seed=2)
    assert load_weights(network, tmp_path / "half.pt") == [f"widened {str(dtype)[6:]} to float32"]
    found = network.state_dict()
    assert all(torch.equal(found[name], tensor.to(found[name].dtype)) for name, tensor in half.items())
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused_by_name(dtype: torch.dtype, tmp_path: Path) -> None:
    refused({**state(), "conv2.weight": state()["conv2.weight"].to(dtype)}, tmp_path,
            rf"'conv2.weight' in '.*' is {str(dtype)[6:]} and the network's is float32; give weights in float32")


def test_a_head_of_another_size_and_other_tensors_are_one_sentence(tmp_path: Path) -> None:
    refused({**state(), "linear.bias": torch.zeros(7)}, tmp_path, r"'linear.bias' .* \(7,\) .* as many classes")
    short = {name: tensor for name, tensor in state().items() if not name.startswith("conv")}
    refused({**short, "extra": torch.zeros(1)}, tmp_path,
            r"lack conv1.weight, conv2.weight, conv3.weight and have extra")


@pytest.mark.parametrize(("content", "says"), [
    ([torch.zeros(1)], "holds no state dict but a list"), ({}, "an empty dict"), (3, "but a int"),
    ({"weights": torch.zeros(1), "epoch": 3}, r"holds epoch \(a int\) beside or instead of tensors"),
    ({"w": torch.zeros(3).to_sparse()}, r"holds w \(a Tensor\)"),
    ({"w": torch.zeros(3, device="meta")}, r"holds w \(a Tensor\)"),
])
def test_what_is_no_state_dict(content: object, says: str, tmp_path: Path) -> None:
    refused(content, tmp_path, says)


class Malicious:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(new: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({**state(), "payload": Malicious(trace)}, tmp_path / "bad.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(ModelError, match=r"no state dict of tensors alone \(.*open.*\), and a pickle of more could run "
                                         "code, so it is not read; save torch.save") as raised:
        load_weights(create("simplecnn"), tmp_path / "bad.pt")
    assert "\n" not in str(raised.value)
    assert not trace.exists()


def test_a_whole_network_is_not_unpickled(tmp_path: Path) -> None:
    refused(create("simplecnn"), tmp_path, "no state dict of tensors alone .*SimpleCNN")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 100, b"PK\x03\x04" + b"\0" * 50])
def test_bytes_that_are_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ModelError, match="no state dict of tensors alone"):
        load_weights(create("simplecnn"), tmp_path / "weights.pt")


def test_a_compressed_archive_is_not_inflated(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(
            tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "bomb.pt").stat().st_size < 50_000
    with pytest.raises(ModelError, match="is compressed, which PyTorch's files are not"):
        load_weights(create("simplecnn"), tmp_path / "bomb.pt")


def test_a_file_is_bounded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roar.models.weights.MOST_BYTES", 1_000)
    with pytest.raises(ModelError, match="has 0 GB and a file of weights at most 0"):
        load_weights(create("simplecnn"), saved)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_pointer_of_git_lfs(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"lfs{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 1100000\n")
    with pytest.raises(ModelError, match=r"is a Git LFS pointer instead of weights of 1.1 MB; fetch them with "
                                         "`git lfs pull`"):
        load_weights(create("simplecnn"), path)


def test_a_prefix_that_nobody_knows_is_taken_off_where_the_rest_are_the_networks_names(tmp_path: Path) -> None:
    weights = {f"backbone.{name}": tensor for name, tensor in state().items()}
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    assert load_weights(create("simplecnn", seed=2), path) == ["took 'backbone.' off the names"]
    refused({f"layer1.{number}": torch.zeros(1) for number in range(3)}, tmp_path, r"have layer1\.0.*choose the model")


@pytest.mark.parametrize("made, says", [
    ({"num_classes": 7}, "for as many classes as the source has"),
    ({"in_channels": 1}, "for images of 1 channels and the source's have 3$|source's have 3\\."),
    ({"image_size": 12}, "for images of another size: give --image-size")])
def test_what_differs_is_blamed(made: dict[str, int], says: str, tmp_path: Path) -> None:
    name = "linear" if "image_size" in made else "simplecnn"
    save_file(create(name, **made).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=says):
        load_weights(create(name), tmp_path / "w.safetensors")


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn, torch.float8_e5m2])
def test_quantized_weights_are_named_as_what_they_are(kind: torch.dtype, tmp_path: Path) -> None:
    save_file({name: tensor.to(kind) for name, tensor in state().items()}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"is (int8|float8_\w+) and the network's is float32; give weights in float32"):
        load_weights(create("simplecnn"), tmp_path / "w.safetensors")
