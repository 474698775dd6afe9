"""Executors: where the runs of a comparison are trained, on this machine or on a Ray cluster.

Each run is an ordinary training in its own folder, and an executor's effects are those folders. So whichever
trained them, a comparison skips the runs that have ended, goes on with the others, and comes out the same.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from resexp.errors import Exit

if TYPE_CHECKING:  # Ray's mailbox lives in this package, too, and has no use for torch
    from resexp.config import Config, RunSection
    from resexp.data.dataset import Dataset
    from resexp.experiments.plan import Job
    from resexp.report.progress import Dashboard
    from resexp.signals import Stop
    from resexp.training.execution import Execution

LOST_WORKERS = 5
"""How often a run goes on from its checkpoint after its process died; then it is reported instead."""


class Failure(NamedTuple):
    """A run that could not be brought to its end. One that diverged has ended and is no failure."""

    folder: Path
    code: Exit
    lines: tuple[str, ...]
    """why, as the user is told; the first one names the folder or a file in it"""


class Executor(Protocol):
    """Knows the machine that trains, and has the runs trained there."""

    def resolve(self, section: "RunSection", *, num_images: int) -> "Execution":
        """Return how runs are executed there: every `auto` once, the same for all."""
        ...

    def rehearsed(self, execution: "Execution", kinds: "Iterable[tuple[Config, Dataset]]") -> "Execution":
        """Return how runs are executed after a step of each kind was recorded there, nothing kept of it."""
        ...

    def carry_out(
        self, jobs: "Sequence[Job]", execution: "Execution", *, stop: "Stop", show: "Dashboard"
    ) -> list[Failure]:
        """Train each job to its end, going on where it was, and return those that failed, told already.

        When `stop` is set, what is being trained is saved and this returns.
        """
        ...
