"""DeepLIFT, by captum; refused where captum's rule would silently become the plain gradient."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

from roar.errors import EstimatorError
from roar.estimators.autograd_graph import nodes, operation
from roar.estimators.methods.gradient import NOT_DIFFERENTIABLE
from roar.estimators.registry import method
from roar.registry import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.autograd.graph import Node

SHRIKUMAR_2017 = Paper("Learning Important Features Through Propagating Activation Differences",
                       "Shrikumar, Greenside, Kundaje", 2017, "https://arxiv.org/abs/1704.02685")

# The modules that captum's rescale rule knows.
COVERED = ("ELU", "LeakyReLU", "MaxPool2d", "MaxPool3d", "ReLU", "Sigmoid", "Softmax", "Softplus", "Tanh")
# Operations that are linear in the images, and those that are if only one factor depends on the images.
LINEAR = {"Add", "AdaptiveAvgPool2D", "Alias", "AvgPool2D", "Cat", "Clone", "ConstantPadNd", "CudnnBatchNorm",
          "Expand", "Flip", "Gather", "Index", "Mean", "NativeBatchNorm", "Neg", "Permute", "ReflectionPad2D",
          "ReplicationPad2D", "ReshapeAlias", "Roll", "Select", "Slice", "Split", "Squeeze", "Stack", "Sub", "Sum",
          "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "UpsampleBilinear2D", "UpsampleNearest2D", "View"}
PRODUCT = {"Addmm", "Bmm", "Convolution", "Div", "Mm", "Mul", "Mv"}


@method("deeplift", SHRIKUMAR_2017, "difference from a reference image, propagated by the rescale rule", suffix="dl",
        aliases=("dl",), ensembles=False)
def deeplift(network: nn.Module, images: Tensor, targets: Tensor, *, baseline: Tensor, rows: int) -> Tensor:
    """Contributions of x - x' to f_target(x) - f_target(x'), which they sum to, ``[B, C, H, W]``.

    Args:
        baseline: x', the reference image, normalized, ``[C, 1, 1]``.
        rows: images that one pass may hold; captum's has each image and its reference.

    Raises:
        EstimatorError: the network has a non-linearity that the rescale rule does not cover: one that is no
            module, a module that is used twice, or one of another kind.
    """
    import torch
    from captum.attr import DeepLift

    explained = _prepared(network)
    _check_covered(explained, images[:1])
    # Captum's rule for max pooling takes the first image's gradient for all, so such images go one by one.
    pooled = any(type(module).__name__.startswith("MaxPool") for module in _activations(explained))
    together = 1 if pooled else max(1, rows // 2)
    explainer = DeepLift(explained)
    parts = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks", category=UserWarning)
        for first in range(0, len(images), together):
            part = images[first:first + together].clone().requires_grad_()
            found = explainer.attribute(part, baseline.expand(part.shape), target=targets[first:first + together])
            parts.append(found.detach())
    return torch.cat(parts)


def _prepared(network: nn.Module) -> nn.Module:
    """A copy that captum's hooks work on: no activation in place, and a tensor of its own before each.

    Where one activation follows another (ReLU and then max pooling), captum's hooks would meet on one tensor and
    change its gradient twice.
    """
    explained = copy.deepcopy(network).requires_grad_(False)
    for module in _activations(explained):
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
        module.register_forward_pre_hook(lambda module, inputs: tuple(tensor.clone() for tensor in inputs))
    return explained


def _activations(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if type(module).__name__ in COVERED]


def _check_covered(network: nn.Module, image: Tensor) -> None:
    """Raise an EstimatorError unless every non-linearity on the way to the logits is a module of its own."""
    covered: dict[Node, nn.Module] = {}
    handles = [module.register_forward_hook(lambda module, inputs, output: covered.update({output.grad_fn: module}))
               for module in _activations(network)]
    logits = network(image.detach().requires_grad_().clone())
    for handle in handles:
        handle.remove()
    if logits.grad_fn is None:
        raise EstimatorError(NOT_DIFFERENTIABLE)
    used = [*covered.values()]
    for module in used:
        if used.count(module) > 1:
            raise EstimatorError(f"'deeplift' needs a module for every activation and this network uses one "
                                 f"{type(module).__name__} {used.count(module)} times; give each use its own "
                                 "module.")
    for node in nodes(logits.grad_fn):
        if node not in covered and not _is_linear(node):
            raise EstimatorError(f"'deeplift' has no rule for the operation {operation(node)} of this network; it "
                                 f"covers linear ones and the modules {', '.join(COVERED)}, not their functions.")


def _is_linear(node: Node) -> bool:
    kind = operation(node)
    if kind.endswith("BatchNorm"):
        return not node._saved_training  # type: ignore[attr-defined]
    if kind in PRODUCT:
        return sum(after is not None for after, _ in node.next_functions) == 1
    return kind in LINEAR or kind == "AccumulateGrad"
