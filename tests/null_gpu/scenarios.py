"""What the tests try under the null GPU; the answers as a JSON list on the last line of stdout.

python -m tests.null_gpu.scenarios NAME [ARGUMENT ...] [-- NAME ...]
"""

import json
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import benchmarks.agreement
import benchmarks.results
from resexp.config import Config, DataSection, ModelSection
from resexp.data.splits import Splits
from resexp.errors import ResourceError
from resexp.records.run import Run
from resexp.training import engine
from resexp.training.engine import Engine, prepared_engine
from resexp.training.execution import Execution, kernels_name, resolve
from resexp.training.loop import run
from resexp.training.step import Readings, train_step
from tests.conftest import make_splits
from tests.null_gpu import questions

SPANS = 3


def config_of(depth: int, **optim: Any) -> Config:
    record = {"eval_every": 10_000, "checkpoint_every": 10_000, "probes": ()}
    return Config.model_validate(
        {"model": {"depth": depth}, "optim": {"steps": 1000, **optim}, "record": record}
    )


def small() -> tuple[Config, Splits]:
    """A run of three spans between which nothing is due, by kernels that the steps' scenarios compiled."""
    return config_of(8, steps=SPANS * 50), make_splits(num_train=256)


def execution(mode: str, precision: str = "bfloat16", kernels: str = "torch") -> Execution:
    name = kernels if kernels == "torch" else kernels_name(kernels)
    return Execution("cuda", precision, mode, 1, "asked for", kernels=name)


def step(depth: str, kernels: str, precision: str) -> dict[str, Any]:
    """Nodes of the recorded step, what is launched beside it and how often the host waits in 100 steps."""
    how = execution("graphed", precision, kernels)
    return _hundred(prepared_engine(config_of(int(depth)), make_splits(num_train=256).train, how))


def recipe(optimizer: str) -> dict[str, Any]:
    """The same of a step in which all is done that a config can ask for besides."""
    config = config_of(8, name=optimizer, clip=1.0, label_smoothing=0.1, ema=0.9)
    model = ModelSection(depth=8, survival=0.5)
    config = config.model_copy(update={"data": DataSection(cutout=8), "model": model})
    train = make_splits(num_train=256).train._replace(cutout=8)
    return _hundred(prepared_engine(config, train, execution("graphed")))


def _hundred(made: Engine) -> dict[str, Any]:
    made.advance(50)
    before = questions.waits()
    with questions.logged() as entries:
        made.advance(100)
    (nodes,) = set(questions.nodes(entries))
    beside = [entry for entry in entries if not entry.startswith("graph of ")]
    waits = questions.waits() - before
    return {"nodes": nodes, "beside": len(beside), "waits": waits}


def kernels(depth: str, mode: str, precision: str) -> dict[str, int]:
    """Which kernels a step launches, for whoever wants fewer; `mode` without the graph."""
    made = prepared_engine(
        config_of(int(depth)), make_splits(num_train=256).train, execution(mode, precision)
    )
    made.advance(2)
    with questions.logged() as entries:
        made.advance(1)
    return dict(questions.histogram(entries).most_common())


def a_run() -> dict[str, Any]:
    """A whole run: how often the host waits for the device in it."""
    made, splits = small()
    chosen = resolve(made.run, num_images=0)
    waits: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        run(made, Path(folder), splits, report=lambda _: waits.append(questions.waits()))
    return {"mode": chosen.mode, "waits": [b - a for a, b in pairwise(waits)]}


def six_runs() -> dict[str, Any]:
    """Device memory that PyTorch holds after each of six runs in one process, in MiB."""
    splits, held = make_splits(num_train=256), []
    made = config_of(56, steps=2)
    for _ in range(6):
        with tempfile.TemporaryDirectory() as folder:
            run(made, Path(folder), splits, execution=execution("graphed"))
        held.append(torch.cuda.memory_reserved() / 2**20)
    return {"held": held, "faults": questions.faults()}  # none yet: faults are planted later


def planted_sync() -> dict[str, Any]:
    """A step that reads its loss back."""

    def reading(*arguments: Any) -> Readings:
        readings = train_step(*arguments)
        readings.loss.item()
        return readings

    made, splits = small()
    said: list[str] = []
    engine.train_step = reading
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = run(made, Path(folder), splits, say=said.append)
            recorded = Run(Path(folder)).manifest.execution.to_json()
    finally:
        engine.train_step = train_step
    return {"status": result.status, "said": said, **recorded}


def planted_out_of_memory() -> dict[str, Any]:
    """A capture that runs out of memory, in a run of its own and in one whose execution is given."""
    questions.leave_while_capturing(1 << 20)
    made, splits = small()
    lines = []
    for given in (None, execution("graphed")):
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(made, Path(folder), splits, execution=given)
            except ResourceError as error:
                lines.append(str(error).replace(folder, "FOLDER"))
    questions.leave_while_capturing(-1)
    with tempfile.TemporaryDirectory() as folder:
        after = run(made, Path(folder), splits).status
    return {"lines": lines, "after": after}


def benchmark(name: str, out: str, *arguments: str) -> int:
    """A benchmark to its end, its figures, which mean nothing, into `out`; its exit code."""
    benchmarks.results.PLACE = Path(out)
    benchmarks.agreement.agreement = lambda depth: {}  # compares values, and here all are zero
    sys.argv = [name, *arguments]
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


SCENARIOS: dict[str, Callable[..., Any]] = {
    scenario.__name__: scenario
    for scenario in (step, recipe, kernels, a_run, six_runs, planted_sync, planted_out_of_memory, benchmark)
}


def main(arguments: Sequence[str]) -> None:
    answers, rest = [], list(arguments)
    while rest:
        end = rest.index("--") if "--" in rest else len(rest)
        name, *own = rest[:end]
        answers.append(SCENARIOS[name](*own))
        rest = rest[end + 1 :]
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
