"""What measuring costs: gradient norms at every step, and the gradient profile at its default steps.

    python -m benchmarks.overhead [--depth 56] [--rounds 3] [--steps 8]

Interleaved, round by round, same net, same batches: steps without norms, steps with norms, one probe, one
picture of it. The promises: norms at most 2% of training time; probes at most 10% of the quick look's long
form on a CPU (150 steps, probed at 0, 1, 2, 5, 10, 20, 50, 100, 150), and of the paper's 64,000 steps on a
GPU, where a step takes milliseconds and a probe is the host's work.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

from benchmarks.results import record, spread
from resexp.config import Config
from resexp.data.batches import render, sample, unaugmented
from resexp.data.splits import Splits, load
from resexp.probes.gradient_profile import gradient_profile
from resexp.records.schema import ProfileRow
from resexp.tensorboard.pictures import size_picture
from resexp.training.engine import prepared_engine
from resexp.training.execution import resolve
from resexp.training.spans import probed_steps

FULL_LOOK_STEPS = 150
MEASURED_AGAINST = {
    "cpu": ("the quick look's long form", FULL_LOOK_STEPS),
    "cuda": ("the paper's schedule", 64_000),
}


def config_of(depth: int, norms: bool) -> Config:
    return Config.model_validate(
        {
            "data": {"name": "crayons", "augment": False},
            "model": {"depth": depth},
            "optim": {"steps": FULL_LOOK_STEPS, "schedule": {"name": "constant"}, "lr": 0.02},
            "record": {"gradient_norm": norms},
        }
    )


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(depth: int, rounds: int, steps: int, splits: Splits) -> dict[str, list[float]]:
    """Return seconds a step (without and with norms), a probe and a picture, one number a round."""
    configs = {name: config_of(depth, name == "with norms") for name in ("without norms", "with norms")}
    execution = resolve(configs["with norms"].run, num_images=FULL_LOOK_STEPS * 128)
    engines = {name: prepared_engine(config, splits.train, execution) for name, config in configs.items()}
    batch = render(engines["with norms"].train, unaugmented(sample(len(splits.train.labels), 128)))
    for engine in engines.values():
        engine.advance(2)
    gradient_profile(engines["with norms"].copy_of_net(), batch)
    found: dict[str, list[float]] = {name: [] for name in (*engines, "probe", "picture")}
    for _ in range(rounds):
        for name, engine in engines.items():
            found[name].append(seconds(lambda engine=engine: engine.advance(steps)) / steps)
        net, measured = engines["with norms"].copy_of_net(), []
        found["probe"].append(
            seconds(lambda net=net, measured=measured: measured.append(gradient_profile(net, batch)))
        )
        row = ProfileRow.model_validate({"step": 0, **measured[0]})
        found["picture"].append(seconds(lambda row=row: size_picture(row, configs["with norms"], "noise")))
    how = f"{execution.device}, {execution.precision}, {execution.mode}, {execution.threads} threads"
    print(f"{how}, torch {torch.__version__}, {rounds} rounds of {steps} steps, depth {depth}, batch 128")
    return found


def line(name: str, values: Sequence[float]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{name:15} {1e3 * middle:8.1f} ms  [{1e3 * low:.1f}, {1e3 * high:.1f}]"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    splits = load(config_of(options.depth, True).data)
    found = measure(options.depth, options.rounds, options.steps, splits)
    for name, values in found.items():
        print(line(name, values))
    pairs = zip(found["with norms"], found["without norms"], strict=True)
    norms = statistics.median(with_ / without - 1 for with_, without in pairs)
    whole, num_steps = MEASURED_AGAINST["cuda" if torch.cuda.is_available() else "cpu"]
    num_probes = len(list(probed_steps(num_steps)))
    probing = num_probes * (statistics.median(found["probe"]) + statistics.median(found["picture"]))
    share = probing / (probing + num_steps * statistics.median(found["with norms"]))
    figures = {
        "depth": options.depth,
        "seconds": {name: spread(values) for name, values in found.items()},
        "norms_share_of_a_step": norms,
        "probes": {"of": whole, "steps": num_steps, "probes": num_probes, "share": share},
    }
    print(f"norms at every step: {norms:+.1%} of a step (at most 2%)")
    print(f"{num_probes} probes in {whole}, {num_steps:,} steps: {share:.1%} of the time (at most 10%)")
    print(record("overhead", figures))
    return int(norms > 0.02 or share > 0.10)


if __name__ == "__main__":
    sys.exit(main())
