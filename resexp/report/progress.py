"""Progress of runs: a bar each on a terminal, elsewhere a plain line every few seconds. Always on stderr."""

import importlib.util
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from resexp.config.yaml_nodes import without_commands
from resexp.report.live import FirstLook, LiveView, RunPlace, pictures

LINE_EVERY_SECONDS = 5.0
MAX_BARS = 12
"""Runs that a terminal shows at once: beyond it, those that are over make room."""
FEWEST_ROWS = 24
"""Of a terminal that has room for the view above the bars."""
Message = tuple[Any, ...]
"""A method of Display, and what it is called with; picklable."""


class Snapshot(Protocol):
    """What a run reports between spans."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def images_per_second(self) -> float | None: ...
    @property
    def arriving(self) -> Mapping[float, float] | None: ...


class Fraction:
    """A reading of work that has no steps of its own: how much of it is done, in percent."""

    steps = 100
    loss = None
    images_per_second = None
    arriving = None

    def __init__(self, done: float) -> None:
        self.step = round(100 * done)


class Display(Protocol):
    """Shows readings of runs by their label."""

    def update(self, label: str, snapshot: Snapshot) -> None: ...
    def say(self, line: str) -> None: ...


class Dashboard(Display, Protocol):
    """Shows many runs, and how many of them are over."""

    def expect(self, places: Mapping[str, RunPlace]) -> None: ...
    def first_looks(self, looks: Sequence[FirstLook]) -> None: ...
    def over(self, label: str) -> None: ...


class LiveProgress(Progress):
    """Bars, and above them a view that moves with them."""

    def __init__(self, *columns: ProgressColumn, console: Console, view: LiveView) -> None:
        self._view, self._shown_on = view, console  # asked for while the parent is being made
        super().__init__(*columns, console=console)

    def get_renderables(self) -> Iterator[RenderableType]:
        if (view := self._view.render(self._shown_on.width)) and self._shown_on.height >= FEWEST_ROWS:
            yield view
        yield from super().get_renderables()


class Bars:
    """One bar per run on a terminal, one for all of them where several are expected, the view above."""

    def __init__(self, progress: Progress, view: LiveView) -> None:
        self._progress = progress
        self._view = view
        self._all = progress.add_task("all runs", total=None, figures="", visible=False)
        self._tasks: dict[str, TaskID] = {}
        self._over: deque[str] = deque()

    def update(self, label: str, snapshot: Snapshot) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(
                without_commands(label), total=snapshot.steps, figures=""
            )
            self._make_room()
        self._view.update(label, snapshot.step, snapshot.loss, snapshot.arriving)
        self._progress.update(self._tasks[label], completed=snapshot.step, figures=figures(snapshot))

    def expect(self, places: Mapping[str, RunPlace]) -> None:
        self._view.expect(places)
        self._progress.reset(self._all, total=len(places), visible=len(places) > 1)

    def first_looks(self, looks: Sequence[FirstLook]) -> None:
        console = self._progress.console
        console.print(pictures(looks, console.width), highlight=False)
        for look in looks:
            console.print(without_commands(look.sentence), markup=False, highlight=False)

    def over(self, label: str) -> None:
        self._progress.advance(self._all)
        if label in self._tasks:
            self._over.append(label)
            self._make_room()

    def _make_room(self) -> None:
        while len(self._tasks) > MAX_BARS and self._over:
            self._progress.remove_task(self._tasks.pop(self._over.popleft()))

    def say(self, line: str) -> None:
        self._progress.console.print(without_commands(line), markup=False, highlight=False)


class PlainLines:
    """A line per run every few seconds, and at its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}
        self._num_over, self._num_runs = 0, 0
        self._counted = time.monotonic()

    def update(self, label: str, snapshot: Snapshot) -> None:
        if snapshot.arriving is not None:
            return  # a probe between two spans, whose line stands already
        now = time.monotonic()
        due = now - self._last.setdefault(label, now) >= LINE_EVERY_SECONDS
        if due or snapshot.step == snapshot.steps:
            self._last[label] = now
            self.say(f"{label}  step {snapshot.step}/{snapshot.steps}  {figures(snapshot)}")

    def expect(self, places: Mapping[str, RunPlace]) -> None:
        self._num_over, self._num_runs = 0, len(places)

    def first_looks(self, looks: Sequence[FirstLook]) -> None:
        for look in looks:
            self.say(look.sentence)

    def over(self, label: str) -> None:
        self._last.pop(label, None)
        self._num_over += 1
        now = time.monotonic()
        if self._num_runs > 1 and (
            now - self._counted >= LINE_EVERY_SECONDS or self._num_over == self._num_runs
        ):
            self._counted = now
            self.say(f"{self._num_over} of {self._num_runs} runs are over")

    def say(self, line: str) -> None:
        self._console.print(without_commands(line), markup=False, highlight=False, soft_wrap=True)


def figures(snapshot: Snapshot) -> str:
    """Loss and speed, as far as they are known."""
    parts = []
    if snapshot.loss is not None:
        parts.append(f"loss {snapshot.loss:.3f}")
    if snapshot.images_per_second is not None:
        parts.append(f"{snapshot.images_per_second:,.0f} images/s")
    return "  ".join(parts)


@contextmanager
def display() -> Iterator[Dashboard]:
    """Yield the display that suits where stderr goes."""
    console = Console(stderr=True)
    if not (console.is_terminal or _in_notebook(console)):
        yield PlainLines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(),
    )
    view = LiveView()
    with LiveProgress(*columns, console=console, view=view) as progress:
        yield Bars(progress, view)


def _in_notebook(console: Console) -> bool:
    """Whether this is a notebook that can move what it shows."""
    return console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None


class Relay:
    """A display that sends what it is told somewhere else."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def update(self, label: str, snapshot: Snapshot) -> None:
        self._send(("update", label, snapshot))

    def say(self, line: str) -> None:
        self._send(("say", line))


def pass_on(message: Message, show: Display) -> None:
    """Show what a relay has sent."""
    what, *content = message
    {"update": show.update, "say": show.say}[what](*content)
