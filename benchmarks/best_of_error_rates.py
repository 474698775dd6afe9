"""How often `compare --best-of` says a word of arms that are the same, and finds what differs.

    python -m benchmarks.best_of_error_rates [--comparisons 1000]

Simulated: the loss of an arm at a value is its curve plus a seed's part, shared by the values and arms, plus
noise of its own. A/A: both arms have one curve, searched on separate seeds and compared at what was chosen.
`lowest`: each arm at its own lowest mean, as most would; `choose`: by resexp.analysis.best_of. Flat, slanted
and steep curves: a choice by chance costs nothing where the curve is flat, and is rare where it is steep. On
the edge: the best value is the largest, and a run there diverges with the stated chance.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np

from benchmarks.results import record
from resexp.analysis.best_of import SearchLosses, choose
from resexp.analysis.looks import level_of
from resexp.analysis.statistics import paired_difference

NOISE = 0.05
SEED_PART = 0.05
VALUES = ("0.01", "0.03", "0.1")
CURVES = {
    "flat": (0.0, 0.0, 0.0),
    "slanted": (0.0, 0.05, 0.1),
    "bowl": (0.04, 0.0, 0.04),
    "steep": (0.3, 0.0, 0.3),
}
EDGE = (0.6, 0.3, 0.0)
RISKS = (0.1, 0.3, 0.5)
MOST = 64
Chooser = Callable[[SearchLosses], Mapping[str, str]]


def lowest(losses: SearchLosses) -> dict[str, str]:
    """Each arm's value of the lowest mean; one at which a seed diverged has none."""
    return {arm: min(own, key=lambda value: fmean(own[value])) for arm, own in losses.items()}


def draw(
    rng: np.random.Generator, curves: Mapping[str, Sequence[float]], num: int, risk: float = 0.0
) -> dict[str, dict[str, list[float]]]:
    """Losses by arm and value, one a seed. risk: of a run at the last value to diverge."""
    shared = rng.normal(0.0, SEED_PART, num)
    drawn = {
        arm: {
            value: list(2.0 + at + shared + rng.normal(0.0, NOISE, num))
            for value, at in zip(VALUES, curve, strict=True)
        }
        for arm, curve in curves.items()
    }
    if risk:
        for own in drawn.values():
            away = rng.random(num) < risk
            own[VALUES[-1]] = [math.inf if a else x for a, x in zip(away, own[VALUES[-1]], strict=True)]
    return drawn


def words(
    chooser: Chooser,
    curves: Mapping[str, Sequence[float]],
    *,
    search: int,
    seeds: int,
    comparisons: int,
    risk: float = 0.0,
) -> int:
    """In how many comparisons the primary test tells the arms apart, at the level of a first look."""
    settings = [search, seeds, int(1000 * max(curves["a"])), int(100 * risk)]
    rng, level = np.random.default_rng(settings), level_of(1, None)
    said = 0
    for _ in range(comparisons):
        value = chooser(draw(rng, curves, search, risk))
        after = draw(rng, curves, seeds, risk)
        one, other = (
            {seed: x for seed, x in enumerate(after[arm][value[arm]]) if math.isfinite(x)} for arm in curves
        )
        p = paired_difference(one, other).p
        said += p is not None and p < level
    return said


def own_best(chooser: Chooser, *, search: int, comparisons: int) -> int:
    """In how many searches of arms whose best values differ by 0.15 nats each gets its own."""
    rng = np.random.default_rng(1)
    curves = {"a": (0.0, 0.15, 0.3), "b": (0.3, 0.15, 0.0)}
    return sum(
        chooser(draw(rng, curves, search)) == {"a": VALUES[0], "b": VALUES[2]} for _ in range(comparisons)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=1000)
    num = parser.parse_args().comparisons
    rows = []
    cases = [(name, curve, 0.0) for name, curve in CURVES.items()]
    cases += [("edge", EDGE, risk) for risk in RISKS]
    for name, curve, risk in cases:
        for search in (3, 5):
            for seeds in (5, 10):
                row = {"curve": name, "risk": risk, "search_seeds": search, "seeds": seeds}
                same = {"a": curve, "b": curve}
                for chooser in (lowest, choose):
                    row[chooser.__name__] = words(
                        chooser, same, search=search, seeds=seeds, comparisons=num, risk=risk
                    )
                rows.append(row)
                print(row, flush=True)
    found = {search: own_best(choose, search=search, comparisons=num) for search in (3, 5)}
    print("own best found", found)
    print(record("best-of-error-rates", {"comparisons": num, "false_words": rows, "own_best_found": found}))


if __name__ == "__main__":
    main()
