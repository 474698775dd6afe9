"""What the doctor costs, in units of the net's own forward and backward pass.

    python -m benchmarks.doctor [--rounds 5] [--net torchvision.models:resnet50] [--input 3,64,64]

In turn, round by round, one net of one seed in float32: a plain forward and backward pass, which fills the
weights' gradients, and the doctor's measurement of the same batch. The promise: a net of 50 layers at batch
32 in under 10 s on two cores beside its own pass.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.results import record, spread
from resexp.experiments.doctor import load_callable
from resexp.probes.any_net import measure_net


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--net", default="torchvision.models:resnet50")
    parser.add_argument("--input", default="3,64,64")
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    net = load_callable(options.net)().train()
    images = torch.randn(options.batch, *map(int, options.input.split(",")))
    labels = torch.randint(10, (options.batch,))

    def plain() -> None:
        net.zero_grad()
        F.cross_entropy(net(images), labels).backward()

    def doctor() -> None:
        measure_net(net, [images], lambda output: F.cross_entropy(output, labels), options.batch)

    seconds: dict[str, list[float]] = {"plain pass": [], "doctor": []}
    plain()
    for _ in range(options.rounds):
        for name, act in zip(seconds, (plain, doctor), strict=True):
            seconds[name].append(_timed(act))
    ratios = [slow / fast for fast, slow in zip(*seconds.values(), strict=True)]
    figures = {name: spread(values) for name, values in seconds.items()} | {"ratio": spread(ratios)}
    for name, figure in figures.items():
        print(f"{name:12} {figure['median']:.2f}  [{figure['low']:.2f}, {figure['high']:.2f}]")
    asked = {"net": options.net, "input": options.input, "batch": options.batch}
    print(record("doctor", {**asked, "seconds": figures}))
    return int(figures["doctor"]["median"] > 10)


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
