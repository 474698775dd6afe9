"""The article's picture: a block is given half a squiggle and has to hand on the whole.

The block is dense (every pixel reaches every other), because the missing half can not be told from what lies
within a few pixels. Every squiggle is one wave, so that its first half says how it goes on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from torch import Tensor, nn

from resexp.analysis.statistics import DifferenceWord, paired_difference
from resexp.claims.finding import (
    Asked,
    BySeed,
    Finding,
    Measurement,
    OnProgress,
    Part,
    Picture,
    decided,
    judged,
    listed,
    mean_text,
    measurement,
    paired_differences,
    story,
    too_few,
)
from resexp.claims.squiggle_data import (
    BLANK,
    DRAWING_PARTS,
    DRAWN,
    MISSING,
    SHEET_SIZE,
    WHOLE,
    WORDED,
    crayon,
    draw_squiggles,
    error_parts,
)
from resexp.claims.stacked_training import (
    BLOCK_ARMS,
    PLAIN,
    RESIDUAL,
    ZERO,
    OpenBlock,
    Pairs,
    fit,
    make_blocks,
    one_thread,
)
from resexp.data.crayons.strokes import paper_grain
from resexp.models.blocks import Block
from resexp.report.figures.lines import legend
from resexp.report.figures.style import (
    FONT_SIZE,
    INK,
    SOFT,
    colour_of,
    dress,
    markers,
)
from resexp.seeds import derive

NUM_TRAINING, _NUM_CHOOSING, _NUM_HELD_OUT = 2048, 128, 256
_STEPS, _BATCH_SIZE = 300, 32
LOOKS = (0, 10, 30, 100, 300)
_RATES = (0.005, 0.015, 0.045)
ALONE_STEPS, ALONE_LOOK = 40, 20
_UNIT = "of just copying"
CURVE_FLOOR = 3e-4
STARTS = {
    RESIDUAL: "nothing stands after the addition (random start)",
    ZERO: "nothing stands after the addition (last layer from zero)",
}
"""How the blocks that add their input are said after `holds only if`."""
BLOCKED = "a ReLU stands after the addition (last layer from zero)"
AGAINST: dict[DifferenceWord | None, str] = {
    "lower": "draws it better",
    "higher": "draws it worse",
    "not resolved": "is not told apart",
    None: "is not told apart",
}
HALF = 0.5
"""Of just copying: a block that misses less of the missing half than this draws it."""
Drawing = NDArray[np.float32]
"""Wax on paper, [H, W] in [0, 1]."""
_PAPER = "#fffdf6"
EDGE = "#d9d3c4"
"""A sheet stays a sheet in the dark: these two do not follow the reader's setting."""
GRAPHITE = "#4a4742"


class Course(NamedTuple):
    """An arm over its training: errors by step, part and seed, and what it drew of one held-out squiggle."""

    rate: float
    errors: dict[int, dict[str, dict[int, float]]]
    drawn: dict[int, Tensor]

    @property
    def last(self) -> dict[str, dict[int, float]]:
        return self.errors[max(self.errors)]


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Train the three arms on half squiggles and see which half each of them gets wrong."""
    with one_thread():
        data = {what: [draw_squiggles(s, what, n) for s in seeds] for what, n in SETS.items()}
        courses = {
            arm: learn_halves(arm, seeds, data, lambda done, i=i: report((i + done) / 5))
            for i, arm in enumerate(BLOCK_ARMS)
        }
        blocked = learn_halves(ZERO, seeds, data, lambda done: report((3 + done) / 5), kind=Block)
        alone = {arm: learn_one(arm, seeds, data) for arm in BLOCK_ARMS}
    return _finding(courses, blocked, alone, data["held out"][0])


def _finding(
    courses: Mapping[str, Course], blocked: Course, alone: Mapping[str, BySeed], held_out: Pairs
) -> Finding:
    return Finding(
        name="squiggle",
        claim="A plain block must draw the whole shape; a residual block only draws what is missing.",
        source="article",
        answer=judged(squiggle_settings(courses, blocked)),
        sentence=_sentence(courses, blocked),
        setup=(
            f"Drawings of {SHEET_SIZE} x {SHEET_SIZE} pixels: given is the left half of a wave in crayon, "
            "wanted the whole wave. Every block is two layers that join all pixels to all, with a ReLU "
            "between; the residual ones add their input, the third starts with its last layer at zero. "
            f"Same first weights, same drawings, {_STEPS} steps of {_BATCH_SIZE} drawings; for each block "
            f"the best of the learning rates {', '.join(map(str, _RATES))}, chosen on other drawings. The "
            f"error is the squared difference on {_NUM_HELD_OUT} squiggles that were never trained on, in "
            "units of the error of handing on the half as it came. Pixels that are right in the given half "
            "are 'already drawn', pixels to be added are 'missing', the rest is 'blank'. To draw only what "
            "is missing is a smaller error than the plain block's on both other parts, and less than "
            f"{HALF} on the missing."
        ),
        measurements=squiggle_measurements(courses, blocked, alone),
        pictures=_pictures(courses, held_out),
        details={
            "seeds": list(courses[PLAIN].last[WHOLE]),
            "rates": {arm: course.rate for arm, course in courses.items()},
            "errors": {
                arm: {
                    str(step): {part: list(v.values()) for part, v in parts.items()}
                    for step, parts in c.errors.items()
                }
                for arm, c in courses.items()
            },
            "zero start with a ReLU after the addition": {
                part: list(v.values()) for part, v in blocked.last.items()
            },
            "one drawing alone": {arm: list(each.values()) for arm, each in alone.items()},
        },
    )


SETS = {"training": NUM_TRAINING, "choosing": _NUM_CHOOSING, "held out": _NUM_HELD_OUT}


def learn_halves(
    arm: str,
    seeds: Sequence[int],
    data: dict[str, list[Pairs]],
    report: OnProgress,
    *,
    kind: type[Block] = OpenBlock,
) -> Course:
    """Train one arm. kind: Block puts its ReLU after the addition."""
    training = dict(zip(seeds, data["training"], strict=True))
    choosing, held_out = (
        Pairs(*(torch.stack(part) for part in zip(*data[what], strict=True)))
        for what in ("choosing", "held out")
    )

    def batch(seed: int, step: int) -> Pairs:
        rng = torch.Generator().manual_seed(derive(seed, "squiggle", "batch", step))
        some = torch.randint(NUM_TRAINING, (_BATCH_SIZE,), generator=rng)
        return Pairs(*(part[some] for part in training[seed]))

    result = fit(
        lambda seed: dense(arm, seed, kind), seeds, _RATES, batch,
        steps=_STEPS, looks=LOOKS, choosing=choosing, held_out=held_out, report=report,
    )  # fmt: skip
    errors = {
        step: {
            part: dict(zip(seeds, each, strict=True)) for part, each in error_parts(made, held_out).items()
        }
        for step, made in result.outputs.items()
    }
    return Course(result.rate, errors, {step: made[0, 0] for step, made in result.outputs.items()})


def learn_one(arm: str, seeds: Sequence[int], data: dict[str, list[Pairs]]) -> dict[int, float]:
    """Return each seed's error, after ALONE_LOOK steps on a single squiggle, on that squiggle."""
    one = {
        seed: Pairs(*(part[:1] for part in pairs))
        for seed, pairs in zip(seeds, data["training"], strict=True)
    }
    both = Pairs(*(torch.stack(part) for part in zip(*one.values(), strict=True)))
    result = fit(
        lambda seed: dense(arm, seed), seeds, _RATES, lambda seed, step: one[seed],
        steps=ALONE_STEPS, looks=(ALONE_LOOK, ALONE_STEPS), choosing=both, held_out=both,
    )  # fmt: skip
    return dict(zip(seeds, error_parts(result.outputs[ALONE_LOOK], both)[WHOLE], strict=True))


def dense(arm: str, seed: int, kind: type[Block] = OpenBlock) -> nn.Module:
    """Return one block whose layers join every pixel to every pixel."""
    pixels = SHEET_SIZE * SHEET_SIZE
    return make_blocks(arm, seed, pixels, lambda: nn.Linear(pixels, pixels), kind=kind)


def squiggle_settings(courses: Mapping[str, Course], blocked: Course) -> dict[str, list[Part]]:
    """Return, for each start of a residual block, whether it draws what is missing, and that alone."""
    plain = courses[PLAIN].last
    starts = {when: courses[arm] for arm, when in STARTS.items()} | {BLOCKED: blocked}
    asked: dict[tuple[str, str], Asked] = {}
    for when, course in starts.items():
        for part in (DRAWN, BLANK):
            says = f"it misses less of {WORDED[part]} than the plain block"
            asked[when, part] = Asked(says, course.last[part], "lower", plain[part], _UNIT)
        says = f"it draws {WORDED[MISSING]}"
        asked[when, MISSING] = Asked(says, course.last[MISSING], "lower", HALF, _UNIT)
    parts = decided(asked)
    return {when: [parts[when, part] for part in (DRAWN, BLANK, MISSING)] for when in starts}


def _sentence(courses: Mapping[str, Course], blocked: Course) -> str:
    n = len(courses[PLAIN].last[WHOLE])
    errors = "; ".join(
        f"{WORDED[part]}: {listed(f'{arm} {mean_text(c.last[part])}' for arm, c in courses.items())}"
        for part in (*DRAWING_PARTS, WHOLE)
    )
    words = paired_differences(
        {arm: (courses[arm].last[MISSING], courses[PLAIN].last[MISSING]) for arm in STARTS}
    )
    drawing = " and ".join(f"{arm} {AGAINST[word]}" for arm, (_, word) in words.items())
    stuck = blocked.last[MISSING]
    trapped = min(stuck.values()) > max(courses[ZERO].last[MISSING].values())
    return story(
        f"Error on {errors}. In units of just copying, n = {n}.",
        f"The missing half itself, against the plain block: {drawing}.",
        f"With a ReLU after the addition the zero start keeps {mean_text(stuck)} of the missing half: where "
        "the paper is exactly 0, that ReLU lets no gradient through."
        if trapped
        else "",
        too_few(n),
    )


def squiggle_measurements(
    courses: Mapping[str, Course], blocked: Course, alone: Mapping[str, BySeed]
) -> tuple[Measurement, ...]:
    """Return all of it for the table, the whole drawing first."""
    parts = (WHOLE, *DRAWING_PARTS)
    rows = [
        measurement(f"error on {WORDED[part]}: {arm}", course.last[part], _UNIT)
        for part in parts
        for arm, course in courses.items()
    ]
    rows += [
        Measurement.of(
            f"{arm} minus plain, on {WORDED[part]}",
            paired_difference(courses[arm].last[part], courses[PLAIN].last[part]),
            _UNIT,
        )
        for arm in STARTS
        for part in parts
    ]
    rows += [
        measurement(
            f"error on {WORDED[part]}: zero start, ReLU after the addition", blocked.last[part], _UNIT
        )
        for part in DRAWING_PARTS
    ]
    rows += [
        measurement(f"one squiggle alone, after {ALONE_LOOK} steps: {arm}", each, _UNIT)
        for arm, each in alone.items()
    ]
    return tuple(rows)


def _pictures(courses: Mapping[str, Course], held_out: Pairs) -> tuple[Picture, ...]:
    """Return the drawings side by side, then the error on each part over the steps."""
    rng = np.random.default_rng(derive(0, "squiggle", "paper"))
    grain = paper_grain(rng)
    given, wanted = (crayon(part[0], grain, rng) for part in held_out)
    sheets = {arm: [crayon(drawn, grain, rng) for drawn in c.drawn.values()] for arm, c in courses.items()}
    colours = {arm: colour_of(arm, BLOCK_ARMS) for arm in BLOCK_ARMS}
    sheets_of_paper = sheets_figure(
        (given, wanted), sheets, [f"step {step}" if step else "start" for step in LOOKS], colours=colours
    )
    panels = {
        f"error on {WORDED[part]}": {
            arm: {step: list(errors[part].values()) for step, errors in course.errors.items()}
            for arm, course in courses.items()
        }
        for part in DRAWING_PARTS
    }
    ends = "; ".join(
        f"{WORDED[part]}: " + ", ".join(f"{arm} {mean_text(c.last[part])}" for arm, c in courses.items())
        for part in DRAWING_PARTS
    )
    return (
        Picture(
            sheets_of_paper,
            "A squiggle no block was trained on, as each draws it while it learns (first seed). The plain "
            "block begins with a scribble and has to learn the copying too. The residual block has the "
            "half from the "
            "start, under a scribble of its own. Started at zero it has the half, on clean paper.",
            "On top half a wave in crayon and the whole wave. Below a grid of crayon drawings, a column a "
            "block, a row a step: the plain block's half wave appears slowly, the residual blocks' is "
            "there at "
            "once.",
        ),
        Picture(
            curves_figure(panels, floor=CURVE_FLOOR, names=BLOCK_ARMS),
            "The error on each part of the drawing, in units of just copying; bands are the range of the "
            "seeds. "
            f"What starts at zero starts below the picture, with no error but on {WORDED[MISSING]}.",
            f"Errors at the end on {ends}.",
        ),
    )


def sheets_figure(
    task: tuple[Drawing, Drawing],
    columns: Mapping[str, Sequence[Drawing]],
    rows: Sequence[str],
    *,
    colours: Mapping[str, str],
) -> Figure:
    """Draw sheets of paper with crayon on them: the task on top, then a column a name, a row each of `rows`.

    task: what is given, what is wanted. columns: two or more. colours: of each column's heading and crayon.
    """
    size = (1.24 * len(columns) + 0.6, 1.24 * (len(rows) + 1) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)  # type: ignore[union-attr]
    grid = figure.subplots(len(rows) + 1, len(columns), squeeze=False)
    for axes in grid[0]:
        axes.set_axis_off()
    for axes, drawing, word in ((grid[0, 0], task[0], "given"), (grid[0, -1], task[1], "wanted")):
        axes.set_axis_on()
        _sheet(axes, drawing, GRAPHITE)
        axes.set_title(word, fontsize=FONT_SIZE, color=SOFT, pad=4)
    way = {"arrowstyle": "->", "color": SOFT, "linewidth": 1.2}
    grid[0, 1].annotate("", (0.85, 0.5), (0.15, 0.5), xycoords="axes fraction", arrowprops=way)
    for j, (name, drawings) in enumerate(columns.items()):
        for i, drawing in enumerate(drawings):
            axes = grid[i + 1, j]
            _sheet(axes, drawing, colours[name])
            if i == 0:
                axes.set_title(name, fontsize=FONT_SIZE, color=colours[name], pad=4)
            if j == 0:
                axes.set_ylabel(rows[i], fontsize=FONT_SIZE, color=SOFT, rotation=0, ha="right", va="center")
    return figure


def _sheet(axes: Axes, drawing: Drawing, colour: str) -> None:
    """Put one drawing on paper: the wax covers the paper, it does not tint it."""
    paper, wax = np.array(to_rgb(_PAPER)), np.array(to_rgb(colour))
    amount = np.clip(drawing, 0, 1)[:, :, None]
    axes.imshow(paper + amount * (wax - paper), interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(EDGE)
    axes.spines[:].set_linewidth(0.8)


def curves_figure(
    panels: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]], *, floor: float, names: Sequence[str]
) -> Figure:
    """Draw a panel under the other: the mean over seeds by step, the seeds' range as a band, a curve a name.

    panels: title to name to step to one number a seed, on one logarithmic axis from `floor` up.
    """
    figure = Figure(figsize=(4.3, 2.35 * len(panels) + 0.6), layout="constrained")
    stack = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (title, curves) in zip(stack, panels.items(), strict=True):
        dress(axes)
        for name, curve in curves.items():
            x, values = list(curve), np.array(list(curve.values()))
            colour = colour_of(name, names)
            axes.plot(
                x, values.mean(axis=1), color=colour, marker=markers(names)[name], markersize=4,
                markeredgewidth=0, label=name,
            )  # fmt: skip
            axes.fill_between(
                x, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.18, linewidth=0
            )
            axes.set_xticks(x[:1] + [step for step in x if step >= x[-1] / 5])
        axes.set_title(title, loc="left", fontsize=FONT_SIZE, color=INK, pad=3)
        axes.set_yscale("log")
        axes.set_ylim(floor, None)
        axes.yaxis.set_minor_locator(NullLocator())
    stack[-1].set_xlabel("step", fontsize=FONT_SIZE, color=INK)
    legend(figure, stack[0])
    return figure
