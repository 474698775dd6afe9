"""How many steps are made in a row: what each of them is given, and the plain way to make them."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch.optim import Optimizer

from resexp.data.batches import Draw
from resexp.training.step import Readings

Update = Callable[[Draw], Readings]
"""One step, from its chance on the device or the CPU to its readings; reads nothing back."""


class Course(NamedTuple):
    """What each step is given, as functions of its number."""

    draw: Callable[[int], Draw]
    rate: Callable[[int], float]


class Stepper(Protocol):
    """A way to make steps: the same steps, and readings that agree up to rounding, whichever it is."""

    def __call__(self, start: int, num_steps: int, should_stop: Callable[[], bool]) -> Readings:
        """Make the steps from `start` on, at least one, until `should_stop` says so between two of them."""
        ...


class OneByOne:
    """Each step's kernels are sent to the device one by one, as PyTorch does by itself."""

    def __init__(self, update: Update, optimizer: Optimizer, course: Course) -> None:
        self._update = update
        self._optimizer = optimizer
        self._course = course

    def __call__(self, start: int, num_steps: int, should_stop: Callable[[], bool]) -> Readings:
        readings = []
        for step in range(start, start + num_steps):
            self._optimizer.param_groups[0]["lr"] = self._course.rate(step)
            readings.append(self._update(self._course.draw(step)))
            if should_stop():
                break
        return Readings.cat(readings)
