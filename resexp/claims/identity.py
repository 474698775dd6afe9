"""The extreme: where Y = x, a residual block has only to zero its weights. And where Y is something else."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.analysis.statistics import Word
from resexp.claims.finding import (
    Answer,
    Differences,
    Finding,
    Measurement,
    Picture,
    Report,
    differences,
    listed,
    measurement,
    shown,
    too_few,
)
from resexp.claims.stacked_training import ARMS, PLAIN, RESIDUAL, ZERO, Pairs, fit, make_blocks, one_thread
from resexp.models.blocks import conv
from resexp.report.figures.lines import legend
from resexp.report.figures.style import (
    INK,
    SOFT,
    colour_of,
    markers,
    panel,
)
from resexp.seeds import derive

CHANNELS, SIZE, TEACHER_CHANNELS = 8, 8, 32
STEPS, BATCH_SIZE, NUM_CHOOSING, NUM_HELD_OUT = 150, 8, 16, 32
RATES = (5e-6, 2e-5, 1e-4, 4e-4)
LITTLE = 0.1
"""How much of the teacher is added where Y = x and a little more."""
FLOOR = 1e-8
UNIT = "of |Y|²"


class Case(NamedTuple):
    """How many blocks, and what they are given."""

    title: str
    num_blocks: int
    signed: bool


CASES = (
    Case("one block, signed inputs", 1, True),
    Case("one block, inputs of 0 and above", 1, False),
    Case("four blocks, signed inputs", 4, True),
)


SAME, NEAR, UNRELATED, OPPOSITE = "Y = x", "Y = x + a little", "Y unrelated", "Y = -x"


Target = Callable[[Tensor, Tensor], Tensor]
"""(x, the teacher's answer to x) to what is wanted."""


TARGETS: dict[str, Target] = {
    SAME: lambda x, taught: x,
    NEAR: lambda x, taught: x + LITTLE * taught,
    UNRELATED: lambda x, taught: taught,
    OPPOSITE: lambda x, taught: -x,
}


Errors = dict[tuple[str, str, str], dict[int, float]]
"""By case, target and arm: one number a seed."""


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Train the three arms on four targets, alone and stacked, and compare what they miss."""
    errors: Errors = {}
    rates: dict[str, float] = {}
    jobs = [(case, target, arm) for case in CASES for target in TARGETS for arm in ARMS]
    total = sum(case.num_blocks for case, _, _ in jobs)
    done = 0
    with one_thread():
        for case, target, arm in jobs:
            key = (case.title, target, arm)
            errors[key], rates[", ".join(key)] = learn(case, target, arm, seeds)
            done += case.num_blocks
            report(done / total)
    found = differences(
        {
            (case.title, target): (errors[case.title, target, RESIDUAL], errors[case.title, target, PLAIN])
            for case in CASES
            for target in TARGETS
        }
    )
    answer, sentence = judge(errors, found)
    return Finding(
        name="identity",
        claim="Where Y = x a plain block must learn to copy; a residual block just zeroes its weights.",
        source="article",
        answer=answer,
        sentence=sentence,
        setup=(
            f"Blocks of two 3x3 convolutions with biases and a ReLU between them, {CHANNELS} channels, "
            "nothing after the addition, so that no target is out of a single block's reach for want of a "
            f"sign. Images are {SIZE} x {SIZE} pixels of noise, spread evenly between two bounds. Four "
            "targets: the input itself; the input and a tenth of something else; that something else alone "
            f"(what a random block {TEACHER_CHANNELS} channels wide makes of the input); the input's "
            f"negative. Same first weights, same images, {STEPS} steps of {BATCH_SIZE}; the best of "
            f"{len(RATES)} learning rates, chosen on other images. The error is the part of the target's "
            "square that is missed, on images never trained on: 1 is as good as answering zero. 'From "
            "zero' starts with the last layer at zero, so where Y = x it is right before it learns."
        ),
        measurements=measurements(errors, found),
        pictures=tuple(picture(case, errors) for case in CASES),
        details={
            "seeds": list(seeds),
            "rates": rates,
            "errors": {", ".join(key): list(each.values()) for key, each in errors.items()},
        },
    )


def learn(case: Case, target: str, arm: str, seeds: Sequence[int]) -> tuple[dict[int, float], float]:
    """Return each seed's error on held-out images, and the rate it was reached at."""
    teachers = {seed: teacher(seed, case.signed) for seed in seeds}

    def pairs(seed: int, *words: str | int, num: int) -> Pairs:
        x = noise(seed, *words, num=num, signed=case.signed)
        return Pairs(x, TARGETS[target](x, teachers[seed](x)))

    def all_seeds(what: str, num: int) -> Pairs:
        return Pairs(
            *(torch.stack(p) for p in zip(*(pairs(seed, what, num=num) for seed in seeds), strict=True))
        )

    held_out = all_seeds("held out", NUM_HELD_OUT)
    result = fit(
        lambda seed: blocks(arm, seed, case.num_blocks),
        seeds,
        RATES,
        lambda seed, step: pairs(seed, "training", step, num=BATCH_SIZE),
        steps=STEPS,
        looks=(STEPS,),
        choosing=all_seeds("choosing", NUM_CHOOSING),
        held_out=held_out,
    )
    return dict(zip(seeds, missed(result.outputs[STEPS], held_out.wanted), strict=True)), result.rate


def blocks(arm: str, seed: int, num_blocks: int) -> nn.Module:
    return make_blocks(
        arm, seed, CHANNELS, lambda: conv(CHANNELS, CHANNELS, norm="none"), num_blocks=num_blocks
    )


def noise(seed: int, *words: str | int, num: int, signed: bool) -> Tensor:
    """Return images [num, CHANNELS, SIZE, SIZE], uniform in [-1, 1], or in [0, 1]."""
    chance = torch.Generator().manual_seed(derive(seed, "identity", *words))
    x = torch.rand(num, CHANNELS, SIZE, SIZE, generator=chance)
    return 2 * x - 1 if signed else x


def teacher(seed: int, signed: bool) -> Callable[[Tensor], Tensor]:
    """Return a random block four times as wide as the learners', its answers as large as its inputs."""
    chance = torch.Generator().manual_seed(derive(seed, "identity", "teacher"))
    first = torch.randn(TEACHER_CHANNELS, CHANNELS, 3, 3, generator=chance)
    last = torch.randn(CHANNELS, TEACHER_CHANNELS, 3, 3, generator=chance)

    def answer(x: Tensor) -> Tensor:
        return F.conv2d(F.relu(F.conv2d(x, first, padding=1)), last, padding=1)

    x = noise(seed, "scale", num=64, signed=signed)
    scale = x.square().mean().sqrt() / answer(x).square().mean().sqrt()
    return lambda x: scale * answer(x)


def missed(made: Tensor, wanted: Tensor) -> list[float]:
    """Return |made - wanted|² / |wanted|² of each seed, over all its images."""
    return (
        (made - wanted).double().square().flatten(1).sum(1) / wanted.double().square().flatten(1).sum(1)
    ).tolist()


def judge(errors: Errors, found: Differences[tuple[str, str]]) -> tuple[Answer, str]:
    """Say at which targets the residual block misses less than the plain one."""
    words: dict[tuple[str, str], Word | None] = {key: word for key, (_, word) in found.items()}
    n = len(next(iter(errors.values())))
    answer = answer_of(words)
    copying = [
        f"{shown(errors[case.title, SAME, RESIDUAL])} against the plain block's "
        f"{shown(errors[case.title, SAME, PLAIN])} ({case.title})"
        for case in CASES
    ]
    exact = all(value == 0 for case in CASES for value in errors[case.title, SAME, ZERO].values())
    near = all(word == "lower" for (_, target), word in words.items() if target in (SAME, NEAR))
    lead = "Only where the target is close to the input. " if answer == "holds only if" and near else ""
    sentence = (
        f"{lead}Where Y = x the residual block misses {listed(copying)}"
        + (", and started at zero nothing at all, exactly" if exact else "")
        + f" (n = {n}). "
    )
    told = {"lower": "wins", "higher": "loses", "not resolved": "is not told apart"}
    elsewhere: dict[str, dict[str, list[str]]] = {}
    for (case, target), word in words.items():
        if target != SAME and word is not None:
            elsewhere.setdefault(told[word], {}).setdefault(target, []).append(case)
    sentence += " ".join(f"It {what} at {_places(places)}." for what, places in elsewhere.items())
    worse: dict[str, list[str]] = {}
    for case, target in words:
        if min(errors[case, target, RESIDUAL].values()) > 1 > max(errors[case, target, ZERO].values()):
            worse.setdefault(target, []).append(case)
    if worse:
        sentence += (
            f" From random weights it is even worse than answering zero at {_places(worse)}: every block "
            "adds to the size of what passes. Started at zero it is not."
        )
    if answer == "not resolved" and None in words.values():
        sentence += too_few(n)
    return answer, sentence


def _places(cases_of: Mapping[str, Sequence[str]]) -> str:
    """Return targets with the cases meant, without them where it is all."""
    return listed(
        target if len(cases) == len(CASES) else f"{target} ({'; '.join(cases)})"
        for target, cases in cases_of.items()
    )


def answer_of(words: Mapping[tuple[str, str], Word | None]) -> Answer:
    """Return the answer from the words for (case, target), residual against plain."""
    if None in words.values():
        return "not resolved"
    same = [word for (_, target), word in words.items() if target == SAME]
    others = [word for (_, target), word in words.items() if target != SAME]
    if "higher" in same:
        return "does not hold"
    if not all(word == "lower" for word in same):
        return "holds only if" if "lower" in same else "not resolved"
    return "holds" if all(word == "lower" for word in others) else "holds only if"


def measurements(errors: Errors, found: Differences[tuple[str, str]]) -> tuple[Measurement, ...]:
    """Return all errors, Y = x first, then the differences."""
    ordered = sorted(
        errors, key=lambda key: (list(TARGETS).index(key[1]), [c.title for c in CASES].index(key[0]))
    )
    rows = [
        measurement(f"{target}, {case}: {arm}", errors[case, target, arm], UNIT)
        for case, target, arm in ordered
    ]
    rows += [
        Measurement.of(f"{target}, {case}: residual minus plain", estimate, UNIT)
        for (case, target), (estimate, _) in found.items()
    ]
    return tuple(rows)


def picture(case: Case, errors: Errors) -> Picture:
    """Return a case's errors, a mark a seed."""
    values = {arm: [list(errors[case.title, target, arm].values()) for target in TARGETS] for arm in ARMS}
    worded = "; ".join(
        f"{target}: " + ", ".join(f"{arm} {shown(values[arm][i])}" for arm in ARMS)
        for i, target in enumerate(TARGETS)
    )
    return Picture(
        errors_figure(
            list(TARGETS),
            values,
            "part of the target missed (dotted: all)",
            floor=FLOOR,
            names=ARMS,
        ),
        f"{case.title[0].upper()}{case.title[1:]}. A mark is a seed; further left is better; marks on the "
        "left edge "
        f"are below {FLOOR:.0e} or exactly 0.",
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
