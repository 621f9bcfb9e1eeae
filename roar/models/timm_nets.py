"""Any network of the timm library, as ``timm/NAME``; timm is an optional extra."""

from __future__ import annotations

from typing import Any

from torch import nn

from roar.errors import ModelError, UnknownNameError, UsageError
from roar.models.imagenet_nets import without_inplace

PREFIX = "timm/"


def check_timm_name(name: str) -> None:
    """Raise where timm is missing or has no such network; ``name`` without the prefix."""
    timm = _timm(name)
    if not timm.is_model(name):
        raise UnknownNameError("timm model", name, timm.list_models())


def timm_network(name: str, num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
    """A network of timm with fresh weights; ``dropout`` is timm's ``drop_rate``.

    Raises:
        UsageError: timm is not installed.
        UnknownNameError: timm has no such network; the message names the nearest.
        ModelError: the network cannot be made for such images.
    """
    check_timm_name(name)
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
