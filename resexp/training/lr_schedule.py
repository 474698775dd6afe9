"""The learning-rate schedule: the rate as a function of the step."""

import math
from bisect import bisect_right
from collections.abc import Callable

from resexp.config import MultistepSchedule, OptimSection, Schedule, SmoothSchedule


def _multistep(schedule: Schedule, step: int, steps: int) -> float:
    """Constant during warm-up, then `factor` per milestone passed (He et al. 2015, section 4.2)."""
    assert isinstance(schedule, MultistepSchedule)
    if step < schedule.warmup_steps:
        return schedule.warmup_factor
    return schedule.factor ** bisect_right(schedule.milestones, step)


def _smooth(curve: Callable[[float], float]) -> Callable[[Schedule, int, int], float]:
    """A linear rise from `warmup_factor`, then `curve` of the part of the rest that is done, in [0, 1)."""

    def factor(schedule: Schedule, step: int, steps: int) -> float:
        assert isinstance(schedule, SmoothSchedule)
        if step < schedule.warmup_steps:
            done = step / schedule.warmup_steps
            return schedule.warmup_factor + (1 - schedule.warmup_factor) * done
        return curve((step - schedule.warmup_steps) / max(1, steps - schedule.warmup_steps))

    return factor


def learning_rate(optim: OptimSection, step: int) -> float:
    """Return the rate of the update that leads from `step` to step + 1, 0 <= step < optim.steps."""
    return optim.lr * SCHEDULES[optim.schedule.name](optim.schedule, step, optim.steps)


def falls_short(optim: OptimSection) -> str | None:
    """Return a sentence where no step is made at the full rate, since the schedule never gets there."""
    schedule, steps = optim.schedule, optim.steps
    milestones = schedule.milestones if isinstance(schedule, MultistepSchedule) else ()
    # Between these a rate only rises or only falls.
    ends = (0, schedule.warmup_steps - 1, schedule.warmup_steps, *milestones, steps - 1)
    peak = max(learning_rate(optim, step) for step in ends if 0 <= step < steps)
    if peak >= optim.lr:
        return None
    why = f"its warm-up of {schedule.warmup_steps:,} steps is as long as the run ({steps:,}) or longer"
    if schedule.warmup_steps < steps:
        why = f"a milestone lies within its warm-up of {schedule.warmup_steps:,} steps"
    return f"warning: optim.lr {optim.lr:g} is never reached, the rate is {peak:g} at most: {why}"


SCHEDULES: dict[str, Callable[[Schedule, int, int], float]] = {
    "multistep": _multistep,
    "cosine": _smooth(lambda done: (1 + math.cos(math.pi * done)) / 2),
    "linear": _smooth(lambda done: 1 - done),
    "constant": _smooth(lambda done: 1.0),
}
