"""Three convs: is the article's block of three convolutions better or worse than one of two or of one?

At one depth the three kinds of block make nets of the same layers, the same shapes and exactly as many
parameters (the pad shortcut has none): what differs is after how many convolutions x is added again. A plain
net, to which that never happens, stands beside them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resexp.analysis.statistics import Estimate, Interval, Word, mean_estimate, paired_difference
from resexp.claims.finding import (
    Answer,
    BySeed,
    Finding,
    Measurement,
    Picture,
    Report,
    differences,
    spelled,
    too_few,
)
from resexp.claims.small_training import Progress, Trained, drawings, side_by_side, train
from resexp.report.figures.style import INK, KIND_COLOURS, panel

DEPTH = 20
WIDTH = 8
ARMS: dict[str, dict[str, Any]] = {
    "one conv": {"kind": "residual", "convs_per_block": 1},
    "two convs": {"kind": "residual", "convs_per_block": 2},
    "three convs": {"kind": "residual", "convs_per_block": 3},
    "plain": {"kind": "plain", "convs_per_block": 2},
}
THREE, TWO, ONE = "three convs", "two convs", "one conv"
BLOCKS = (ONE, TWO, THREE)
OPTIM = {
    "steps": 200,
    "batch_size": 64,
    "lr": 0.1,
    "schedule": {"name": "cosine", "warmup_steps": 20},
}
Losses = Mapping[str, BySeed]
"""By arm and seed: mean training loss over the last tenth of the steps, in nats."""


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Train every arm on every seed. About a minute for three seeds."""
    images = drawings()

    def trained(arm: str, seed: int, progress: Progress) -> Trained:
        model = {"depth": DEPTH, "width": WIDTH, **ARMS[arm]}
        return train(images.train, model, OPTIM, seed=seed, progress=progress)

    cells = [(arm, seed) for seed in seeds for arm in ARMS]
    nets = side_by_side([partial(trained, *cell) for cell in cells], report)
    losses: dict[str, dict[int, float]] = {arm: {} for arm in ARMS}
    accuracies: dict[str, dict[int, float]] = {arm: {} for arm in ARMS}
    parameters: dict[str, int] = {}
    for (arm, seed), net in zip(cells, nets, strict=True):
        losses[arm][seed] = net.final_loss
        accuracies[arm][seed] = net.engine.evaluate(images.test).accuracy
        parameters[arm] = sum(weight.numel() for weight in net.engine.net.parameters())
    return _finding(losses, accuracies, parameters)


def _finding(losses: Losses, accuracies: Losses, parameters: Mapping[str, int]) -> Finding:
    gaps = differences({(a, b): (losses[a], losses[b]) for b, a in combinations(BLOCKS, 2)})
    words: dict[tuple[str, str], Word | None] = {pair: word for pair, (_, word) in gaps.items()}
    means = {arm: mean_estimate(list(losses[arm].values())) for arm in ARMS}
    n, unit = means[TWO].n, "nats, training loss"
    return Finding(
        name="three-convs",
        claim="A residual block holds three convolutions.",
        source="article (He et al. 2015 hold two; He et al. 2016 found one to be worse)",
        answer=answer(words),
        sentence=_sentence(means, gaps),
        setup=(
            f"Nets of depth {DEPTH} and width {WIDTH} with batch norm, {parameters[TWO]:,} parameters each, "
            f"on crayon drawings of 16x16: {DEPTH - 2} convolutions in blocks of one, of two or of three, or "
            f"without any shortcut. The same drawings in the same order, {OPTIM['steps']} steps of "
            f"{OPTIM['batch_size']}, learning rate {OPTIM['lr']}, {n} seeds. Compared: the training loss, "
            "mean over the last tenth of the steps."
        ),
        measurements=(
            *(Measurement.of(arm, means[arm], unit) for arm in ARMS),
            *(Measurement.of(f"{a} minus {b}", e, unit) for (a, b), (e, _) in gaps.items()),
            Measurement.of("plain minus two convs", paired_difference(losses["plain"], losses[TWO]), unit),
            *(
                Measurement.of(f"{arm}, test accuracy", mean_estimate(list(of_arm.values())), "share right")
                for arm, of_arm in accuracies.items()
            ),
        ),
        pictures=(
            Picture(
                seeds_figure(
                    {arm: list(of_arm.values()) for arm, of_arm in losses.items()},
                    {arm: (e.mean, e.interval) for arm, e in means.items() if e.mean is not None},
                    "training loss (nats)",
                ),
                f"Training loss at the end of {OPTIM['steps']} steps: a dot a seed, a bar for the 95% "
                "interval of their mean. Seeds are shared, so differences are surer than the bars look.",
                "Training loss. " + " ".join(f"{arm}: {spelled(e)}." for arm, e in means.items()),
            ),
        ),
        details={
            "depth": DEPTH,
            "parameters": dict(parameters),
            "final_loss": {arm: {str(s): x for s, x in v.items()} for arm, v in losses.items()},
            "test_accuracy": {arm: {str(s): x for s, x in v.items()} for arm, v in accuracies.items()},
            "words": {f"{a} minus {b}": word for (a, b), word in words.items()},
        },
    )


def answer(words: Mapping[tuple[str, str], Word | None]) -> Answer:
    """Three convs are best, or worse than some other, or neither is shown."""
    of_three = [words[THREE, TWO], words[THREE, ONE]]
    if of_three == ["lower", "lower"]:
        return "holds"
    return "does not hold" if "higher" in of_three else "not resolved"


def _sentence(
    means: Mapping[str, Estimate], gaps: Mapping[tuple[str, str], tuple[Estimate, Word | None]]
) -> str:
    n = means[TWO].n
    parts = [f"Training loss: {', '.join(f'{arm} {spelled(means[arm])}' for arm in ARMS)}; n = {n}."]
    for (a, b), (estimate, word) in gaps.items():
        verdict = VERDICTS[word].format(a, b)
        parts.append(f"{verdict}: {spelled(estimate)}.")
    return " ".join(parts if all(word for _, word in gaps.values()) else [*parts, too_few(n)])


VERDICTS: dict[Word | None, str] = {
    "lower": "{} learn faster than {}",
    "higher": "{} learn more slowly than {}",
    "not resolved": "{} against {}, not resolved",
    None: "{} minus {}",
}


def seeds_figure(
    values: Mapping[str, Sequence[float]], means: Mapping[str, tuple[float, Interval | None]], xlabel: str
) -> Figure:
    """Draw a row an arm: a dot a seed, and under them the mean (a tick) with its interval (a bar)."""
    figure, axes = panel(width=5.2, height=0.5 * len(values) + 0.8)
    for row, (arm, dots) in enumerate(values.items()):
        colour = KIND_COLOURS["plain" if arm.startswith("plain") else "residual"]
        mean, interval = means[arm]
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
