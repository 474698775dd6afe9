"""The two ends between which T stands in any net, as near to those of resexp's own nets as execution tells.

There they are the stem's output, behind its norm, and the last block's output. Here the first is that of
the first weighted layer and the last that of the last weighted layer before the head; the head is the last
weighted layer that the gradient reaches. Where such a layer lies on the trunk, which every way from the
input to the loss passes, its output counts, behind the norm that is given it. Where it lies on one of
several ways, as in a block's branch, it is the first operation on the trunk behind it, which is the block's
addition (in a DenseNet the concatenation); where there is none before the next weighted layer, as in a
recurrent net, the layer's own output.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.autograd.graph import Node

from resexp.probes.autograd_graph import Graph
from resexp.probes.layer_calls import LayerCall

SAME_NUMBERS = ("View", "Reshape", "Permute", "Transpose", "Alias", "Clone", "Squeeze", "TBackward", "Norm")
"""Operations that only arrange numbers anew, and norms."""


@dataclass(frozen=True)
class End:
    """Where N is taken: at a layer's output or, on the trunk behind it, at an operation's."""

    layer: LayerCall
    """the weighted layer, or the norm that is given its output"""
    operation: Node | None
    """None where it is the layer's own output"""


@dataclass(frozen=True)
class Ends:
    """Both of them, and the weighted layers between, on the longest way."""

    first: End
    last: End
    depth: int


def ends_of(calls: Sequence[LayerCall], graph: Graph) -> Ends | str:
    """Return the ends, or in a sentence why there are none."""
    counted = [call for call in calls if call.is_weighted and any(node in graph.order for node in call.nodes)]
    if len(counted) < 3:
        needed = "T needs three layers with weights on the way to the loss, the head among them"
        return f"{needed}: {len(counted)} are"
    trunk, norms = graph.trunk(), [call for call in calls if call.is_norm]
    first = _end(counted[0], counted[1], trunk, norms, graph)
    last = _end(counted[-2], counted[-1], trunk, norms, graph)
    nodes = [node for call in counted for node in call.nodes]
    depth = graph.longest(nodes, _nodes_at(first), _nodes_at(last))
    if not depth:
        return f"no layer with weights lies on a way from {first.layer.name} to {last.layer.name}"
    return Ends(first, last, depth)


def _nodes_at(end: End) -> list[Node]:
    return end.layer.nodes if end.operation is None else [end.operation]


def _end(
    call: LayerCall, following: LayerCall, trunk: Sequence[Node], norms: Sequence[LayerCall], graph: Graph
) -> End:
    passed = set(trunk)
    if passed.intersection(call.nodes):
        own = [norm for norm in norms if passed.intersection(norm.nodes) and _normalises(norm, call, graph)]
        return End(own[-1] if own else call, None)
    behind, before = (
        [graph.order[node] for node in nodes if node in graph.order]
        for nodes in (call.nodes, following.nodes)
    )
    between = [node for node in trunk if max(behind) < graph.order[node] < min(before)]
    return End(call, between[0] if between else None)


def _normalises(norm: LayerCall, call: LayerCall, graph: Graph) -> bool:
    """Return whether a norm is given the layer's very output, its numbers arranged anew perhaps."""
    node = norm.nodes[0]
    while node not in call.nodes:
        edges = graph.reads.get(node, [])
        if len(edges) != 1 or not any(word in node.name() for word in SAME_NUMBERS):
            return False
        node = edges[0].node
    return True
