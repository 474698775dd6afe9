"""The article's picture: a block is given half a squiggle and has to hand on the whole.

The block is dense (every pixel reaches every other), because the missing half can not be told from what lies
within a few pixels. Every squiggle is one wave, so that its first half says how it goes on.
"""

from collections.abc import Mapping, Sequence

import numpy as np

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
)
from resexp.claims.squiggle_figures import curves_figure, sheets_figure
from resexp.claims.squiggle_learning import (
    _NUM_HELD_OUT,
    ALONE_LOOK,
    LOOKS,
    SETS,
    SQUIGGLE_BATCH,
    SQUIGGLE_RATES,
    SQUIGGLE_STEPS,
    Course,
    learn_halves,
    learn_one,
)
from resexp.claims.stacked_training import BLOCK_ARMS, PLAIN, RESIDUAL, ZERO, Pairs, one_thread
from resexp.data.crayons.strokes import paper_grain
from resexp.models.blocks import Block
from resexp.report.figures.style import colour_of
from resexp.seeds import derive

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
            f"Same first weights, same drawings, {SQUIGGLE_STEPS} steps of {SQUIGGLE_BATCH} drawings; for "
            f"each block the best of the learning rates {', '.join(map(str, SQUIGGLE_RATES))}, chosen on "
            f"other drawings. The error is the squared difference on {_NUM_HELD_OUT} squiggles that were "
            "never trained on, in units of the error of handing on the half as it came. Pixels that are "
            "right in the given half are 'already drawn', pixels to be added are 'missing', the rest is "
            "'blank'. To draw only what is missing is a smaller error than the plain block's on both other "
            f"parts, and less than {HALF} on the missing."
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
