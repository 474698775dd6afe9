"""Samples: which seeds a number rests on, which it leaves out, and what could hide behind so few."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import fsum, isfinite
from typing import NamedTuple

from resexp.analysis.cells import RunSummary
from resexp.analysis.statistics import UNSEEN_SHARE, outlier

TRAIN_LOSS = "train_loss"


class LeftOut(NamedTuple):
    """Seeds that a number does not rest on. reason: diverged, unfinished, not recorded or without a twin."""

    arm: str
    reason: str
    num: int


def ended(runs: Sequence[RunSummary], metric: str = TRAIN_LOSS) -> dict[int, float]:
    """Return the metric by seed of the runs that reached their end, stuck ones included."""
    values = {run.seed: getattr(run, metric) for run in runs if run.fate in ("finished", "stuck")}
    return {seed: value for seed, value in values.items() if value is not None and isfinite(value)}


def left_out_of(
    arm: str, runs: Sequence[RunSummary], kept: Mapping[int, float], twins: Iterable[int] | None = None
) -> Iterator[LeftOut]:
    """Say why runs are not among `kept`, nor among the seeds that the other arm was given, if that counts."""
    without = {} if twins is None else kept.keys() - set(twins)
    fates = (run.fate for run in runs if run.seed not in kept)
    reasons = Counter(fate if fate in ("diverged", "unfinished") else "not recorded" for fate in fates)
    reasons["without a twin"] = len(without)
    yield from (LeftOut(arm, reason, num) for reason, num in sorted(reasons.items()) if num)


def divergence(left_out: Iterable[LeftOut]) -> str | None:
    """Return why a mean would mislead: what diverged has no loss, and the rest are the lucky ones."""
    found = [
        f"{one.num} {'seed' if one.num == 1 else 'seeds'} of {one.arm} diverged"
        for one in left_out
        if one.reason == "diverged"
    ]
    return ", ".join(found) or None


def turns(values: Iterable[float], reference: Iterable[float], guess_loss: float) -> bool:
    """Return whether the means would change places if 30% of the better side's seeds had got stuck."""
    means = sorted(fsum(side) / len(side) for side in (list(values), list(reference)) if side)
    return len(means) < 2 or (1 - UNSEEN_SHARE) * means[0] + UNSEEN_SHARE * guess_loss >= means[1]


def odd_seed(values: Mapping[int, float]) -> int | None:
    """Return the seed whose value makes the spread of all, None without one."""
    place = outlier(list(values.values()))
    return None if place is None else list(values)[place]
