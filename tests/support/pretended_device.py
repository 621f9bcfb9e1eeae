"""A GPU that is none: its tensors lie in the CPU's memory, but say that they are elsewhere.

As on a GPU, an operation on tensors of two devices is an error, but for copies, single numbers and what a tensor of the
device is indexed with; and so is a CPU's random generator for numbers drawn on the device. What runs here without an
error mixes no devices, and gives what the CPU gives. It says nothing of a GPU's arithmetic, memory or speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
import torch._dynamo  # an optimizer imports it, and it names torch.Generator in types: before that is replaced
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")  # what the tensors say; the backward pass needs nothing of this device
NAMES = "meta", "cuda"  # what is asked for
THERE: dict[int, torch.Generator] = {}  # the device's generators, which operations do not get as the objects they are
COPIES = ("aten::_to_copy", "aten::copy_")
INDEXED = ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_")


class Elsewhere(Tensor):
    """A tensor on the pretended device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        found: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE)
        found.held = held
        return found

    def tolist(self) -> Any:
        return self.held.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """Also what is created on the device goes there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Asked(TorchFunctionMode):
    """What is asked of "cuda" is asked of the pretended device, before PyTorch looks for a driver; and tensors of given
    values come by way of the CPU, for nothing lower down sees the values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:  # PyTorch's own code asks what kind of device "cuda" is
            return func(*args, **(kwargs or {}))
        args, kwargs = tuple(map(renamed, args)), {name: renamed(x) for name, x in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **{**kwargs, "device": "cpu"}).to(kwargs["device"])
        if func is Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return torch.tensor(args[1], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
        return func(*args, **kwargs)


def renamed(x: Any) -> Any:
    return DEVICE if isinstance(x, str | torch.device) and str(x).split(":")[0] in NAMES else x


class Generators:
    """Makes random generators; those of the device draw what one of the CPU draws."""

    def __init__(self, plain: type[torch.Generator]) -> None:
        self.plain = plain

    def __call__(self, device: Any = "cpu") -> torch.Generator:
        made = self.plain()
        if renamed(device) == DEVICE:
            THERE[made._cdata] = made
        return made


@contextmanager
def pretended_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """In here a GPU seems to be there."""
    with monkeypatch.context() as patch, PretendedDevice(), Asked():
        patch.setattr(torch, "Generator", Generators(torch.Generator))
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_device_name", lambda: "a pretended GPU")
        patch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
        yield DEVICE
    THERE.clear()


@pytest.fixture
def plain_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused ones look for a device that they know, and round otherwise."""
    for name in ("SGD", "Adam", "AdamW"):
        monkeypatch.setattr(torch.optim, name, partial(without_fusing, getattr(torch.optim, name)))


def without_fusing(optimizer: Any, groups: Any, fused: bool, **more: Any) -> Any:
    assert fused
    return optimizer(groups, **more)


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, Elsewhere)]
    asked = kwargs.get("device")
    name = func._schema.name
    if there and name not in COPIES and not (name in INDEXED and isinstance(args[0], Elsewhere)):
        strangers = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim() > 0]
        assert not strangers, f"{name} mixes devices: {[tuple(x.shape) for x in strangers]} are on the CPU"
    away = renamed(asked) == DEVICE if asked is not None else bool(there)
    if name == "aten::copy_":
        away = isinstance(args[0], Elsewhere)
    drawn_by = kwargs.get("generator")
    assert drawn_by is None or away == (drawn_by._cdata in THERE), f"{name} has another's generator"
    if away and asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}

    def held(x: Any) -> Any:
        return x.held if isinstance(x, Elsewhere) else x

    found = func(*tree_map(held, args), **tree_map(held, kwargs))
    if not away:
        return found
    wrapped = tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)
