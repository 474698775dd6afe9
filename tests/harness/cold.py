"""Processes that all want CIFAR-10 from one empty folder, and one that is killed on the way.

As a program: `python -m harness.cold FOLDER URL`; prints how each process ended.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.asked import TESTS
from harness.mirrors import Server, Tiny, serving
from harness.tally import Tally
from resexp.data import cifar10

NUM_PROCESSES = 4


def all_at_once(root: Path, server: Server) -> str:
    """Let four processes want the images of one mirror at once; return how they ended."""
    return _run(root, server, "slowly")


def killed_first(root: Path, server: Server) -> str:
    """Kill one in the middle of its download and start another; return how that ended."""
    return _run(root, server, "stall")


def cold_folders(root: Path, num: int) -> Tally:
    """Do both `num` times: one download, nobody fails; the second start repairs what the first one left."""
    faults = []
    for k in range(num):
        for do, ended, asked in (
            (all_at_once, [0] * NUM_PROCESSES, ["slowly"]),
            (killed_first, [0], ["stall", "good"]),
        ):
            with serving() as server:
                said = do(root / f"{do.__name__}-{k}", server).strip()
            if said != str(ended) or server.asked != asked:
                faults.append(f"{do.__name__} {k}: exit codes {said}, downloads {server.asked}")
    return Tally(2 * num, faults)


def _run(root: Path, server: Server, way: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != cifar10.MIRROR_VARIABLE}
    path = f"{TESTS.parent}{os.pathsep}{TESTS}"
    return subprocess.run(
        [sys.executable, "-m", "harness.cold", str(root), server.url(""), way],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": path},
        timeout=120,
    ).stdout


def _start(root: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = 0 if len(cifar10.load(root, archive=Tiny).train_images) == 16 else 2
    finally:
        os._exit(status)


def _end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Start them."""
    root, url, way = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    cifar10.MIRRORS = (url + way,)
    if way == "slowly":
        print([_end(child) for child in [_start(root) for _ in range(NUM_PROCESSES)]])
        return
    child, part = _start(root), root / f".{Tiny.filename}.part"
    while not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    _end(child)
    cifar10.MIRRORS = (url + "good",)
    print([_end(_start(root))])


if __name__ == "__main__":
    main()
