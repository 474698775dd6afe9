"""Dry run: which runs a comparison would make, how many steps are left, how long they take."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from resexp.analysis.cells import settings_of, varying
from resexp.config import Config
from resexp.data.batches import render, unaugmented
from resexp.data.dataset import Dataset, dataset, statistics
from resexp.experiments.compare import execution_for, taken_from_elsewhere
from resexp.experiments.consistency import as_begun
from resexp.experiments.executors.local import local
from resexp.experiments.plan import Job, Plan
from resexp.probes import probe
from resexp.records.run import Run
from resexp.training import checkpoint
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution
from resexp.training.loop import PROBE_IMAGES, TRAIN_IMAGES_EVALUATED
from resexp.training.spans import spans

TEST_IMAGES = 10_000
"""As many as most have; crayons have 2,000, whose evaluations end sooner than forecast."""
SVHN_TEST_IMAGES = 26_032

UNCOMPILED = {"compiled": "eager", "graphed+compiled": "graphed"}

Forecast = dict[str, Any]


class Cost(NamedTuple):
    """Seconds that training one net takes on this machine."""

    step: float
    probe: float
    evaluated_image: float


def forecast(plan: Plan) -> Forecast:
    """Return the plan as rows, a cell each, and their sums. Trains nothing, writes nothing.

    The seconds are measured: a step, a probe and a forward pass of each kind of net, on noise of the
    images' size, uncompiled where the runs would be compiled. Runs that are the same elsewhere, or ended
    in this comparison's folder, take none.
    """
    if not plan.jobs:
        return {"folder": str(plan.folder), "recorded": len(plan.recorded), "cells": [], **_sums([])}
    jobs, execution = as_begun(plan.jobs)
    if execution is None:
        with local() as here:
            execution = execution_for(jobs, here, lambda job: _noise(job.config.optim.batch_size))
    taken = taken_from_elsewhere(jobs, plan.folder.parent, execution)
    settings = [dict(settings_of(job.config.tree())) for job in jobs]
    axes = [key for key in varying(settings) if key != "model.kind"]  # which the arm says
    cells: dict[tuple[Any, ...], Forecast] = {}
    for job, setting in zip(jobs, settings, strict=True):
        place = {"arm": job.arm, **{key: setting.get(key) for key in axes}}
        cell = cells.setdefault(
            tuple(place.values()), {**place, "runs": 0, "there_already": 0, "steps": 0, "seconds": 0.0}
        )
        start = job.config.optim.steps if job.folder in taken else _begins_at(job)
        left = job.config.optim.steps - start
        cell["runs"] += 1
        cell["there_already"] += left == 0
        cell["steps"] += left
        cell["seconds"] += seconds(job.config, start, cost_of(execution)(job.config)) if left else 0.0
    rows = list(cells.values())
    return {
        "folder": str(plan.folder),
        "recorded": len(plan.recorded),
        "execution": execution._asdict(),
        "cells": rows,
        **_sums(rows),
    }


def seconds(config: Config, start: int, cost: Cost) -> float:
    """Return what the rest of a run takes from `start` updates on: its steps, its probes, its evaluations."""
    tested = SVHN_TEST_IMAGES if config.data.name == "svhn" else TEST_IMAGES
    images = TRAIN_IMAGES_EVALUATED + tested + config.data.validation
    return sum(
        (span.stop - span.start) * cost.step
        + span.probe * cost.probe * len(config.record.probes)
        + span.evaluate * cost.evaluated_image * images
        for span in spans(config, start)
    )


def _begins_at(job: Job) -> int:
    """The updates that need not be made again: all where the run has ended, else those of its checkpoint."""
    if Run(job.folder).result is not None:
        return job.config.optim.steps
    return max(map(checkpoint.step_of, checkpoint.saved(job.folder / "checkpoints")), default=0)


def _sums(rows: Sequence[Forecast]) -> Forecast:
    return {key: sum(row[key] for row in rows) for key in ("runs", "there_already", "steps", "seconds")}


@cache
def cost_of(execution: Execution) -> Callable[[Config], Cost]:
    """Return the function that measures a net's cost, once for all seeds."""
    measured: dict[str, Cost] = {}

    def of(config: Config) -> Cost:
        size = config.model.model_dump_json(exclude={"init"}) + str(config.optim.batch_size)
        if size not in measured:
            mode = UNCOMPILED.get(execution.mode, execution.mode)
            measured[size] = _measure(config, execution._replace(mode=mode))
        return measured[size]

    return of


def _measure(config: Config, execution: Execution) -> Cost:
    engine = prepared_engine(config, _noise(max(config.optim.batch_size, PROBE_IMAGES)), execution)
    batch = render(engine.train, unaugmented(torch.arange(PROBE_IMAGES)))
    engine.advance(1)
    engine.evaluate(engine.train)
    return Cost(
        step=_timed(lambda: engine.advance(1)),
        probe=_timed(lambda: [probe(name)(engine.copy_of_net(), batch) for name in config.record.probes[:1]]),
        evaluated_image=_timed(lambda: engine.evaluate(engine.train)) / len(engine.train.labels),
    )


def _timed(work: Callable[[], object]) -> float:
    """The quickest of three: what else the machine does only ever adds."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def _noise(num: int) -> Dataset:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (num, 3, 32, 32), dtype=torch.uint8, generator=stream)
    labels = torch.arange(num) % 10
    return dataset(images, labels, tuple("0123456789"), statistics(images, "channel"))
