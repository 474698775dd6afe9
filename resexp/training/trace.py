"""A Chrome trace of some steps (torch.profiler), made before a run goes on and undone: not a bit changes."""

import os
from copy import deepcopy
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from resexp.records.files import disk_errors
from resexp.training.engine import Engine

TRACE = "trace.json"
WARM_UP = 2
"""Steps before those that are traced, in which libraries compile, choose and allocate."""


def trace_steps(engine: Engine, folder: Path, num: int) -> str:
    """Write trace.json of `num` times the step that the engine makes next, and return what to do with it.

    The engine is as it was afterwards, to the last bit, and nothing of these steps is recorded.
    """
    start = engine.step
    before = deepcopy(engine.state())
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would tell of its start and end
    on_gpu = engine.execution.device == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    try:
        for _ in range(WARM_UP):
            _once(engine, start)
        profiler = profile(activities=activities)
        engine.apart(profiler.start)  # it sees the thread in which it was started
        for _ in range(num):
            mark = record_function("step")
            engine.apart(mark.__enter__)
            _once(engine, start)
            engine.apart(mark.__exit__, None, None, None)
        if on_gpu:
            torch.cuda.synchronize()
        engine.apart(profiler.stop)
    finally:
        engine.restore(before)
    path = folder / TRACE
    replaced = ", in place of the one before" if path.exists() else ""
    temporary = folder / f".{TRACE}.tmp"
    with disk_errors(path):
        profiler.export_chrome_trace(str(temporary))
        os.replace(temporary, path)
    return (
        f"{path}: {num} steps traced{replaced}; open it at https://ui.perfetto.dev (it stays with you) "
        "or in chrome://tracing"
    )


def _once(engine: Engine, step: int) -> None:
    engine.advance(1)
    engine.step = step
