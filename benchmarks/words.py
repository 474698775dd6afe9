"""The table of words: what nine kinds of net do to the gradient at initialisation, at depths 8, 20 and 56.

    python -m benchmarks.words [--depth 8,20,56] [--seeds 5] [--data crayons] [--images 32]

Prints each net's factor, T and word beside the word expected of it, and exits with 1 where one differs. The
expectations were found by hand before this instrument was built; they are no part of the program.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from resexp.config import Config, DataSection
from resexp.data.splits import Splits, load
from resexp.experiments.init_gradients import NUM_IMAGES, measure_gradients


class Net(NamedTuple):
    """Keys of the config's model section, and the word expected at each depth."""

    model: dict[str, str]
    words: dict[int, str]


def _net(kind: str, order: str, norm: str, activation: str, init: str, *words: str) -> Net:
    model = {"kind": kind, "order": order, "norm": norm, "activation": activation, "init": init}
    return Net(model, dict(zip((8, 20, 56), words, strict=True)))


NETS = (
    _net("plain", "post", "none", "relu", "default", "vanishing", "vanishing", "vanishing"),
    _net("plain", "post", "none", "relu", "he", "healthy", "healthy", "healthy"),
    _net("plain", "post", "none", "sigmoid", "xavier", "vanishing", "vanishing", "vanishing"),
    _net("plain", "post", "batch", "relu", "he", "healthy", "exploding", "exploding"),
    _net("residual", "post", "none", "relu", "default", "healthy", "healthy", "healthy"),
    _net("residual", "post", "none", "relu", "he", "healthy", "exploding", "exploding"),
    _net("residual", "post", "none", "sigmoid", "xavier", "vanishing", "vanishing", "vanishing"),
    _net("residual", "pre", "none", "sigmoid", "xavier", "healthy", "healthy", "healthy"),
    _net("residual", "post", "batch", "relu", "he", "healthy", "healthy", "healthy"),
)


def measured(
    depths: Sequence[int], num_seeds: int, splits: Splits, num_images: int
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each net's row of gradients.json with the word expected of it."""
    cells = [(net, depth) for depth in depths for net in NETS]
    configs = [Config.model_validate({"model": {**net.model, "depth": depth}}) for net, depth in cells]
    document = measure_gradients(configs, num_seeds, splits, num_images=num_images)
    for (net, depth), row in zip(cells, document["rows"], strict=True):
        yield row, net.words[depth]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", default="8,20,56")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="crayons")
    parser.add_argument("--root", default="data")
    parser.add_argument("--images", type=int, default=NUM_IMAGES)
    options = parser.parse_args()

    splits = load(DataSection(name=options.data, root=options.root))
    depths = [int(depth) for depth in options.depth.split(",")]
    print(f"{splits.label}, {options.images} images, {options.seeds} seeds, float64")
    began, differing = time.perf_counter(), 0
    for row, expected in measured(depths, options.seeds, splits, options.images):
        differs = row["verdict"] != expected
        differing += differs
        keys = ("kind", "order", "norm", "activation", "init")
        net = " ".join(f"{row[key]:8}" for key in keys)
        remark = f"  <-- expected: {expected}" if differs else ""
        print(f"{row['depth']:3} {net} {row['sentence']}{remark}")
    print(f"{differing} differ; {time.perf_counter() - began:.0f} s")
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
