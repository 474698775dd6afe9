"""The promise: a run broken anywhere and taken up again ends with the bits it would have had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.breaking import SHORT, break_at_points, kill_at_random, reference, signal_at_random
from harness.comparing import differences
from harness.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_fifty_kills_at_random_moments_change_no_bit(server: Server, tmp_path: Path) -> None:
    tally = kill_at_random(server, tmp_path, 50, seed=1)
    assert tally.broken >= 50
    assert not tally.faults


@pytest.mark.parametrize("how", ["kill", "kill halfway", "disk full"])
def test_a_save_broken_at_any_call_changes_no_bit(how, server: Server, tmp_path: Path) -> None:
    _, end = reference(server, tmp_path)
    checkpoints = [k for k, call in enumerate(end.trace) if "/checkpoints/" in call]
    first = range(checkpoints[0] - 5, checkpoints[0] + 16)
    last = range(checkpoints[-1] - 18, len(end.trace))
    points = [*first, *last] if how == "kill" else [k for k in [*first, *last] if calls_room(end.trace[k])]
    tally = break_at_points(server, tmp_path / "broken", points, how)
    assert tally.broken == len(points)
    assert not tally.faults


def calls_room(call: str) -> bool:
    """Whether a call needs room on the disk and can be half done."""
    return call.split()[0] in ("write", "replace", "mkdir", "fsync")


def test_thirty_interruptions_leave_at_once_or_after_the_step_and_change_no_bit(
    server: Server, tmp_path: Path
) -> None:
    tally = signal_at_random(server, tmp_path, 30, seed=2)
    assert tally.broken >= 30
    assert not tally.faults


def test_runs_that_differ_are_told_apart(server: Server, tmp_path: Path) -> None:
    one, _ = reference(server, tmp_path / "a")
    other, _ = reference(server, tmp_path / "b", {**SHORT, "seed": 1})
    assert differences(one, one) == []
    assert len(differences(one, other)) > 40
