"""Activation: does sigmoid let the gradient vanish, and is ReLU, or the shortcut, the cure?

Two things are measured, and they are different things: the gradient's way through the untrained net (its
word: vanishing, exploding, healthy), and the loss after a few hundred steps. No norm anywhere, since batch
norm alone already keeps a plain net's gradient from vanishing; a plain sigmoid net with it stands at the end
of the list to show that.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import inf, isfinite, log
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resexp.analysis.gradient_ratio import Transport, Word, transport
from resexp.analysis.statistics import Estimate, Interval, mean_estimate
from resexp.claims.finding import Answer, Finding, Measurement, Picture, Report, listed, spelled
from resexp.claims.small_training import Progress, drawings, side_by_side, train
from resexp.data.batches import in_place, render, sample
from resexp.data.dataset import Dataset
from resexp.models.resnet import build
from resexp.probes.gradient_profile import gradient_profile
from resexp.records.summary import first_over_last
from resexp.report.figures.style import KIND_COLOURS, LINE, SOFT, dress
from resexp.report.formatting import power

DEPTH, WIDTH = 20, 8
PROBE = 64
ACTIVATIONS: dict[str, dict[str, Any]] = {
    "sigmoid, Xavier": {"activation": "sigmoid", "init": "xavier"},
    "tanh, Xavier": {"activation": "tanh", "init": "xavier"},
    "ReLU, PyTorch's init": {"activation": "relu", "init": "default"},
    "ReLU, He": {"activation": "relu", "init": "he"},
}
"""Each with the initial weights it is meant to have, and ReLU also with those it gets unasked."""
SQUASHING = ("sigmoid, Xavier", "tanh, Xavier")
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "plain"},
    "residual, post": {"kind": "residual", "order": "post"},
    "residual, pre": {"kind": "residual", "order": "pre"},
}
CONTROL = "sigmoid, Xavier: plain with batch norm"
MODELS: dict[str, dict[str, Any]] = {
    f"{activation}: {kind}": {"norm": "none", **axes, **shape}
    for activation, axes in ACTIVATIONS.items()
    for kind, shape in KINDS.items()
} | {CONTROL: {**ACTIVATIONS["sigmoid, Xavier"], **KINDS["plain"], "norm": "batch"}}
NUM_LEARNED = 128
"""Drawings to be learned by heart: without norm, no net so deep learns much from all in so few steps."""
RATES = (0.001, 0.02, 0.2)
"""The same for all: each net is trained with every one on the first seed, with its best one on the rest."""
OPTIM = {"steps": 120, "batch_size": 32, "schedule": {"name": "cosine", "warmup_steps": 12}}
LEARNED = 0.1
"""A net has learned something if its loss beats guessing, ln K, by this many nats."""


class Trials(NamedTuple):
    """One net's trainings: final losses in nats."""

    by_rate: Mapping[float, float]
    """of the first seed"""
    best: float
    losses: Sequence[float]
    """of every seed, at the best rate"""


class Cell(NamedTuple):
    """One net."""

    gradient: Transport
    loss: Estimate
    """at the end of the training, in nats"""
    rate: float
    diverged: int
    """seeds whose loss was no number in the end; they are in no mean"""

    @property
    def interval(self) -> Interval | None:
        """Of T; None where its far bound is beyond what a number holds."""
        bounds = self.gradient.interval
        return bounds if bounds is None or isfinite(bounds[1]) else None

    def learns(self, chance: float) -> bool | None:
        """Whether it beats guessing; None: not resolved, one seed, or one diverged."""
        if self.loss.interval is None or self.diverged:
            return None
        if self.loss.interval[1] < chance - LEARNED:
            return True
        return False if self.loss.interval[0] > chance - LEARNED else None


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Probe and train every net. About two minutes for three seeds."""
    images = first_of(drawings().train, NUM_LEARNED)
    first, *rest = seeds

    def tried(model: Mapping[str, Any], progress: Progress) -> Trials:
        whole = len(RATES) + len(rest)

        def final_loss(rate: float, seed: int, done: int) -> float:
            return train(
                images, {"depth": DEPTH, "width": WIDTH, **model}, OPTIM | {"lr": rate}, seed=seed,
                progress=lambda part: progress((done + part) / whole),
            ).final_loss  # fmt: skip

        by_rate = {rate: final_loss(rate, first, done) for done, rate in enumerate(RATES)}
        best = best_rate(by_rate)
        others = [final_loss(best, seed, done) for done, seed in enumerate(rest, start=len(RATES))]
        return Trials(by_rate, best, [by_rate[best], *others])

    trials = side_by_side([partial(tried, model) for model in MODELS.values()], report)
    cells: dict[str, Cell] = {}
    details: dict[str, Any] = {}
    for (name, model), (by_rate, best, losses) in zip(MODELS.items(), trials, strict=True):
        ratios = [ratio(model, images, seed) for seed in seeds]
        ended = [loss for loss in losses if isfinite(loss)]
        cells[name] = Cell(transport(ratios, DEPTH - 2), mean_estimate(ended), best, len(losses) - len(ended))
        details[name] = {
            "ratio": dict(zip(map(str, seeds), ratios, strict=True)),
            "loss": dict(zip(map(str, seeds), map(_number, losses), strict=True)),
            "loss_by_rate": {str(rate): _number(loss) for rate, loss in by_rate.items()},
            "rate": best,
            "word": cells[name].gradient.word,
        }
    return _finding(cells, details, log(images.num_classes))


def first_of(images: Dataset, num: int) -> Dataset:
    """Return a data set of the first `num` images alone."""
    return images._replace(images=images.images[:num], labels=images.labels[:num])


def ratio(model: Mapping[str, Any], images: Dataset, seed: int) -> float | None:
    """Return T of the untrained net: |dE/dx| at the stem's output over that at the last block's, float64."""
    net = build(seed=seed, num_classes=images.num_classes, depth=DEPTH, width=WIDTH, **model).double().train()
    probed = gradient_profile(net, render(images, in_place(sample(len(images.labels), PROBE))))
    return first_over_last(probed["outputs"])


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def best_rate(losses: Mapping[float, float]) -> float:
    """Return the rate with the smallest loss; a loss that is not a number is no smallest one."""
    return min(losses, key=lambda rate: losses[rate] if isfinite(losses[rate]) else inf)


def cures(words: Mapping[str, Word]) -> dict[str, bool | None]:
    """Return, of every net that is said to be a cure, whether its gradient does not vanish; None: open."""
    remedies = [name for name in MODELS if "ReLU" in name or "residual" in name]
    return {name: _spared(words[name]) for name in remedies}


def answer(words: Mapping[str, Word]) -> Answer:
    """The disease is a plain net that squashes and vanishes; the cures are ReLU, and any residual net."""
    disease = [_vanishes(words[f"{name}: plain"]) for name in SQUASHING]
    cured = list(cures(words).values())
    if True not in disease and None not in disease:
        return "does not hold"
    if (True in cured and False in cured) or (True in disease and False in disease):
        return "holds only if"
    if None in disease or None in cured:
        return "not resolved"
    return "holds" if all(cured) else "does not hold"


def _vanishes(word: Word) -> bool | None:
    return word == "vanishing" if word in ("vanishing", "healthy", "exploding") else None


def _spared(word: Word) -> bool | None:
    found = _vanishes(word)
    return None if found is None else not found


def _sentence(cells: Mapping[str, Cell], chance: float, n: int) -> str:
    words: dict[str, Word] = {name: cell.gradient.word for name, cell in cells.items()}
    text = [f"Gradient of the untrained net, {DEPTH} layers, n = {n}."]
    text += [
        f"{word.capitalize()}: {_grouped(name for name, its in words.items() if its == word)}."
        for word in dict.fromkeys(words.values())
    ]
    if failed := [name for name, found in cures(words).items() if found is False]:
        text.append(f"So this is no cure: {_grouped(failed)}.")
    learned = {name: cell.learns(chance) for name, cell in cells.items()}
    text.append(f"After {OPTIM['steps']} steps, best learning rate of the list each:")
    for verdict, said in ((True, "have learned"), (False, "have not"), (None, "not resolved")):
        if names := [name for name, found in learned.items() if found is verdict]:
            text.append(f"{said}: {_grouped(names)};")
    diverged = sum(cell.diverged for cell in cells.values())
    ended = f" Diverged: {diverged} of {n * len(cells)} trainings." if diverged else ""
    return " ".join(text).removesuffix(";") + "." + ended


def _grouped(names: Iterable[str]) -> str:
    """Return `sigmoid, Xavier (plain / residual, post); ReLU, He (...)`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        activation, kind = name.split(": ")
        groups.setdefault(activation, []).append(kind)
    return "; ".join(f"{activation} ({' / '.join(kinds)})" for activation, kinds in groups.items())


def _finding(cells: Mapping[str, Cell], details: dict[str, Any], chance: float) -> Finding:
    n = max(cell.gradient.n for cell in cells.values())
    return Finding(
        name="activation",
        claim=(
            "Squashing activations such as sigmoid shrink the gradient a little in every layer until it "
            "vanishes in a deep plain net. ReLU, or the residual design, cures that."
        ),
        source="article",
        answer=answer({name: cell.gradient.word for name, cell in cells.items()}),
        sentence=_sentence(cells, chance, n),
        setup=(
            f"Nets of depth {DEPTH} and width {WIDTH} without norm (one with), 16x16 crayon drawings. T is "
            "the size of dE/dx at the first block's input over that at the last block's output, before "
            f"training. Then each learns {NUM_LEARNED} drawings by heart, {OPTIM['steps']} steps of "
            f"{OPTIM['batch_size']}; the learning rates {listed(RATES)} are tried on the first seed and the "
            f"best is used for all {n}. Loss: mean over the last tenth of the steps; guessing has "
            f"{chance:.2f}, and {LEARNED} less counts as learning. Post: the activation stands after the "
            "addition (He et al. 2015); pre: in the branch alone (He et al. 2016)."
        ),
        measurements=(
            *(
                Measurement(f"T, {name}", of.gradient.ratio, of.interval, of.gradient.n, "first over last")
                for name, of in cells.items()
            ),
            *(Measurement.of(f"loss, {name}", of.loss, "nats") for name, of in cells.items()),
        ),
        pictures=(
            Picture(
                cells_figure(
                    {
                        name: ((of.gradient.ratio, of.interval), (of.loss.mean, of.loss.interval))
                        for name, of in cells.items()
                    },
                    chance=chance,
                ),
                f"Left: what is left of the gradient at the net's beginning; grey is where it counts as "
                f"vanished or exploded. Right: the training loss after {OPTIM['steps']} steps; dotted is "
                f"guessing. Bars are 95% intervals, n = {n}.",
                " ".join(
                    f"{name}: T {of.gradient.ratio or 0:.1e}, {of.gradient.word}, loss {spelled(of.loss)}."
                    for name, of in cells.items()
                ),
            ),
        ),
        details={"cells": details, "chance": chance, "rates": list(RATES)},
    )


def cells_figure(
    cells: Mapping[str, tuple[tuple[float | None, Interval | None], tuple[float | None, Interval | None]]],
    *,
    chance: float,
) -> Figure:
    """Draw a row a net: what is left of the gradient (T, logarithmic) and, beside it, the loss in nats.

    cells: by name `activation: kind`, (mean, interval) of both. chance: the loss of guessing.
    """
    figure = Figure(figsize=(7.2, 0.27 * len(cells) + 1.0), layout="constrained")
    gradient, loss = figure.subplots(1, 2, sharey=True)
    for axes in (gradient, loss):
        dress(axes)
        axes.grid(False, axis="y")
    names = list(cells)
    for row, (name, (ratio, end)) in enumerate(cells.items()):
        colour = _kind_colour(name)
        for axes, (mean, interval) in ((gradient, ratio), (loss, end)):
            if interval is not None:
                axes.plot(interval, [row, row], color=colour, linewidth=2.2, alpha=0.6, solid_capstyle="butt")
            if mean is not None:
                axes.plot([mean], [row], "o", color=colour, markersize=5, markeredgewidth=0)
        if row and name.split(": ")[0] != names[row - 1].split(": ")[0]:
            for axes in (gradient, loss):
                axes.axhline(row - 0.5, color=LINE, linewidth=0.8)
    means = [ratio[0] for ratio, _ in cells.values() if ratio[0]]
    low, high = min(1e-5, *means) / 30, max(1e4, *means) * 30
    gradient.set_xscale("log")
    gradient.set_xlim(low, high)
    for zone in ((low, 1e-3), (1e3, high)):
        gradient.axvspan(*zone, color=LINE, linewidth=0, alpha=0.5)
    gradient.axvline(1, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    gradient.xaxis.set_major_locator(LogLocator(numticks=5))
    gradient.xaxis.set_minor_locator(NullLocator())
    gradient.xaxis.set_major_formatter(lambda x, _: power(x))
    gradient.set_xlabel("T: gradient, first over last")
    loss.axvline(chance, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    # A net that blew up stands at the edge as an arrow, or it would hide all differences between the others.
    edge = 1.3 * chance
    loss.set_xlim(max(0.0, loss.get_xlim()[0]), min(edge, loss.get_xlim()[1]))
    for row, (name, (_, (mean, _))) in enumerate(cells.items()):
        if mean is not None and mean > edge:
            loss.plot([edge], [row], ">", color=_kind_colour(name), markersize=6, clip_on=False)
    loss.set_xlabel("training loss (nats)")
    loss.xaxis.set_major_locator(MaxNLocator(5))
    gradient.set_yticks(range(len(names)), names)
    gradient.set_ylim(len(names) - 0.5, -0.5)
    return figure


def _kind_colour(name: str) -> str:
    """Return the colour of a cell `activation: kind`."""
    return KIND_COLOURS["plain" if name.split(": ")[1].startswith("plain") else "residual"]
