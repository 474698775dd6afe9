"""Growing comparisons: however often one looks, equal arms are told apart in 5% of comparisons at most."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from harness.grids import Listener

from benchmarks.word_error_rates import SPREAD, Draw, draw_runs, grown
from resexp.analysis.cells import RunSummary
from resexp.analysis.looks import Look, level_of, schedule
from resexp.analysis.verdicts import Comparison
from resexp.config import write
from resexp.experiments import compare
from resexp.experiments.compare import run_plan
from resexp.experiments.executors.local import local
from resexp.experiments.plan import Plan, make_plan
from resexp.experiments.until import run_until_resolved
from resexp.records.lock import locked
from resexp.signals import Stop

SCHEDULES = [(3, 5, 10), (5, 10, 20), tuple(range(5, 21))]


@pytest.mark.parametrize("planned", [None, 1, 3, 16])
def test_all_looks_together_spend_at_most_five_percent(planned: int | None) -> None:
    levels = [level_of(number, planned) for number in range(1, 60)]
    assert math.fsum(levels) <= 0.05 + 1e-12
    assert math.fsum(levels) > 0.0499
    assert all(a >= b for a, b in pairwise(levels))


def test_looks_double_from_five_on_to_the_last() -> None:
    assert schedule(1, 20) == [5, 10, 20]
    assert schedule(5, 30) == [5, 10, 20, 30]
    assert schedule(8, 8) == [8]


@pytest.mark.parametrize("looks", SCHEDULES, ids=lambda looks: f"{len(looks)} looks")
@pytest.mark.parametrize("planned", [True, False], ids=["planned", "by hand"])
def test_equal_arms_are_rarely_told_apart_however_often_one_looks(
    looks: Sequence[int], planned: bool
) -> None:
    num, rng = 150, np.random.default_rng(3)
    equal = {"plain": Draw(1.5), "residual": Draw(1.5)}
    false = sum(grown(draw_runs(rng, looks[-1], equal), looks, planned=planned) for _ in range(num))
    assert false <= num * 0.05 + 3 * math.sqrt(num * 0.05 * 0.95)


def test_looking_without_a_rule_would_be_seen_here() -> None:
    """So the simulation can tell: at 5% each, 16 looks find something in far more than 5%."""
    num, rng, looks = 150, np.random.default_rng(3), SCHEDULES[-1]
    equal = {"plain": Draw(1.5), "residual": Draw(1.5)}
    false = sum(grown(draw_runs(rng, looks[-1], equal), looks, planned=None) for _ in range(num))
    assert false > num * 0.10


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "by hand"])
def test_two_standard_deviations_are_found_by_ten_seeds(planned: bool) -> None:
    num, rng = 100, np.random.default_rng(4)
    apart = {"plain": Draw(1.5), "residual": Draw(1.5 - 2 * SPREAD)}
    assert sum(grown(draw_runs(rng, 10, apart), (5, 10), planned=planned) for _ in range(num)) >= 80


def plan_of(root: Path, num_seeds: int, **changes: object) -> Plan:
    config = root / "c.yaml"
    config.write_text(write(tiny_config(optim__steps=4, record__probes=(), **changes)))
    return make_plan(
        ["plain", "residual"],
        runs_dir=root / "runs",
        config=str(config),
        sets=[],
        vary={},
        num_seeds=num_seeds,
        name="grown",
    )


def carry_out(plan: Plan) -> None:
    with locked(plan.folder):
        assert run_plan(plan, executor=local(), command=["resexp"], stop=Stop(), show=Listener()) is None


def looks_of(root: Path) -> list[tuple[int, int, float]]:
    looks = json.loads((root / "runs" / "grown" / "manifest.json").read_text())["looks"]
    return [(look["number"], look["seeds"], look["level"]) for look in looks]


def test_each_look_is_recorded_and_the_same_runs_again_are_no_new_one(tmp_path: Path) -> None:
    document = tmp_path / "runs" / "grown" / "comparison.json"
    carry_out(plan_of(tmp_path, 3))
    assert looks_of(tmp_path) == []  # too few for a word: nothing is spent
    carry_out(plan_of(tmp_path, 5))
    first = document.read_bytes()
    carry_out(plan_of(tmp_path, 5))
    assert document.read_bytes() == first
    assert looks_of(tmp_path) == [(1, 5, 0.04)]
    carry_out(plan_of(tmp_path, 6))
    assert looks_of(tmp_path) == [(1, 5, 0.04), (2, 6, 0.005)]
    assert json.loads(document.read_text())["look"] == {"number": 2, "seeds": 6, "level": 0.005}


def test_seeds_are_added_until_the_arms_are_apart_or_the_plan_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words are planted, by the seeds that take part: the nets are far too small to differ."""
    judged = compare.compare_runs

    def planted(summaries: Sequence[RunSummary], look: Look) -> Comparison:
        assert look.level == pytest.approx(0.05 / 2)
        seeds = len({run.seed for run in summaries})
        apart = 1.0 if seeds > 5 else 0.0
        losses = [1.0 + apart * (run.arm == "plain") + 0.01 * _noise(run) for run in summaries]
        return judged(
            [replace(run, final_loss=loss) for run, loss in zip(summaries, losses, strict=True)], look
        )

    monkeypatch.setattr(compare, "compare_runs", planted)
    show = Listener()
    for _ in range(2):  # the second time all of it is there
        with locked(tmp_path / "runs" / "grown"):
            failed = run_until_resolved(
                lambda count: plan_of(tmp_path, count),
                [5, 8],
                executor=local,
                command=["resexp"],
                stop=Stop(),
                show=show,
            )
        assert failed is None
        assert [look[1] for look in looks_of(tmp_path)] == [5, 8]
    assert any("5 seeds: not every cell's arms" in line for line in show.said)


def _noise(run: RunSummary) -> int:
    return (7 * run.seed + 3 * (run.arm == "plain")) % 5
