"""The CUDA graph of a whole step: a step costs the host one call instead of hundreds.

A graph is a recording of kernels with their addresses, so all that a step needs and gives lies in buffers
that stay where they are: the draws, kept blocks and rates of `WINDOW` steps, a cursor that the graph itself
moves on, and a ring of readings. The host fills the tables, replays, copies the ring; it never waits for the
device. On a CPU the same function over the same buffers is called where a GPU would replay it: the twin that
tests run.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from resexp.data.batches import Draw
from resexp.errors import ResourceError
from resexp.training.step import Readings, StepInputs, Update

WINDOW = 50
"""Steps whose draws go up together; the loop's spans end on multiples of it or sooner."""
WARM_UP_STEPS = 3
"""Steps before the recording, in which libraries choose kernels, allocate and compile; then undone."""


class CaptureError(ResourceError):
    """The step cannot be recorded: something in it waits for the device, or asks what a graph cannot hold."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on whichever device: most libraries say so in their text alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in said)


class GraphSteps:
    """Replays one recording of the step. `moved` are all tensors that a step changes, in place.

    The rate must be read from `rate`, a tensor in the optimizer: a number would be recorded as it was.
    """

    def __init__(
        self,
        update: Update,
        optimizer: Optimizer,
        inputs: StepInputs,
        moved: Sequence[Tensor],
        *,
        batch_size: int,
        num_blocks: int,
        num_layers: int,
        device: str,
    ) -> None:
        self._update = update
        self._inputs = inputs
        self._moved = moved
        self._device = device
        self._rate: Tensor = optimizer.param_groups[0]["lr"]
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._draws = torch.zeros(WINDOW, len(Draw._fields), batch_size, dtype=torch.int64, device=device)
        self._kept = torch.ones(WINDOW, num_blocks, device=device)
        self._rates = torch.zeros(WINDOW, device=device)
        self._loss = torch.zeros(WINDOW, device=device)
        self._gradient_norm = torch.zeros(WINDOW, num_layers, dtype=torch.float64, device=device)
        self._window = -1
        self._prepared: tuple[int, Sequence[Tensor]] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._recorded = False

    def __call__(self, start: int, num_steps: int, should_stop: Callable[[], bool]) -> Readings:
        if not self._recorded:
            self.record()
        readings, step, stop, asked = [], start, start + num_steps, False
        while step < stop and not asked:
            window, first = divmod(step, WINDOW)
            self._open(window)
            self._cursor.fill_(first)
            last = first
            while last < min(WINDOW, first + stop - step) and not asked:
                self._replay()
                last += 1
                asked = should_stop()
            readings.append(Readings(self._loss[first:last].clone(), self._gradient_norm[first:last].clone()))
            step += last - first
            if last == WINDOW:
                self._prepared = self._tables(window + 1)  # while the device is busy with this one
        return Readings.cat(readings)

    def _step(self) -> None:
        """The recorded part."""
        self._rate.copy_(self._rates.index_select(0, self._cursor)[0])
        draw = Draw(*self._draws.index_select(0, self._cursor)[0])
        kept = self._kept.index_select(0, self._cursor)[0] if self._kept.shape[1] else self._kept[0]
        readings = self._update(draw, kept)
        self._loss.index_copy_(0, self._cursor, readings.loss)
        if self._gradient_norm.shape[1]:
            self._gradient_norm.index_copy_(0, self._cursor, readings.gradient_norm)
        self._cursor += 1

    def _open(self, window: int) -> None:
        """Put the tables of steps [window * WINDOW, (window + 1) * WINDOW) on the device."""
        if window == self._window:
            return
        if self._prepared is None or self._prepared[0] != window:
            self._prepared = self._tables(window)
        for there, table in zip((self._draws, self._kept, self._rates), self._prepared[1], strict=True):
            there.copy_(table, non_blocking=True)
        self._window = window

    def _tables(self, window: int) -> tuple[int, Sequence[Tensor]]:
        steps = range(window * WINDOW, (window + 1) * WINDOW)
        draws = torch.stack([torch.stack(self._inputs.draw(step)) for step in steps])
        kept = torch.stack([self._inputs.kept(step) for step in steps])
        rates = torch.tensor([self._inputs.rate(step) for step in steps])
        tables = (draws, kept, rates)
        if self._device == "cuda":  # pageable memory would make the copy wait for the device
            return window, [table.pin_memory() for table in tables]
        return window, tables

    def record(self) -> None:
        """Record the step. The net is as it was: warming up is undone, recording moves nothing.

        Raises CaptureError for a step that cannot be recorded, torch.OutOfMemoryError where memory runs out.
        """
        moved = [*self._moved, self._cursor]
        before = [tensor.clone() for tensor in moved]
        if self._device == "cuda":
            with _aside():
                self._warm_up()
        else:
            self._warm_up()
            with _named_failures(), _NoReadBack():
                self._step()
        with torch.no_grad():
            for tensor, value in zip(moved, before, strict=True):
                tensor.copy_(value)
        if self._device == "cuda":
            self._graph = self._captured()
        self._recorded = True

    def _captured(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with _named_failures(), _no_collection(), torch.cuda.graph(graph, stream=_side_stream()):
            self._step()
        return graph

    def _replay(self) -> None:
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _warm_up(self) -> None:
        for _ in range(WARM_UP_STEPS):
            self._step()


@cache
def _side_stream() -> torch.cuda.Stream:
    """Where steps are warmed up and recorded: one a process, since the allocator keeps memory by stream."""
    return torch.cuda.Stream()


@contextmanager
def _aside() -> Iterator[None]:
    """Work on the side stream, after what the current one has to do and before what it gets to do next."""
    stream = _side_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage before and none during: an older graph that dies in a capture breaks the capture."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _named_failures() -> Iterator[None]:
    """Raise CaptureError for what fails inside, but an OutOfMemoryError as what it is.

    CUDA invalidates a capture that did what it must not, and ending it fails again: the first error is meant.
    """
    try:
        yield
    except Exception as error:
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        if out_of_memory(first):
            raise first from None
        line = str(first).partition("\n")[0]
        raise CaptureError(f"the step cannot be recorded as one CUDA graph: {line}") from first


class _NoReadBack(TorchDispatchMode):
    """The twin's capture: refuses what would make the host wait for the device."""

    REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_unique2")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.partition(".")[0] in self.REFUSED:
            raise RuntimeError(f"{func} waits for the device, which no recording may")
        return func(*args, **(kwargs or {}))
