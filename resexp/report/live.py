"""Live view of a comparison on a terminal: the gradient by layer and the loss of its arms, side by side."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from resexp.config.yaml_nodes import without_commands
from resexp.report.chart import Chart, Points, beside, marks_legend
from resexp.report.formatting import scientific
from resexp.report.sentences import amount

WIDEST_VIEW = 110
GRADIENT = "Gradient by layer, last block = 1"


class RunPlace(NamedTuple):
    """Where a run stands in its comparison: the cell in words, and the arm."""

    cell: str
    arm: str


class FirstLook(NamedTuple):
    """A cell's gradient before training. arriving: by arm, dE/dx by layer, the last block's as 1."""

    cell: str
    depth: int
    arriving: Mapping[str, Points]

    @property
    def sentence(self) -> str:
        """How much arrives at layer 1 of each arm's net, as it was measured."""
        where = f", {self.cell}" if self.cell else ""
        if not any(self.arriving.values()):
            return f"Before training{where}: no gradient that could be measured."
        amounts = [
            f"{arm} has {_amount(points[min(points)]) if points else 'none that could be measured'}"
            for arm, points in self.arriving.items()
        ]
        said = f"at layer 1 of {self.depth}, of its last block's gradient, {', '.join(amounts)}"
        return f"Before training{where}: {said}."

    @property
    def chart(self) -> Chart:
        title = self.cell or f"depth {self.depth}"
        return Chart(title, self.arriving, "layer", log=True, y_range=(0.1, 1.0))


def pictures(looks: Sequence[FirstLook], width: int) -> RenderableType:
    """Return the first looks as charts, with what their axes and marks are."""
    arms = list(dict.fromkeys(arm for look in looks for arm in look.arriving))
    title = Text(f"{GRADIENT}, before training. It travels from right to left.", style="bold")
    charts = beside([look.chart for look in looks], min(width, WIDEST_VIEW))
    return Group(Text(), title, charts, marks_legend(arms))


class LiveView:
    """What is known of the cell that is being trained: of each arm its newest run."""

    def __init__(self) -> None:
        self._places: Mapping[str, RunPlace] = {}
        self._losses: dict[str, dict[float, float]] = {}
        self._arriving: dict[str, tuple[int, Points]] = {}
        self._newest: dict[RunPlace, str] = {}
        self._now: RunPlace | None = None

    def expect(self, places: Mapping[str, RunPlace]) -> None:
        self._places = places

    def update(self, label: str, step: int, loss: float | None, arriving: Points | None) -> None:
        if label not in self._places:
            return
        self._now = self._places[label]
        self._newest[self._now] = label
        if loss is not None:
            self._losses.setdefault(label, {})[step] = loss
        if arriving is not None:
            self._arriving[label] = step, arriving

    def render(self, width: int) -> RenderableType | None:
        """Return both charts; None while there is nothing to show."""
        if self._now is None:
            return None
        arms = dict.fromkeys(place.arm for place in self._places.values())
        runs = {arm: self._newest.get(RunPlace(self._now.cell, arm), "") for arm in arms}
        arriving = {arm: self._arriving.get(run, (0, {})) for arm, run in runs.items()}
        steps = [str(step) for step, points in arriving.values() if points]
        charts = [
            Chart(
                f"Gradient by layer, step {' / '.join(steps)}",
                {arm: points for arm, (_, points) in arriving.items()},
                "layer",
                log=True,
                y_range=(0.1, 1.0),
            ),
            Chart("Loss of a batch", {arm: self._losses.get(run, {}) for arm, run in runs.items()}, "step"),
        ]
        cell = without_commands(self._now.cell)
        head = Text(f"Training: {cell}" if cell else "Training", style="bold")
        return Group(Text(), head, beside(charts, min(width, WIDEST_VIEW)), marks_legend(list(arms)))


def _amount(ratio: float) -> str:
    return amount(ratio, scientific) if ratio > 0 else "an exact zero"
