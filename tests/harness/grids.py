"""One small comparison of eight runs, brought about in different ways."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from conftest import tiny_config

from resexp.config import write
from resexp.experiments.compare import FailedRunsError, run_plan
from resexp.experiments.executors import Executor
from resexp.experiments.plan import Plan, make_plan
from resexp.records.lock import locked
from resexp.report.live import FirstLook, RunPlace
from resexp.report.progress import Snapshot
from resexp.signals import Stop, stop_on_signals

NUM_RUNS = 8
SHORT: dict[str, object] = {
    "model__convs_per_block": 1,
    "model__norm": "none",
    "optim__steps": 100,
    "record__probes": (),
    "record__eval_every": 1000,
    "record__checkpoint_every": 10,
}
"""Half a second a run: long enough to be caught in the middle."""
LONG = {"optim__steps": 1_000_000}


class Listener:
    """A display that keeps what it is shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ended: list[str] = []
        self.steps: dict[str, list[int]] = {}
        self.num_runs = 0

    def update(self, label: str, snapshot: Snapshot) -> None:
        self.steps.setdefault(label, []).append(snapshot.step)

    def say(self, line: str) -> None:
        self.said.append(line)

    def expect(self, places: Mapping[str, RunPlace]) -> None:
        self.num_runs = len(places)

    def first_looks(self, looks: Sequence[FirstLook]) -> None:
        self.said += [look.sentence for look in looks]

    def over(self, label: str) -> None:
        self.ended.append(label)


class Ended(NamedTuple):
    """What a comparison left: its folder, what it showed, and which error it returned."""

    folder: Path
    shown: Listener
    failed: FailedRunsError | None

    @property
    def document(self) -> bytes:
        return (self.folder / "comparison.json").read_bytes()


def plan_in(root: Path, **changes: object) -> Plan:
    """Two arms, two depths, two seeds; `changes` as in tiny_config."""
    root.mkdir(parents=True, exist_ok=True)
    config = root / "c.yaml"
    config.write_text(write(tiny_config(**(SHORT | changes))))
    return make_plan(
        ["plain", "residual"],
        runs_dir=root / "runs",
        config=str(config),
        sets=[],
        vary={"model.depth": ["5", "8"]},
        num_seeds=2,
        name="c",
    )


def bring_about(
    plan: Plan,
    executor: AbstractContextManager[Executor],
    *,
    stop: Stop | None = None,
    shown: Listener | None = None,
) -> Ended:
    """Run the comparison to its end."""
    shown = shown or Listener()
    with locked(plan.folder):
        failed = run_plan(plan, executor=executor, command=["resexp"], stop=stop or Stop(), show=shown)
    return Ended(plan.folder, shown, failed)


def interrupt(plan: Plan, executor: AbstractContextManager[Executor], shown: Listener | None = None) -> None:
    """Press Ctrl-C once a run has its first checkpoint."""
    with stop_on_signals() as stop, once_saved(plan, lambda _: os.kill(os.getpid(), signal.SIGINT)):
        bring_about(plan, executor, stop=stop, shown=shown)


@contextmanager
def once_saved(plan: Plan, do: Callable[[int], None]) -> Iterator[list[int]]:
    """Call `do` with the pid that trains a run, once, as soon as one has a checkpoint and has not ended.

    Yields the pids it was called with.
    """
    over, pids = threading.Event(), list[int]()

    def watch() -> None:
        while not over.is_set() and not pids:
            for saved in plan.folder.glob("*/checkpoints/step-*.pt"):
                run = saved.parents[1]
                if not (run / "result.json").exists():
                    pids.append(int((run / "lock").read_text()))
                    do(pids[0])
                    break
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield pids
    finally:
        over.set()
        watcher.join()


def trained_by(folder: Path) -> set[int]:
    """Return the pids of the processes that trained a comparison's runs."""
    return {int(lock.read_text()) for lock in folder.glob("*/lock")}
