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
from torch import Tensor

from resexp.analysis.statistics import mean_estimate, paired_difference
from resexp.claims.finding import (
    Asked,
    BySeed,
    Finding,
    OnProgress,
    Part,
    Picture,
    decided,
    judged,
    mean_text,
    measurement,
    spelled,
    story,
    too_few,
)
from resexp.claims.shattering_figures import depth_figure, traces_figure
from resexp.models.resnet import Network, build
from resexp.report.formatting import number
from resexp.seeds import derive

DEPTHS = (8, 20, 56)
_WIDTH = 16
NUM_POINTS = 256
REACH = 2.0
NETS_PER_SEED = 4
KERNEL = 3
_PLAIN, _RESIDUAL = "plain", "residual"
ONE_CONV, SMALL_BRANCH = "residual, one conv", "residual, branch / 10"
BARE = "plain, no norm"
_ARMS: dict[str, dict[str, Any]] = {
    _PLAIN: {"kind": "plain"},
    _RESIDUAL: {"kind": "residual"},
    ONE_CONV: {"kind": "residual", "convs_per_block": 1},
    SMALL_BRANCH: {"kind": "residual", "branch_scale": 0.1},
    BARE: {"kind": "plain", "norm": "none"},
    "residual, no norm": {"kind": "residual", "norm": "none"},
}
"""With batch norm and two convs a block, unless the name says otherwise."""
RIVALS = {
    _RESIDUAL: "both nets have batch norm and the blocks two convs",
    ONE_CONV: "both have batch norm and the blocks one conv",
    SMALL_BRANCH: "both have batch norm and the branches are divided by 10",
}
"""The residual nets of the claim, and how each is said after `holds only if`."""
NO_NORM = "the plain net has no norm"
NOISE = 0.1
"""A correlation below it is no more than noise has: at 256 points that is 0 with a spread of 1/16."""
LEEWAY = 0.75
"""The part of what 1/sqrt(depth) leaves that must be left at least."""
Correlations = Mapping[str, Mapping[int, Mapping[int, float]]]
"""By arm, depth and seed."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Measure every arm at every depth. About a minute for five seeds."""
    x = torch.linspace(-REACH, REACH, NUM_POINTS, dtype=torch.float64)
    found: dict[str, dict[int, dict[int, float]]] = {arm: {depth: {} for depth in DEPTHS} for arm in _ARMS}
    traces: dict[str, Tensor] = {}
    work, done = len(seeds) * len(_ARMS) * sum(DEPTHS), 0
    for seed in seeds:
        for arm, model in _ARMS.items():
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
    net = build(seed=seed, num_classes=10, depth=depth, width=_WIDTH, **model).double()
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
    spacing = 2 * REACH / (NUM_POINTS - 1)
    unit = "correlation at lag 1"
    return Finding(
        name="shattering",
        claim=(
            "In deep plain nets the gradients at neighbouring inputs are like white noise. In residual nets "
            "with batch norm they still resemble each other: less with depth, but only like 1/sqrt(depth)."
        ),
        source="Balduzzi et al. 2017",
        answer=judged(shattering_settings(found)),
        sentence=_sentence(found),
        setup=(
            f"{NUM_POINTS} numbers x from {-REACH:g} to {REACH:g}, {spacing:.2g} apart, go in as 1x1 images "
            f"(x, 1, 0); untrained nets of width {_WIDTH} with He's weights, {NETS_PER_SEED} a seed. "
            "Measured: the correlation of the first logit's gradient at an x with that at the next x. "
            f"It depends on this spacing. White noise stays below {NOISE}, and what resembles is above it. "
            f"Only like 1/sqrt(depth) is: at depth {DEPTHS[-1]} at least {LEEWAY:.0%} of what that leaves of "
            f"the correlation at depth {DEPTHS[0]}. All with batch norm and two convs a block, unless named "
            "otherwise."
        ),
        measurements=(
            *(
                measurement(f"{arm}, depth {depth}", found[arm][depth], unit)
                for depth in reversed(DEPTHS)
                for arm in _ARMS
            ),
            *(
                measurement(f"{arm}, depth {DEPTHS[-1]}, by 1/sqrt(depth)", _by_law(found[arm]), unit)
                for arm in RIVALS
            ),
        ),
        pictures=_pictures(found, x, traces),
        details={
            "depths": list(DEPTHS),
            "spacing": spacing,
            "correlation": {
                arm: {str(d): {str(seed): c for seed, c in found[arm][d].items()} for d in DEPTHS}
                for arm in _ARMS
            },
        },
    )


def _by_law(correlation: Mapping[int, BySeed]) -> BySeed:
    """Return what 1/sqrt(depth) leaves at the deepest of the correlation at the shallowest."""
    factor = math.sqrt(DEPTHS[0] / DEPTHS[-1])
    return {seed: factor * value for seed, value in correlation[DEPTHS[0]].items()}


def shattering_settings(found: Correlations) -> dict[str, list[Part]]:
    """Return, for each residual net and for the plain one without norm, what the claim says of it."""
    deepest = DEPTHS[-1]
    noise = f"a plain net's gradients at depth {deepest} are like noise"
    asked: dict[tuple[str, str], Asked] = {
        (arm, "noise"): Asked(noise, found[arm][deepest], "lower", NOISE) for arm in (_PLAIN, BARE)
    }
    for arm in RIVALS:
        least = {seed: LEEWAY * value for seed, value in _by_law(found[arm]).items()}
        deep = found[arm][deepest]
        asked[arm, "alike"] = Asked("a residual net's still resemble each other", deep, "higher", NOISE)
        asked[arm, "law"] = Asked(
            f"at least {LEEWAY:.0%} of what 1/sqrt(depth) leaves is left", deep, "higher", least
        )
    parts = decided(asked)
    return {
        **{RIVALS[arm]: [parts[_PLAIN, "noise"], parts[arm, "alike"], parts[arm, "law"]] for arm in RIVALS},
        NO_NORM: [parts[BARE, "noise"]],
    }


def _sentence(found: Correlations) -> str:
    deepest, n = DEPTHS[-1], len(found[_PLAIN][DEPTHS[-1]])
    arms = (_PLAIN, BARE, *RIVALS)
    law = "; ".join(f"{arm} {mean_text(_by_law(found[arm]))}" for arm in RIVALS)
    gap = paired_difference(found[BARE][deepest], found[_PLAIN][deepest])
    return story(
        f"Correlation at depth {deepest}, n = {n}: "
        + "; ".join(f"{arm} {spelled(found[arm][deepest])}" for arm in arms)
        + f". 1/sqrt(depth) would leave: {law}.",
        f"Without norm the plain net is {spelled(gap)} above the one with it: what shatters a plain net on "
        "this grid is its batch norm more than its depth."
        if gap.interval is not None and gap.interval[0] > 0
        else "",
        too_few(n),
    )


def _pictures(found: Correlations, x: Tensor, traces: Mapping[str, Tensor]) -> tuple[Picture, ...]:
    strips = {arm: (traces[arm] / traces[arm].abs().max()).tolist() for arm in (_PLAIN, *RIVALS, BARE)}
    means = {arm: {d: mean_estimate(list(found[arm][d].values())) for d in DEPTHS} for arm in _ARMS}
    lines = {
        arm: [(d, e.mean, e.interval) for d, e in of_arm.items() if e.mean is not None]
        for arm, of_arm in means.items()
    }
    deepest = DEPTHS[-1]
    return (
        Picture(
            traces_figure(x.tolist(), strips),
            f"The gradient along x, at depth {deepest}, one net each; every line in units of its own largest "
            "value. A smooth line: neighbours agree. Spikes: they do not.",
            f"{len(strips)} panels, one line each: the gradient against x for " + "; ".join(strips) + ".",
        ),
        Picture(
            depth_figure(lines, "correlation of neighbours"),
            f"How far neighbouring gradients agree: 1 is smooth, 0 is noise. Dots are means over "
            f"{means[_PLAIN][deepest].n} seeds, bars 95% intervals.",
            "Correlation against depth. "
            + " ".join(
                f"{arm}: " + ", ".join(f"{number(mean)} at depth {d}" for d, mean, _ in line) + "."
                for arm, line in lines.items()
            ),
        ),
    )
