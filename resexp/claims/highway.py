"""The gradient through `+ x` is not shrunk at all: where that is exact, and what stands in its way.

The highway is what reaches a block's input through the shortcuts alone, from the last block back, every
branch left out. Nothing is trained.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor
from torch.nn import functional as F

from resexp.claims.finding import (
    Answer,
    Finding,
    Measurement,
    Picture,
    Report,
    geometric_mean,
    listed,
    measurement,
    shown,
)
from resexp.claims.stacked_training import one_thread
from resexp.models.blocks import Block
from resexp.models.resnet import build
from resexp.probes.gradient_profile import fold, unfold
from resexp.probes.norms import norms
from resexp.report.figures.lines import legend
from resexp.report.figures.style import (
    INK,
    KIND_COLOURS,
    OTHER_COLOURS,
    markers,
    panel,
)
from resexp.seeds import derive

DEPTH, WIDTH, SIZE, NUM_IMAGES = 56, 8, 16, 16
NETS: dict[str, dict[str, Any]] = {
    "nothing after the addition": {"order": "pre"},
    "ReLU after the addition": {},
    "sigmoid after the addition": {"activation": "sigmoid"},
    "shortcut x 0.9": {"order": "pre", "shortcut_scale": 0.9},
    "shortcut x 0.5": {"order": "pre", "shortcut_scale": 0.5},
}
CLEAR = next(iter(NETS))
FLOOR = 1e-4


class Passage(NamedTuple):
    """How the gradient passes one block by its shortcut."""

    same_shape: bool
    exact: bool
    """what entered the shortcut's end left at its beginning, bit for bit"""
    transmission: float
    """|g_s| / |g_out|"""
    reach: float
    """part of the input's positions that the shortcut reads"""
    left: float
    """of the highway, from the last block's output down to this block's input"""


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Send the gradient back through the shortcuts of untrained nets; compare what leaves with what came."""
    passages: dict[str, dict[int, list[Passage]]] = {name: {} for name in NETS}
    with one_thread():
        for i, seed in enumerate(seeds):
            for j, (name, axes) in enumerate(NETS.items()):
                passages[name][seed] = highway(seed, axes)
                report((i * len(NETS) + j + 1) / (len(seeds) * len(NETS)))

    num_same = sum(p.same_shape for p in passages[CLEAR][seeds[0]])
    exact = {name: [exact_share(each) for each in by_seed.values()] for name, by_seed in passages.items()}
    shrink = {
        name: measurement(
            f"one block of the same shape lets through: {name}",
            [transmission(e, True) for e in by_seed.values()],
            "x",
        )
        for name, by_seed in passages.items()
    }
    strided = measurement(
        "a block that halves the image lets through",
        [transmission(e, False) for e in passages[CLEAR].values()],
        "x",
    )
    left = {
        name: measurement(
            f"left at the first block: {name}", [each[0].left for each in by_seed.values()], "x"
        )
        for name, by_seed in passages.items()
    }
    reach = next(p.reach for p in passages[CLEAR][seeds[0]] if not p.same_shape)
    exactly = measurement(f"bit for bit, of {num_same} blocks of the same shape: {CLEAR}", exact[CLEAR], "%")
    answer, sentence = judge(exactly, num_same, shrink, strided, left)
    return Finding(
        name="highway",
        claim="The gradient through + x is not shrunk at all.",
        source="article; He et al. 2016",
        answer=answer,
        sentence=sentence,
        setup=(
            f"Untrained residual nets of {DEPTH} layers ({len(passages[CLEAR][seeds[0]])} blocks, width "
            f"{WIDTH}, batch norm), {NUM_IMAGES} images of noise with random labels. At every block the "
            "gradient that comes out of the shortcut is compared with the one that went in. The highway in "
            "the picture is the gradient that takes the shortcut at every block, none of the branches. Two "
            f"blocks halve the image and double the channels: their shortcut reads {reach:.0%} of the "
            "pixels and the new channels have no way back."
        ),
        measurements=(exactly, *shrink.values(), strided, *left.values()),
        pictures=(
            Picture(
                highway_figure(
                    {n: [[p.left for p in e] for e in b.values()] for n, b in passages.items()}, floor=FLOOR
                ),
                "What is left of the gradient that takes every shortcut and no branch, from the last block "
                "(right) back to the first (left). Flat means not shrunk; lines that leave the picture go "
                "on falling. The steps are the two blocks that halve "
                "the image.",
                "Lines from right to left: flat but for two steps where nothing stands after the addition; "
                "falling with a ReLU, a scaled shortcut or a sigmoid in the way.",
            ),
        ),
        details={
            name: {
                str(seed): {
                    "exact": exact_share(each),
                    "transmission": [p.transmission for p in each],
                    "left": [p.left for p in each],
                }
                for seed, each in by_seed.items()
            }
            for name, by_seed in passages.items()
        },
    )


def highway(seed: int, axes: dict[str, Any], **shape: Any) -> list[Passage]:
    """Return the passages of an untrained residual net, in depth order."""
    model = {"depth": DEPTH, "width": WIDTH} | axes | shape
    net = build(seed=seed, num_classes=10, kind="residual", **model).double()
    images, labels = noise(seed)
    x = net.stem(images).detach()
    inputs: list[tuple[Block, Tensor]] = []
    for _, block in net.blocks():
        inputs.append((block, x))
        x = block(x).detach()
    last = x.requires_grad_()
    loss = F.cross_entropy(net.classify(last), labels, reduction="sum")
    g = torch.autograd.grad(loss, last)[0]

    start, on_highway, passages = _size(g), g, []
    for block, x in reversed(inputs):
        folded = fold(block, x)
        flow, _ = unfold(folded, g)
        along = unfold(fold(block, x), on_highway)[0].through_shortcut
        assert flow.through_shortcut is not None
        assert along is not None
        on_highway = along
        passages.append(
            Passage(
                same_shape=block.same_shape,
                exact=torch.equal(flow.through_shortcut, flow.out),
                transmission=_size(flow.through_shortcut) / _size(flow.out),
                reach=folded.output[0, 0].numel() / folded.into_shortcut[0, 0].numel(),
                left=_size(along) / start,
            )
        )
        g = flow.at_input
    return passages[::-1]


def noise(seed: int) -> tuple[Tensor, Tensor]:
    """Return images of noise, float64 [N, 3, H, W], and random labels [N]."""
    chance = torch.Generator().manual_seed(derive(seed, "noise"))
    images = torch.randn(NUM_IMAGES, 3, SIZE, SIZE, generator=chance, dtype=torch.float64)
    return images, torch.randint(10, (NUM_IMAGES,), generator=chance)


def exact_share(passages: Sequence[Passage]) -> float:
    """Return the percentage of the same-shape blocks whose shortcut changed no bit."""
    same = [p.exact for p in passages if p.same_shape]
    return 100 * sum(same) / len(same)


def transmission(passages: Sequence[Passage], same_shape: bool) -> float:
    """Return the geometric mean over the blocks of the same shape, or over those that change it."""
    return geometric_mean([p.transmission for p in passages if p.same_shape == same_shape])


def judge(
    exactly: Measurement,
    num_same: int,
    shrink: Mapping[str, Measurement],
    strided: Measurement,
    left: Mapping[str, Measurement],
) -> tuple[Answer, str]:
    """Say where the claim holds: bit for bit where the way is clear, and what shrinks it elsewhere."""
    assert exactly.mean is not None
    shrinking = [name for name, m in shrink.items() if m.interval is not None and m.interval[1] < 1]
    if exactly.mean < 100:
        return "does not hold", (
            f"With {CLEAR} only {exactly.mean:.0f}% of the {num_same} blocks of the same shape pass the "
            f"gradient on bit for bit, n = {exactly.n}."
        )
    clear = (
        f"With {CLEAR}, all {num_same} blocks of the same shape pass the gradient on bit for bit, n = "
        f"{exactly.n}. "
    )
    if not shrinking and exactly.n < 2:
        return "not resolved", clear + "One seed has no interval to judge the others by."
    if not shrinking:
        return "holds", clear + "Nothing that was put in the way shrank it."
    parts = [f"{shown(shrink[name])} is left in a block with {name}" for name in shrinking]
    ends = [f"{shown(left[name])} with {name}" for name in shrinking]
    return "holds only if", (
        f"Only where nothing stands after the addition and the shape stays. {clear}What stands in the way "
        f"shrinks it: {listed(parts)}; and {shown(strided)} in a block that halves the image, even on the "
        f"clear way. Behind all {DEPTH // 2 - 1} blocks there is left {shown(left[CLEAR])} on the clear "
        f"way, {listed(ends)}."
    )


def _size(g: Tensor) -> float:
    return float(norms([g])[0])


def highway_figure(left: Mapping[str, Sequence[Sequence[float]]], *, floor: float) -> Figure:
    """Draw what is left of the highway's gradient at each block's input, mean over seeds, range as a band.

    left: name to seed to one number a block, in depth order, in units of the last block's output.
    Lines leave the picture at `floor`.
    """
    figure, axes = panel(width=5.2, height=3.6)
    names = list(left)
    for index, (name, seeds) in enumerate(left.items()):
        values = np.array(seeds)
        x = np.arange(1, values.shape[1] + 2)
        values = np.concatenate([values, np.ones((len(values), 1))], axis=1)
        colour = (KIND_COLOURS["residual"], *OTHER_COLOURS[:2], OTHER_COLOURS[3], INK)[index]
        middle = np.exp(np.log(values).mean(axis=0))
        axes.plot(
            x, middle, color=colour, linewidth=1.6, marker=markers(names)[name], markevery=3, markersize=4,
            markeredgewidth=0, label=name,
        )  # fmt: skip
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(floor, 2)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("at the input of block (1: nearest to the image)")
    axes.set_ylabel("gradient left on the highway")
    legend(figure, axes)
    return figure
