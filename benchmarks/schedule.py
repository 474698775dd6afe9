"""The paper's whole schedule: how long it trains, and how well the net does at its end.

    python -m benchmarks.schedule [--depth 20,56] [--steps 64000] [--data crayons] [--root DIR] [--seconds 0]

He et al. 2015 on the training images of `--data` (all of them, channel normalisation), batch 128, gradient
norms at every step, in the way that `auto` chooses. Time is that of the steps from the second span on and
includes reading losses and norms back every 50 steps; recording or compiling, and evaluation, are said apart.
`--steps` cuts the schedule (its milestones fall at the same parts of it) and `--seconds` ends it early; then
the time of all 64,000 steps is a forecast, named so. The accuracy is that of the last step, not of the best.
The promises, on a GPU of the H200 kind: 60 s for depth 20, 150 s for 56, 300 s for 110.
"""

import argparse
import sys
import time
from typing import Any

import torch

from benchmarks.results import record, spread
from resexp.config import Config
from resexp.data.splits import Splits, load
from resexp.training.engine import Engine
from resexp.training.execution import Execution, resolve
from resexp.training.loop import LONGEST_SPAN

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


def measure(config: Config, splits: Splits, execution: Execution, limit: float) -> dict[str, Any]:
    """Train to the end of the schedule, or for `limit` seconds, and return what came of it."""
    began = time.perf_counter()
    engine = Engine(config, splits.train, execution)
    engine.advance(LONGEST_SPAN).loss.cpu()
    starting = time.perf_counter() - began
    batch_size, steps, speeds = config.optim.batch_size, config.optim.steps, []
    timed = time.perf_counter()
    while engine.step < steps and not (limit and time.perf_counter() - timed > limit):
        span = time.perf_counter()
        readings = engine.advance(min(LONGEST_SPAN, steps - engine.step))
        loss, _ = readings.loss.cpu(), readings.gradient_norm.cpu()
        speeds.append(len(loss) * batch_size / (time.perf_counter() - span))
    seconds, made = time.perf_counter() - timed, engine.step - LONGEST_SPAN
    test = engine.evaluate(splits.test)
    found = {
        "parameters": sum(parameter.numel() for parameter in engine.net.parameters()),
        "steps": engine.step,
        "whole_schedule_made": engine.step == WHOLE,
        "seconds_until_50_steps_were_made": starting,
        "seconds_of_the_rest": seconds,
        "milliseconds_a_step": 1e3 * seconds / made,
        "seconds_of_64000_steps" + ("" if engine.step == WHOLE else "_forecast"): WHOLE * seconds / made,
        "images_per_second": spread(speeds),
        "test_accuracy_at_the_last_step": test.accuracy,
        "test_images": len(splits.test.labels),
        "seeds": 1,
    }
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
        seconds = WHOLE * found["milliseconds_a_step"] / 1e3
        how = f"{execution.device}, {execution.precision}, {execution.mode}"
        print(
            f"ResNet-{depth} on {splits.label}, {how}: {found['milliseconds_a_step']:.2f} ms a step, "
            f"{WHOLE:,} steps {'took' if found['whole_schedule_made'] else 'would take'} {seconds:.0f} s; "
            f"test accuracy {found['test_accuracy_at_the_last_step']:.2%} after {found['steps']:,} steps"
        )
        document["how"] = {"data": splits.label, **execution._asdict()}
        if execution.device == "cuda":
            kept &= seconds <= PROMISED_SECONDS.get(depth, seconds)
    print(record("schedule", document))
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
