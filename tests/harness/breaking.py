"""Runs broken on purpose, taken up again, and compared with one that nobody touched."""

import random
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.comparing import differences
from harness.points import How
from harness.server import End, Server
from harness.tally import Tally
from resexp.signals import SIGNALS

SHORT: dict[str, Any] = {
    "model__depth": 5,
    "model__convs_per_block": 1,
    "optim__steps": 8,
    "record__checkpoint_every": 2,
    "record__every": 3,
    "record__eval_every": 5,
    "record__probes": (),
}
"""Four checkpoints in eight steps, and rows and evaluations that do not fall together with them."""


def reference(server: Server, root: Path, changes: Mapping[str, Any] = SHORT) -> tuple[Path, End]:
    """Train without disturbance in root/reference."""
    folder = root / "reference"
    end = server.train(folder, dict(changes))
    assert end.code == 0, end.stderr
    return folder, end


def kill_at_random(
    server: Server, root: Path, num: int, seed: int, changes: Mapping[str, Any] = SHORT
) -> Tally:
    """Send SIGKILLs at random moments, to runs that are resumed until they end, and compare them all."""
    folder, end = reference(server, root, changes)
    rng, kills, faults, runs = random.Random(seed), 0, list[str](), 0
    while kills < num:
        runs += 1
        broken = root / f"run{runs}"
        for _ in range(5):  # up to five in one run, then it is left alone
            delay = rng.uniform(0, 1.1 * end.seconds)
            killed = server.train(broken, dict(changes), signals=[(delay, signal.SIGKILL)])
            kills += killed.code == -signal.SIGKILL
            if killed.code != -signal.SIGKILL:
                faults += _complaints(broken, killed, (0,))
                break
        faults += _finish(server, broken, folder, changes)
    return Tally(kills, faults)


def break_at_points(
    server: Server, root: Path, points: Iterable[int], how: How, changes: Mapping[str, Any] = SHORT
) -> Tally:
    """Let one call go wrong, each of `points` in a run of its own; then resume and compare."""
    folder, _ = reference(server, root, changes)
    wanted = 6 if how == "disk full" else -signal.SIGKILL
    broken, faults = 0, list[str]()
    for point in points:
        run = root / f"{how.replace(' ', '-')}-{point}"
        end = server.train(run, dict(changes), point=point, how=how)
        broken += end.code == wanted
        faults += _complaints(run, end, (wanted, 0))
        faults += _finish(server, run, folder, changes)
    return Tally(broken, faults)


def signal_at_random(
    server: Server, root: Path, num: int, seed: int, changes: Mapping[str, Any] = SHORT
) -> Tally:
    """Send each of the signals in turn, once or twice, at random moments; the exit code tells which."""
    folder, end = reference(server, root, changes)
    rng, stopped, faults, runs = random.Random(seed), 0, list[str](), 0
    while stopped < num:
        number = SIGNALS[runs % len(SIGNALS)]
        signals = [(rng.uniform(0.02, 1.0) * end.seconds, number)]
        if runs // len(SIGNALS) % 2:
            signals.append((rng.uniform(0, 0.05) * end.seconds, number))
        runs += 1
        broken = root / f"run{runs}"
        ended = server.train(broken, dict(changes), signals=signals)
        wanted = 130 if number == signal.SIGINT else 143
        stopped += ended.code == wanted
        # Before the handlers stand, a signal does what it does to any process.
        faults += _complaints(broken, ended, (wanted, 0, -number))
        faults += _finish(server, broken, folder, changes)
    return Tally(stopped, faults)


def _finish(server: Server, folder: Path, whole: Path, changes: Mapping[str, Any]) -> list[str]:
    end = server.train(folder, dict(changes))
    if end.code:
        return [f"{folder.name}: resumed, it ends with {end.code}: {end.stderr}"]
    return [f"{folder.name}: {difference}" for difference in differences(whole, folder)]


def _complaints(folder: Path, end: End, allowed: tuple[int, ...]) -> list[str]:
    if end.code not in allowed or "Traceback" in end.stderr or end.stderr.count("\n") > 1:
        return [f"{folder.name}: code {end.code}, said {end.stderr!r}"]
    return []
