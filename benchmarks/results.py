"""What a benchmark found, kept as JSON beside the machine, the versions and the commit it came from."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from resexp._version import __version__
from resexp.training.execution import usable_cores

PLACE = Path(__file__).parent / "results"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, range and number of repeated measurements."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}


def record(name: str, figures: Mapping[str, Any]) -> Path:
    """Write `figures` to results/NAME-DEVICE.json, DEVICE being cpu or the name of the GPU."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    document = {"benchmark": name, "figures": figures, **provenance()}
    path = PLACE / f"{name}-{device.lower().replace(' ', '-')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def provenance() -> dict[str, Any]:
    """Return what a figure depends on besides the code: machine, versions, commit, day."""
    machine: dict[str, Any] = {"cpu": cpu(), "cores": usable_cores()}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    versions = {"resexp": __version__, "torch": torch.__version__, "python": platform.python_version()}
    return {
        "machine": machine,
        "versions": versions,
        "commit": commit(),
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def cpu() -> str:
    """Return the CPU's family and what it multiplies with, as torch names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> str:
    """Return the commit the code is at, `+` behind it where the tree has changed.

    A copy of the tree without git says it in RESEXP_COMMIT; else it is unknown.
    """
    if told := os.environ.get("RESEXP_COMMIT"):
        return told
    try:
        git = ["git", "-C", str(PLACE.parent)]
        hash_ = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return hash_.stdout.strip() + ("+" if changed.stdout.strip() else "")
