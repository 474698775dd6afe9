"""The Ray executor: a task a run, for which Ray reserves its CPUs and its share of a GPU.

Ray's tasks and one actor are all that is used. Ray starts a task again whose process or machine was lost, and
the run goes on from its checkpoint; so the runs folder must lie on a disk that all machines share. The images
need not: the driver reads them and Ray hands them out.
"""

import logging
import os
import platform
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from resexp.config import Config, RunSection
from resexp.config.imports import imported
from resexp.data.dataset import Dataset
from resexp.data.splits import Splits, splits_of
from resexp.errors import Exit, ResourceError, UsageError
from resexp.experiments.executors import LOST_WORKERS, Executor, Failure
from resexp.experiments.executors.ray_actor import RayMailbox, reporting
from resexp.experiments.executors.ray_here import prepared
from resexp.experiments.executors.run_one import carry_out
from resexp.experiments.plan import Job, labels
from resexp.report.progress import Dashboard, pass_on
from resexp.signals import SIGNALS, Stop
from resexp.training.engine import rehearsed
from resexp.training.execution import Execution, resolve
from resexp.training.resume import versions

if TYPE_CHECKING:
    from ray import ObjectRef

HERE = "local"
"""The address that starts Ray on this machine, for as long as the comparison takes."""
RAY_POLL_SECONDS = 0.3


@contextmanager
def on_ray(address: str = HERE, gpus_per_run: float | None = None) -> Iterator[Executor]:
    """Yield the executor of a cluster, and leave the cluster afterwards.

    gpus_per_run: from 0, no GPU, to 1; below 1 several runs share one. None: 1 where the cluster has GPUs and
    the config does not say cpu. Raises ResourceError where no cluster answers at `address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
    with prepared() if address == HERE else nullcontext({}) as options, _joined(address, options):
        yield _OnRay(gpus_per_run)


@contextmanager
def _joined(address: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Be the driver of a cluster, with this process's own signal handlers."""
    import ray
    from ray.exceptions import RayError

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ResourceError(f"--ray-address {address}: no Ray to be had there: {why}") from error
    try:
        for number, handler in handlers.items():  # Ray has put its own in their place
            signal.signal(number, handler)
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class _OnRay:
    gpus_per_run: float | None

    def resolve(self, section: RunSection, *, num_images: int) -> Execution:
        """Resolve where runs will be trained: the driver's machine may have other cores, and no GPU."""
        import ray
        from ray.exceptions import RayTaskError

        threads = 1 if section.threads == "auto" else section.threads
        there = _remote(resolve, **self._needs(threads, section.device))
        try:
            return ray.get(there.remote(section, num_images=num_images))
        except RayTaskError as error:
            raise error.cause from None

    def rehearsed(self, execution: Execution, kinds: Iterable[tuple[Config, Dataset]]) -> Execution:
        import ray

        if not execution.graphed:
            return execution
        there = _remote(rehearsed, **self._needs(execution.threads, execution.device))
        return ray.get(there.remote(execution, list(kinds)))

    def carry_out(
        self, jobs: Sequence[Job], execution: Execution, *, stop: Stop, show: Dashboard
    ) -> list[Failure]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox = _remote(RayMailbox, num_cpus=0, scheduling_strategy=here).remote()
        needs = self._needs(execution.threads, execution.device)
        train = _remote(_train, **needs, max_retries=LOST_WORKERS)
        # In a list Ray hands out the reference and not the images: a process fetches them once.
        images = {data: [ray.put(splits_of(data))] for data in dict.fromkeys(job.data for job in jobs)}
        names, begun, failures = labels(jobs), set[str](), list[Failure]()
        running: dict[ObjectRef[Failure | None], Job] = {}
        for job in jobs:
            elsewhere = job._replace(folder=job.folder.resolve())
            arguments = (
                elsewhere,
                names[job.folder],
                images[job.data],
                execution,
                _decisive(job.config),
                mailbox,
            )
            running[train.remote(*arguments)] = job
        with stop.polling():
            asked = False
            while running:
                ended, _ = ray.wait(list(running), num_returns=len(running), timeout=RAY_POLL_SECONDS)
                for message in ray.get(mailbox.collect.remote(stop.signal)):
                    begun.add(message[1])
                    pass_on(message, show)
                if stop() and not asked:
                    asked = True
                    for task, job in running.items():
                        if names[job.folder] not in begun:
                            ray.cancel(task)
                for task in ended:
                    job = running.pop(task)
                    if failure := _outcome(task, job, stop):
                        failures.append(failure)
                        for line in failure.lines:
                            show.say(line)
                    show.over(names[job.folder])
        return failures

    def _needs(self, threads: int, device: str) -> dict[str, Any]:
        """What Ray reserves for a run. Raises ResourceError where no machine has so much."""
        import ray

        have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = self.gpus_per_run
        if gpus is None:
            gpus = int(device != "cpu" and any("GPU" in resources for resources in have))
        if not any(there.get("CPU", 0) >= threads and there.get("GPU", 0) >= gpus for there in have):
            raise ResourceError(
                f"Ray: no machine of the cluster has {threads} CPUs (run.threads) and {gpus:g} GPUs "
                "(--gpus-per-run) for a run; lower them, or have a larger machine join"
            )
        # CUDA keeps the first GPU it was given, so a process that saw one is not used again.
        return {"num_cpus": threads, "num_gpus": gpus, "max_calls": 1 if gpus else 0}


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    if host and "://" not in address:
        socket.create_connection((host, int(port)), timeout=5).close()


def _remote(what: Callable[..., Any], **options: Any) -> Any:
    """Return a function or class as Ray's."""
    import ray

    return ray.remote(**options)(what)


def _train(
    job: Job,
    label: str,
    images: list["ObjectRef[Splits]"],
    execution: Execution,
    wanted: dict[str, str],
    mailbox: Any,
) -> Failure | None:
    """The task: one run, on a machine of the cluster."""
    try:
        here = _decisive(job.config)
    except UsageError as error:
        return Failure(job.folder, error.code, (f"{job.folder}: {platform.node()}: {error.lines[0]}",))
    if here != wanted:
        why = f"{job.folder}: {platform.node()} has {here}, where the comparison was begun {wanted}"
        return Failure(job.folder, Exit.RESOURCES, (f"{why}; install the same everywhere",))
    with reporting(mailbox) as (stop, relay):
        if stop():
            return None
        return carry_out(job, label, partial(_fetch, images[0]), execution, stop=stop, show=relay)


def _decisive(config: Config) -> dict[str, str]:
    """What decides a run's bits and may differ between machines: versions, and the source of plug-ins."""
    sources = {key: imported(text).sha256[:12] for key, text in config.plugins()}
    return versions() | sources


@lru_cache(maxsize=2)
def _fetch(images: "ObjectRef[Splits]") -> Splits:
    import ray

    return ray.get(images)


def _outcome(task: "ObjectRef[Failure | None]", job: Job, stop: Stop) -> Failure | None:
    """What became of a task that is over."""
    import ray
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    try:
        failure = ray.get(task)
    except TaskCancelledError:
        return None
    except RayTaskError as error:
        return Failure(job.folder, Exit.BUG, (f"{job.folder}: in Ray's task: {error.cause!r}",))
    except RayError as error:
        why = str(error).strip().partition("\n")[0]
        times = f"lost {LOST_WORKERS + 1} times, now for this"
        return Failure(job.folder, Exit.RESOURCES, (f"{job.folder}: {times}: {why}",))
    if failure:
        return failure._replace(folder=job.folder)
    if not stop() and not (job.folder / "result.json").exists():
        why = f"{job.folder}: trained, and not to be seen from here"
        return Failure(
            job.folder, Exit.RUN_FOLDER, (f"{why}; --runs-dir must lie on a disk that all machines share",)
        )
    return None
