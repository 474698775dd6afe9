"""One way to train, in a process of its own: makes as many steps as it is told, says how long it took.

    python -m benchmarks.contender textbook --depth 20

Reads numbers of steps from stdin, a line each; answers each with seconds on stdout. In its own process a
contender keeps its threads, workers and memory to itself and has the environment that its users have.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.textbook import BATCH_SIZE, ResNet, textbook_loop, tuned_loop
from resexp.config import Config
from resexp.data.splits import load
from resexp.training.engine import prepared_engine
from resexp.training.execution import resolve

LONG = 64_000
"""Steps of a run that `auto` would compile, where compiling pays at all."""


def config_of(
    depth: int, *, augment: bool = True, lr: float = 0.02, run: dict[str, object] | None = None
) -> Config:
    """Return resexp's defaults, norms at every step among them, on crayons: pixels do not change speed."""
    return Config.model_validate(
        {
            "data": {"name": "crayons", "augment": augment},
            "model": {"depth": depth},
            "optim": {"steps": LONG, "batch_size": BATCH_SIZE, "lr": lr, "schedule": {"name": "constant"}},
            "run": run or {},
        }
    )


def resexp(depth: int, **run: object) -> Callable[[int], object]:
    """Return resexp's engine, to be told how many steps to make."""
    config = config_of(depth, run=run)
    execution = resolve(config.run, num_images=LONG * BATCH_SIZE)
    return prepared_engine(config, load(config.data).train, execution).advance


def loop(name: str, depth: int) -> Callable[[int], object]:
    """Return one of the loops of textbook.py, likewise."""
    dataset = load(config_of(depth).data).train
    execution = resolve(config_of(depth).run, num_images=0)
    net = ResNet(depth, dataset.num_classes)
    if name == "textbook":
        losses = textbook_loop(net, dataset, execution.device)
    else:
        losses = tuned_loop(net, dataset, execution.device, execution.precision)
    return lambda steps: list(itertools.islice(losses, steps))


CONTENDERS: dict[str, Callable[[int], Callable[[int], object]]] = {
    "textbook": lambda depth: loop("textbook", depth),
    "tuned": lambda depth: loop("tuned", depth),
    "resexp eager": lambda depth: resexp(depth, compile=False, kernels="torch"),
    "resexp compiled": lambda depth: resexp(depth, compile=True),
    "resexp winograd": lambda depth: resexp(depth, precision="float32", kernels="winograd"),
    "resexp bfloat16": lambda depth: resexp(depth, precision="bfloat16", compile=False),
    "resexp bfloat16 compiled": lambda depth: resexp(depth, precision="bfloat16", compile=True),
    "resexp auto": lambda depth: resexp(depth),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(CONTENDERS))
    parser.add_argument("--depth", type=int, required=True)
    options = parser.parse_args()
    advance = CONTENDERS[options.name](options.depth)
    for line in sys.stdin:
        began = time.perf_counter()
        advance(int(line))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
