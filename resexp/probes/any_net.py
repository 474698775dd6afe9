"""The gradient in any net: dE/dx at the output of every layer that runs, in one backward pass.

Nothing is asked of the net but that it runs. Its layers are found as they are called (layer_calls), its
shortcuts in the autograd graph (additions). E is `num_images` times the loss, which is taken for a mean
over the images: with cross-entropy it is the sum over the images, as in the gradient profile.

T stands between the two ends that `ends` finds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from resexp.errors import UsageError
from resexp.probes.additions import Addition, ShortcutKind, additions_of
from resexp.probes.autograd_graph import graph_of
from resexp.probes.ends import End, ends_of
from resexp.probes.gradient_profile import exact_products
from resexp.probes.layer_calls import Calls, LayerCall, recorded
from resexp.probes.sizes import Measured, finite, norm_of, parted, size_of_weight


@dataclass(frozen=True)
class LayerReading:
    """One run of a layer. What is undefined is None."""

    name: str
    kind: str
    """the module's class"""
    number: int
    """1 for the module's first run"""
    weighted: bool
    shape: tuple[int, ...]
    norm: float | None
    """L2 norm of dE/dx at its output, per image; None where no gradient arrives"""
    zeros: int
    count: int
    dead: int | None
    """units whose dE/dx is an exact zero on every image and position"""
    units: int | None
    weight_rms: float | None
    """RMS of its weights' gradient of the mean loss, over all runs of the module"""
    relative: float | None
    """|g| / |w|, likewise"""


@dataclass(frozen=True)
class BlockReading:
    """One addition of an input to an output."""

    name: str
    """the innermost module that added"""
    shortcut: ShortcutKind
    after: int
    """how many of the layers had run"""
    split: Measured
    """the shares of shortcut and branch, and what else `parted` returns"""

    @property
    def shortcut_share(self) -> float | None:
        return self.split["shortcut_share"]

    @property
    def branch_share(self) -> float | None:
        return self.split["branch_share"]


@dataclass(frozen=True)
class EndReading:
    """dE/dx at one of T's ends."""

    name: str
    """a layer's, or the module's that adds or joins behind it"""
    operation: str | None
    """what it does there: add, cat; None for a layer"""
    after: int
    """how many of the layers had run"""
    norm: float | None


@dataclass(frozen=True)
class NetReading:
    """A net on one batch."""

    loss: float | None
    layers: tuple[LayerReading, ...]
    blocks: tuple[BlockReading, ...]
    first: EndReading | None
    """T's ends, None where there are none"""
    last: EndReading | None
    depth: int
    """weighted layers between them, on the longest way"""
    why: str | None
    """why T was not measured"""

    @property
    def ratio(self) -> float | None:
        """T; 0 where the first end underflowed, None where there is none."""
        if self.first is None or self.last is None or self.first.norm is None or not self.last.norm:
            return None
        return finite(self.first.norm / self.last.norm)


@exact_products()
def measure_net(
    net: nn.Module, inputs: Sequence[Tensor], loss_of: Callable[[Any], Tensor], num_images: int
) -> NetReading:
    """Measure the net as it is, in the mode and precision it is in; its `.grad` stay as they are.

    inputs: what it is called with, of any shape; floating ones are copied first, so that the net may change
    its input in place. loss_of: from what the net returns to the mean loss, a scalar. Raises UsageError
    where the loss does not depend on the net, else whatever the net raises.
    """
    leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    given = [x.clone() for x in leaves]
    with torch.enable_grad(), recorded(net, num_images) as calls:
        output = net(*given)
    loss = loss_of(output)
    if loss.numel() != 1 or not loss.requires_grad:
        what = "no gradient leads to it" if loss.numel() == 1 else f"its shape is {list(loss.shape)}"
        raise UsageError(f"the loss must be one number that depends on the net's weights, but {what}")
    sources = [x.grad_fn for x in given if x.grad_fn is not None]
    sources += [node for call in calls.layers if call.reads_source for node in call.nodes]
    graph = graph_of(loss, sources)
    weighted = [call for call in calls.layers if call.is_weighted]
    graph.weighted.update(node for call in weighted for node in call.nodes if node in graph.order)
    splits = [_Split(addition) for addition in additions_of(graph)]
    ends = ends_of(calls.layers, graph)
    watched = (
        [] if isinstance(ends, str) else [_Watched(end, calls, num_images) for end in (ends.first, ends.last)]
    )
    parameters = [weight for weight in net.parameters() if weight.requires_grad]
    wanted = [*(x for x in leaves if x.requires_grad), *parameters]
    try:
        found = torch.autograd.grad(loss.reshape(()) * num_images, wanted, allow_unused=True)
    finally:
        hooked = [handle for each in (*splits, *watched) for handle in each.handles]
        for handle in (*calls.handles, *hooked):
            handle.remove()
    gradients = dict(zip(map(id, parameters), found[len(wanted) - len(parameters) :], strict=True))
    layers = tuple(_layer(call, gradients, num_images) for call in calls.layers)  # pyright: ignore[reportArgumentType]
    blocks = tuple(_blocks(splits, calls))
    if isinstance(ends, str):
        return NetReading(finite(loss.item()), layers, blocks, None, None, 0, ends)
    first, last = (each.reading() for each in watched)
    return NetReading(finite(loss.item()), layers, blocks, first, last, ends.depth, _why_not(first, last))


def _why_not(first: EndReading, last: EndReading) -> str | None:
    """Say why there is no T, None where there is one."""
    if first.norm is None or last.norm is None:
        return "the gradient is not finite, or does not arrive"
    if last.norm == 0.0:
        zero = "as behind a head whose weights are all zero"
        return f"the gradient is an exact zero at {last.name} already, {zero}"
    return None


class _Watched:
    """What arrives at one of T's ends."""

    def __init__(self, end: End, calls: Calls, num_images: int) -> None:
        self.handles = []
        self._end = end
        self._norms: list[float | None] = []
        self._calls = calls
        self._num_images = num_images
        if end.operation is not None:
            self.handles.append(end.operation.register_hook(self._arrive))

    def _arrive(self, _: Any, at_output: Sequence[Tensor | None]) -> None:
        self._norms += [norm_of(g, self._num_images) for g in at_output if g is not None]

    def reading(self) -> EndReading:
        layer, operation = self._end.layer, self._end.operation
        if operation is None:
            norms = [arrived.norm for arrived in layer.arrived]
            after = self._calls.layers.index(layer) + 1
            return EndReading(layer.name, None, after, _joint(norms))
        what = operation.name().rstrip("0123456789").removesuffix("Backward").lower()
        name = self._calls.module_of(operation)
        return EndReading(name, what, self._calls.layers_before(operation), _joint(self._norms))


def _joint(norms: Sequence[float | None]) -> float | None:
    """Return the norm of several tensors taken as one; None where one is not finite or there is none."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known and len(known) == len(norms) else None


def _layer(call: LayerCall, gradients: dict[int, Tensor | None], num_images: int) -> LayerReading:
    largest = max(call.arrived, key=lambda arrived: arrived.count, default=None)
    pairs = [(gradients.get(id(weight)), weight) for _, weight in call.weights]
    known = [(g.flatten(), weight.flatten()) for g, weight in pairs if g is not None]
    of_weight: Measured = {"rms": None, "relative": None}
    if known:
        g, weight = (torch.cat(part) for part in zip(*known, strict=True)) if len(known) > 1 else known[0]
        if g.is_complex():
            g, weight = torch.view_as_real(g), torch.view_as_real(weight.detach())
        of_weight = size_of_weight(g, weight, num_images)
    return LayerReading(
        name=call.name,
        kind=type(call.module).__name__,
        number=call.number,
        weighted=call.is_weighted,
        shape=call.shape,
        norm=_joint([arrived.norm for arrived in call.arrived]),
        zeros=sum(arrived.zeros for arrived in call.arrived),
        count=sum(arrived.count for arrived in call.arrived),
        dead=None if largest is None else largest.dead,
        units=None if largest is None else largest.units,
        weight_rms=of_weight["rms"],
        relative=of_weight["relative"],
    )


class _Split:
    """What comes back to where a shortcut and a branch part; measured and let go once all of it is there."""

    def __init__(self, addition: Addition) -> None:
        self.addition = addition
        self.measured: Measured | None = None
        self._out: Tensor | None = None
        self._by: dict[str, list[Tensor]] = {"shortcut": [], "branch": []}
        self._awaited = 1 + len(addition.shortcut) + len(addition.branch)
        self.handles = [addition.node.register_hook(self._at_output)]
        for way, readings in (("shortcut", addition.shortcut), ("branch", addition.branch)):
            for reading in readings:
                hook = partial(self._at_input, way, reading.index)
                self.handles.append(reading.node.register_hook(hook))

    def _at_output(self, _: Any, at_output: Sequence[Tensor | None]) -> None:
        self._out = at_output[0]
        self._arrive()

    def _at_input(self, way: str, index: int, at_input: Sequence[Tensor | None], _: Any) -> None:
        g = at_input[index]
        if g is not None:
            self._by[way].append(g)
        self._arrive()

    def _arrive(self) -> None:
        self._awaited -= 1
        if self._awaited or self._out is None or not all(self._by.values()):
            return
        shortcut, branch = (_sum(parts) for parts in self._by.values())
        self.measured = parted(self._out, shortcut, branch, shortcut + branch)
        self._out = None
        self._by.clear()


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(0)


def _blocks(splits: Sequence[_Split], calls: Calls) -> list[BlockReading]:
    found = []
    for split in splits:
        if split.measured is not None:
            node = split.addition.node
            after = calls.layers_before(node)
            found.append(
                BlockReading(calls.module_of(node), split.addition.shortcut_kind, after, split.measured)
            )
    return sorted(found, key=lambda block: block.after)
