"""Degradation: a deeper plain net that trains worse than a shallower one (He et al. 2015, section 1).

Measured on the loss over a fixed 2,000 training images in evaluation mode, so it is not overfitting; and
only between nets that learn and whose gradient does not vanish, so it is neither of those either. A seed
that got stuck all the same is part of what depth does, and stays in the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from resexp.analysis.cells import DEPTH, Arms, CellKey, RunSummary
from resexp.analysis.gradient_ratio import gradient_ratio, may_vanish, num_vanishing
from resexp.analysis.samples import LeftOut, divergence, ended, left_out_of, odd_seed, turns
from resexp.analysis.statistics import Estimate, welch_difference

LEARNED_MARGIN = 0.1
"""Nats below ln K that the deeper net must reach before its loss says anything about degradation."""


@dataclass(frozen=True)
class Degradation:
    """The deepest plain net against the shallowest, all else equal.

    cost: deep - shallow, by Welch, since nets of two depths share no initial weights. obstacle: why it must
    not be called degradation, whatever the numbers; None if nothing stands in the way. residual: the arm set
    beside it, None without one. added: (plain deep - plain shallow) - (residual deep - residual shallow),
    what the shortcuts save; paired by seed within each depth, by Welch across. left_out: of cost, in both
    depths; added_left_out: of added. odd: the seed that makes the spread of one depth's
    losses, None without one. turns: as in Difference.
    """

    plain: str
    cell: CellKey
    shallow: Sequence[RunSummary]
    deep: Sequence[RunSummary]
    cost: Estimate
    obstacle: str | None
    residual: str | None
    added: Estimate | None
    left_out: tuple[LeftOut, ...]
    added_left_out: tuple[LeftOut, ...]
    odd: int | None
    turns: bool


def degradations(cells: Mapping[CellKey, Arms]) -> list[Degradation]:
    """Return one finding for each plain arm and each setting in which it was given at two depths or more."""
    by_rest: dict[CellKey, dict[int, Arms]] = {}
    for cell, arms in cells.items():
        rest = tuple(pair for pair in cell if pair[0] != DEPTH)
        if len(rest) < len(cell):
            by_rest.setdefault(rest, {})[dict(cell)[DEPTH]] = arms
    return [
        _degradation(arm, rest, depths)
        for rest, depths in by_rest.items()
        for arm in dict.fromkeys(arm for arms in depths.values() for arm in arms)
        if len(_depths_of(arm, "plain", depths)) > 1
    ]


def _depths_of(arm: str, kind: str, depths: Mapping[int, Arms]) -> list[int]:
    return sorted(
        depth for depth, arms in depths.items() if any(run.kind == kind for run in arms.get(arm, ()))
    )


def _degradation(plain: str, cell: CellKey, depths: Mapping[int, Arms]) -> Degradation:
    given = _depths_of(plain, "plain", depths)
    at_shallow, at_deep = depths[given[0]], depths[given[-1]]
    shallow, deep = ended(at_shallow[plain]), ended(at_deep[plain])
    residual = next(
        (arm for arm in at_deep if {given[0], given[-1]} <= set(_depths_of(arm, "residual", depths))), None
    )
    added = None
    if residual is not None:
        added = welch_difference(
            _paired(deep, ended(at_deep[residual])), _paired(shallow, ended(at_shallow[residual]))
        )
    left_out = _left_out(plain, at_shallow, at_deep)
    return Degradation(
        plain=plain,
        cell=cell,
        shallow=at_shallow[plain],
        deep=at_deep[plain],
        cost=welch_difference(list(deep.values()), list(shallow.values())),
        obstacle=_obstacle(at_deep[plain], deep) or divergence(left_out),
        residual=residual,
        added=added,
        left_out=left_out,
        added_left_out=left_out + (() if residual is None else _left_out(residual, at_shallow, at_deep)),
        odd=next((seed for losses in (deep, shallow) if (seed := odd_seed(losses)) is not None), None),
        turns=turns(deep.values(), shallow.values(), at_deep[plain][0].guess_loss),
    )


def _left_out(arm: str, *cells: Arms) -> tuple[LeftOut, ...]:
    return tuple(
        one
        for runs in (arms[arm] for arms in cells)
        for one in left_out_of(f"{arm} at depth {runs[0].depth}", runs, ended(runs))
    )


def _paired(values: Mapping[int, float], reference: Mapping[int, float]) -> list[float]:
    return [values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())]


def _obstacle(runs: Sequence[RunSummary], losses: Mapping[int, float]) -> str | None:
    layers = runs[0].depth - 2
    for when, values in (
        ("at step 0", [run.transport_initial for run in runs]),
        ("at the last probe", [run.transport_final for run in runs]),
    ):
        found = gradient_ratio(values, layers)
        if found.word == "vanishing":
            return f"the gradient vanishes {when}"
        if num := num_vanishing(values, layers):
            return f"the gradient vanishes {when} in {num} of {found.n} seeds"
        if may_vanish(found):
            return f"{found.n} seeds are not enough to say that the gradient does not vanish {when}"
    if not losses:
        return "no seed learned"
    mean, needed = fsum(losses.values()) / len(losses), runs[0].guess_loss - LEARNED_MARGIN
    if mean >= needed:
        guess = f"{runs[0].guess_words} - {LEARNED_MARGIN} = {needed:.3f}"
        return f"its loss of {mean:.3f} is not below {guess}"
    return None
