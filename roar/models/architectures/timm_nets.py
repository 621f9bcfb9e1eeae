"""Any network of the timm library, as ``timm/NAME``; timm is an optional extra."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from roar.errors import ModelError, UnknownNameError, UsageError
from roar.models.architecture import Architecture
from roar.models.layers import without_inplace
from roar.models.registry import MODELS

PREFIX = "timm/"


def timm_architecture(name: str) -> Architecture:
    """A network of timm; ``name`` without the prefix.

    Raises:
        UsageError: timm is not installed.
        UnknownNameError: timm has no such network; the message names the nearest.
    """
    timm = _timm(name)
    if not timm.is_model(name):
        raise UnknownNameError("timm model", name, timm.list_models())
    return Architecture(f"{PREFIX}{name}", partial(timm_network, name), "timm's", 4, "where timm's drop_rate acts")


MODELS.libraries[PREFIX] = timm_architecture


def timm_network(name: str, num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
    """A network of timm with fresh weights; ``dropout`` is timm's ``drop_rate``.

    Raises:
        UsageError: timm is not installed.
        ModelError: the network cannot be made for such images.
    """
    shape: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels, "drop_rate": dropout}
    create = _timm(name).create_model
    try:
        try:
            network: nn.Module = create(name, pretrained=False, img_size=image_size, **shape)
        except TypeError:  # convolutional ones take images of any size and know no such argument
            network = create(name, pretrained=False, **shape)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelError(f"timm/{name} cannot be made for {in_channels}x{image_size}x{image_size} images "
                         f"({' '.join(str(error).split())[:200]}); choose another model or image size.") from None
    return without_inplace(network)


def _timm(name: str) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "timm":
            raise
        raise UsageError(f"The model timm/{name} needs timm, which is not installed; "
                         "install roar-bench[timm].") from None
    return timm
