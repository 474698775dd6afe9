"""How often do words lie, and how often do they find what is there?

    .venv/bin/python -m benchmarks.error_rates            # a minute or two
    .venv/bin/python -m benchmarks.error_rates --num 100  # a glance

Two questions put to `compare` itself, with runs drawn at random instead of trained. Of whole comparisons
between two equal arms, at several depths, how many say any word of difference? At most 5% are promised. And a
difference that is there, so many standard deviations of the paired differences large, how often is it found?
"""

import argparse
import math
import sys
from collections.abc import Sequence

import numpy as np

from resexp.analysis.cells import RunSummary
from resexp.analysis.contrasts import Difference
from resexp.analysis.verdicts import compare

DEPTHS = (20, 32, 44, 56)
SHARED_SPREAD = 0.05
"""What a seed does to both arms alike, in nats."""
OWN_SPREAD = 0.02
"""What it does to each arm alone; the paired differences spread by sqrt(2) times that."""
SEEDS = (3, 5, 10)
EFFECTS = (1.0, 1.7, 2.0, 3.3)
FAMILY_LIMIT = 64
"""Of 1,000 comparisons: 50 expected, and two standard deviations of their count."""


def draw_runs(
    rng: np.random.Generator, num_seeds: int, depths: Sequence[int], effect: float
) -> list[RunSummary]:
    """Return a comparison's runs, of which only losses matter; depth costs nothing.

    effect: what residual saves, in standard deviations of the paired differences.
    """
    runs = []
    for depth in depths:
        shared = rng.normal(1.5, SHARED_SPREAD, num_seeds)
        for arm, saved in (("plain", 0.0), ("residual", effect * OWN_SPREAD * math.sqrt(2))):
            for seed, loss in enumerate(shared + rng.normal(-saved, OWN_SPREAD, num_seeds)):
                runs.append(
                    RunSummary(
                        arm=arm,
                        kind=arm,
                        depth=depth,
                        norm="batch",
                        init="he",
                        seed=seed,
                        status="finished",
                        num_classes=10,
                        steps=150,
                        final_loss=float(loss),
                        # Evaluated in another mode on other images: another number, though related.
                        train_loss=float(loss + rng.normal(0, OWN_SPREAD)),
                    )
                )
    return runs


def num_with_a_word(num: int, num_seeds: int, seed: int, depths: Sequence[int] = DEPTHS) -> int:
    """Return how many of `num` whole comparisons of two equal arms say any word of difference."""
    rng = np.random.default_rng(seed)
    comparisons = (compare(draw_runs(rng, num_seeds, depths, effect=0)) for _ in range(num))
    return sum(any(d.word in ("lower", "higher") for d in found.differences) for found in comparisons)


def one_cell(num: int, num_seeds: int, seed: int, effect: float) -> list[Difference]:
    """Return the tested difference of each of `num` comparisons of one cell."""
    rng = np.random.default_rng(seed)
    return [compare(draw_runs(rng, num_seeds, (56,), effect)).differences[0] for _ in range(num)]


def num_found(differences: Sequence[Difference]) -> int:
    """Return how many intervals lie below 0; with five seeds and one cell that is the word `lower`."""
    return sum(d.estimate.interval is not None and d.estimate.interval[1] < 0 for d in differences)


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates of the words that compare says.")
    parser.add_argument("--num", type=int, default=1000, help="comparisons a cell of the table")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    num, seed = options.num, options.seed
    line = sys.stdout.write
    effects = " | ".join(f"{effect:g} sd" for effect in EFFECTS)
    line(f"Shares of {num} comparisons, seed {seed}.\n\n")
    line(
        "| seeds | half-width | equal arms, all depths: any word | equal arms, one cell: interval not over 0 "
    )
    line(f"| {effects} |\n")
    line("|---" * (4 + len(EFFECTS)) + "|\n")
    for num_seeds in SEEDS:
        false = num_with_a_word(num, num_seeds, seed)
        equal = one_cell(num, num_seeds, seed, 0.0)
        excluding = num_found(equal) + sum(
            d.estimate.interval is not None and d.estimate.interval[0] > 0 for d in equal
        )
        widths = [d.estimate.interval[1] - d.estimate.interval[0] for d in equal if d.estimate.interval]
        half_width = np.mean(widths) / 2 / (OWN_SPREAD * math.sqrt(2))
        found = " | ".join(
            f"{num_found(one_cell(num, num_seeds, seed, effect)) / num:.1%}" for effect in EFFECTS
        )
        line(f"| {num_seeds} | {half_width:.2f} sd | {false / num:.1%} | {excluding / num:.1%} | {found} |\n")


if __name__ == "__main__":
    main()
