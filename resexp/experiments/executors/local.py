"""The local executor: runs one after the other, or one process for each GPU where there are several."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from resexp.config import Config, RunSection
from resexp.data.dataset import Dataset
from resexp.data.splits import splits_of
from resexp.experiments.executors import Executor, Failure
from resexp.experiments.executors.processes import in_processes
from resexp.experiments.executors.run_one import carry_out
from resexp.experiments.plan import Job, labels
from resexp.report.progress import Dashboard
from resexp.signals import Stop
from resexp.training.engine import rehearsed
from resexp.training.execution import Execution, gpu_fault, resolve


@contextmanager
def local(devices: Sequence[str] | None = None) -> Iterator[Executor]:
    """Yield the executor of this machine.

    devices: what CUDA_VISIBLE_DEVICES is in each of the processes, default one process for each GPU that runs
    may use. With fewer than two of them all runs are trained in this very process.
    """
    yield _Local(None if devices is None else tuple(devices))


@dataclass(frozen=True)
class _Local:
    devices: tuple[str, ...] | None

    def resolve(self, section: RunSection, *, num_images: int) -> Execution:
        return resolve(section, num_images=num_images)

    def rehearsed(self, execution: Execution, kinds: Iterable[tuple[Config, Dataset]]) -> Execution:
        return rehearsed(execution, kinds)

    def carry_out(
        self, jobs: Sequence[Job], execution: Execution, *, stop: Stop, show: Dashboard
    ) -> list[Failure]:
        devices = _visible(execution) if self.devices is None else self.devices
        if min(len(devices), len(jobs)) > 1:
            return in_processes(jobs, devices, execution, stop=stop, show=show)
        return _in_turn(jobs, execution, stop=stop, show=show)


def _visible(execution: Execution) -> Sequence[str]:
    """The GPUs that torch can use, as CUDA_VISIBLE_DEVICES names them; none for runs that need none."""
    if execution.device != "cuda":
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    names = named.split(",")[:count] if named else [str(index) for index in range(count)]
    return [name for index, name in enumerate(names) if gpu_fault(index) is None]


def _in_turn(jobs: Sequence[Job], execution: Execution, *, stop: Stop, show: Dashboard) -> list[Failure]:
    failures, names = [], labels(jobs)
    for job in jobs:
        if stop():
            break
        name = names[job.folder]
        images = partial(splits_of, job.data)
        if failure := carry_out(job, name, images, execution, stop=stop, show=show):
            failures.append(failure)
            for line in failure.lines:
                show.say(line)
        if not stop():  # after which a run may as well have been saved before its end
            show.over(name)
    return failures
