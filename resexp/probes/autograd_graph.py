"""The autograd graph of a forward pass: what leads from the input to the loss, and what comes before.

Only what depends on the input is in it: a weight's own way (its transpose, its normalisation) leads
nowhere. So the graph tells by execution what a net is made of, whatever its modules are called.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from torch.autograd.graph import Node


class Edge(NamedTuple):
    """A tensor: what `number` of the results of an operation."""

    node: Node
    number: int


@dataclass(frozen=True)
class Graph:
    """Operations from the input to the loss. `order` counts them so that each stands behind what it reads."""

    order: dict[Node, int]
    reads: dict[Node, list[Edge]]
    """what an operation reads of what depends on the input; nothing of the sources"""
    readers: dict[Node, list[Node]]
    weighted: set[Node]
    """operations that read a weight"""

    def between(self, fork: Node, end: Node) -> set[Node]:
        """Return the operations on any way from `fork`, which is left out, to `end`, which is in; or none."""
        if end is fork or self.order[end] < self.order[fork]:
            return set()
        behind, waiting = {end}, [end]
        while waiting:
            for edge in self.reads[waiting.pop()]:
                if edge.node not in behind and self.order[edge.node] > self.order[fork]:
                    behind.add(edge.node)
                    waiting.append(edge.node)
        found: set[Node] = set()
        for node in sorted(behind, key=self.order.__getitem__):
            if any(edge.node is fork or edge.node in found for edge in self.reads[node]):
                found.add(node)
        return found

    def longest(self, counted: Iterable[Node], start: Iterable[Node], end: Iterable[Node]) -> int | None:
        """Return how many of `counted` stand behind `start` on the longest way to `end`; None without a
        way.
        """
        counted, start = set(counted), set(start)
        best: dict[Node, int] = {}
        for node in self.order:
            ways = [best[edge.node] for edge in self.reads[node] if edge.node in best]
            if node in start:
                best[node] = 0
            elif ways:
                best[node] = max(ways) + (node in counted)
        return max((best[node] for node in end if node in best), default=None)

    def nearest_passed_by_all(self) -> dict[Node, Node | None]:
        """Return for each operation the nearest one that every way to it passes, its immediate dominator.

        None for sources, and where the ways begin at different sources (Cooper, Harvey, Kennedy 2001; one
        pass suffices, as there are no loops).
        """
        found: dict[Node, Node | None] = {}
        height: dict[Node, int] = {}
        for node, edges in self.reads.items():
            common: Node | None = None
            for k, edge in enumerate(edges):
                other: Node | None = edge.node
                if k == 0:
                    common = other
                while common is not other:
                    if common is None or other is None:
                        common = other = None
                    elif height[common] >= height[other]:
                        common = found[common]
                    else:
                        other = found[other]
            found[node] = common
            height[node] = 0 if common is None else height[common] + 1
        return found

    def trunk(self) -> list[Node]:
        """Return the operations that every way from the input to the loss passes, in order."""
        passed = self.nearest_passed_by_all()
        found: list[Node] = []
        node = next(reversed(self.order), None)
        while node is not None:
            found.append(node)
            node = passed[node]
        return found[::-1]


def graph_of(result: Tensor, sources: Iterable[Node]) -> Graph:
    """Return the operations that lead from any of `sources`, the net's inputs, to `result`."""
    sources = set(sources)
    leads: dict[Node, bool] = {}
    order: dict[Node, int] = {}
    reads: dict[Node, list[Edge]] = {}
    weighted: set[Node] = set()
    waiting = [result.grad_fn] if result.grad_fn is not None else []
    while waiting:
        node = waiting[-1]
        edges = (
            [] if node in sources else [Edge(*edge) for edge in node.next_functions if edge[0] is not None]  # pyright: ignore[reportArgumentType]
        )
        if unseen := [edge.node for edge in edges if edge.node not in leads]:
            waiting += unseen
            continue
        waiting.pop()
        if node in leads:
            continue
        kept = [edge for edge in edges if leads[edge.node]]
        leads[node] = node in sources or bool(kept)
        if leads[node]:
            order[node], reads[node] = len(order), kept
            if len(kept) < len(edges):
                weighted.add(node)
    readers: dict[Node, list[Node]] = {node: [] for node in order}
    for node, kept in reads.items():
        for edge in kept:
            readers[edge.node].append(node)
    return Graph(order, reads, readers, weighted)
