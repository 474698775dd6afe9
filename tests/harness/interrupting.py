"""Runs in this process that stop where one wants them to."""

import signal
from collections.abc import Callable
from pathlib import Path

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.errors import Interrupted
from resexp.records.lock import locked
from resexp.records.schema import RunResult
from resexp.signals import Stop
from resexp.training.loop import Progress, run

NEVER = 10**9


class StopAfter(Stop):
    """Asks to stop when it has been asked `questions` times."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        if self.left <= 0:
            self.signal = signal.SIGINT
        return super().__call__()


def train(
    folder: Path,
    config: Config,
    splits: Splits,
    *,
    questions: int = NEVER,
    until: int = NEVER,
    say: Callable[[str], None] = lambda _: None,
) -> RunResult | None:
    """Train until so many questions have been asked, or a span ends at a step; None if stopped."""
    stop = StopAfter(questions)

    def report(progress: Progress) -> None:
        if progress.step >= until:
            stop.signal = signal.SIGINT

    try:
        with locked(folder):
            return run(config, folder, splits, stop=stop, report=report, say=say)
    except Interrupted:
        return None
