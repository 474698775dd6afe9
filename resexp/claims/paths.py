"""Of the 2^n paths through n blocks, which carry the gradient (Veit et al. 2016).

At every block a path takes the shortcut or the branch; its length is how many branches it took. The gradient
at the stem's output is the sum over all paths, so it is also the sum over lengths, and that sum is computed
exactly, without a sample of paths: G_k <- S^T G_k + J^T G_(k-1), block by block from the last to the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor
from torch.nn import functional as F

from resexp.analysis.statistics import CONFIDENCE
from resexp.claims.finding import Answer, Finding, Measurement, Picture, Report, measurement
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
from resexp.seeds import derive

DEPTH, WIDTH, SIZE, NUM_IMAGES = 110, 8, 16, 8
NUM_BLOCKS = (DEPTH - 2) // 2
SHORT = range(5, 18)
"""The lengths Veit et al. name for n = 54."""
NETS: dict[str, dict[str, Any]] = {
    "batch norm (He et al. 2015)": {},
    "batch norm, nothing after the addition": {"order": "pre"},
    "no norm, PyTorch's own init": {"norm": "none", "init": "default"},
    "no norm, He init": {"norm": "none"},
}
MAIN = next(iter(NETS))
ALMOST_ALL = 0.9


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Split the gradient of untrained nets of 54 blocks by path length, and hold it against the count."""
    shares: dict[str, list[list[float]]] = {name: [] for name in NETS}
    with one_thread():
        for i, seed in enumerate(seeds):
            for j, (name, axes) in enumerate(NETS.items()):
                by_length = gradients_by_length(*folded_net(seed, axes))
                shares[name].append(projection_shares(by_length))
                report((i * len(NETS) + j + 1) / (len(seeds) * len(NETS)))

    count = path_shares(NUM_BLOCKS)
    counted = sum(count[k] for k in SHORT)
    measured = {
        name: measurement(f"gradient on lengths 5 to 17: {name}", [within(s, SHORT) for s in each], "%")
        for name, each in shares.items()
    }
    lengths = [
        measurement(f"mean length, weighted by gradient: {name}", [mean_length(s) for s in each], "branches")
        for name, each in shares.items()
    ]
    answer, sentence = judge(measured, counted)
    return Finding(
        name="paths",
        claim="A residual net is a bundle of paths, and the few short ones carry almost all of the gradient.",
        source="Veit et al. 2016",
        answer=answer,
        sentence=sentence,
        setup=(
            f"At each of the {NUM_BLOCKS} blocks of a {DEPTH}-layer net the gradient can go back through "
            "the shortcut or through the branch; that makes 2^54 paths. A path's length is the number of "
            "branches it takes. The gradient at the stem is the sum over all paths. It was split exactly "
            f"by length, in 64-bit numbers, in untrained nets (width {WIDTH}, ReLU, {NUM_IMAGES} images of "
            "noise with random labels). Parts of a sum of vectors can point away from it, so a length's "
            "share is its projection on the whole gradient; shares add up to 100% and single ones may be "
            "negative. Veit et al. looked at a trained net; none was trained here."
        ),
        measurements=(
            Measurement("paths of length 5 to 17, of all 2^54", 100 * counted, None, 0, "% (exact)"),
            *measured.values(),
            *lengths,
        ),
        pictures=(
            Picture(
                path_figure(count, {name: shares[name] for name in list(NETS)[:1]}, SHORT),
                "Grey: how many of the paths have each length. Colour: how much of the gradient they "
                "carry, in the net of He et al. 2015 before training. Almost all paths are long; the "
                "gradient takes the "
                "short ones.",
                "Two humps over path length from 0 to 54: the count of paths is centred at 27, "
                f"the gradient at {lengths[0].mean:.0f}.",
            ),
            Picture(
                path_figure(count, {name: shares[name] for name in list(NETS)[1:]}, SHORT),
                "The same for three other nets. Without normalisation it depends on how the weights begin: "
                "small weights leave the gradient to the very shortest paths; with He's larger ones "
                "it spreads like the paths themselves.",
                "Gradient shares by path length: "
                + "; ".join(f"{m.what.split(': ')[1]} centred at {m.mean:.0f}" for m in lengths[1:])
                + ".",
            ),
        ),
        details={
            "num_blocks": NUM_BLOCKS,
            "path_shares": count,
            "gradient_shares": {
                name: dict(zip(map(str, seeds), each, strict=True)) for name, each in shares.items()
            },
        },
    )


def folded_net(seed: int, axes: dict[str, Any], **shape: Any) -> tuple[list[Folded], Tensor]:
    """Return an untrained residual net's blocks, folded one by one, and dE/dx at the last block's output."""
    model = {"depth": DEPTH, "width": WIDTH} | axes | shape
    net = build(seed=seed, num_classes=10, kind="residual", **model).double()
    chance = torch.Generator().manual_seed(derive(seed, "paths", "images"))
    images = torch.randn(NUM_IMAGES, 3, SIZE, SIZE, generator=chance, dtype=torch.float64)
    labels = torch.randint(10, (NUM_IMAGES,), generator=chance)
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


def judge(measured: dict[str, Measurement], counted: float) -> tuple[Answer, str]:
    """Say whether lengths 5 to 17 carry almost all of the gradient, from the intervals of each net."""
    main = measured[MAIN]
    words = {name: _word(m) for name, m in measured.items()}
    others = [name for name in measured if name != MAIN]
    refuted = [name for name in others if words[name] == "no"]
    answers: dict[str, Answer] = {
        "yes": "holds only if" if refuted else "holds",
        "no": "does not hold",
        "open": "not resolved",
    }
    low, high = main.interval or (main.mean, main.mean)
    sentence = (
        f"In the net of He et al. 2015, {100 * counted:.2f}% of the paths (lengths 5 to 17 of 54) carry "
        f"{main.mean:.0f}% of the gradient [{low:.0f}, {high:.0f}], n = {main.n}, before any training."
    )
    if refuted:
        parts = " and ".join(f"{measured[name].mean:.1f}% ({name})" for name in refuted)
        if all(name.startswith("no norm") for name in refuted):
            sentence = (
                f"Only with normalisation. {sentence} That is the doing of the normalisation and the "
                f"weights, not of the shortcuts alone: elsewhere the same lengths carry {parts}."
            )
        else:
            sentence = f"Not in every net. {sentence} Elsewhere the same lengths carry {parts}."
    if main.interval is None:
        sentence += f" One seed has no {CONFIDENCE:.0%} interval."
    return answers[words[MAIN]], sentence


def _word(measured: Measurement) -> str:
    if measured.interval is None:
        return "open"
    low, high = measured.interval
    return "yes" if low > 100 * ALMOST_ALL else "no" if high < 100 * ALMOST_ALL else "open"


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
