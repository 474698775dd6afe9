"""Two `resexp claims` at once in one folder: other claims, the same one, and one of the two killed."""

import random
import signal
import subprocess
import time
from pathlib import Path

from harness.commands import Ended, resexp, start
from harness.tally import Tally

NAMES = ("paths", "shattering")
"""The two that take the least time."""
WAYS = ("others", "the same", "one killed")


def claims_together(root: Path, num: int, seed: int) -> Tally:
    """Start two at once `num` times, in each of the ways in turn: what lies there then is as if in turn.

    Of the same claim twice, one leaves with 7, in one line.
    """
    root.mkdir()
    alone = [_claim(name, "alone", root) for name in NAMES]
    goal, rng, faults = _contents(root / "alone"), random.Random(seed), list[str]()
    for k in range(num):
        way, folder = WAYS[k % len(WAYS)], f"together{k}"
        names = (NAMES[0], NAMES[way != "the same"])
        processes = [start(_arguments(name, folder), root) for name in names]
        if way == "one killed":
            time.sleep(rng.uniform(0.1, 1.2) * alone[0].seconds)
            processes[0].send_signal(signal.SIGKILL)
        ended = [_end(process) for process in processes]
        faults += [f"{way} {k}: {fault}" for fault in _complaints(way, ended)]
        again = [name for name in NAMES if name not in names] + ([names[0]] if way == "one killed" else [])
        faults += [end.stderr for end in (_claim(name, folder, root) for name in again) if end.code]
        found = _contents(root / folder)
        if way == "one killed":  # half of a file that was being written
            found = {name: content for name, content in found.items() if not name.endswith(".tmp")}
        faults += [f"{way} {k}: {name}" for name in goal | found if goal.get(name) != found.get(name)]
    return Tally(num, faults)


def _arguments(name: str, folder: str) -> list[str]:
    return ["claims", name, "--seeds", "1", "--runs-dir", folder]


def _claim(name: str, folder: str, root: Path) -> Ended:
    return resexp(*_arguments(name, folder), folder=root)


def _end(process: subprocess.Popen[str]) -> Ended:
    stdout, stderr = process.communicate()
    return Ended(process.returncode, stdout, stderr, 0.0)


def _complaints(way: str, ended: list[Ended]) -> list[str]:
    """What is wrong with how the two ended."""
    allowed = {"others": ([0, 0],), "the same": ([0, 7],), "one killed": ([-9, 0], [0, 0])}[way]
    faults = [] if sorted(end.code for end in ended) in allowed else [f"{ended}"]
    return faults + [end.stderr for end in ended if end.code == 7 and end.stderr.count("\n") != 1]


def _contents(folder: Path) -> dict[str, bytes]:
    """All but the locks, and the manifests, which say what the command was."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "manifest.json")
    }
