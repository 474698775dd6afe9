"""Spans of steps: between two of them the loop looks at the run, and never for longer than one of them."""

from collections.abc import Iterator
from typing import NamedTuple

from resexp.config import Config

LONGEST_SPAN = 50
"""Steps between two read-backs, so that progress moves and a fault is found soon."""


class Span(NamedTuple):
    """Steps [start, stop), and what is due after them. A stop of 0 comes before the first step."""

    start: int
    stop: int
    evaluate: bool
    probe: bool
    checkpoint: bool


def probed_steps(steps: int) -> Iterator[int]:
    """Yield 0, 1, 2, 5, 10, 20, 50, ... below `steps`, then `steps`."""
    yield 0
    decade = 1
    while decade < steps:
        yield from (m * decade for m in (1, 2, 5) if m * decade < steps)
        decade *= 10
    yield steps


def spans(config: Config, start: int = 0) -> Iterator[Span]:
    """Yield the spans from `start` updates on; start = 0 first yields the empty span before any update."""
    steps, record = config.optim.steps, config.record
    probed = set(probed_steps(steps)) if record.probes else set()

    def due(stop: int, begin: int) -> Span:
        last = stop == steps
        return Span(
            begin,
            stop,
            evaluate=last or (stop > 0 and stop % record.eval_every == 0),
            probe=stop in probed,
            checkpoint=last or (stop > 0 and stop % record.checkpoint_every == 0),
        )

    if start == 0:
        yield due(0, 0)
    while start < steps:
        ends = [start + LONGEST_SPAN, steps, *(step for step in probed if step > start)]
        ends += [(start // every + 1) * every for every in (record.eval_every, record.checkpoint_every)]
        stop = min(ends)
        yield due(stop, start)
        start = stop
