"""List, compare and report the runs in a folder, and say what each costs. Like the commands, without torch.

python -m benchmarks.looks FOLDER
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from resexp.analysis.cells import summary_of
from resexp.analysis.verdicts import compare_runs
from resexp.records.files import write_json
from resexp.records.run import Run, scan
from resexp.report.comparison_page import write_report
from resexp.report.tables import run_rows


def timed(work: Callable[[], object]) -> dict[str, float]:
    began, spent = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - spent,
        "peak_megabytes": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """The most memory this process has held, on Linux; getrusage would count its parent's in."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def looks(folder: Path) -> dict[str, dict[str, float]]:
    places = [path.parent for path in sorted(folder.glob("*/result.json"))]

    def compare_all() -> None:
        runs = [summary_of(Run(place), arm=place.name.split("-")[0], beside=folder) for place in places]
        write_json(folder / "comparison.json", compare_runs(runs).to_json())

    write_json(folder / "manifest.json", {"kind": "comparison", "command": "resexp compare plain residual"})
    return {
        "list": timed(lambda: run_rows([run for run, fault in scan(folder) if fault is None])),
        "compare": timed(compare_all),
        "report": timed(lambda: write_report(folder)),
        "page_megabytes": {"report.html": (folder / "report.html").stat().st_size / 2**20},
    }


if __name__ == "__main__":
    print(json.dumps(looks(Path(sys.argv[1]))))
