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
    Asked,
    BySeed,
    Finding,
    OnProgress,
    Part,
    Picture,
    decided,
    geometric_mean,
    judged,
    listed,
    mean_text,
    measurement,
    story,
    too_few,
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

_DEPTH, _WIDTH, _SIZE, _NUM_IMAGES = 56, 8, 16, 16


class Way(NamedTuple):
    """What makes a net's shortcuts these, and how it is said after `holds only if`."""

    axes: dict[str, Any]
    when: str


_NETS = {
    "nothing after the addition": Way(
        {"order": "pre"}, "nothing stands after the addition and the block keeps the shape"
    ),
    "ReLU after the addition": Way({}, "a ReLU stands after the addition"),
    "sigmoid after the addition": Way({"activation": "sigmoid"}, "a sigmoid stands after the addition"),
    "shortcut x 0.9": Way({"order": "pre", "shortcut_scale": 0.9}, "the shortcut is multiplied by 0.9"),
    "shortcut x 0.5": Way({"order": "pre", "shortcut_scale": 0.5}, "the shortcut is multiplied by 0.5"),
}
CLEAR = next(iter(_NETS))
HALVING = "the block halves the image"
_FLOOR = 1e-4


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


Passages = Mapping[str, Mapping[int, Sequence[Passage]]]
"""By net and seed: the blocks in depth order."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Send the gradient back through the shortcuts of untrained nets; compare what leaves with what came."""
    passages: dict[str, dict[int, list[Passage]]] = {name: {} for name in _NETS}
    jobs = [(seed, name) for seed in seeds for name in _NETS]
    with one_thread():
        for done, (seed, name) in enumerate(jobs, start=1):
            passages[name][seed] = highway(seed, _NETS[name].axes)
            report(done / len(jobs))
    return _finding(passages)


def _finding(passages: Passages) -> Finding:
    blocks = next(iter(passages[CLEAR].values()))
    num_same = sum(p.same_shape for p in blocks)
    reach = next(p.reach for p in blocks if not p.same_shape)
    clear = passages[CLEAR].values()
    return Finding(
        name="highway",
        claim="The gradient through + x is not shrunk at all.",
        source="article; He et al. 2016",
        answer=judged(highway_settings(passages)),
        sentence=_sentence(passages),
        setup=(
            f"Untrained residual nets of {_DEPTH} layers ({len(blocks)} blocks, width {_WIDTH}, batch norm), "
            f"{_NUM_IMAGES} images of noise with random labels. At every block the gradient that comes out "
            "of the shortcut is compared with the one that went in. Not shrunk at all is: the same bits, at "
            "every block and seed. The highway in the picture is the gradient that takes the shortcut at "
            "every block, none of the branches. Two blocks halve the image and double the channels: their "
            f"shortcut reads {reach:.0%} of the pixels and the new channels have no way back."
        ),
        measurements=(
            measurement(
                f"bit for bit, of {num_same} blocks of the same shape: {CLEAR}",
                [exact_share(each) for each in clear],
                "%",
            ),
            *(
                measurement(f"one block of the same shape lets through: {name}", _through(by_seed, True), "x")
                for name, by_seed in passages.items()
            ),
            measurement("a block that halves the image lets through", _through(passages[CLEAR], False), "x"),
            *(
                measurement(f"left at the first block: {name}", _left(by_seed), "x")
                for name, by_seed in passages.items()
            ),
        ),
        pictures=(
            Picture(
                highway_figure(
                    {n: [[p.left for p in e] for e in b.values()] for n, b in passages.items()}, floor=_FLOOR
                ),
                "What is left of the gradient that takes every shortcut and no branch, from the last block "
                "(right) back to the first (left). Flat means not shrunk; lines that leave the picture go "
                "on falling. The steps are the two blocks that halve the image.",
                "Lines from right to left, left at the first block: "
                + "; ".join(f"{name} {mean_text(_left(by_seed))}" for name, by_seed in passages.items())
                + ".",
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


def _through(by_seed: Mapping[int, Sequence[Passage]], same_shape: bool) -> BySeed:
    return {seed: transmission(each, same_shape) for seed, each in by_seed.items()}


def _left(by_seed: Mapping[int, Sequence[Passage]]) -> BySeed:
    return {seed: each[0].left for seed, each in by_seed.items()}


def highway_settings(passages: Passages) -> dict[str, list[Part]]:
    """Return, for each way a shortcut may go, whether the gradient leaves it as it came.

    Only equal bits say so: an interval that contains 1 is not resolved.
    """
    says = "the gradient leaves the shortcut as it came"
    ways = {_NETS[name].when: (by_seed, True) for name, by_seed in passages.items()}
    ways[HALVING] = (passages[CLEAR], False)
    exact, asked = {}, {}
    for when, (by_seed, same_shape) in ways.items():
        blocks = [p.exact for each in by_seed.values() for p in each if p.same_shape == same_shape]
        if all(blocks):
            exact[when] = Part(says, True, f"bit for bit in {len(blocks)} blocks, n = {len(by_seed)}")
        else:
            asked[when] = Asked(says, _through(by_seed, same_shape), "higher", 1, "x")
    found = exact | decided(asked)
    return {when: [found[when]] for when in ways}


def _sentence(passages: Passages) -> str:
    n = len(passages[CLEAR])
    let_through = [f"{mean_text(_through(by_seed, True))} with {name}" for name, by_seed in passages.items()]
    ends = [f"{mean_text(_left(by_seed))} with {name}" for name, by_seed in passages.items()]
    same = [exact_share(each) for each in passages[CLEAR].values()]
    return story(
        f"With {CLEAR}, {mean_text(same)}% of the blocks of the same shape pass the gradient on bit for bit, "
        f"n = {n}. A block of the same shape lets through {listed(let_through)}; one that halves the image "
        f"{mean_text(_through(passages[CLEAR], False))}, even on the clear way. Behind all {_DEPTH // 2 - 1} "
        f"blocks there is left {listed(ends)}.",
        too_few(n),
    )


def highway(seed: int, axes: dict[str, Any], **shape: Any) -> list[Passage]:
    """Return the passages of an untrained residual net, in depth order."""
    model = {"depth": _DEPTH, "width": _WIDTH} | axes | shape
    net = build(seed=seed, num_classes=10, kind="residual", **model).double()
    images, labels = noise_batch(seed)
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


def noise_batch(seed: int) -> tuple[Tensor, Tensor]:
    """Return images of noise, float64 [N, 3, H, W], and random labels [N]."""
    rng = torch.Generator().manual_seed(derive(seed, "noise"))
    images = torch.randn(_NUM_IMAGES, 3, _SIZE, _SIZE, generator=rng, dtype=torch.float64)
    return images, torch.randint(10, (_NUM_IMAGES,), generator=rng)


def exact_share(passages: Sequence[Passage]) -> float:
    """Return the percentage of the same-shape blocks whose shortcut changed no bit."""
    same = [p.exact for p in passages if p.same_shape]
    return 100 * sum(same) / len(same)


def transmission(passages: Sequence[Passage], same_shape: bool) -> float:
    """Return the geometric mean over the blocks of the same shape, or over those that change it."""
    return geometric_mean([p.transmission for p in passages if p.same_shape == same_shape])


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
