"""Weights of networks: read with checks, written as safetensors, hashed.

A safetensors file cannot run code. A pickle can, so PyTorch's own format is read with ``weights_only=True``, which
knows tensors and containers and refuses everything else.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from roar.errors import ModelError

COUNTER = "num_batches_tracked"  # batch norm's: without use at a fixed momentum, and often not published
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar")  # names of files in PyTorch's own format
CONTAINERS = ("state_dict", "model_state_dict", "model", "net")  # that checkpoints keep the weights in
PREFIXES = ("module.", "model.", "net.", "_orig_mod.")  # that wrappers put before the names of weights
MOST_BYTES = 50 * 10**9  # of a file of weights
_POINTER = b"version https://git-lfs"


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a file by name, on the CPU, and what was done to get them.

    Raises:
        ModelError: the file is missing, too large, a Git LFS pointer, neither safetensors nor a state dict that
            ``weights_only=True`` reads, or holds something else than tensors.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise ModelError(f"There is no weights file '{path}'; give the path of a safetensors file or of a state dict.")
    if file.is_file():
        _check_file(file, path)
    if file.suffix.lower() in PICKLED:
        return _state(_unpickled(file, path), path)
    try:
        return load_file(file), []
    except (SafetensorError, OSError) as error:
        raise ModelError(f"'{path}' is not a safetensors file that can be read ({error}); convert the "
                         "weights with safetensors.torch.save_file.") from None


def load_weights(network: nn.Module, path: str | Path) -> list[str]:
    """Set a network's weights to those of a file; on an error the network keeps its own.

    Prefixes of wrappers are taken off the names, and half precision is widened.

    Returns:
        what was done to the weights so that they fit, in words; empty where nothing was.

    Raises:
        ModelError: the file cannot be read (:func:`read_weights`), holds other tensors than the network or tensors
            of another shape or kind (as with another number of classes), or holds values that are not finite.
    """
    weights, notes = read_weights(path)
    own = network.state_dict()
    weights, prefix = without_prefixes(weights, own)
    if prefix:
        notes.append(f"took '{prefix}' off the names")
    missing = {name for name in own.keys() - weights.keys() if not name.endswith(COUNTER)}
    extra = weights.keys() - own.keys()
    if missing or extra:
        lacks = [f"lack {_some(missing)}"] if missing else []
        has = [f"have {_some(extra)}, which the network has not"] if extra else []
        raise ModelError(f"The weights in '{path}' {' and '.join(lacks + has)}; choose the model that "
                         "they were saved from.")
    changed: dict[str, None] = {}
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ModelError(f"'{name}' in '{path}' has the shape {tuple(tensor.shape)} and the network's "
                             f"has {tuple(own[name].shape)}; {_why(tensor.shape, own[name].shape)}.")
        if tensor.dtype != own[name].dtype and not name.endswith(COUNTER):
            changed[_changed(name, tensor.dtype, own[name].dtype, path)] = None
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ModelError(f"'{name}' in '{path}' has {bad} values that are not finite; give the weights "
                             "of a training that did not diverge.")
    network.load_state_dict(weights, strict=False)
    return [*notes, *changed]


def without_prefixes(weights: Mapping[str, Tensor], own: Iterable[str]) -> tuple[dict[str, Tensor], str]:
    """The weights without the prefixes that wrappers put before all names, and these prefixes.

    Any other first part that all names share goes too, where more names are the network's own without it. A prefix
    stays where fewer would be.
    """
    names, found, taken = set(own), dict(weights), ""
    while found:
        prefix = next(iter(found)).partition(".")[0] + "."
        if not all(name.startswith(prefix) for name in found):
            break
        shorter = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
        more = len(shorter.keys() & names) - len(found.keys() & names)
        if more < 0 or (more == 0 and prefix not in PREFIXES):
            break
        found, taken = shorter, taken + prefix
    return found, taken


def in_single_precision(state: Mapping[str, Any], owner: str) -> dict[str, Tensor]:
    """A network's own state with its floating-point numbers as float32.

    Raises:
        ModelError: it holds something else than dense tensors.
    """
    for name, tensor in state.items():
        if not _is_dense(tensor):
            raise ModelError(f"'{name}' in the state of '{owner}' is not a dense tensor, so it cannot be kept as "
                             "safetensors; give a network whose state holds dense tensors alone.")
    return {name: tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
            for name, tensor in state.items()}


def _why(given: torch.Size, wanted: torch.Size) -> str:
    """What probably differs where a tensor of weights has another shape than the network's, and the remedy."""
    differing = [axis for axis in range(len(wanted)) if len(given) == len(wanted) and given[axis] != wanted[axis]]
    if differing == [0]:
        return "the weights must be for as many classes as the source has"
    if differing == [1] and len(wanted) == 4:
        gray = given[1] == 3 and wanted[1] == 1
        return (f"the weights are for images of {given[1]} channels and the source's have {wanted[1]}"
                + (": give --channels 3" if gray else ""))
    if differing == [1]:
        return "the weights are probably for images of another size: give --image-size"
    return "choose the model that they were saved from"


def _check_file(file: Path, path: str | Path) -> None:
    """Refuse a file of weights that is too large, or that is none.

    Raises:
        ModelError: it is.
    """
    try:
        with file.open("rb") as opened:
            first, size = opened.read(200), file.stat().st_size
    except OSError as error:
        raise ModelError(f"The weights file '{path}' cannot be read ({error.strerror}); give a readable file."
                         ) from None
    if first.startswith(_POINTER):
        whole = re.search(rb"size (\d+)", first)
        told = f" of {int(whole[1]) / 1e6:.1f} MB" if whole else ""
        raise ModelError(f"'{path}' is a Git LFS pointer instead of weights{told}; fetch them with `git lfs "
                         "pull`, or download the file itself.")
    if size > MOST_BYTES:
        raise ModelError(f"'{path}' has {size / 1e9:.0f} GB and a file of weights at most {MOST_BYTES / 1e9:.0f}; save "
                         "the state dict of the network alone.")


def _unpickled(file: Path, path: str | Path) -> Any:
    """What PyTorch's restricted unpickler makes of a file."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or (
                sum(entry.file_size for entry in entries) > file.stat().st_size):
            raise ModelError(f"'{path}' is compressed, which PyTorch's files are not; save the state dict with "
                             "torch.save.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes from anywhere may raise anything
        found = re.search(r"WeightsUnpickler error:\s*([^\n]+)", str(error))
        reason = found[1] if found else str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(f"'{path}' is no state dict of tensors alone ({' '.join(reason.split())[:200]}), and a pickle "
                         "of more could run code, so it is not read; save torch.save(network.state_dict(), ...) or a "
                         "safetensors file.") from None


def _state(content: Any, path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a state dict, which may lie inside a checkpoint."""
    notes = []
    while isinstance(content, Mapping):
        name = next((name for name in CONTAINERS if isinstance(content.get(name), Mapping)), None)
        if name is None:
            break
        content = content[name]
        notes.append(f"took its '{name}'")
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"'{path}' holds no state dict but {_kind(content)}; save torch.save(network.state_dict(), "
                         "...).")
    others = {str(name): value for name, value in content.items()
              if not (isinstance(name, str) and _is_dense(value))}
    if others:
        raise ModelError(f"'{path}' holds {_some(others)} ({_kind(next(iter(others.values())))}) beside or instead of "
                         "tensors; save torch.save(network.state_dict(), ...).")
    return {name: tensor.detach() for name, tensor in content.items()}, notes


def _changed(name: str, given: torch.dtype, wanted: torch.dtype, path: str | Path) -> str:
    """In words how a tensor's type is made to fit the network's.

    Raises:
        ModelError: numbers of this type are no weights of such a network.
    """
    plain = {dtype: str(dtype).removeprefix("torch.") for dtype in (given, wanted)}
    if wanted == torch.float32 and given in (torch.float16, torch.bfloat16):
        return f"widened {plain[given]} to float32"
    if wanted == torch.float32 and given == torch.float64:
        return "rounded float64 to float32"
    raise ModelError(f"'{name}' in '{path}' is {plain[given]} and the network's is {plain[wanted]}; give weights in "
                     "float32, float16 or bfloat16, such as those before a quantization.")


def _is_dense(value: object) -> bool:
    return (isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
            and value.device.type != "meta")


def _kind(value: object) -> str:
    kind = type(value).__name__
    return f"an empty {kind}" if isinstance(value, Mapping) and not value else f"a {kind}"


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
