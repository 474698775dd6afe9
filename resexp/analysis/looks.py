"""Looks: a comparison that grows is judged again and again, and each time spends from one 5%.

Looking anew after every seed and stopping at the first word finds differences between equal arms in 12 to 19%
of comparisons, where 5% is promised. So each look has a level of its own, and the levels of all looks that a
comparison can ever have sum to 5% at most: by Bonferroni's inequality the chance of any false word then stays
below 5%, whatever is seen, decided and added between them (Pocock 1977 and Lan and DeMets 1983 spend more
closely where every look is a test of one mean; a comparison tests a family).
"""

from typing import NamedTuple

from resexp.analysis.statistics import ERROR_RATE, MIN_SEEDS_FOR_A_WORD

FIRST_LEVEL = 0.04
"""Of the 5%, for the first look of a comparison whose looks are not planned: most are never grown."""


class Look(NamedTuple):
    """One look. number: from 1. seeds: of the arm with the most. level: what an adjusted p must be below."""

    number: int
    seeds: int
    level: float


def level_of(number: int, planned: int | None) -> float:
    """Return the level of the look with this number, in (0, 0.05], or 0 where all is spent.

    planned: how many looks were planned beforehand, which then have equal levels. None: the first look has
    4 of the 5%, and each later one half of what is left, so that a comparison may be grown at any time.
    """
    if planned is not None:
        return ERROR_RATE / planned if number <= planned else 0.0
    if number == 1:
        return FIRST_LEVEL
    return round(ERROR_RATE - FIRST_LEVEL, 12) / 2 ** (number - 1)


def schedule(first: int, most: int) -> list[int]:
    """Return numbers of seeds at which to look: `first` (at least five), doubled until `most` is reached.

    Doubling keeps the looks few, so that each of them has a level worth having.
    """
    counts = [max(first, MIN_SEEDS_FOR_A_WORD)]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    return counts
