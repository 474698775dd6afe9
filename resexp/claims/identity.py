"""The extreme: where Y = x, a residual block has only to add nothing. And where Y is something else."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from resexp.analysis.statistics import paired_difference
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
    story,
    too_few,
)
from resexp.claims.identity_learning import (
    _SIZE,
    CASES,
    CHANNELS,
    LEARNING_BATCH,
    LEARNING_RATES,
    LEARNING_STEPS,
    SAME,
    TARGETS,
    TEACHER_CHANNELS,
    ZEROED,
    Branch,
    Case,
    Learned,
    learn_targets,
)
from resexp.claims.stacked_training import BLOCK_ARMS, PLAIN, RESIDUAL, ZERO, one_thread
from resexp.report.figures.lines import legend
from resexp.report.figures.style import INK, SOFT, colour_of, markers, panel

_FLOOR = 1e-8
_UNIT = "of |Y|²"


Errors = Mapping[tuple[str, str, str], BySeed]
"""By case, target and arm: one number a seed."""


BRANCH_UNITS = {"first": "of its start", "last": "of its start", "live": "%", "response": "of |x|²"}
BRANCH_WORDS = {
    "first": "norm of the first layer's weights",
    "last": "norm of the last layer's weights",
    "live": "ReLUs that fire",
    "response": "size of R",
}
Branches = Mapping[str, Mapping[int, Branch]]
"""The residual block's where Y = x, by case and seed."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Train the three arms on four targets, alone and stacked, and compare what they miss."""
    learned: dict[tuple[str, str, str], Learned] = {}
    jobs = [(case, target, arm) for case in CASES for target in TARGETS for arm in BLOCK_ARMS]
    total = sum(case.num_blocks for case, _, _ in jobs)
    done = 0
    with one_thread():
        for case, target, arm in jobs:
            learned[case.title, target, arm] = learn_targets(case, target, arm, seeds)
            done += case.num_blocks
            report(done / total)
    return _finding(learned)


def _finding(learned: Mapping[tuple[str, str, str], Learned]) -> Finding:
    errors = {key: each.errors for key, each in learned.items()}
    branches = {case.title: learned[case.title, SAME, RESIDUAL].branches for case in CASES}
    parts = identity_parts(errors)
    return Finding(
        name="identity",
        claim="Where Y = x a residual block beats a plain one, which must learn to copy.",
        source="article",
        answer=judged({case.when: [parts[case.title, SAME]] for case in CASES}),
        sentence=_sentence(errors, branches, parts),
        setup=(
            f"Blocks of two 3x3 convolutions with biases and a ReLU between them, {CHANNELS} channels, "
            "nothing after the addition, so that no target is out of a single block's reach for want of a "
            f"sign. Images are {_SIZE} x {_SIZE} pixels of noise, spread evenly between two bounds. Four "
            "targets: the input itself; the input and a tenth of something else; that something else alone "
            f"(what a random block {TEACHER_CHANNELS} channels wide makes of the input); the input's "
            f"negative. Same first weights, same images, {LEARNING_STEPS} steps of {LEARNING_BATCH}; the "
            f"best of {len(LEARNING_RATES)} learning rates, chosen on other images. The error is the part of "
            "the target's square that is missed, on images never trained on: 1 is as good as answering zero. "
            "'From zero' starts with the last layer at zero, so where Y = x it is right before it learns. "
            "The article says that a residual block just zeroes its weights where Y = x; so their norm was "
            "taken before and after, with the ReLUs that fire at any pixel of the held-out images, and R "
            "itself."
        ),
        measurements=identity_measurements(errors, branches),
        pictures=tuple(_picture(case, errors) for case in CASES),
        details={
            "seeds": list(next(iter(errors.values()))),
            "rates": {", ".join(key): each.rate for key, each in learned.items()},
            "errors": {", ".join(key): list(each.values()) for key, each in errors.items()},
            "branches": {
                case: {str(seed): branch._asdict() for seed, branch in by_seed.items()}
                for case, by_seed in branches.items()
            },
        },
    )


def identity_parts(errors: Errors) -> dict[tuple[str, str], Part]:
    """Return, by case and target, whether the residual block misses less than the plain one."""
    return decided(
        {
            (case.title, target): Asked(
                f"it misses less than the plain block, {target}",
                errors[case.title, target, RESIDUAL],
                "lower",
                errors[case.title, target, PLAIN],
                _UNIT,
            )
            for case in CASES
            for target in TARGETS
        }
    )


def _sentence(errors: Errors, branches: Branches, parts: Mapping[tuple[str, str], Part]) -> str:
    n = len(next(iter(errors.values())))
    copying = listed(
        f"{mean_text(errors[case.title, SAME, RESIDUAL])} against the plain block's "
        f"{mean_text(errors[case.title, SAME, PLAIN])} ({case.title})"
        for case in CASES
    )
    exact = all(value == 0 for case in CASES for value in errors[case.title, SAME, ZERO].values())
    return story(
        f"Where Y = x the residual block misses {copying}"
        + (", and started at zero nothing at all, exactly" if exact else "")
        + f"; n = {n}.",
        _mechanism(branches),
        too_few(n) or _elsewhere(parts),
        _worse_than_zero(errors),
    )


def _mechanism(branches: Branches) -> str:
    """Say how R comes to be small."""
    ways = {
        case: {key: {seed: getattr(b, key) for seed, b in by_seed.items()} for key in Branch._fields}
        for case, by_seed in branches.items()
    }
    kept = [value for way in ways.values() for key in ("first", "last") for value in way[key].values()]
    lead = "It does not zero its weights" if min(kept) > ZEROED else "What becomes of its weights"
    return (
        f"{lead}: at the end "
        + "; ".join(
            f"they keep {mean_text(way['first'])} (first layer) and {mean_text(way['last'])} (last layer) of "
            f"their norm, {mean_text(way['live'])}% of its ReLUs fire, and |R|² is "
            f"{mean_text(way['response'])} of |x|² ({case})"
            for case, way in ways.items()
        )
        + "."
    )


def _elsewhere(parts: Mapping[tuple[str, str], Part]) -> str:
    told = {True: "wins", False: "loses", None: "is not told apart"}
    places: dict[str, dict[str, list[str]]] = {}
    for (case, target), part in parts.items():
        if target != SAME:
            places.setdefault(told[part.found], {}).setdefault(target, []).append(case)
    return " ".join(f"It {what} at {_places(cases_of)}." for what, cases_of in places.items())


def _worse_than_zero(errors: Errors) -> str:
    worse: dict[str, list[str]] = {}
    for case in CASES:
        for target in TARGETS:
            from_random, from_zero = (errors[case.title, target, arm].values() for arm in (RESIDUAL, ZERO))
            if min(from_random) > 1 > max(from_zero):
                worse.setdefault(target, []).append(case.title)
    if not worse:
        return ""
    return f"From random weights it misses more than zero would at {_places(worse)}; from zero it does not."


def _places(cases_of: Mapping[str, Sequence[str]]) -> str:
    """Return targets with the cases meant, without them where it is all."""
    return listed(
        target if len(cases) == len(CASES) else f"{target} ({'; '.join(cases)})"
        for target, cases in cases_of.items()
    )


def identity_measurements(errors: Errors, branches: Branches) -> tuple[Measurement, ...]:
    """Return all errors, Y = x first, what the residual block's branches became, and the differences."""
    cells = [(case.title, target) for target in TARGETS for case in CASES]
    rows = [
        measurement(f"{target}, {case}: {arm}", errors[case, target, arm], _UNIT)
        for case, target in cells
        for arm in BLOCK_ARMS
    ]
    rows += [
        measurement(
            f"{SAME}, {case}: {BRANCH_WORDS[key]}",
            {seed: getattr(b, key) for seed, b in by_seed.items()},
            unit,
        )
        for case, by_seed in branches.items()
        for key, unit in BRANCH_UNITS.items()
    ]
    rows += [
        Measurement.of(
            f"{target}, {case}: residual minus plain",
            paired_difference(errors[case, target, RESIDUAL], errors[case, target, PLAIN]),
            _UNIT,
        )
        for case, target in cells
    ]
    return tuple(rows)


def _picture(case: Case, errors: Errors) -> Picture:
    """Return a case's errors, a mark a seed."""
    values = {
        arm: [list(errors[case.title, target, arm].values()) for target in TARGETS] for arm in BLOCK_ARMS
    }
    worded = "; ".join(
        f"{target}: " + ", ".join(f"{arm} {mean_text(values[arm][i])}" for arm in BLOCK_ARMS)
        for i, target in enumerate(TARGETS)
    )
    return Picture(
        errors_figure(
            list(TARGETS),
            values,
            "part of the target missed (dotted: all)",
            floor=_FLOOR,
            names=BLOCK_ARMS,
        ),
        f"{case.title[0].upper()}{case.title[1:]}. A mark is a seed; further left is better; marks on the "
        "left edge "
        f"are below {_FLOOR:.0e} or exactly 0.",
        f"Errors by target. {worded}.",
    )


def errors_figure(
    rows: Sequence[str],
    values: Mapping[str, Sequence[Sequence[float]]],
    xlabel: str,
    *,
    floor: float,
    names: Sequence[str],
) -> Figure:
    """Draw a row for each of `rows` with one mark a seed and a longer one at the mean, for every name.

    values: name to row to one number a seed, on a logarithmic axis that ends at `floor`: what is below it,
    exact zeros too, stands on it.
    """
    figure, axes = panel(height=0.62 * len(rows) + 1.1)
    offsets = np.linspace(-0.24, 0.24, len(values))
    for offset, (name, by_row) in zip(offsets, values.items(), strict=True):
        colour, marker = colour_of(name, names), markers(names)[name]
        for row, each in enumerate(by_row):
            seen = np.maximum(np.asarray(each), floor)
            y = np.full(len(seen), row + offset)
            axes.scatter(
                seen,
                y,
                s=26,
                color=colour,
                marker=marker,
                alpha=0.7,
                linewidths=0,
                label=name if row == 0 else None,
            )
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color=SOFT, linewidth=0.4)
    axes.axvline(1, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    axes.set_xlim(floor / 1.8, 4)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), list(rows), color=INK)
    axes.grid(False, axis="y")
    axes.set_xlabel(xlabel)
    legend(figure, axes)
    return figure
