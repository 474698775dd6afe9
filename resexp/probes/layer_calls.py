"""Layer calls: which layers of a net run, in which order, and what arrives back at their outputs.

A layer is the innermost module with weights that runs: a module that holds parameters, itself or in its
parts, and during whose call no part that holds parameters was called. So a convolution is one, and torch's
attention, which uses the weights of a part without calling it; a block is not. A shared module has one call
for each run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from resexp.probes.sizes import norm_of

NORM_LAYERS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
LAST_IS_UNITS = (nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention, nn.RNNBase)
SECOND_IS_UNITS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)


class Arrived(NamedTuple):
    """dE/dx at one tensor that a layer returned."""

    norm: float | None
    """L2 norm per image"""
    zeros: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    dead: int
    units: int


@dataclass
class LayerCall:
    """One run of a layer."""

    name: str
    """as in named_modules, the first of its names"""
    module: nn.Module
    number: int
    """1 for the first run of this module"""
    shape: tuple[int, ...]
    """of the first tensor it returned"""
    nodes: list[Node]
    """the operations that made what it returned"""
    ended: int
    """autograd's running number at its end"""
    reads_source: bool
    """nothing that it was given had a gradient to pass on: token indices"""
    arrived: list[Arrived] = field(default_factory=list)

    @property
    def weights(self) -> list[tuple[str, nn.Parameter]]:
        """The matrices and kernels; `weight` in a module that has none of these, else all there is."""
        named = list(self.module.named_parameters())
        large = [(name, weight) for name, weight in named if weight.ndim > 1]
        return large or [(name, weight) for name, weight in named if name == "weight"] or named

    @property
    def is_norm(self) -> bool:
        return isinstance(self.module, NORM_LAYERS)

    @property
    def is_weighted(self) -> bool:
        """Whether it counts among a net's layers: norms and scales do not."""
        return not self.is_norm and any(w.ndim > 1 for w in self.module.parameters())


class OrderSpan(NamedTuple):
    """Which operations a module's call made, by autograd's running number."""

    name: str
    first: int
    end: int


@dataclass
class Calls:
    """What ran, the innermost first."""

    layers: list[LayerCall] = field(default_factory=list)
    modules: list[OrderSpan] = field(default_factory=list)
    handles: list[RemovableHandle] = field(default_factory=list)
    """of the hooks on tensors, which hold the whole graph until they are removed"""

    def layers_before(self, node: Node) -> int:
        """Return how many layers had run when an operation was made."""
        return sum(call.ended <= _number_of(node) for call in self.layers)

    def module_of(self, node: Node) -> str:
        """Return the name of the innermost module that made an operation, "" for the net itself."""
        number = _number_of(node)
        spans = [span for span in self.modules if span.first <= number < span.end]
        return min(spans, key=lambda span: span.end - span.first).name if spans else ""


@contextmanager
def recorded(net: nn.Module, num_images: int) -> Iterator[Calls]:
    """Record the calls of the forward pass that is made in here, and later what its backward pass brings.

    What runs again during the backward pass (checkpointing) is left out: call backward outside.
    """
    calls = Calls()
    recorder = _Recorder(calls, num_images)
    handles = []
    for name, module in net.named_modules():
        if "parametrizations" in name.split("."):
            continue  # makes a weight of another one: no layer of the net's own
        handles.append(module.register_forward_pre_hook(recorder.enter))
        handles.append(module.register_forward_hook(recorder.leaver(name), with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class _Recorder:
    """The hooks, and which calls have begun."""

    def __init__(self, calls: Calls, num_images: int) -> None:
        self._calls = calls
        self._num_images = num_images
        self._begun: list[tuple[int, int]] = []
        """autograd's number, and how many layers had run"""
        self._runs: dict[nn.Module, int] = {}

    def enter(self, module: nn.Module, args: Any) -> None:
        self._begun.append((_number(), len(self._calls.layers)))

    def leaver(self, name: str) -> Any:
        def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            first, had_run = self._begun.pop()
            self._calls.modules.append(OrderSpan(name, first, _number()))
            if len(self._calls.layers) == had_run and any(True for _ in module.parameters()):
                self._add(name, module, (args, kwargs), output)

        return leave

    def _add(self, name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        given, returned = list(tensors_in(arguments)), list(tensors_in(output))
        if not returned:
            return
        number = self._runs[module] = self._runs.get(module, 0) + 1
        nodes = [tensor.grad_fn for tensor in returned if tensor.grad_fn is not None]
        call = LayerCall(
            name, module, number, tuple(returned[0].shape), nodes, _number(),
            reads_source=not any(tensor.requires_grad for tensor in given),
        )  # fmt: skip
        self._calls.layers.append(call)
        for tensor in returned:
            if tensor.requires_grad:
                self._calls.handles.append(tensor.register_hook(self._arrival(call)))

    def _arrival(self, call: LayerCall) -> Callable[[Tensor], None]:
        return lambda g: call.arrived.append(_arrived(g, call.module, self._num_images))


def _arrived(g: Tensor, module: nn.Module, num_images: int) -> Arrived:
    g = g.detach()
    largest = g.abs()
    zeros = g.numel() - int(torch.count_nonzero(g))
    if g.ndim > 1:
        axis = _unit_axis(module, g) % g.ndim
        largest = largest.amax([other for other in range(g.ndim) if other != axis])
    dead = largest.numel() - int(torch.count_nonzero(largest))
    norm = norm_of(torch.view_as_real(g) if g.is_complex() else g, num_images)
    return Arrived(norm, zeros, g.numel(), dead, largest.numel())


def _unit_axis(module: nn.Module, g: Tensor) -> int:
    """Return the axis of the channels or features of what a layer returned."""
    if isinstance(module, LAST_IS_UNITS) or g.ndim < 2:
        return -1
    if isinstance(module, SECOND_IS_UNITS):
        return 1
    sizes = {weight.shape[0] for weight in module.parameters(recurse=False) if weight.ndim}
    fitting = [axis for axis in ((1, -1) if g.ndim > 3 else (-1, 1)) if g.shape[axis] in sizes]
    return fitting[0] if fitting else -1


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the floating tensors in what a module takes or returns: tuples, lists, dicts, objects of
    fields.
    """
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name))


def _number_of(node: Node) -> int:
    return node._sequence_nr()  # pyright: ignore[reportAttributeAccessIssue]


def _number() -> int:
    """Return autograd's running number of the next operation."""
    return torch.autograd._get_sequence_nr()  # pyright: ignore[reportPrivateImportUsage]
