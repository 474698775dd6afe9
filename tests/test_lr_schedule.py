"""The learning rate: by the paper, and a warm-up that really ends."""

import itertools
import math

import pytest

from resexp.config import MultistepSchedule, OptimSection, SmoothSchedule
from resexp.training.lr_schedule import SCHEDULES, falls_short, learning_rate


def test_the_papers_recipe_falls_at_its_milestones() -> None:
    optim = OptimSection()
    rates = {step: learning_rate(optim, step) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)}
    assert rates == pytest.approx(
        {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}
    )


def test_the_papers_warm_up_for_110_layers_goes_back_to_the_full_rate() -> None:
    optim = OptimSection(schedule=MultistepSchedule(warmup_steps=400, warmup_factor=0.1))
    rates = [learning_rate(optim, step) for step in (0, 399, 400, 31_999)]
    assert rates == pytest.approx([0.01, 0.01, 0.1, 0.1])


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_warm_up_rises_evenly_and_ends_at_the_full_rate(name: str) -> None:
    schedule = SmoothSchedule(name=name, warmup_steps=10, warmup_factor=0.2)  # type: ignore[arg-type]
    optim = OptimSection(steps=100, lr=2.0, schedule=schedule)
    rates = [learning_rate(optim, step) for step in range(11)]
    assert rates == pytest.approx([2.0 * (0.2 + 0.08 * step) for step in range(11)])


def test_smooth_schedules_follow_their_curves() -> None:
    def rates(name: str) -> list[float]:
        optim = OptimSection(steps=10, lr=1.0, schedule=SmoothSchedule(name=name))  # type: ignore[arg-type]
        return [learning_rate(optim, step) for step in range(10)]

    assert rates("constant") == [1.0] * 10
    assert rates("linear") == pytest.approx([1 - step / 10 for step in range(10)])
    assert rates("cosine") == pytest.approx([math.cos(math.pi * step / 20) ** 2 for step in range(10)])


def test_every_schedule_word_has_its_function() -> None:
    words = {*SmoothSchedule.model_json_schema()["properties"]["name"]["enum"], "multistep"}
    assert words == set(SCHEDULES)


def test_milestones_beyond_the_last_step_are_legal() -> None:
    optim = OptimSection(steps=5, schedule=MultistepSchedule(milestones=(100,)))
    assert {learning_rate(optim, step) for step in range(5)} == {0.1}


def test_a_rate_that_is_never_reached_is_said_of_just_those_schedules() -> None:
    said = 0
    for steps, warmup in itertools.product((1, 2, 5), (0, 1, 2, 4, 5, 9)):
        schedules: list[MultistepSchedule | SmoothSchedule] = [
            SmoothSchedule(name=name, warmup_steps=warmup, warmup_factor=factor)
            for name in ("cosine", "linear", "constant")
            for factor in (0.0, 0.1, 1.0, 2.0)
        ]
        schedules += [
            MultistepSchedule(warmup_steps=warmup, warmup_factor=factor, milestones=milestones)
            for milestones in ((1, 2), (3,), (9,), ())
            for factor in (0.1, 1.0)
        ]
        for schedule in schedules:
            optim = OptimSection(steps=steps, lr=0.3, schedule=schedule)
            peak = max(learning_rate(optim, step) for step in range(steps))
            line = falls_short(optim)
            assert (line is not None) == (peak < 0.3), optim
            if line:
                said += 1
                assert f"the rate is {peak:g} at most" in line
    assert said > 50
