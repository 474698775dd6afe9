"""Best of: the value of a key at which each arm is compared, chosen by validation loss on separate seeds.

Each arm's lowest mean would often be the lowest by chance, and two arms that are the same would then be
compared at different values, where they truly differ: a false word about arms. So all arms share the value
that is best for them together, unless an arm's own is better by more than the seeds scatter.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

SearchLosses = Mapping[str, Mapping[str, Sequence[float]]]
"""By arm and value, one a search seed, in the same order everywhere; inf where the run diverged."""
ERROR_RATE_OF_LEAVING = 0.01
"""How often arms that are the same may be given different values, over all arms and values of a cell."""


def choose(losses: SearchLosses) -> dict[str, str]:
    """Return the value of each arm.

    A value at which an arm diverged in some seeds is none for any arm: of two that are the same, chance would
    leave it to one. A value at which all of an arm's seeds diverged is none for that arm. Where no value is
    left for all arms, each takes its own; an arm that has none takes the first.
    """
    ended = {
        arm: {value: sum(map(math.isfinite, seeds)) for value, seeds in own.items()}
        for arm, own in losses.items()
    }
    uncertain = {
        value
        for arm, own in losses.items()
        for value, seeds in own.items()
        if 0 < ended[arm][value] < len(seeds)
    }
    fit = {
        arm: [value for value, num in own.items() if num and value not in uncertain]
        for arm, own in ended.items()
    }
    shared = [value for value in next(iter(losses.values())) if all(value in own for own in fit.values())]
    best = {
        arm: min(fit[arm], key=lambda value: fmean(own[value]), default=next(iter(own)))
        for arm, own in losses.items()
    }
    if not shared:
        return best
    together = min(shared, key=lambda value: sum(fmean(own[value]) for own in losses.values()))
    return {
        arm: best[arm] if _better(losses, arm, best[arm], together, shared) else together for arm in losses
    }


def _better(losses: SearchLosses, arm: str, best: str, together: str, shared: Sequence[str]) -> bool:
    """Whether an arm's own best value beats the shared one by more than chance.

    Student's t on the difference paired by seed, one-sided, its variance pooled over all arms and values
    (what is left when each arm's values and seeds are taken out), Bonferroni over arms and values.
    """
    own, num_seeds = losses[arm], len(losses[arm][best])
    tests = len(losses) * (len(own) - 1)
    values = [value for value in own if value in shared]
    freedom = len(losses) * (len(values) - 1) * (num_seeds - 1)
    if best == together or freedom < 1:
        return False
    from scipy import stats  # a tenth of a second that commands without a search need not wait

    left = sum(_left_over([each[value] for value in values]) for each in losses.values())
    error = math.sqrt(left / freedom * 2 / num_seeds)
    gain = fmean(own[together]) - fmean(own[best])
    return gain > error * float(stats.t.isf(ERROR_RATE_OF_LEAVING / tests, freedom))


def _left_over(rows: Sequence[Sequence[float]]) -> float:
    """The sum of squares that the means of rows and columns leave."""
    whole = fmean(map(fmean, rows))
    columns = [fmean(column) for column in zip(*rows, strict=True)]
    return math.fsum(
        (x - fmean(row) - column + whole) ** 2 for row in rows for x, column in zip(row, columns, strict=True)
    )
