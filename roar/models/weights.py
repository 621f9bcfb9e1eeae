"""Weights as safetensors: read with checks, written as bytes, hashed.

Never pickle: reading a safetensors file cannot run code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from roar.errors import ModelError

COUNTER = "num_batches_tracked"  # batch norm's: without use at a fixed momentum, and often not published


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        ModelError: the file is missing or is not safetensors.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"There is no weights file '{path}'; give the path of a safetensors file.") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"'{path}' is not a safetensors file that can be read ({error}); convert the "
                         "weights with safetensors.torch.save_file.") from None
    return tensors


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Set a network's weights to those of a safetensors file; on an error the network keeps its own.

    Raises:
        ModelError: the file is missing, is not safetensors, holds other tensors than the network or tensors
            of another shape (as with another number of classes), or holds values that are not finite.
    """
    weights = read_weights(path)
    own = network.state_dict()
    missing = {name for name in own.keys() - weights.keys() if not name.endswith(COUNTER)}
    extra = weights.keys() - own.keys()
    if missing or extra:
        lacks = [f"lack {_some(missing)}"] if missing else []
        has = [f"have {_some(extra)}, which the network has not"] if extra else []
        raise ModelError(f"The weights in '{path}' {' and '.join(lacks + has)}; choose the model and the "
                         "image size that they were saved from.")
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ModelError(f"'{name}' in '{path}' has the shape {tuple(tensor.shape)} and the network's "
                             f"has {tuple(own[name].shape)}; the weights must be for as many classes and "
                             "channels as the source has.")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ModelError(f"'{name}' in '{path}' has {bad} values that are not finite; give the weights "
                             "of a training that did not diverge.")
    network.load_state_dict(weights, strict=False)


def weights_bytes(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A state dict as the bytes of a safetensors file, equal for equal tensors."""
    content: bytes = save(_plain(state), metadata=dict(metadata) if metadata else None)
    return content


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over the names, types, shapes and bytes of a state dict, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(_plain(state).items()):
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1e".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU in row-major order, none sharing memory with another."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
