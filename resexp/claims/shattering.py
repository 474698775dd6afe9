"""Shattering: does the gradient at an input resemble the gradient next to it (Balduzzi et al. 2017)?

A net's gradient as a function of one number x, along a fine grid. Smooth: a step downhill here is a step
downhill next door. Shattered: white noise, which no step can follow. Nothing is trained.

The numbers enter as 1x1 images (x, 1, 0): through the same nets as everywhere, and with the constant channel
because a ReLU net without biases sees nothing but the sign of a single number. A 3x3 kernel meets only its
centre there, so the convolutions' weights are multiplied by 3: then each layer has He's variance.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from torch import Tensor

from resexp.analysis.statistics import Estimate, Interval, Word, mean_estimate, paired_difference
from resexp.claims.finding import (
    Answer,
    Finding,
    Measurement,
    Picture,
    Report,
    differences,
    listed,
    spelled,
    too_few,
)
from resexp.models.resnet import Network, build
from resexp.report.figures.lines import legend
from resexp.report.figures.style import FONT_SIZE, INK, KIND_COLOURS, OTHER_COLOURS, SOFT, dress, panel
from resexp.seeds import derive

DEPTHS = (8, 20, 56)
WIDTH = 16
NUM_POINTS = 256
REACH = 2.0
NETS_PER_SEED = 4
KERNEL = 3
PLAIN, RESIDUAL = "plain", "residual"
ONE_CONV, SMALL_BRANCH = "residual, one conv", "residual, branch / 10"
BARE = "plain, no norm"
ARMS: dict[str, dict[str, Any]] = {
    PLAIN: {"kind": "plain"},
    RESIDUAL: {"kind": "residual"},
    ONE_CONV: {"kind": "residual", "convs_per_block": 1},
    SMALL_BRANCH: {"kind": "residual", "branch_scale": 0.1},
    BARE: {"kind": "plain", "norm": "none"},
    "residual, no norm": {"kind": "residual", "norm": "none"},
}
"""With batch norm and two convs a block, unless the name says otherwise."""
RIVALS = (RESIDUAL, ONE_CONV, SMALL_BRANCH)
"""The arms held against the plain net with batch norm, at each depth."""
Correlations = Mapping[str, Mapping[int, Mapping[int, float]]]
"""By arm, depth and seed."""
MARKERS = "os^Dvp"


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Measure every arm at every depth. About a minute for five seeds."""
    x = torch.linspace(-REACH, REACH, NUM_POINTS, dtype=torch.float64)
    found: dict[str, dict[int, dict[int, float]]] = {arm: {depth: {} for depth in DEPTHS} for arm in ARMS}
    traces: dict[str, Tensor] = {}
    work, done = len(seeds) * len(ARMS) * sum(DEPTHS), 0
    for seed in seeds:
        for arm, model in ARMS.items():
            for depth in DEPTHS:
                nets = [net(derive(seed, "shattering", i), depth, model) for i in range(NETS_PER_SEED)]
                gradients = [gradient(each, x) for each in nets]
                found[arm][depth][seed] = sum(map(neighbour_correlation, gradients)) / NETS_PER_SEED
                if seed == seeds[0] and depth == DEPTHS[-1]:
                    traces[arm] = gradients[0]
                done += depth
                report(done / work)
    return _finding(found, x, traces)


def net(seed: int, depth: int, model: Mapping[str, Any]) -> Network:
    """Return the net in float64, its convolutions at He's variance for the one pixel they see."""
    net = build(seed=seed, num_classes=10, depth=depth, width=WIDTH, **model).double()
    with torch.no_grad():
        for _, layer in net.weighted_layers()[:-1]:
            layer.weight.mul_(KERNEL)
    return net


def gradient(net: Network, x: Tensor) -> Tensor:
    """Return d(first logit, summed over the grid)/dx at every x: float64 [N] to [N].

    Without batch norm that is each input's own gradient; with it the inputs see each other.
    """
    images = torch.stack([x, torch.ones_like(x), torch.zeros_like(x)], dim=1)[:, :, None, None]
    images.requires_grad_()
    (g,) = torch.autograd.grad(net(images)[:, 0].sum(), images)
    return g[:, 0, 0, 0]


def neighbour_correlation(g: Tensor) -> float:
    """Return the autocorrelation of g [N] at lag 1, in [-1, 1]; white noise has -1/N +- 1/sqrt(N).

    A gradient that is the same everywhere agrees with its neighbours: 1.
    """
    g = g - g.mean()
    return 1.0 if not g.any() else float((g[1:] * g[:-1]).sum() / g.square().sum())


def _finding(found: Correlations, x: Tensor, traces: Mapping[str, Tensor]) -> Finding:
    means = {arm: {d: mean_estimate(list(found[arm][d].values())) for d in DEPTHS} for arm in ARMS}
    gaps = differences({(arm, d): (found[arm][d], found[PLAIN][d]) for arm in RIVALS for d in DEPTHS})
    words: dict[tuple[str, int], Word | None] = {cell: word for cell, (_, word) in gaps.items()}
    spacing = 2 * REACH / (NUM_POINTS - 1)
    return Finding(
        name="shattering",
        claim=(
            "In deep plain nets the gradients at neighbouring inputs are like white noise. In residual nets "
            "with batch norm they still resemble each other: less with depth, but only like 1/sqrt(depth)."
        ),
        source="Balduzzi et al. 2017",
        answer=answer(words),
        sentence=_sentence(found, means, words),
        setup=(
            f"{NUM_POINTS} numbers x from {-REACH:g} to {REACH:g}, {spacing:.2g} apart, go in as 1x1 images "
            f"(x, 1, 0); nets of width {WIDTH} with He's initial weights, untrained, {NETS_PER_SEED} a seed. "
            "Measured: the correlation of the first logit's gradient at an x with that at the next x. "
            "It depends on this spacing. All with batch norm and two convs a block, unless named otherwise."
        ),
        measurements=(
            *(
                Measurement.of(f"{arm}, depth {d}", means[arm][d], "correlation at lag 1")
                for d in reversed(DEPTHS)
                for arm in ARMS
            ),
            *(
                Measurement.of(f"{arm} minus {PLAIN}, depth {d}", estimate, "correlation at lag 1")
                for (arm, d), (estimate, _) in gaps.items()
            ),
        ),
        pictures=_pictures(means, x, traces),
        details={
            "depths": list(DEPTHS),
            "spacing": spacing,
            "correlation": {
                arm: {str(d): {str(seed): c for seed, c in found[arm][d].items()} for d in DEPTHS}
                for arm in ARMS
            },
            "words": {f"{arm}, depth {d}": word for (arm, d), word in words.items()},
        },
    )


def resisting(words: Mapping[tuple[str, int], Word | None]) -> list[str]:
    """Return the arms whose gradients resemble each other more than the plain net's at every depth."""
    return [arm for arm in RIVALS if all(words[arm, d] == "higher" for d in DEPTHS)]


def answer(words: Mapping[tuple[str, int], Word | None]) -> Answer:
    if any(word is None for word in words.values()):
        return "not resolved"
    resist = resisting(words)
    if RESIDUAL in resist:
        return "holds"
    return "holds only if" if resist else "does not hold"


def _sentence(
    found: Correlations,
    means: Mapping[str, Mapping[int, Estimate]],
    words: Mapping[tuple[str, int], Word | None],
) -> str:
    first, deepest = DEPTHS[0], DEPTHS[-1]
    n = means[PLAIN][deepest].n
    at_depth = "; ".join(f"{arm} {spelled(means[arm][deepest])}" for arm in (PLAIN, *RIVALS))
    parts = [f"Correlation at depth {deepest}, n = {n}: {at_depth}."]
    resist = resisting(words)
    if any(word is None for word in words.values()):
        parts.append(too_few(n))
    elif resist:
        parts.append(f"Above the plain net's at all of the depths {listed(DEPTHS)}: {'; '.join(resist)}.")
    else:
        parts.append("No residual net is above the plain one at all depths.")
    if resist and RESIDUAL not in resist:
        needed = " or ".join(arm.removeprefix("residual, ") for arm in resist)
        parts.append(f"So the usual block of two convs does not suffice, but {needed} does.")
    law = math.sqrt(first / deepest), "1/sqrt(depth)"
    parts += [f"{arm}: {_law(found[arm], first, deepest, *law)}." for arm in RIVALS]
    middle = DEPTHS[1]
    parts.append(f"{BARE}: {_law(found[BARE], first, middle, 2.0 ** (first - middle), '1/2^depth')}.")
    gap = paired_difference(found[BARE][deepest], found[PLAIN][deepest])
    if gap.interval is not None and gap.interval[0] > 0:
        parts.append("So what shatters a plain net on this grid is its batch norm more than its depth.")
    return " ".join(parts)


def _law(
    correlation: Mapping[int, Mapping[int, float]], start: int, end: int, factor: float, law: str
) -> str:
    """Hold the fall from one depth to another against a law that says it is `factor`."""
    expected = {seed: factor * c for seed, c in correlation[start].items()}
    gap = paired_difference(correlation[end], expected)
    head = f"from depth {start} to {end}, {law} predicts {mean_estimate(list(expected.values())).mean:.2g}"
    measured = f"measured {spelled(mean_estimate(list(correlation[end].values())))}"
    if gap.interval is None:
        return f"{head}, {measured}"
    low, high = gap.interval
    verdict = "falls faster" if high < 0 else "falls more slowly" if low > 0 else "not told apart from it"
    return f"{head}, {measured}: {verdict}"


def _pictures(
    means: Mapping[str, Mapping[int, Estimate]], x: Tensor, traces: Mapping[str, Tensor]
) -> tuple[Picture, ...]:
    shown = {arm: (traces[arm] / traces[arm].abs().max()).tolist() for arm in (PLAIN, *RIVALS, BARE)}
    lines = {
        arm: [(d, e.mean, e.interval) for d, e in of_arm.items() if e.mean is not None]
        for arm, of_arm in means.items()
    }
    deepest = DEPTHS[-1]
    return (
        Picture(
            traces_figure(x.tolist(), shown),
            f"The gradient along x, at depth {deepest}, one net each; every line in units of its own largest "
            "value. A smooth line: neighbours agree. Spikes: they do not.",
            f"{len(shown)} panels, one line each: the gradient against x for " + "; ".join(shown) + ".",
        ),
        Picture(
            depth_figure(lines, "correlation of neighbours"),
            f"How far neighbouring gradients agree: 1 is smooth, 0 is noise. Dots are means over "
            f"{means[PLAIN][deepest].n} seeds, bars 95% intervals.",
            "Correlation against depth. "
            + " ".join(
                f"{arm}: " + ", ".join(f"{mean:.2f} at depth {d}" for d, mean, _ in line) + "."
                for arm, line in lines.items()
            ),
        ),
    )


def arm_colour(arm: str, arms: Sequence[str]) -> str:
    """Return an arm's colour: its kind's own for `plain`, `residual` and both without norm."""
    kind = arm.removesuffix(", no norm")
    others = [name for name in arms if name.removesuffix(", no norm") not in KIND_COLOURS]
    return KIND_COLOURS.get(kind) or OTHER_COLOURS[others.index(arm) % len(OTHER_COLOURS)]


def traces_figure(x: Sequence[float], traces: Mapping[str, Sequence[float]]) -> Figure:
    """Draw each trace, in [-1, 1], in a strip of its own under the others."""
    figure = Figure(figsize=(5.2, 0.95 * len(traces) + 0.5), layout="constrained")
    strips = figure.subplots(len(traces), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (arm, trace) in zip(strips, traces.items(), strict=True):
        dress(axes)
        axes.plot(x, trace, color=arm_colour(arm, list(traces)), linewidth=0.9)
        axes.set_title(arm, loc="left", fontsize=FONT_SIZE, color=INK, pad=2)
        axes.set_ylim(-1.1, 1.1)
        axes.set_yticks([0], ["0"])
    strips[-1].set_xlabel("x", fontsize=FONT_SIZE, color=INK)
    return figure


def depth_figure(lines: Mapping[str, Sequence[tuple[int, float, Interval | None]]], ylabel: str) -> Figure:
    """Draw estimates (depth, mean, interval), a line an arm, slightly apart so that their bars show."""
    figure, axes = panel(width=5.2, height=4.0)
    depths = sorted({depth for line in lines.values() for depth, _, _ in line})
    for index, (arm, line) in enumerate(lines.items()):
        shift = 1.02 ** (index - (len(lines) - 1) / 2)
        estimates(
            axes, [depth * shift for depth, _, _ in line], [(mean, interval) for _, mean, interval in line],
            colour=arm_colour(arm, list(lines)), marker=MARKERS[index % 6], label=arm,
            dashed=arm.endswith("no norm"),
        )  # fmt: skip
    means = [mean for line in lines.values() for _, mean, _ in line]
    # Intervals of few seeds may reach far beyond: they run off the panel, so that the means can be told.
    axes.set_ylim(min(0.0, *means) - 0.3, max(means) + 0.3)
    axes.axhline(0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda depth, _: f"{depth:g}")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("depth (weighted layers)")
    axes.set_ylabel(ylabel)
    legend(figure, axes)
    return figure


def estimates(
    axes: Axes,
    x: Sequence[float],
    values: Sequence[tuple[float, Interval | None]],
    *,
    colour: str,
    marker: str,
    label: str,
    dashed: bool = False,
) -> None:
    """Draw means joined by a line, with their intervals as bars; a mean without an interval has no bar."""
    style = (0, (4, 2)) if dashed else "-"
    axes.plot(
        x, [mean for mean, _ in values], color=colour, linewidth=1.3, linestyle=style, marker=marker,
        markersize=4.5, markeredgewidth=0, label=label,
    )  # fmt: skip
    for at, (_, interval) in zip(x, values, strict=True):
        if interval is not None:
            axes.plot([at, at], interval, color=colour, linewidth=1.0, alpha=0.7)
