"""One run of a comparison, wherever it is carried out."""

import os
import traceback
from collections.abc import Callable

from resexp.data.splits import Splits
from resexp.errors import Diverged, Interrupted, Terminated, as_told
from resexp.experiments.executors import Failure
from resexp.experiments.plan import Job
from resexp.records.lock import locked
from resexp.records.preflight import admit
from resexp.report.progress import Display
from resexp.signals import Stop
from resexp.training.execution import Execution
from resexp.training.loop import Progress, run


def carry_out(
    job: Job, label: str, images: Callable[[], Splits], execution: Execution, *, stop: Stop, show: Display
) -> Failure | None:
    """Train one job to its end in its folder, going on where it was; a finished one is left alone.

    A run that diverges has ended: that is a result. One that raises is a failure, which is returned, since
    the other runs go on. One that was stopped is saved.
    """
    try:
        _train(job, label, images, execution, stop, show)
    except Diverged as error:
        for line in error.lines:
            show.say(line)
    except (Interrupted, Terminated):
        pass  # whoever asked for it knows
    except Exception as error:
        code, lines = as_told(error)
        named = lines if str(job.folder) in lines[0] else (f"{job.folder}: {lines[0]}", *lines[1:])
        trace = traceback.format_exc().splitlines() if os.environ.get("RESEXP_DEBUG") else []
        return Failure(job.folder, code, (*named, *trace))
    return None


def _train(
    job: Job, label: str, images: Callable[[], Splits], execution: Execution, stop: Stop, show: Display
) -> None:
    with locked(job.folder):
        if admit(job.folder, job.config, resume=True) == "finished":
            return
        show.update(label, Progress(0, job.config.optim.steps))
        run(
            job.config,
            job.folder,
            images(),
            execution=execution,
            stop=stop,
            report=lambda progress: show.update(label, progress),
            say=show.say,
        )
