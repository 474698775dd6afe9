"""Worker processes on one machine: one for each device, and one more for each of them that died.

A pipe leads to each process. Down it come tasks and the signal to stop; up it come progress and how a task
ended. Where the pipe breaks the other end is gone: the driver has another process go on from the run's
checkpoint; a process without a driver saves its run and ends.
"""

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from resexp.config import DataSection
from resexp.data.splits import as_loaded, splits_of
from resexp.errors import Exit
from resexp.experiments.executors import LOST_WORKERS, Failure
from resexp.experiments.executors.run_one import carry_out
from resexp.experiments.plan import Job, labels
from resexp.report.progress import Dashboard, Relay, pass_on
from resexp.signals import SIGNALS, Stop
from resexp.training.execution import Execution

SPAWN = get_context("spawn")
PIPE_POLL_SECONDS = 0.2


class RunTask(NamedTuple):
    """One run, as it is handed to a process."""

    job: Job
    label: str
    data: DataSection
    """where its images come from, `auto` resolved"""
    execution: Execution


def in_processes(
    jobs: Sequence[Job], devices: Sequence[str], execution: Execution, *, stop: Stop, show: Dashboard
) -> list[Failure]:
    """Carry out the jobs, each on the first device that is free. devices: see `local`."""
    names = labels(jobs)
    tasks = [RunTask(job, names[job.folder], as_loaded(job.data), execution) for job in jobs]
    crew = _Crew(tasks, devices[: len(tasks)], stop, show)
    try:
        with stop.polling():
            crew.work()
    finally:
        crew.dismiss()
    return crew.failures


class _Crew:
    """The processes, what waits for them, and what they could not bring to an end."""

    def __init__(self, tasks: Sequence[RunTask], devices: Sequence[str], stop: Stop, show: Dashboard) -> None:
        self.failures: list[Failure] = []
        self._waiting, self._losses = deque(tasks), Counter[Path]()
        self._stop, self._show = stop, show
        self._workers = [_Worker(device) for device in devices]

    def work(self) -> None:
        while not self._stop() and (self._waiting or self._busy()):
            for worker in self._workers:
                if self._waiting and worker.task is None:
                    worker.begin(self._waiting.popleft())
            self._listen()
        for worker in self._busy():
            worker.send(self._stop.signal)
        while self._busy():
            self._listen()

    def dismiss(self) -> None:
        for worker in self._workers:
            worker.close()

    def _busy(self) -> list["_Worker"]:
        return [worker for worker in self._workers if worker.task]

    def _listen(self) -> None:
        ready = wait([worker.pipe for worker in self._workers], PIPE_POLL_SECONDS)
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            try:
                what, *content = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            if what != "over":
                pass_on((what, *content), self._show)
            elif task := worker.task:
                worker.task = None
                self._over(task, *content)

    def _over(self, task: RunTask, failure: Failure | None) -> None:
        if failure:
            self.failures.append(failure)
            for line in failure.lines:
                self._show.say(line)
        if not self._stop():  # after which a run may as well have been saved before its end
            self._show.over(task.label)

    def _lost(self, worker: "_Worker") -> None:
        """A process died; what it was training is taken up again, unless it has cost too many already."""
        worker.close()
        self._workers.remove(worker)
        if (task := worker.task) and not self._stop():
            folder, ended = task.job.folder, f"its process ended with {worker.process.exitcode}"
            self._losses[folder] += 1
            if self._losses[folder] > LOST_WORKERS:
                why = f"{folder}: {ended}, for the {self._losses[folder]}th time"
                self._over(task, Failure(folder, Exit.RESOURCES, (why,)))
            else:
                self._show.say(f"{task.label}: {ended}; another goes on from its checkpoint")
                self._waiting.appendleft(task)
        if self._waiting and not self._stop():
            self._workers.append(_Worker(worker.device))


class _Worker:
    """A process that trains one run at a time on its device, as the driver sees it."""

    def __init__(self, device: str) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.task: RunTask | None = None
        self.device = device
        self.process = SPAWN.Process(target=_live, args=(theirs,))
        with _signals_held_back(), _environment("CUDA_VISIBLE_DEVICES", device):
            self.process.start()
        theirs.close()

    def begin(self, task: RunTask) -> None:
        self.task = task
        self.send(task)

    def send(self, message: RunTask | int | None) -> None:
        with suppress(OSError):  # it has died, which is seen when its pipe is read
            self.pipe.send(message)

    def close(self) -> None:
        """Let the process go: it saves what it is training, and this waits for it."""
        self.pipe.close()
        self.process.join()


def _live(pipe: Connection) -> None:
    """The life of a process: one task after the other, until the pipe breaks."""
    stop, tasks = Stop(), SimpleQueue[RunTask | None]()
    threading.Thread(target=_receive, args=(pipe, tasks, stop), daemon=True).start()
    relay = Relay(lambda message: _send(pipe, message))
    while task := tasks.get():
        images = partial(splits_of, task.data)
        failure = carry_out(task.job, task.label, images, task.execution, stop=stop, show=relay)
        _send(pipe, ("over", failure))


def _receive(pipe: Connection, tasks: SimpleQueue[RunTask | None], stop: Stop) -> None:
    try:
        while True:
            message = pipe.recv()
            if isinstance(message, RunTask):
                tasks.put(message)
            else:
                stop.signal = message
    except (EOFError, OSError):
        stop.signal = stop.signal or signal.SIGTERM
        tasks.put(None)


def _send(pipe: Connection, message: tuple[Any, ...]) -> None:
    with suppress(OSError):  # the driver is gone, which is seen by who reads
        pipe.send(message)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process started in here never sees Ctrl-C, which a terminal sends to all: the driver tells it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A process started in here has the variable from its first moment on."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
