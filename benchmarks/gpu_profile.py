"""Where an eager step's time goes on a GPU: convolutions against the rest, deterministic kernels or not.

    python -m benchmarks.gpu_profile [--depth 20,56] [--steps 20]

The kernels' own time from torch's profiler, summed by kind, beside the wall time of the same steps. The step
is resexp's own, bfloat16 where the card has it, batch 128, norms at every step.
"""

import argparse
import time
from collections import Counter
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.contender import config_of
from benchmarks.results import record
from resexp.data.splits import load
from resexp.training.engine import prepared_engine
from resexp.training.execution import resolve

KINDS = {
    "convolution": (
        "conv",
        "xmma",
        "implicit",
        "cutlass",
        "gemm",
        "wgrad",
        "dgrad",
        "cudnn",
        "sm80_",
        "sm90_",
    ),
    "batch norm": ("batch_norm", "bn_", "batchnorm"),
    "copies and casts": ("copy", "memcpy", "memset", "direct_copy", "cast"),
    "many tensors at once": ("multi_tensor", "foreach"),
}
"""Kinds of kernel by what stands in their names; the first that fits, batch norm before cuDNN's own names."""


def kind_of(kernel: str) -> str:
    name = kernel.lower()
    for kind in ("batch norm", "many tensors at once", "copies and casts", "convolution"):
        if any(part in name for part in KINDS[kind]):
            return kind
    return "the rest"


def measure(depth: int, steps: int, deterministic: bool) -> dict[str, Any]:
    """Return microseconds a step by kind of kernel, kernels a step and the wall time of a step."""
    config = config_of(depth)
    execution = resolve(config.run, num_images=0)._replace(mode="eager")
    engine = prepared_engine(config, load(config.data).train, execution)
    torch.backends.cudnn.deterministic = deterministic
    engine.advance(10)
    torch.cuda.synchronize()
    began = time.perf_counter()
    engine.advance(steps)
    torch.cuda.synchronize()
    wall = (time.perf_counter() - began) / steps
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        engine.advance(steps)
        torch.cuda.synchronize()
    micros, names, kernels = Counter(), Counter(), 0
    for event in found.events() or []:
        if event.device_type == DeviceType.CUDA:
            micros[kind_of(event.name)] += event.device_time_total / steps
            names[event.name[:80]] += event.device_time_total / steps
            kernels += 1
    return {
        "deterministic": deterministic,
        "precision": execution.precision,
        "milliseconds_a_step": 1e3 * wall,
        "kernels_a_step": kernels / steps,
        "microseconds_a_step": dict(micros.most_common()),
        "longest": dict(names.most_common(12)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", default="20,56")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    document = {}
    for depth in map(int, options.depth.split(",")):
        document[f"resnet{depth}"] = rows = [measure(depth, options.steps, way) for way in (True, False)]
        for row in rows:
            parts = ", ".join(f"{kind} {value:.0f}" for kind, value in row["microseconds_a_step"].items())
            print(
                f"ResNet-{depth}, {row['precision']}, deterministic {row['deterministic']}: "
                f"{row['milliseconds_a_step']:.2f} ms a step, {row['kernels_a_step']:.0f} kernels; "
                f"microseconds: {parts}"
            )
    print(record("gpu_profile", document))


if __name__ == "__main__":
    main()
