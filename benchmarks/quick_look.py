"""The quick look: how long its training takes, and in how many seeds it tells the story.

    python -m benchmarks.quick_look [--rounds 3] [--data crayons] [--root DIR]
    python -m benchmarks.quick_look --story 10 [--data crayons] [--root DIR] [--runs-dir DIR]

Both run `resexp compare plain residual` as it is, in float32 by name, and read its record. The promises, on
two cores with AVX2 and without bfloat16: all training in at most 60 s, and in at least 9 of 10 seeds

- without norm the plain net's gradient vanishes (T below 1e-4) and its loss never leaves guessing, while its
  twin ends 0.3 nats below ln 10 on drawings (0.2 on real images) and five standard errors above guessing on
  test images;
- with batch norm neither net's gradient vanishes (T at least 1e-3), both learn as above, and the twin's
  training loss ends lower.

Seconds are those spent in training steps; processor seconds are those of the whole command (start, probes,
evaluations and page included) and say how much of the machine it had. `ATEN_CPU_CAPABILITY=avx2` with
`ONEDNN_MAX_CPU_ISA=AVX2` keeps a newer CPU from using more than AVX2.
"""

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import record, spread
from resexp.analysis.cells import RunSummary, summary_of
from resexp.records.run import Run, read_lines

AT_MOST_SECONDS = 60
LEARNED_BY = {"crayons": 0.3, "folder": 0.2, "cifar10": 0.2}
VANISHED, ARRIVED = 1e-4, 1e-3
STANDARD_ERRORS = 5
AT_LEAST = 0.9


def compare(folder: Path, num_seeds: int, data: Sequence[str]) -> Path:
    """Run the quick look below `folder`; return the comparison's folder."""
    words = [sys.executable, "-m", "resexp", "compare", "plain", "residual", "--seeds", str(num_seeds), *data]
    words += ["--set", "run.precision=float32", "--runs-dir", str(folder), "--name", "quick"]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "quick"


def timed(folder: Path, data: Sequence[str]) -> dict[str, float]:
    """Return the seconds of one quick look: of all training, of the whole command, and of the processor."""
    load, before, began = os.getloadavg()[0], _processor_seconds(), time.perf_counter()
    made = compare(folder, 1, data)
    rows = [row for timing in made.glob("*/timing.jsonl") for row in read_lines(timing)]
    return {
        "training_seconds": sum(row["seconds"] for row in rows),
        "command_seconds": time.perf_counter() - began,
        "command_processor_seconds": _processor_seconds() - before,
        "load_before": load,
    }


def _processor_seconds() -> float:
    """Return those of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def story(made: Path, learned_by: float) -> list[dict[str, Any]]:
    """Return for each seed what its four nets did, and which parts of the story that tells."""
    folders = sorted(path.parent for path in made.glob("*/result.json"))
    runs: dict[int, dict[tuple[str, str], RunSummary]] = {}
    num_test = 0
    for folder in folders:
        run = Run(folder)
        num_test = run.manifest["data"]["num_test"]
        summary = summary_of(run, arm=run.config.model.kind, beside=made)
        runs.setdefault(summary.seed, {})[summary.norm, summary.kind] = summary
    return [
        {"seed": seed, "nets": _figures(nets), **_parts(nets, learned_by, num_test)}
        for seed, nets in sorted(runs.items())
    ]


def _figures(nets: Mapping[tuple[str, str], RunSummary]) -> dict[str, Any]:
    return {
        f"{norm} {kind}": {
            "T": net.transport_initial,
            "final_loss": net.final_loss,
            "test_loss": net.test_loss,
            "test_accuracy": net.test_accuracy,
        }
        for (norm, kind), net in sorted(nets.items())
    }


def _parts(nets: Mapping[tuple[str, str], RunSummary], learned_by: float, num_test: int) -> dict[str, bool]:
    bare, bare_twin = nets["none", "plain"], nets["none", "residual"]
    normed, normed_twin = nets["batch", "plain"], nets["batch", "residual"]
    guessed = 1 / bare.num_classes
    better = guessed + STANDARD_ERRORS * math.sqrt(guessed * (1 - guessed) / num_test)

    def learns(net: RunSummary) -> bool:
        return _loss(net) <= net.chance - learned_by and (net.test_accuracy or 0.0) >= better

    parts = {
        "without norm, plain vanishes": (bare.transport_initial or 0.0) < VANISHED,
        "and stays at guessing": bare.fate == "stuck",
        "its twin learns": learns(bare_twin),
        "with batch norm nothing vanishes": all(
            (net.transport_initial or 0.0) >= ARRIVED for net in (normed, normed_twin)
        ),
        "both learn": learns(normed) and learns(normed_twin),
        "the twin faster": _loss(normed_twin) < _loss(normed),
    }
    return {**parts, "the whole story": all(parts.values())}


def _loss(net: RunSummary) -> float:
    return math.inf if net.final_loss is None else net.final_loss


def count(seeds: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return in how many seeds each part of the story was told."""
    parts = [key for key, value in seeds[0].items() if isinstance(value, bool)]
    return {part: sum(seed[part] for seed in seeds) for part in parts}


def measure(place: Path, rounds: int, data: Sequence[str]) -> dict[str, Any]:
    compare(place / "first", 1, [*data, "--set", "optim.steps=1"])  # draws or decodes the images, once
    found = [timed(place / str(round_), data) for round_ in range(rounds)]
    figures = {key: spread([one[key] for one in found]) for key in found[0]}
    for key, figure in figures.items():
        print(f"{key:26} {figure['median']:6.1f}  [{figure['low']:.1f}, {figure['high']:.1f}]")
    return {"rounds": found, **figures}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--story", type=int, metavar="SEEDS", help="count the story in place of timing it")
    parser.add_argument("--data", default="crayons", choices=list(LEARNED_BY))
    parser.add_argument("--root", type=Path)
    parser.add_argument("--runs-dir", type=Path, help="keep the runs of --story there; it goes on if stopped")
    options = parser.parse_args()
    data = ["--data", options.data]
    data += ["--set", f"data.root={options.root.resolve()}"] if options.root else []
    with tempfile.TemporaryDirectory() as place:
        if options.story:
            made = compare(options.runs_dir or Path(place), options.story, data)
            seeds = story(made, LEARNED_BY[options.data])
            counts = count(seeds)
            for part, told in counts.items():
                print(f"{part:34} {told} of {len(seeds)}")
            figures = {"seeds": seeds, "counts": counts}
            kept = counts["the whole story"] >= AT_LEAST * len(seeds)
        else:
            figures = measure(Path(place), options.rounds, data)
            kept = figures["training_seconds"]["median"] <= AT_MOST_SECONDS
    name = f"quick-look-{'story' if options.story else 'seconds'}-{options.data}"
    print(record(name, {"data": options.data, "precision": "float32", **figures}))
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
