"""What many runs cost besides their training: scheduling them on Ray; listing, comparing and reporting them.

    python -m benchmarks.scale [--sizes 100 1000 10000] [--empty 1000]

Recorded runs are written to a temporary folder, half a megabyte each (see benchmarks/recorded.py), and each
size is measured in a process of its own: seconds, processor seconds (which other programs disturb less) and
peak memory. An empty run is one that has ended already, sent through the executor like any other. The
promise: 1,000 runs are reported in under 20 s and 1 GB, and it grows linearly.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.recorded import config_of, write_comparison
from benchmarks.results import record
from resexp.experiments.plan import Job
from resexp.records.run import Run
from resexp.report.live import FirstLook, RunPlace

SECONDS, MEGABYTES = 20.0, 1000.0


def look_at(folder: Path) -> dict[str, dict[str, float]]:
    """The same in a process of its own, since peak memory is never forgotten."""
    command = [sys.executable, "-m", "benchmarks.looks", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Nobody:
    """A display that shows nothing."""

    def update(self, label: str, snapshot: object) -> None: ...
    def say(self, line: str) -> None: ...
    def expect(self, places: Mapping[str, RunPlace]) -> None: ...
    def first_looks(self, looks: Sequence[FirstLook]) -> None: ...
    def over(self, label: str) -> None: ...


def empty_runs(places: list[tuple[str, Path]], num_cpus: int) -> dict[str, float]:
    """Send runs that have ended through Ray, two first, for which Ray and its workers must start."""
    from resexp.experiments.executors.ray import on_ray
    from resexp.signals import Stop

    jobs = [Job(arm, Run(place).config, place, Run(place).config.data) for arm, place in places]
    began = time.perf_counter()
    with on_ray() as where:
        execution = where.resolve(config_of("plain", 8, 0, 0).run, num_images=1)
        started = time.perf_counter()
        where.carry_out(jobs[:num_cpus], execution, stop=Stop(), show=Nobody())
        warm = time.perf_counter()
        failures = where.carry_out(jobs, execution, stop=Stop(), show=Nobody())
        ended = time.perf_counter()
    assert not failures, failures[0]
    return {
        "runs": len(jobs),
        "seconds_to_start_ray": started - began,
        "seconds_to_first_run": warm - started,
        "seconds": ended - warm,
        "milliseconds_per_run": 1e3 * (ended - warm) / len(jobs),
    }


def line(what: str, figures: Mapping[str, float]) -> str:
    return (
        f"  {what:8} {figures['seconds']:7.1f} s, {figures['cpu_seconds']:7.1f} s of processor, "
        f"{figures['peak_megabytes']:5.0f} MB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--empty", type=int, default=1_000)
    parser.add_argument("--models", type=Path, help="where the real runs are kept between calls")
    options = parser.parse_args()
    figures: dict[str, Any] = {"recorded": {}}
    with tempfile.TemporaryDirectory() as place:
        models = options.models or Path(place) / "models"
        for size in options.sizes:
            with tempfile.TemporaryDirectory(dir=place) as root:
                runs = write_comparison(Path(root), size, models)
                found = figures["recorded"][str(size)] = look_at(Path(root))
                print(f"{size:,} runs")
                for what in ("list", "compare", "report"):
                    print(line(what, found[what]), flush=True)
                if size == options.empty:
                    figures["empty_runs_on_ray"] = empty_runs(runs, 2)
                    print(f"  {figures['empty_runs_on_ray']}")
    print(record("scale", figures))
    report = figures["recorded"].get("1000", {}).get("report")
    return int(bool(report) and (report["cpu_seconds"] > SECONDS or report["peak_megabytes"] > MEGABYTES))


if __name__ == "__main__":
    sys.exit(main())
