"""Three convs: is the article's block of three convolutions better or worse than one of two or of one?

At one depth the three kinds of block make nets of the same layers, the same shapes and exactly as many
parameters (the pad shortcut has none): what differs is after how many convolutions x is added again. A plain
net, to which that never happens, stands beside them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from math import ceil, isfinite, log
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resexp.analysis.statistics import Estimate, mean_estimate, paired_difference
from resexp.claims.finding import (
    Asked,
    BySeed,
    Finding,
    Measurement,
    OnProgress,
    Part,
    Picture,
    Premise,
    decided,
    every,
    judged,
    measurement,
    spelled,
    story,
    too_few,
)
from resexp.claims.small_training import Trained, counted, drawings, in_threads, train_briefly
from resexp.report.figures.style import INK, KIND_COLOURS, panel
from resexp.report.formatting import number

_DEPTH = 20
_WIDTH = 8
_ARMS: dict[str, dict[str, Any]] = {
    "one conv": {"kind": "residual", "convs_per_block": 1},
    "two convs": {"kind": "residual", "convs_per_block": 2},
    "three convs": {"kind": "residual", "convs_per_block": 3},
    "plain": {"kind": "plain", "convs_per_block": 2},
}
THREE, TWO, ONE = "three convs", "two convs", "one conv"
BLOCKS = (ONE, TWO, THREE)
_OPTIM = {
    "steps": 400,
    "batch_size": 64,
    "lr": 0.02,
    "schedule": {"name": "cosine", "warmup_steps": 30},
}
Losses = Mapping[str, BySeed]
"""By arm and seed: mean training loss over the last tenth of the steps, in nats."""
LEARNED_NATS = 0.5
"""A net has been trained enough to say if its loss beats guessing by this many nats."""
RESOLVED = (0.2, 0.4)
"""Nats: half-widths of a difference's interval in trials of this set-up, five seeds, 300 to 500 steps.

At learning rate 0.1, with plateaus of any length near guessing, they were 0.5 to 0.6.
"""
MARGIN = 0.1
"""Nats: who does not learn faster by this much does not learn faster."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Train every arm on every seed. About two minutes for five seeds."""
    images = drawings()

    def trained(arm: str, seed: int, progress: OnProgress) -> Trained:
        model = {"depth": _DEPTH, "width": _WIDTH, **_ARMS[arm]}
        return train_briefly(images.train, model, _OPTIM, seed=seed, progress=progress)

    cells = [(arm, seed) for seed in seeds for arm in _ARMS]
    nets = in_threads([partial(trained, *cell) for cell in cells], report)
    losses: dict[str, dict[int, float]] = {arm: {} for arm in _ARMS}
    accuracies: dict[str, dict[int, float]] = {arm: {} for arm in _ARMS}
    parameters: dict[str, int] = {}
    for (arm, seed), net in zip(cells, nets, strict=True):
        losses[arm][seed] = net.final_loss
        accuracies[arm][seed] = 100 * net.engine.evaluate(images.test).accuracy
        parameters[arm] = sum(weight.numel() for weight in net.engine.net.parameters())
    return _finding(losses, accuracies, parameters, log(images.train.num_classes))


def _finding(measured: Losses, accuracies: Losses, parameters: Mapping[str, int], guessing: float) -> Finding:
    losses = {arm: {s: counted(x, guessing) for s, x in of.items()} for arm, of in measured.items()}
    diverged = sum(not isfinite(x) for of_arm in measured.values() for x in of_arm.values())
    gaps = {(a, b): paired_difference(losses[a], losses[b]) for b, a in combinations(BLOCKS, 2)}
    gaps["plain", TWO] = paired_difference(losses["plain"], losses[TWO])
    n, unit = len(losses[TWO]), "nats, training loss"
    return Finding(
        name="three-convs",
        claim="A residual block holds three convolutions.",
        source="article (He et al. 2015 hold two; He et al. 2016 found one to be worse)",
        answer=judged(*three_convs_parts(losses, guessing)),
        sentence=_sentence(losses, gaps, diverged),
        setup=(
            f"Nets of depth {_DEPTH} and width {_WIDTH} with batch norm, {parameters[TWO]:,} parameters "
            f"each, on crayon drawings of 16x16: {_DEPTH - 2} convolutions in blocks of one, two or three, "
            f"or without any shortcut. The same drawings in the same order, {_OPTIM['steps']} steps of "
            f"{_OPTIM['batch_size']}, learning rate {_OPTIM['lr']}, {n} seeds. Compared: the training loss, "
            f"mean over the last tenth of the steps; less than {MARGIN} nats of advantage is none. By "
            f"trials beforehand five seeds tell apart what differs by {RESOLVED[0]} to {RESOLVED[1]} nats, "
            "and no less. Guessing "
            f"has {number(guessing)}, which is also what a net counts that diverged or ended above it."
        ),
        measurements=(
            *(measurement(arm, losses[arm], unit) for arm in _ARMS),
            *(Measurement.of(f"{a} minus {b}", gap, unit) for (a, b), gap in gaps.items()),
            *(measurement(f"{arm}, test accuracy", of_arm, "%") for arm, of_arm in accuracies.items()),
        ),
        pictures=(
            Picture(
                seeds_figure(
                    {arm: list(of_arm.values()) for arm, of_arm in losses.items()}, "training loss (nats)"
                ),
                f"Training loss at the end of {_OPTIM['steps']} steps: a dot a seed, a bar for the 95% "
                "interval of their mean. Seeds are shared, so differences are surer than the bars look.",
                "Training loss. " + " ".join(f"{arm}: {spelled(of)}." for arm, of in losses.items()),
            ),
        ),
        details={
            "depth": _DEPTH,
            "parameters": dict(parameters),
            "final_loss": {
                arm: {str(s): x if isfinite(x) else None for s, x in of.items()}
                for arm, of in measured.items()
            },
            "test_accuracy": {arm: {str(s): x / 100 for s, x in v.items()} for arm, v in accuracies.items()},
        },
    )


def three_convs_parts(losses: Losses, guessing: float) -> tuple[dict[str, list[Part]], Premise]:
    """Return whether three learn faster than fewer, and whether the nets have learned enough to be compared.

    Not faster is: slower, or faster by less than the margin, and that for sure.
    """
    limit, unit = guessing - LEARNED_NATS, "nats"
    asked: dict[tuple[str, str], Asked] = {}
    for arm in BLOCKS:
        asked["trained", arm] = Asked(f"{arm} have learned", losses[arm], "lower", limit, unit)
    for other in (TWO, ONE):
        says = f"{THREE} learn faster than {other}"
        asked["faster", other] = Asked(says, losses[THREE], "lower", losses[other], unit)
        least = {seed: loss - MARGIN for seed, loss in losses[other].items()}
        asked["margin", other] = Asked(says, losses[THREE], "lower", least, unit)
    found = decided(asked)
    parts = []
    for other in (TWO, ONE):
        faster, margin = found["faster", other], found["margin", other]
        no_faster = faster.found is None and margin.found is False
        parts.append(Part(faster.says, False if no_faster else faster.found, faster.evidence))
    trained = [found["trained", arm] for arm in BLOCKS]
    premise = Part(
        "the nets with blocks have learned enough to be compared",
        every(part.found for part in trained),
        "; ".join(f"{part.says}: {part.evidence}" for part in trained),
    )
    return {"": parts}, Premise(premise, "not trained enough to say")


def _sentence(losses: Losses, gaps: Mapping[tuple[str, str], Estimate], diverged: int) -> str:
    n = len(losses[TWO])
    of_three = {pair: gap for pair, gap in gaps.items() if THREE in pair}
    widths = [(e.interval[1] - e.interval[0]) / 2 for e in of_three.values() if e.interval]
    coarse = max(widths, default=0.0)
    return story(
        f"Training loss: {', '.join(f'{arm} {spelled(losses[arm])}' for arm in _ARMS)}; n = {n}.",
        "; ".join(f"{a} minus {b} {spelled(gap)}" for (a, b), gap in gaps.items()) + ".",
        f"Diverged: {diverged} of {n * len(_ARMS)} trainings." if diverged else "",
        f"With {n} seeds a difference below {number(coarse)} nats cannot be told from none; for {MARGIN} it "
        f"would take about {ceil(n * (coarse / MARGIN) ** 2)} seeds."
        if coarse > MARGIN
        else "",
        too_few(n),
    )


def seeds_figure(values: Mapping[str, Sequence[float]], xlabel: str) -> Figure:
    """Draw a row an arm: a dot a seed, and under them the mean (a tick) with its interval (a bar)."""
    figure, axes = panel(width=5.2, height=0.5 * len(values) + 0.8)
    for row, (arm, dots) in enumerate(values.items()):
        colour = KIND_COLOURS["plain" if arm.startswith("plain") else "residual"]
        mean, interval = fmean(dots), mean_estimate(dots).interval
        axes.plot(
            dots, [row - 0.14] * len(dots), "o", color=colour, markersize=4.5, markeredgewidth=0, alpha=0.7
        )
        if interval is not None:
            axes.plot(interval, [row + 0.14] * 2, color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([mean], [row + 0.14], "|", color=INK, markersize=9, markeredgewidth=1.5)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(xlabel)
    return figure
