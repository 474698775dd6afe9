"""First screen of a comparison of plain with residual: the finding, both blocks, the gradient, the outcome.

It fits 1280x720 and can be a slide. Nothing is judged here: the title follows from the recorded words, the
numbers are those of comparison.json and of the probes at step 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from resexp.records.documents import RatioRow, VerdictRow
from resexp.report.comparison_data import Cell, read_curves
from resexp.report.figures.lines import Line, line
from resexp.report.formatting import enumerated, power, size
from resexp.report.panels import seeds_words
from resexp.report.sentences import amount, setting_words

TITLES = {
    ("vanishing", "vanishing"): "The gradient is lost on the way back, with + x and without",
    ("vanishing", None): "Without + x the gradient is lost on the way back",
    (None, "vanishing"): "With + x the gradient is lost on the way back",
    ("exploding", "exploding"): "The gradient explodes on the way back, with + x and without",
    ("exploding", None): "Without + x the gradient explodes on the way back",
    (None, "exploding"): "With + x the gradient explodes on the way back",
    ("healthy", "healthy"): "The gradient arrives at the first layer, with + x and without",
}
"""By what the gradient does at step 0 in the plain and in the residual net; None: anything else."""
UNDECIDED = "A plain net and the same net with + x"
MAX_COLUMNS = 3
WIDTH, HEIGHT = 560.0, 316.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 544.0, 22.0, 268.0
LEAST_DECADES = 1.0


class ProfilePoint(NamedTuple):
    """A layer's gradient, and where it is drawn."""

    layer: int
    value: str
    x: float
    y: float


class GradientCourse(NamedTuple):
    """One kind of net in the gradient panel. band: the corners of the seeds' range, as SVG has them."""

    kind: str
    label: str
    points: Sequence[ProfilePoint]
    band: str
    label_x: float
    label_y: float

    @property
    def path(self) -> str:
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


class Outcome(NamedTuple):
    """How one kind of net ended in one cell. accuracy: in [0, 1], None where there is none."""

    accuracy: float | None
    learned: str

    @property
    def percent(self) -> str:
        return "–" if self.accuracy is None else f"{100 * self.accuracy:.1f}%"


GATED = ("highway",)
"""Blocks that weigh x before they add it: nothing that is said of `+ x` is said of them."""


class FirstScreen(NamedTuple):
    """All that stands on it, as text and places."""

    kicker: str
    title: str
    lead: str
    convs: int
    courses: Sequence[GradientCourse]
    y_ticks: Sequence[tuple[float, str]]
    x_ticks: Sequence[tuple[float, str]]
    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Outcome]]]
    guess: float
    strip: str
    more: Sequence[str]


def first_screen(cells: Sequence[Cell], verdicts: Sequence[VerdictRow], data: str) -> FirstScreen | None:
    """Return what stands there; None where the arms are not one plain and one residual net."""
    arms = _arms(cells)
    deep = [cell for cell in _deepest(cells) if arms and _has_both(cell, arms)]
    if arms is None or not deep:
        return None
    told = min(deep, key=lambda cell: _interest(_words(cell, verdicts, arms)))
    words = _words(told, verdicts, arms)
    entries = [entry for entry in told.entries if entry.config is not None]
    depth = told.entries[0].run.depth
    guess = next((e.began.data.guess_accuracy for e in told.entries if e.began), None)
    if not entries or guess is None:
        return None
    lines = _profiles(told, arms)
    scale = _Scale(lines, depth)
    seeds = {len([e for e in told.entries if e.run.arm == arm]) for arm in arms.values()}
    counted = "one seed" if seeds == {1} else f"{enumerated(sorted(seeds))} seeds"
    steps = enumerated(f"{e.config.optim.steps:,}" for cell in deep for e in cell.entries if e.config)
    return FirstScreen(
        kicker=f"resexp · {data} · depth {depth} · {counted}",
        title=_title(words),
        lead=" ".join(filter(None, [_arriving(told, verdicts, arms, depth), _learning(told, arms)])),
        convs=entries[0].config.model.convs_per_block if entries[0].config else 2,
        courses=[scale.course(kind, found) for kind, found in lines.items()],
        y_ticks=scale.y_ticks(),
        x_ticks=scale.x_ticks(),
        caption="How much of the last block's gradient reaches each layer before training · "
        + " · ".join(filter(None, [setting_words(told.name), data, f"{seeds_words(list(lines.values()))}."])),
        columns=[setting_words(cell.name) or "test accuracy" for cell in deep[:MAX_COLUMNS]],
        rows=[(kind, [_outcome(cell, arm) for cell in deep[:MAX_COLUMNS]]) for kind, arm in arms.items()],
        guess=guess,
        strip=f"Test accuracy after {steps} steps. The mark is guessing, {100 * guess:.3g}%.",
        more=[_beside(cell, verdicts, arms) for cell in deep if cell is not told],
    )


def _arms(cells: Sequence[Cell]) -> dict[str, str] | None:
    """The two arms by kind; None unless there is exactly one of each, and the residual one adds x itself."""
    if any(e.config and e.config.model.block in GATED for cell in cells for e in cell.entries):
        return None
    found = {entry.run.arm: entry.run.kind for cell in cells for entry in cell.entries}
    kinds = {kind: arm for arm, kind in found.items()}
    both = {kind: kinds[kind] for kind in ("plain", "residual") if kind in kinds}
    return both if len(found) == len(both) == 2 else None


def _has_both(cell: Cell, arms: Mapping[str, str]) -> bool:
    return {entry.run.arm for entry in cell.entries} == set(arms.values())


def _deepest(cells: Sequence[Cell]) -> list[Cell]:
    depth = max((entry.run.depth for cell in cells for entry in cell.entries), default=0)
    return [cell for cell in cells if all(entry.run.depth == depth for entry in cell.entries)]


def _gradient(cell: Cell, verdicts: Sequence[VerdictRow], arm: str) -> VerdictRow | None:
    """The recorded verdict on the gradient at step 0, None where there is none."""
    return next(
        (
            verdict
            for verdict in verdicts
            if verdict.about == "gradient"
            and verdict.arm == arm
            and verdict.when == "step 0"
            and cell.holds(verdict)
        ),
        None,
    )


def _words(
    cell: Cell, verdicts: Sequence[VerdictRow], arms: Mapping[str, str]
) -> tuple[str | None, str | None]:
    plain, residual = (_gradient(cell, verdicts, arms[kind]) for kind in ("plain", "residual"))
    return plain and plain.word, residual and residual.word


def _title(words: tuple[str | None, str | None]) -> str:
    plain, residual = words
    for pair in ((plain, residual), (plain, None), (None, residual)):
        if pair in TITLES:
            return TITLES[pair]
    return UNDECIDED


def _interest(words: tuple[str | None, str | None]) -> int:
    """The place of a pair of words in TITLES: a gradient lost by one of the two says most."""
    title = _title(words)
    order = [TITLES["vanishing", None], TITLES[None, "vanishing"], *TITLES.values()]
    return order.index(title) if title in order else len(order)


def _arriving(cell: Cell, verdicts: Sequence[VerdictRow], arms: Mapping[str, str], depth: int) -> str:
    amounts = {kind: _amount(_gradient(cell, verdicts, arm)) for kind, arm in arms.items()}
    if None in amounts.values():
        return ""
    return (
        f"At layer 1 of {depth} the plain net has {amounts['plain']} of its last block's gradient; "
        f"with + x, {amounts['residual']}."
    )


def _amount(verdict: VerdictRow | None) -> str | None:
    found = (verdict and verdict.transport) or RatioRow()
    ratio = found.ratio
    if ratio is None:  # where a seed underflowed there is a bound; where all did, not even that
        bound = found.interval[1] if found.interval else None
        floor = "the numbers can hold" if bound is None else f"{size(bound)} (95% bound)"
        return f"less than {floor}" if found.underflows else None
    return amount(ratio)


def _learning(cell: Cell, arms: Mapping[str, str]) -> str:
    counts = {}
    for kind in ("residual", "plain"):
        fates = [e.run.fate for e in cell.entries if e.run.arm == arms[kind]]
        counts[kind] = (fates.count("finished"), len(fates), fates)
    texts = [_counted(kind, *counts[kind]) for kind in counts]
    return f"{texts[0][:1].upper()}{texts[0][1:]}, {texts[1]}."


def _counted(kind: str, learned: int, num: int, fates: Sequence[str]) -> str:
    if num == 1:
        words = {"finished": "learned", "stuck": "is still at guessing", "diverged": "diverged"}
        return f"the {kind} net {words.get(fates[0], 'has not ended')}"
    some = f"all {num}" if learned == num else f"{learned or 'none'} of {num}"
    return f"{some} {kind} nets learned"


def _outcome(cell: Cell, arm: str) -> Outcome:
    own = [entry.run for entry in cell.entries if entry.run.arm == arm]
    known = [row.test_accuracy for row in own if row.test_accuracy is not None]
    learned = sum(row.fate == "finished" for row in own)
    said = (
        ("learned" if learned else "did not learn") if len(own) == 1 else f"{learned} of {len(own)} learned"
    )
    return Outcome(sum(known) / len(known) if known else None, said)


def _beside(cell: Cell, verdicts: Sequence[VerdictRow], arms: Mapping[str, str]) -> str:
    words = _words(cell, verdicts, arms)
    name = setting_words(cell.name) or "the other setting"
    if "vanishing" not in words:
        return (
            f"With {name} no gradient is found to vanish: see below" if all(words) else f"With {name}: below"
        )
    lost = {(True, True): "both gradients vanish", (True, False): "the plain net's gradient vanishes, too"}
    both = (words[0] == "vanishing", words[1] == "vanishing")
    return f"With {name} {lost.get(both, 'the residual net’s gradient vanishes')}: see below"


def _profiles(cell: Cell, arms: Mapping[str, str]) -> dict[str, Line]:
    """The gradient at step 0 by layer, relative to the last block's, by kind of net."""
    found: dict[str, Any] = {}
    for kind, arm in arms.items():
        curves = [read_curves(entry) for entry in cell.entries if entry.run.arm == arm]
        profiles = [one.transport.get(0, {}) for one in curves if not isinstance(one, str)]
        found[kind] = line(arm, arm, profiles, geometric=True)
    return {kind: one for kind, one in found.items() if one is not None}


class _Scale:
    """From layers and sizes to places in the panel: linear in layers, logarithmic in sizes."""

    def __init__(self, lines: Mapping[str, Line], depth: int) -> None:
        values = [float(v) for one in lines.values() for part in (one.low, one.high) for v in part]
        logs = [math.log10(value) for value in values if value > 0] or [0.0]
        foot = min(logs) - (1.0 if any(value <= 0 for value in values) else 0.0)
        self.low = math.floor(min(foot, -LEAST_DECADES))
        self.high = math.ceil(max(*logs, 0.0))
        self.first, self.last = 1.0, max(2.0, depth - 1.0)
        self.kinds = lines

    def x(self, layer: float) -> float:
        return LEFT + (RIGHT - LEFT) * (layer - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        decades = max(math.log10(value), self.low) if value > 0 else self.low
        return BOTTOM - (BOTTOM - TOP) * (decades - self.low) / max(1, self.high - self.low)

    def y_ticks(self) -> list[tuple[float, str]]:
        every = max(1, math.ceil((self.high - self.low) / 5))
        decades = [d for d in range(self.low, self.high + 1) if d % every == 0]
        return [(self.y(10.0**decade), power(10.0**decade)) for decade in decades]

    def x_ticks(self) -> list[tuple[float, str]]:
        every = max(1, 5 * round((self.last - 1) / 20))
        layers = [1, *range(every, int(self.last), every)]
        if self.last - layers[-1] < every / 2:
            layers.pop()
        return [(self.x(layer), str(layer)) for layer in (*layers, int(self.last))]

    def course(self, kind: str, found: Line) -> GradientCourse:
        places = list(zip(found.x, found.middle, strict=True))
        points = [ProfilePoint(int(x), size(float(y)), self.x(float(x)), self.y(float(y))) for x, y in places]
        band = ""
        if found.n > 1:
            low = [(self.x(float(x)), self.y(float(y))) for x, y in zip(found.x, found.low, strict=True)]
            high = [(self.x(float(x)), self.y(float(y))) for x, y in zip(found.x, found.high, strict=True)]
            band = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*high, *reversed(low)])
        middle = points[len(points) // 2 if kind == "residual" else (2 * len(points)) // 5]
        others = [one.middle.mean() for other, one in self.kinds.items() if other != kind]
        below = bool(others) and found.middle.mean() < others[0]
        label = {"plain": "plain", "residual": "with + x"}[kind]
        return GradientCourse(
            kind, label, points, band, middle.x + (14 if below else 0), middle.y + (24 if below else -12)
        )
