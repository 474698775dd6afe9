"""How far a run is: a bar on a terminal, elsewhere a plain line every few seconds. Always on stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_EVERY_SECONDS = 5.0


class Reading(Protocol):
    """What a run reports between spans."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def images_per_second(self) -> float | None: ...


class Fraction:
    """A reading of work that has no steps of its own: how much of it is done, in percent."""

    steps = 100
    loss = None
    images_per_second = None

    def __init__(self, done: float) -> None:
        self.step = int(100 * done)


class Display(Protocol):
    """Shows readings of runs by their label."""

    def update(self, label: str, reading: Reading) -> None: ...
    def say(self, line: str) -> None: ...


class Bars:
    """One bar per run on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def update(self, label: str, reading: Reading) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=reading.steps, figures="")
        self._progress.update(self._tasks[label], completed=reading.step, figures=figures(reading))

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class PlainLines:
    """A line per run every few seconds, and at its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}

    def update(self, label: str, reading: Reading) -> None:
        now = time.monotonic()
        due = now - self._last.setdefault(label, now) >= LINE_EVERY_SECONDS
        if due or reading.step == reading.steps:
            self._last[label] = now
            self.say(f"{label}  step {reading.step}/{reading.steps}  {figures(reading)}")

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def figures(reading: Reading) -> str:
    """Loss and speed, as far as they are known."""
    parts = []
    if reading.loss is not None:
        parts.append(f"loss {reading.loss:.3f}")
    if reading.images_per_second is not None:
        parts.append(f"{reading.images_per_second:,.0f} images/s")
    return "  ".join(parts)


@contextmanager
def display() -> Iterator[Display]:
    """Yield the display that suits where stderr goes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainLines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
