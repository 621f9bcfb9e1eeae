"""Guided backprop: the gradient, with negative gradients stopped at every ReLU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roar.errors import EstimatorError
from roar.estimators.autograd_graph import nodes, operation
from roar.estimators.methods.gradient import input_gradient
from roar.estimators.registry import method
from roar.registry import Paper

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.autograd.graph import Node

SPRINGENBERG = Paper("Striving for Simplicity: The All Convolutional Net",
                     "Springenberg, Dosovitskiy, Brox, Riedmiller", 2014, "https://arxiv.org/abs/1412.6806")

# Activations that let negative gradients pass, by their nodes in a graph.
OTHERS = {"Celu", "Elu", "Gelu", "Hardsigmoid", "Hardswish", "LeakyRelu", "LogSigmoid", "Mish", "Prelu", "PreluKernel",
          "Sigmoid", "Silu", "Softplus", "Tanh"}


@method("guided-backprop", SPRINGENBERG, "gradient that passes a ReLU only where it is positive",
        suffix="gb", aliases=("gb",))
def guided_backprop(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """R^l = 1[x^l > 0] 1[R^(l+1) > 0] R^(l+1) at every ReLU l, elsewhere the plain gradient, ``[B, C, H, W]``.

    Raises:
        EstimatorError: the network has no ReLU, or more activations of other kinds than ReLUs.
    """
    return input_gradient(network, images, targets, _guide)


def _guide(last: Node) -> None:
    """Stop negative gradients at every ReLU of an autograd graph.

    The graph shows each use of a ReLU, be it a module or a function, in place or not, or a module used twice,
    and it dies with the pass: nothing is attached to the network.
    """
    guided, others = 0, list[str]()
    for node in nodes(last):
        if operation(node) in OTHERS:
            others.append(operation(node))
        if _is_relu(node):
            node.register_prehook(_positive_part)
            guided += 1
    if not guided:
        raise EstimatorError("The network has no ReLU, so 'guided-backprop' would be the plain gradient; "
                             "use 'gradient' for a network of other activations.")
    if guided < len(others):
        kinds = ", ".join(sorted(set(others)))
        raise EstimatorError(f"'guided-backprop' changes the gradient at ReLUs alone, and of this network's "
                             f"{guided + len(others)} activations {guided} are ReLUs and the others {kinds}, so it "
                             "would be nearly the plain gradient; use 'gradient' for such a network.")


def _is_relu(node: Any) -> bool:
    """Whether a node of the graph is a ReLU: also ReLU6, or ``hardtanh``, ``clamp``, ``threshold`` from 0 on."""
    kind = operation(node)
    if kind == "Hardtanh":
        return bool(node._saved_min_val == 0)
    if kind == "Threshold":
        return bool(node._saved_threshold == 0)
    if kind in ("Clamp", "ClampMin"):
        return isinstance(node._saved_min, int | float) and node._saved_min == 0
    return kind == "Relu"


def _positive_part(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(gradient.clamp(min=0) for gradient in gradients)
