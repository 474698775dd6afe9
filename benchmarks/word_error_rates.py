"""How often do the words lie, and how often do they find what is there? Before and after they were mended.

    .venv/bin/python -m benchmarks.word_error_rates            # some ten minutes, one core
    .venv/bin/python -m benchmarks.word_error_rates --num 100  # a glance, nothing is kept

Runs are drawn at random instead of trained and handed to the code that judges real ones. `before` is the rule
that stood until stuck seeds stayed in: it lives here alone, to be beaten. Prints the tables of
docs/statistics.md and keeps every share in results/word_error_rates-cpu.json.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.results import record
from resexp.analysis.cells import RunSummary
from resexp.analysis.gradient_ratio import (
    CLEAR_DECADES,
    MILD_DECADES,
    MILD_FACTOR,
    Direction,
    gradient_ratio,
)
from resexp.analysis.looks import Look, level_of
from resexp.analysis.statistics import (
    ERROR_RATE,
    MIN_SEEDS_FOR_A_WORD,
    Estimate,
    holm,
    mean_estimate,
    paired_difference,
    welch_difference,
)
from resexp.analysis.verdicts import compare_runs

GUESS = math.log(10)
DEPTHS = (20, 32, 44, 56)
SHARED_SPREAD = 0.05
"""What a seed does to both arms alike, in nats."""
SPREAD = 0.02 * math.sqrt(2)
"""Standard deviation of the paired differences."""
STUCK_SPREAD = 0.003
"""Of the losses of stuck seeds around ln 10."""
FAMILY_LIMIT = 64
"""Of 1,000 comparisons: 50 expected, and two standard deviations of their count."""
EDGE = math.log10(2.0**-149)
"""The smallest number that float32 holds: what is smaller comes out as an exact zero."""


@dataclass(frozen=True)
class Draw:
    """How one arm's losses are drawn: mean, what the arm adds to the spread, shares of stuck and diverged."""

    mean: float
    spread: float = SPREAD / math.sqrt(2)
    stuck: float = 0.0
    diverged: float = 0.0
    spikes: float = 0.0
    """Share of seeds with a spike; `mean` stays the mean of all."""
    spike: float = 0.0


def draw_runs(
    rng: np.random.Generator,
    num_seeds: int,
    arms: Mapping[str, Draw],
    depth: int = 56,
    kind: str | None = None,
) -> list[RunSummary]:
    """Return runs of which only losses and fates matter. kind: of every arm; by default its name is."""
    shared, runs = rng.normal(0, SHARED_SPREAD, num_seeds), []
    for arm, drawn in arms.items():
        losses = drawn.mean + shared + rng.normal(0, drawn.spread, num_seeds)
        losses += drawn.spike * ((rng.random(num_seeds) < drawn.spikes) - drawn.spikes)
        stuck, diverged = rng.random(num_seeds) < drawn.stuck, rng.random(num_seeds) < drawn.diverged
        losses = np.where(stuck, rng.normal(GUESS, STUCK_SPREAD, num_seeds), losses)
        for seed, loss in enumerate(losses.tolist()):
            runs.append(
                RunSummary(
                    arm=arm,
                    kind=kind or arm,
                    depth=depth,
                    norm="batch",
                    init="he",
                    seed=seed,
                    status="diverged" if diverged[seed] else "finished",
                    num_classes=10,
                    steps=150,
                    final_loss=None if diverged[seed] else loss,
                    # Evaluated in another mode on other images: another number, though related.
                    train_loss=None if diverged[seed] else loss + rng.normal(0, STUCK_SPREAD),
                )
            )
    return runs


Words = set[tuple[str, str]]
"""What a comparison says: (about, lower or higher), each at least once."""
Rule = Callable[[Sequence[RunSummary]], Words]


def after(runs: Sequence[RunSummary]) -> Words:
    """Return the words of today's code."""
    found = {(d.about, str(d.word)) for d in compare_runs(runs).differences}
    return {(about, word) for about, word in found if word in ("lower", "higher")}


def before(runs: Sequence[RunSummary]) -> Words:
    """Return the words of the rule that left out stuck seeds and let small cells take Holm's slots."""
    cells: dict[int, dict[str, dict[int, RunSummary]]] = {}
    for run in runs:
        cells.setdefault(run.depth, {}).setdefault(run.arm, {})[run.seed] = run

    def kept(arm: Mapping[int, RunSummary], metric: str) -> dict[int, float]:
        return {seed: getattr(run, metric) for seed, run in arm.items() if run.fate == "finished"}

    tested: list[tuple[str, Estimate]] = []
    for arms in cells.values():
        reference, *others = (kept(arm, "final_loss") for arm in arms.values())
        tested += [("arms", paired_difference(other, reference)) for other in others]
    plain = {depth: arms["plain"] for depth, arms in sorted(cells.items()) if "plain" in arms}
    if len(plain) > 1:
        shallow, *_, deep = (list(kept(arm, "train_loss").values()) for arm in plain.values())
        if deep and sum(deep) / len(deep) < GUESS - 0.1:
            tested.append(("degradation", welch_difference(deep, shallow)))
    family = [(about, found) for about, found in tested if found.p is not None]
    adjusted = holm([found.p or 0.0 for _, found in family])
    return {
        (about, "lower" if (found.mean or 0.0) < 0 else "higher")
        for (about, found), p in zip(family, adjusted, strict=True)
        if p < ERROR_RATE and found.n >= MIN_SEEDS_FOR_A_WORD
    }


RULES: dict[str, Rule] = {"before": before, "after": after}


def shares(
    num: int, seed: int, make: Callable[[np.random.Generator], list[RunSummary]], **words: tuple[str, str]
) -> dict[str, dict[str, float]]:
    """Return, for each rule, the share of `num` comparisons that say each of the named words, or any."""
    rng = np.random.default_rng(seed)
    made = [make(rng) for _ in range(num)]
    found: dict[str, dict[str, float]] = {}
    for name, rule in RULES.items():
        said = [rule(runs) for runs in made]
        found[name] = {called: sum(word in each for each in said) / num for called, word in words.items()}
        found[name]["any"] = sum(bool(each) for each in said) / num
    return found


LOWER, HIGHER = ("arms", "lower"), ("arms", "higher")


def stuck_plain(rng: np.random.Generator, num_seeds: int, share: float = 0.3) -> list[RunSummary]:
    """Draw the case that turned words around: 30% of plain stuck, the rest at 1.60, residual at 1.70.

    So residual - plain is truly 1.70 - (0.7 * 1.60 + 0.3 * 2.303) = -0.11; without stuck seeds it spreads by
    0.07.
    """
    return draw_runs(rng, num_seeds, {"plain": Draw(1.6, 0.05, stuck=share), "residual": Draw(1.7, 0.05)})


def stuck_deep(rng: np.random.Generator, num_seeds: int, share: float = 0.4) -> list[RunSummary]:
    """Draw a deep plain net of which 40% are stuck, the rest at 1.60, beside a shallow one at 1.66.

    So deep - shallow is truly 0.6 * 1.60 + 0.4 * 2.303 - 1.66 = 0.22.
    """
    shallow = draw_runs(rng, num_seeds, {"plain": Draw(1.66)}, depth=20)
    return shallow + draw_runs(rng, num_seeds, {"plain": Draw(1.6, stuck=share)})


def equal_arms(
    rng: np.random.Generator, num_seeds: int, stuck: float = 0.0, diverged: float = 0.0
) -> list[RunSummary]:
    """Draw two equal arms at four depths; depth costs nothing."""
    drawn = Draw(1.5, stuck=stuck, diverged=diverged)
    arms = {"plain": drawn, "residual": drawn}
    return [run for depth in DEPTHS for run in draw_runs(rng, num_seeds, arms, depth=depth)]


def one_difference(rng: np.random.Generator, num_seeds: int, effect: float) -> list[RunSummary]:
    """Draw one cell in which residual saves `effect` standard deviations of the paired differences."""
    return draw_runs(rng, num_seeds, {"plain": Draw(1.5), "residual": Draw(1.5 - effect * SPREAD)})


def small_cells_beside(rng: np.random.Generator, num_small: int = 9, effect: float = 1.0) -> list[RunSummary]:
    """Draw a cell of ten seeds with a difference among cells of three, which can have no word."""
    arms = {"residual": Draw(1.5), "wider": Draw(1.5 - effect * SPREAD)}
    runs = draw_runs(rng, 10, arms, kind="residual")
    for depth in range(num_small):
        runs += draw_runs(rng, 3, arms, depth=62 + 6 * depth, kind="residual")
    return runs


def spiky(rng: np.random.Generator, num_seeds: int) -> list[RunSummary]:
    """Draw equal means of which one arm's come of rare spikes: 15% of its seeds end 0.5 higher."""
    return draw_runs(rng, num_seeds, {"plain": Draw(1.5, spikes=0.15, spike=0.5), "residual": Draw(1.5)})


def fates(rng: np.random.Generator, num_seeds: int, plain: float, residual: float) -> list[RunSummary]:
    """Draw arms that differ in how many of their seeds get stuck."""
    return draw_runs(
        rng, num_seeds, {"plain": Draw(1.6, 0.05, stuck=plain), "residual": Draw(1.6, 0.05, stuck=residual)}
    )


def grown(runs: Sequence[RunSummary], looks: Sequence[int], *, planned: bool | None) -> bool:
    """Return whether a comparison says any word at one of its looks, each at so many seeds.

    planned: the looks were planned beforehand; False: it was grown by hand; None: each look at the whole 5%.
    """
    number = 0
    for seeds in looks:
        here = [run for run in runs if run.seed < seeds]
        level = ERROR_RATE if planned is None else level_of(number + 1, len(looks) if planned else None)
        found = compare_runs(here, Look(number + 1, seeds, level)).differences
        number += any(difference.adjusted_p is not None for difference in found)
        if any(difference.word in ("lower", "higher") for difference in found):
            return True
    return False


LOOKS = ((3, 5, 10), (5, 10, 20), tuple(range(5, 21)))


def growing(num: int, seed: int, looks: Sequence[int], effect: float = 0.0) -> dict[str, Any]:
    """Return how often a growing comparison of two arms says a word, by the rule of its looks."""
    rng, said = np.random.default_rng(seed), {"before": 0, "planned": 0, "by hand": 0}
    arms = {"plain": Draw(1.5), "residual": Draw(1.5 - effect * SPREAD)}
    for _ in range(num):
        runs = draw_runs(rng, looks[-1], arms)
        for rule, planned in (("before", None), ("planned", True), ("by hand", False)):
            said[rule] += grown(runs, looks, planned=planned)
    shares = {rule: count / num for rule, count in said.items()}
    return {"before": shares.pop("before"), "after": shares}


def warned(num: int, seed: int, num_seeds: int) -> dict[str, float]:
    """Return how often spiky arms get a false word, and how often a word without a warning of one seed."""
    rng, false, silent = np.random.default_rng(seed), 0, 0
    for _ in range(num):
        found = compare_runs(spiky(rng, num_seeds)).differences[0]
        if found.word in ("lower", "higher"):
            false += 1
            silent += found.odd is None
    return {"false": false / num, "false and not warned of": silent / num}


def ratio_before(values: Sequence[float], layers: int) -> tuple[str, tuple[float, float] | None]:
    """Return word and interval of log10 T by the rule that left underflows out, silence read as health."""
    logs = [math.log10(value) for value in values if value > 0]
    if not logs:
        return "vanishing", None
    found = mean_estimate(logs)
    assert found.mean is not None
    low, high = found.interval or (found.mean, found.mean)
    word = _direction_before(low, high, layers)
    if word == "healthy" and _direction_before(found.mean, found.mean, layers) != "healthy":
        word = "not enough seeds to say"
    zeros = len(values) - len(logs)
    return "not enough seeds to say" if zeros and word != "vanishing" else word, found.interval


def _direction_before(low: float, high: float, layers: int) -> str:
    nearer: dict[Direction, float] = {"vanishing": -high, "exploding": low}
    for word, decades in nearer.items():
        clear = decades / layers > abs(math.log10(MILD_FACTOR[word]))
        if decades > CLEAR_DECADES or (decades > MILD_DECADES and clear):
            return word
    return "healthy"


def healthy(
    num: int, seed: int, num_seeds: int, mean: float, spread: float, layers: int = 54
) -> dict[str, float]:
    """Return how often nets are called healthy whose log10 T is drawn so."""
    rng, said = np.random.default_rng(seed), {"before": 0, "after": 0}
    for _ in range(num):
        values = (10 ** rng.normal(mean, spread, num_seeds)).tolist()
        said["before"] += ratio_before(values, layers)[0] == "healthy"
        said["after"] += gradient_ratio(values, layers).word == "healthy"
    return {rule: count / num for rule, count in said.items()}


def coverage(
    num: int, seed: int, num_seeds: int, spread: float = 2.25, edge: float = EDGE
) -> dict[str, float]:
    """Return how often the interval holds the true T, which lies where float32 ends: half are exact zeros.

    Where every seed underflows there is no interval; those are left out of both shares.
    """
    rng = np.random.default_rng(seed)
    held, known, bias = {"before": 0, "after": 0}, 0, 0.0
    for _ in range(num):
        logs = rng.normal(edge, spread, num_seeds)
        values = [10.0**log if log >= edge else 0.0 for log in logs]
        _, old = ratio_before(values, 54)
        new = gradient_ratio(values, 54).interval
        if old is None or new is None:
            continue
        known += 1
        bias += (old[0] + old[1]) / 2 - edge
        held["before"] += old[0] <= edge <= old[1]
        held["after"] += new[0] <= 10.0**edge <= new[1] * (1 + 1e-9)
    return {rule: count / known for rule, count in held.items()} | {"bias before, decades": bias / known}


LIMIT = (56 - 2) * math.log10(MILD_FACTOR["vanishing"])
"""log10 of the T at which a net of 56 layers is called vanishing: a factor of 0.89 a layer."""
SEEDS = (5, 10, 20)
Figure = dict[str, object]


def figures(num: int, seed: int, say: Callable[[str], object]) -> Iterator[tuple[str, Figure]]:
    """Yield (what was simulated, shares by rule), each said as soon as it is there."""

    def line(name: str, found: Mapping[str, object]) -> tuple[str, Figure]:
        say(f"{name}: {found}\n")
        return name, dict(found)

    for n in (5, 6, 8, 9, 10, 20):
        found = shares(
            num,
            seed,
            lambda rng, n=n: stuck_plain(rng, n),
            reversed=HIGHER,
            right=LOWER,
            fates=("fates", "higher"),
        )
        yield line(f"30% of plain stuck, n = {n}", found)
    for n in SEEDS:
        words = {"reversed": ("degradation", "lower"), "right": ("degradation", "higher")}
        yield line(
            f"40% of deep plain stuck, n = {n}",
            shares(num, seed, lambda rng, n=n: stuck_deep(rng, n), **words),
        )
    for stuck in (0.0, 0.1, 0.3):
        for n in SEEDS:
            found = shares(num, seed, lambda rng, n=n, stuck=stuck: equal_arms(rng, n, stuck=stuck))
            yield line(f"equal arms, 4 depths, {stuck:.0%} stuck, n = {n}", found)
    found = shares(num, seed, lambda rng: equal_arms(rng, 10, stuck=0.1, diverged=0.1))
    yield line("equal arms, 4 depths, 10% stuck, 10% diverged, n = 10", found)
    for n, effect in ((5, 2.0), (5, 20.0), (10, 1.0), (10, 2.0), (20, 1.0)):
        found = shares(num, seed, lambda rng, n=n, e=effect: one_difference(rng, n, e), found=LOWER)
        yield line(f"a difference of {effect:g} sd = {effect * SPREAD:.2f} nats, n = {n}", found)
    found = shares(num, seed, small_cells_beside, found=LOWER)
    yield line("1 sd at n = 10 beside nine cells of n = 3", found)
    for n, plain, residual in ((5, 1.0, 0.0), (5, 0.9, 0.1), (10, 0.9, 0.1), (10, 0.5, 0.0), (20, 0.5, 0.0)):
        found = shares(
            num, seed, lambda rng, n=n, p=plain, r=residual: fates(rng, n, p, r), found=("fates", "higher")
        )
        yield line(f"{plain:.0%} of plain and {residual:.0%} of residual stuck, n = {n}", found)
    for n in SEEDS:
        found = shares(num, seed, lambda rng, n=n: spiky(rng, n)) | {"warning": warned(num, seed, n)}
        yield line(f"equal means, 15% of one arm 0.5 nats higher, n = {n}", found)
    for looks in LOOKS:
        name = f"{len(looks)} looks, at {looks[0]} to {looks[-1]} seeds"
        yield line(f"growing, equal arms, {name}", growing(num, seed, looks))
    yield line("growing, 2 sd, looks at 5 and 10 seeds", growing(num, seed, (5, 10), 2.0))
    for n in (2, *SEEDS):
        for mean, spread in ((LIMIT, 0.5), (LIMIT, 2.0), (-2.0, 2.0), (0.0, 0.5)):
            name = f"healthy, log10 T {mean:.3g} +- {spread:g} at 56 layers, n = {n}"
            yield line(name, healthy(num, seed, n, mean, spread))
    for n in SEEDS:
        yield line(f"interval of T at the edge of float32, n = {n}", coverage(num, seed, n))


TABLES = {
    "Stuck seeds": ("30% of plain stuck", "40% of deep plain stuck"),
    "Equal arms": ("equal arms",),
    "Differences that are there": ("a difference", "1 sd at n = 10", "100%", "90%", "50%"),
    "Rare spikes": ("equal means",),
    "Growing comparisons": ("growing",),
    "Healthy": ("healthy",),
    "Underflow": ("interval of T",),
}
"""The tables of docs/statistics.md: heading, and how the names of the simulations in it begin."""


def lines(shares_by_name: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the tables as Markdown, from what was kept."""
    made = []
    for heading, starts in TABLES.items():
        made += ["", f"### {heading}", "", "| drawn | before | now |", "|---|---|---|"]
        for name, found in shares_by_name.items():
            if name.startswith(starts):
                made.append(f"| {name} | {_cell(found['before'])} | {_cell(found['after'])}{_extra(found)} |")
    return made


def _cell(found: float | Mapping[str, float]) -> str:
    if not isinstance(found, Mapping):
        return f"{found:.1%}"
    named = {key: share for key, share in found.items() if key != "any"}
    return ", ".join(f"{key} {share:.1%}" for key, share in (named or {"any word": found["any"]}).items())


def _extra(found: Mapping[str, Any]) -> str:
    warning = found.get("warning")
    return "" if warning is None else f", of it without a warning {warning['false and not warned of']:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates and power of the words, before and after.")
    parser.add_argument("--num", type=int, default=1000, help="comparisons for each share")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = dict(figures(options.num, options.seed, sys.stderr.write))
    sys.stdout.write("\n".join(lines(found)) + "\n")
    if options.num >= 1000:
        record("word_error_rates", {"num": options.num, "seed": options.seed, "shares": found})


if __name__ == "__main__":
    main()
