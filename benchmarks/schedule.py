"""The paper's whole schedule: how long it trains, and how well the net does at its end.

    python -m benchmarks.schedule [--depth 20,56] [--steps 64000] [--data crayons] [--root DIR] [--seconds 0]

He et al. 2015 on the training images of `--data` (all of them, channel normalisation), batch 128, gradient
norms at every step, in the way that `auto` chooses. It is the run that `resexp train` makes: its record, its
evaluations, probes and checkpoints are in its time, which begins after the first 50 steps; what comes before
(recording or compiling among it) is said apart. `--steps` cuts the schedule (its milestones fall at the same
parts of it) and `--seconds` ends it early; then the time of all 64,000 steps is a forecast, named so: their
steps, and as many evaluations, probes and checkpoints as there would be. The accuracy is that of the last
evaluation, not of the best.
The promises, on a GPU of the H200 kind: 60 s for depth 20, 150 s for 56, 300 s for 110.
"""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import record, spread
from resexp.config import Config
from resexp.data.splits import Splits, load
from resexp.errors import Interrupted
from resexp.records.run import Run
from resexp.records.schema import EvaluationRow
from resexp.signals import Stop
from resexp.training.execution import Execution, resolve
from resexp.training.loop import Progress, run
from resexp.training.spans import LONGEST_SPAN, spans

WHOLE = 64_000
PROMISED_SECONDS = {20: 60.0, 56: 150.0, 110: 300.0}
WARM_UP_STEPS = 400
"""At a tenth of the rate, for 110 layers (He et al. 2015, section 4.2)."""


def config_of(depth: int, steps: int, data: dict[str, str]) -> Config:
    """Return the paper's recipe, its milestones moved with its length."""
    schedule = {
        "name": "multistep",
        "milestones": (steps // 2, 3 * steps // 4),
        "warmup_steps": min(WARM_UP_STEPS, steps // 4) if depth >= 110 else 0,
    }
    return Config.model_validate(
        {"data": data, "model": {"depth": depth}, "optim": {"steps": steps, "schedule": schedule}}
    )


def num_looks(config: Config, until: int) -> int:
    """Return after how many spans beyond the first 50 steps, up to `until`, anything is due besides steps."""
    due = (
        span.evaluate or span.probe or span.checkpoint
        for span in spans(config)
        if LONGEST_SPAN < span.stop <= until
    )
    return sum(due)


def measure(config: Config, splits: Splits, execution: Execution, limit: float) -> dict[str, Any]:
    """Train to the end of the schedule, or for `limit` seconds, and return what came of it."""
    stop, began, reached = Stop(), time.perf_counter(), dict[int, float]()

    def report(progress: Progress) -> None:
        reached[progress.step] = now = time.perf_counter()
        if limit and now - reached.get(LONGEST_SPAN, now) > limit:
            stop.signal = signal.SIGINT

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with suppress(Interrupted):  # the time is up: it has saved, as any run would
            run(config, place, splits, execution=execution, stop=stop, report=report)
        seconds, made = time.perf_counter() - reached[LONGEST_SPAN], max(reached) - LONGEST_SPAN
        recorded = Run(place)
        rows = [row for row in recorded.timing if row.step > LONGEST_SPAN]
        evaluations = [row for row in recorded.metrics if isinstance(row, EvaluationRow)]
        parameters = recorded.manifest.parameters
    stepping = sum(row.seconds for row in rows)
    looks = num_looks(config, until=max(reached))
    a_look = (seconds - stepping) / looks if looks else 0.0
    whole = made + LONGEST_SPAN == WHOLE
    found = {
        "parameters": parameters,
        "steps": made + LONGEST_SPAN,
        "whole_schedule_made": whole,
        "seconds_until_50_steps_were_made": reached[LONGEST_SPAN] - began,
        "seconds_of_the_rest": seconds,
        "milliseconds_a_step": 1e3 * stepping / made,
        "seconds_of_an_evaluation_probe_or_checkpoint": a_look,
        "seconds_of_64000_steps" + ("" if whole else "_forecast"): WHOLE * stepping / made
        + num_looks(config_of(config.model.depth, WHOLE, config.data.model_dump()), until=WHOLE) * a_look,
        "images_per_second": spread([row.images_per_second for row in rows]),
        "test_images": len(splits.test.labels),
        "seeds": 1,
    }
    if evaluations:
        found["test_accuracy"] = {"step": evaluations[-1].step, "share": evaluations[-1].test_accuracy}
    if execution.device == "cuda":
        found["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", default="20,56")
    parser.add_argument("--steps", type=int, default=WHOLE, help="more than 50")
    parser.add_argument("--seconds", type=float, default=0.0, help="a net, at most; 0: no limit")
    parser.add_argument("--data", default="crayons")
    parser.add_argument("--root", default="data")
    options = parser.parse_args()
    if options.steps <= LONGEST_SPAN:
        parser.error(f"--steps: more than {LONGEST_SPAN}")
    data = {"name": options.data, "root": options.root}
    kept, document = True, {}
    for depth in map(int, options.depth.split(",")):
        config = config_of(depth, options.steps, data)
        splits = load(config.data)
        execution = resolve(config.run, num_images=config.optim.steps * config.optim.batch_size)
        found = measure(config, splits.to(execution.device), execution, options.seconds)
        document[f"resnet{depth}"] = found
        seconds = found.get("seconds_of_64000_steps") or found["seconds_of_64000_steps_forecast"]
        how = f"{execution.device}, {execution.precision}, {execution.mode}"
        print(
            f"ResNet-{depth} on {splits.label}, {how}: {found['milliseconds_a_step']:.2f} ms a step, "
            f"{WHOLE:,} steps {'took' if found['whole_schedule_made'] else 'would take'} {seconds:.0f} s"
        )
        if "test_accuracy" in found:
            print("test accuracy {share:.2%} after {step:,} steps".format_map(found["test_accuracy"]))
        document["how"] = {"data": splits.label, **execution._asdict()}
        if execution.device == "cuda":
            kept &= seconds <= PROMISED_SECONDS.get(depth, seconds)
    print(record("schedule", document))
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
