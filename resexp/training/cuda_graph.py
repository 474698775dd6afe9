"""The whole step as one CUDA graph: a step costs the host one call instead of hundreds.

A graph is a recording of kernels with their addresses, so all that a step needs and gives lies in buffers
that stay where they are: the draws and rates of `WINDOW` steps, a cursor that the graph itself moves on, and
a ring of readings. The host fills the tables, replays, copies the ring; it never waits for the device. On a
CPU the same function over the same buffers is called where a GPU would replay it: the twin that tests run.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from resexp.data.batches import Draw
from resexp.training.step import Course, Readings, Update

WINDOW = 50
"""Steps whose chance goes up together; the calendar's spans end on multiples of it or sooner."""
WARM_UP_STEPS = 3
"""Steps before the recording, in which libraries choose kernels, allocate and compile; then undone."""


class Graphed:
    """Replays one recording of the step. `moved` are all tensors that a step changes, in place.

    The rate must be read from `rate`, a tensor in the optimizer: a number would be recorded as it was.
    """

    def __init__(
        self,
        update: Update,
        optimizer: Optimizer,
        course: Course,
        moved: Sequence[Tensor],
        *,
        batch_size: int,
        num_layers: int,
        device: str,
    ) -> None:
        self._update = update
        self._course = course
        self._moved = moved
        self._device = device
        self._rate: Tensor = optimizer.param_groups[0]["lr"]
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._draws = torch.zeros(WINDOW, 4, batch_size, dtype=torch.int64, device=device)
        self._rates = torch.zeros(WINDOW, device=device)
        self._loss = torch.zeros(WINDOW, device=device)
        self._gradient_norm = torch.zeros(WINDOW, num_layers, dtype=torch.float64, device=device)
        self._window = -1
        self._prepared: tuple[int, Tensor, Tensor] | None = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, start: int, num_steps: int, should_stop: Callable[[], bool]) -> Readings:
        self._replay = self._replay or self._record()
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
        readings = self._update(draw)
        self._loss.index_copy_(0, self._cursor, readings.loss)
        if self._gradient_norm.shape[1]:
            self._gradient_norm.index_copy_(0, self._cursor, readings.gradient_norm)
        self._cursor += 1

    def _open(self, window: int) -> None:
        """Put the draws and rates of steps [window * WINDOW, (window + 1) * WINDOW) on the device."""
        if window == self._window:
            return
        if self._prepared is None or self._prepared[0] != window:
            self._prepared = self._tables(window)
        _, draws, rates = self._prepared
        self._draws.copy_(draws, non_blocking=True)
        self._rates.copy_(rates, non_blocking=True)
        self._window = window

    def _tables(self, window: int) -> tuple[int, Tensor, Tensor]:
        steps = range(window * WINDOW, (window + 1) * WINDOW)
        draws = torch.stack([torch.stack(self._course.draw(step)) for step in steps])
        rates = torch.tensor([self._course.rate(step) for step in steps])
        if self._device == "cuda":  # pageable memory would make the copy wait for the device
            draws, rates = draws.pin_memory(), rates.pin_memory()
        return window, draws, rates

    def _record(self) -> Callable[[], None]:
        """Return what makes one step. The net is as it was: warming up is undone, recording moves nothing."""
        moved = [*self._moved, self._cursor]
        before = [tensor.clone() for tensor in moved]
        if self._device == "cuda":
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._warm_up()
            torch.cuda.current_stream().wait_stream(aside)
        else:
            self._warm_up()
        with torch.no_grad():
            for tensor, value in zip(moved, before, strict=True):
                tensor.copy_(value)
        if self._device == "cpu":
            return self._step
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph.replay

    def _warm_up(self) -> None:
        for _ in range(WARM_UP_STEPS):
            self._step()
