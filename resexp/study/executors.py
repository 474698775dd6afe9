"""How the jobs of a plan are carried out: an executor's effects are the folders."""

from collections.abc import Callable, Sequence

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.errors import Diverged
from resexp.records.admission import admit
from resexp.records.folder import locked
from resexp.study.plan import Job
from resexp.training.execution import Execution
from resexp.training.loop import Progress, run
from resexp.training.signals import Stop
from resexp.views.progress import Display


def carry_out(job: Job, splits: Splits, execution: Execution, *, stop: Stop, show: Display) -> None:
    """Train one job to its end in its folder, going on where it was; a finished one is left alone.

    A run that diverges has ended: that is a result.
    """
    with locked(job.folder):
        if admit(job.folder, job.config, resume=True) == "finished":
            return
        show.update(job.label, Progress(0, job.config.optim.steps, None, None))
        try:
            run(
                job.config,
                job.folder,
                splits,
                execution=execution,
                stop=stop,
                report=lambda progress: show.update(job.label, progress),
                say=show.say,
            )
        except Diverged as error:
            for line in error.lines:
                show.say(line)


def local(
    jobs: Sequence[Job],
    splits: Callable[[Config], Splits],
    execution: Execution,
    *,
    stop: Stop,
    show: Display,
) -> None:
    """Carry out the jobs one after the other in this process."""
    for job in jobs:
        carry_out(job, splits(job.config), execution, stop=stop, show=show)
