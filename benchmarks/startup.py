"""How long until something is on the screen: `--help`, imports, the first step.

    python -m benchmarks.startup [--rounds 10] [--data crayons] [--root DIR]

Whole commands in fresh processes, a warm disk cache, in turn round by round. `runs` lists those that the
rounds before have made. The promise: `--help` at most 0.3 s, `configs` and `runs` 0.4 s. The quick look has a
benchmark of its own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import record, spread

RESEXP = [sys.executable, "-m", "resexp"]
COMMANDS = {
    "help": [*RESEXP, "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import the trainer": [sys.executable, "-c", "import resexp.training.loop"],
    "configs": [*RESEXP, "configs"],
    "runs": [*RESEXP, "runs"],
}
PROMISED = {"help": 0.3, "configs": 0.4, "runs": 0.4}
"""Seconds, at most, in the median."""


def seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def first_step(folder: Path, number: int, data: list[str]) -> float:
    """One step of ResNet-20 with everything around it: data, probe, evaluation, checkpoint, events."""
    sets = ["--set", "optim.steps=1", "--set", "record.probes=[]", "--name", f"first{number}"]
    return seconds([*RESEXP, "train", "--config", "residual20", *data, *sets], folder)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--data", default="crayons")
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    data = [
        "--data",
        options.data,
        *(["--set", f"data.root={options.root.resolve()}"] if options.root else []),
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        first_step(folder, 0, data)  # draws the crayons or reads the folder, once
        found: dict[str, list[float]] = {name: [] for name in (*COMMANDS, "first step")}
        for round_ in range(1, options.rounds + 1):
            for name, command in COMMANDS.items():
                found[name].append(seconds(command, folder))
            found["first step"].append(first_step(folder, round_, data))
        figures = {name: spread(values) for name, values in found.items()}
        for name, figure in figures.items():
            print(f"{name:20} {figure['median']:.2f} s  [{figure['low']:.2f}, {figure['high']:.2f}]")
    print(record("startup", {"data": options.data, "seconds": figures}))
    return int(any(figures[name]["median"] > limit for name, limit in PROMISED.items()))


if __name__ == "__main__":
    sys.exit(main())
