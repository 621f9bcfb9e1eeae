"""Reading the graph that autograd records: it shows every operation, however the network is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.autograd.graph import Node


def nodes(last: Node) -> Iterator[Node]:
    """Every node of a graph, once, from its last to the first."""
    seen, waiting = {last}, [last]
    while waiting:
        node = waiting.pop()
        yield node
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        waiting += following


def operation(node: Node) -> str:
    """What a node is the derivative of: ``Relu`` for ``ReluBackward0``."""
    return node.name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
