"""Spans: every step once, and everything due at its time, wherever a run goes on."""

import pytest
from conftest import tiny_config

from resexp.training.spans import LONGEST_SPAN, probed_steps, spans


def test_probes_look_at_one_two_five_of_every_decade_and_the_last_step() -> None:
    assert list(probed_steps(150)) == [0, 1, 2, 5, 10, 20, 50, 100, 150]
    assert list(probed_steps(100)) == [0, 1, 2, 5, 10, 20, 50, 100]
    assert list(probed_steps(1)) == [0, 1]


@pytest.mark.parametrize("steps", [1, 7, 130, 1000])
def test_spans_cover_every_step_once(steps: int) -> None:
    config = tiny_config(optim__steps=steps, record__eval_every=33, record__checkpoint_every=20)
    covered = [step for span in spans(config) for step in range(span.start, span.stop)]
    assert covered == list(range(steps))
    assert max(span.stop - span.start for span in spans(config)) <= LONGEST_SPAN


@pytest.mark.parametrize("start", [0, 1, 20, 40, 66, 97, 99])
def test_what_is_due_does_not_depend_on_where_a_run_goes_on(start: int) -> None:
    config = tiny_config(optim__steps=100, record__eval_every=33, record__checkpoint_every=20)

    def due(begin: int, what: str) -> list[int]:
        return [span.stop for span in spans(config, begin) if getattr(span, what)]

    after = {"evaluate": [33, 66, 99, 100], "checkpoint": [20, 40, 60, 80, 100]}
    after["probe"] = [0, 1, 2, 5, 10, 20, 50, 100]
    for what, times in after.items():
        assert due(start, what) == [time for time in times if time > start or start == 0]


def test_no_probe_is_due_where_none_is_asked_for() -> None:
    assert not any(span.probe for span in spans(tiny_config(record__probes=())))
