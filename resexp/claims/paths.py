"""Of the 2^n paths through n blocks, which carry the gradient (Veit et al. 2016).

At every block a path takes the shortcut or the branch; its length is how many branches it took. The gradient
at the stem's output is the sum over all paths, so it is also the sum over lengths, and that sum is computed
exactly, without a sample of paths: G_k <- S^T G_k + J^T G_(k-1), block by block from the last to the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import comb
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor
from torch.nn import functional as F

from resexp.claims.finding import (
    Answer,
    Asked,
    BySeed,
    Finding,
    Measurement,
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
from resexp.claims.stacked_training import one_thread
from resexp.models.resnet import Network, build
from resexp.probes.gradient_profile import Folded, fold
from resexp.report.figures.lines import legend
from resexp.report.figures.style import (
    KIND_COLOURS,
    OTHER_COLOURS,
    SOFT,
    panel,
)
from resexp.report.formatting import number
from resexp.seeds import derive

_DEPTH, _WIDTH, _SIZE, _NUM_IMAGES = 110, 8, 16, 8
_NUM_BLOCKS = (_DEPTH - 2) // 2
SHORT = range(18)
"""At most 17 branches. Veit et al. name 5 to 17 for n = 54; shorter paths are short too."""
ALMOST_ALL, FEW = 90, 1
"""Percent: of the gradient, and of all paths."""


class ProbedNet(NamedTuple):
    """What makes a residual net this one, and how it is said after `holds only if`."""

    axes: dict[str, Any]
    when: str


_NETS = {
    "batch norm (He et al. 2015)": ProbedNet({}, "there is batch norm"),
    "batch norm, nothing after the addition": ProbedNet(
        {"order": "pre"}, "there is batch norm and nothing after the addition"
    ),
    "no norm, PyTorch's own init": ProbedNet(
        {"norm": "none", "init": "default"}, "there is no norm and the weights begin small (PyTorch's)"
    ),
    "no norm, He init": ProbedNet({"norm": "none"}, "there is no norm and the weights begin large (He's)"),
}
MAIN = next(iter(_NETS))
Shares = Mapping[str, Mapping[int, Sequence[float]]]
"""By net and seed: each length's share of the gradient."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Split the gradient of untrained nets of 54 blocks by path length, and hold it against the count."""
    shares: dict[str, dict[int, list[float]]] = {name: {} for name in _NETS}
    jobs = [(seed, name) for seed in seeds for name in _NETS]
    with one_thread():
        for done, (seed, name) in enumerate(jobs, start=1):
            by_length = gradients_by_length(*folded_net(seed, _NETS[name].axes))
            shares[name][seed] = projection_shares(by_length)
            report(done / len(jobs))
    return _finding(shares)


def _finding(shares: Shares) -> Finding:
    count = path_shares(_NUM_BLOCKS)
    carried = {name: _on_short(by_seed) for name, by_seed in shares.items()}
    lengths = {
        name: {seed: mean_length(each) for seed, each in by_seed.items()} for name, by_seed in shares.items()
    }
    counted = within(count, SHORT)
    answer = judged(path_settings(carried, counted))
    return Finding(
        name="paths",
        claim="A residual net is a bundle of paths, and the few short ones carry almost all of the gradient.",
        source="Veit et al. 2016",
        answer=answer,
        sentence=_sentence(answer, carried, lengths, counted),
        setup=(
            f"At each of the {_NUM_BLOCKS} blocks of a {_DEPTH}-layer net the gradient can go back through "
            "the shortcut or through the branch; that makes 2^54 paths. A path's length is the number of "
            f"branches it takes; short is at most {SHORT[-1]}, almost all more than {ALMOST_ALL}%, few less "
            f"than {FEW}% of the paths. The gradient at the stem is the sum over all paths. It was split "
            f"exactly by length, in 64-bit numbers, in untrained nets (width {_WIDTH}, ReLU, {_NUM_IMAGES} "
            "images of noise with random labels). Parts of a sum of vectors can point away from it, so a "
            "length's share is its projection on the whole gradient; shares add up to 100% and single ones "
            "may be negative. Veit et al. looked at a trained net; none was trained here."
        ),
        measurements=(
            Measurement(f"paths of length 0 to {SHORT[-1]}, of all 2^54", counted, None, 0, "% (exact)"),
            *(
                measurement(f"gradient on lengths 0 to {SHORT[-1]}: {name}", each, "%")
                for name, each in carried.items()
            ),
            *(
                measurement(f"mean length, weighted by gradient: {name}", each, "branches")
                for name, each in lengths.items()
            ),
        ),
        pictures=_pictures(count, shares, lengths),
        details={
            "num_blocks": _NUM_BLOCKS,
            "path_shares": count,
            "gradient_shares": {
                name: {str(seed): list(each) for seed, each in by_seed.items()}
                for name, by_seed in shares.items()
            },
        },
    )


def _on_short(by_seed: Mapping[int, Sequence[float]]) -> BySeed:
    return {seed: within(each, SHORT) for seed, each in by_seed.items()}


def path_settings(carried: Mapping[str, BySeed], counted: float) -> dict[str, list[Part]]:
    """Return, for each net, whether its short paths are few and whether they carry almost all.

    carried, counted: percent of the gradient and of the paths.
    """
    few = Part("the short paths are few", counted < FEW, f"{number(counted)}% of all paths, limit {FEW}%")
    says = "they carry almost all of the gradient"
    parts = decided({name: Asked(says, each, "higher", ALMOST_ALL, "%") for name, each in carried.items()})
    return {_NETS[name].when: [few, part] for name, part in parts.items()}


def _sentence(
    answer: Answer, carried: Mapping[str, BySeed], lengths: Mapping[str, BySeed], counted: float
) -> str:
    n = len(carried[MAIN])
    others = "; ".join(
        f"{name} {spelled(each)}%, mean length {mean_text(lengths[name])}"
        for name, each in carried.items()
        if name != MAIN
    )
    return story(
        f"In the net of He et al. 2015 the {number(counted)}% of the paths that take at most {SHORT[-1]} of "
        f"the {_NUM_BLOCKS} branches carry {spelled(carried[MAIN])}% of the gradient, mean length "
        f"{mean_text(lengths[MAIN])}, n = {n}, before any training. Elsewhere: {others}.",
        "All have the same shortcuts: it is the doing of norm and initial weights."
        if answer.word == "holds only if"
        else "",
        too_few(n),
    )


def _pictures(count: Sequence[float], shares: Shares, lengths: Mapping[str, BySeed]) -> tuple[Picture, ...]:
    first, *others = _NETS
    seeds = {name: list(by_seed.values()) for name, by_seed in shares.items()}
    centres = {name: mean_text(each) for name, each in lengths.items()}
    return (
        Picture(
            path_figure(count, {first: seeds[first]}, SHORT),
            "Grey: how many of the paths have each length. Colour: how much of the gradient they carry, in "
            "the net of He et al. 2015 before training.",
            f"Two humps over path length from 0 to {_NUM_BLOCKS}: the count of paths is centred at "
            f"{_NUM_BLOCKS // 2}, the gradient at {centres[first]}.",
        ),
        Picture(
            path_figure(count, {name: seeds[name] for name in others}, SHORT),
            "The same for three other nets. Without normalisation it depends on how large the weights begin.",
            "Gradient shares by path length: "
            + "; ".join(f"{name} centred at {centres[name]}" for name in others)
            + ".",
        ),
    )


def folded_net(seed: int, axes: dict[str, Any], **shape: Any) -> tuple[list[Folded], Tensor]:
    """Return an untrained residual net's blocks, folded one by one, and dE/dx at the last block's output."""
    model = {"depth": _DEPTH, "width": _WIDTH} | axes | shape
    net = build(seed=seed, num_classes=10, kind="residual", **model).double()
    rng = torch.Generator().manual_seed(derive(seed, "paths", "images"))
    images = torch.randn(_NUM_IMAGES, 3, _SIZE, _SIZE, generator=rng, dtype=torch.float64)
    labels = torch.randint(10, (_NUM_IMAGES,), generator=rng)
    blocks = list(_fold_all(net, images))
    last = blocks[-1].output.detach().requires_grad_()
    loss = F.cross_entropy(net.classify(last), labels, reduction="sum")
    return blocks, torch.autograd.grad(loss, last)[0]


def _fold_all(net: Network, images: Tensor) -> Iterator[Folded]:
    x = net.stem(images)
    for _, block in net.blocks():
        folded = fold(block, x)
        yield folded
        x = folded.output


def gradients_by_length(blocks: Sequence[Folded], g_last: Tensor) -> list[Tensor]:
    """Return dE/dx at the first block's input, split by path length: n + 1 tensors whose sum is the whole.

    blocks: folded, in depth order. g_last: dE/dx at the last block's output.
    """
    by_length = [g_last]
    for folded in reversed(blocks):
        # One zero more: no path of this net is as long yet through its branch, nor as short.
        through_shortcut, through_branch = [], []
        for g in by_length:
            s, b = torch.autograd.grad(
                folded.output, (folded.into_shortcut, folded.into_branch), g, retain_graph=True
            )
            through_shortcut.append(s)
            through_branch.append(b)
        inner = [s + b for s, b in zip(through_shortcut[1:], through_branch[:-1], strict=True)]
        by_length = [through_shortcut[0], *inner, through_branch[-1]]
    return by_length


def projection_shares(parts: Sequence[Tensor]) -> list[float]:
    """Return <part, whole> / |whole|^2 of each part of a sum; they sum to 1 and may be negative."""
    whole = torch.stack(list(parts)).sum(0)
    square = float((whole * whole).sum())
    return [float((part * whole).sum()) / square for part in parts]


def path_shares(num_blocks: int) -> list[float]:
    """Return what part of all 2^n paths has each length 0..n: binomial."""
    return [comb(num_blocks, k) / 2**num_blocks for k in range(num_blocks + 1)]


def within(shares: Sequence[float], lengths: range) -> float:
    """Return the sum over some lengths, in percent."""
    return 100 * sum(shares[k] for k in lengths)


def mean_length(shares: Sequence[float]) -> float:
    return sum(k * share for k, share in enumerate(shares))


def path_figure(
    count: Sequence[float], shares: Mapping[str, Sequence[Sequence[float]]], window: range
) -> Figure:
    """Draw by path length the share of all paths (grey) and of the gradient (mean over seeds)."""
    figure, axes = panel(width=5.2, height=3.4)
    lengths = np.arange(len(count))
    axes.axvspan(window[0] - 0.5, window[-1] + 0.5, color=SOFT, alpha=0.12, linewidth=0)
    axes.fill_between(
        lengths, 100 * np.array(count), color=SOFT, alpha=0.35, linewidth=0, label="number of paths"
    )
    colours = [KIND_COLOURS["residual"]] if len(shares) == 1 else [*OTHER_COLOURS[:2], KIND_COLOURS["plain"]]
    for (name, seeds), colour, marker in zip(shares.items(), colours, "os^", strict=False):
        values = 100 * np.array(seeds)
        axes.plot(
            lengths, values.mean(axis=0), color=colour, linewidth=1.6, marker=marker, markersize=3.2,
            markeredgewidth=0, label="gradient" if len(shares) == 1 else f"gradient: {name}",
        )  # fmt: skip
        axes.fill_between(
            lengths, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )
    axes.set_xlabel("length of the path: branches taken, of " + str(len(count) - 1))
    axes.set_ylabel("share of all")
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    legend(figure, axes)
    return figure
