"""Additions of an input to an output, found in the autograd graph: x + f(x), whatever it is called.

An addition counts where one of its terms is a tensor x that another term was computed from by way of a
weight (the same tensor, which is the identity shortcut), or where both terms come from one tensor and one
of them by fewer operations with weights (a projection, or a shortcut that pools or pads). What lies between
must be read by the addition alone, and the two ways may share no operation: then the gradient that comes
back by either is that of the shortcut and that of the branch, as in `fold` and `unfold` of resexp's own
blocks.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from torch.autograd.graph import Node

from resexp.probes.autograd_graph import Edge, Graph

ShortcutKind = Literal["identity", "without weights", "projection"]


class Reading(NamedTuple):
    """The place `index` among what an operation reads."""

    node: Node
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]


class Addition(NamedTuple):
    """An addition whose terms part at one tensor."""

    node: Node
    shortcut_kind: ShortcutKind
    shortcut: list[Reading]
    """who reads the forked tensor on the shortcut's way; the addition itself, where it is the identity"""
    branch: list[Reading]


def additions_of(graph: Graph) -> list[Addition]:
    """Return the additions of a net's inputs to its outputs, in order of execution."""
    absorbed = {
        edge.node for node in _sums(graph) for edge in graph.reads[node] if _only_summed(edge.node, graph)
    }
    passed = graph.nearest_passed_by_all()
    found = []
    for node in _sums(graph):
        if node in absorbed:
            continue
        terms = list(_terms(node, graph))
        addition = _identity(node, terms, graph) or _projection(node, terms, passed[node], graph)
        if addition is not None:
            found.append(addition)
    return found


def _sums(graph: Graph) -> Iterator[Node]:
    """Yield the additions of two things that depend on the input."""
    for node, edges in graph.reads.items():
        if len(edges) > 1 and node.name() == "AddBackward0":
            yield node


def _only_summed(node: Node, graph: Graph) -> bool:
    """Return whether a sum is but a term of another sum, as the inner one of a + b + c."""
    return len(graph.reads[node]) > 1 and node.name() == "AddBackward0" and len(graph.readers[node]) == 1


class _Term(NamedTuple):
    edge: Edge
    at: Reading


def _terms(node: Node, graph: Graph) -> Iterator[_Term]:
    for index, pair in enumerate(node.next_functions):
        if pair[0] in graph.order:
            edge = Edge(*pair)  # pyright: ignore[reportArgumentType]
            if _only_summed(edge.node, graph):
                yield from _terms(edge.node, graph)
            else:
                yield _Term(edge, Reading(node, index))


def _identity(node: Node, terms: Sequence[_Term], graph: Graph) -> Addition | None:
    """Find the term that all others were computed from."""
    for term in terms:
        others = [other for other in terms if other.edge != term.edge]
        if others and all(graph.between(term.edge.node, other.edge.node) for other in others):
            same = [other for other in terms if other.edge == term.edge]
            return _parted(node, term.edge, same, others, "identity", graph)
    return None


def _projection(node: Node, terms: Sequence[_Term], fork: Node | None, graph: Graph) -> Addition | None:
    """Find the term that is fewer weights away from where all of them part."""
    if fork is None or len(terms) < 2:
        return None
    between = set().union(*(graph.between(fork, term.edge.node) for term in terms))
    numbers = {e.number for n in between for e in graph.reads[n] if e.node is fork}
    if len(numbers) != 1:
        return None
    distance: dict[Node, int] = {fork: 0}
    for inner in sorted(between, key=graph.order.__getitem__):
        near = min(distance[edge.node] for edge in graph.reads[inner] if edge.node in distance)
        distance[inner] = near + (inner in graph.weighted)
    ordered = sorted(terms, key=lambda term: distance[term.edge.node])
    first, second = (distance[term.edge.node] for term in ordered[:2])
    if first == second:
        return None
    kind = "projection" if first else "without weights"
    return _parted(node, Edge(fork, numbers.pop()), ordered[:1], ordered[1:], kind, graph)


def _parted(
    node: Node,
    fork: Edge,
    shortcut: Sequence[_Term],
    branch: Sequence[_Term],
    kind: ShortcutKind,
    graph: Graph,
) -> Addition | None:
    """Return the addition, None where its two ways cannot be told apart or lead elsewhere too."""
    ways = []
    for terms in (shortcut, branch):
        inner = set[Node]().union(*(graph.between(fork.node, term.edge.node) for term in terms))
        direct = [term.at for term in terms if term.edge == fork]
        ways.append((inner, direct))
    (by_shortcut, _), (by_branch, _) = ways
    closed = by_shortcut | by_branch | {node} | _inside(node, graph)
    if by_shortcut & by_branch or not by_branch & graph.weighted:
        return None
    if any(reader not in closed for n in by_shortcut | by_branch for reader in graph.readers[n]):
        return None
    read = [direct + list(_readings(inner, fork)) for inner, direct in ways]
    return Addition(node, kind, *read) if all(read) else None


def _inside(node: Node, graph: Graph) -> set[Node]:
    """Return the sums that this one absorbed."""
    inner = {edge.node for edge in graph.reads[node] if _only_summed(edge.node, graph)}
    return inner.union(*(_inside(n, graph) for n in inner))


def _readings(inner: set[Node], fork: Edge) -> Iterator[Reading]:
    for node in inner:
        for index, pair in enumerate(node.next_functions):
            if pair == (fork.node, fork.number):
                yield Reading(node, index)
