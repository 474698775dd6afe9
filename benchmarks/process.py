"""A contender's process as seen from outside: what it is told, how long it takes, the memory of its tree."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


class Contender:
    """A process that trains when told to, and the memory of its process tree."""

    def __init__(self, name: str, depth: int) -> None:
        command = [sys.executable, "-m", "benchmarks.contender", name, "--depth", str(depth)]
        environment = dict(os.environ)
        environment.pop("OMP_WAIT_POLICY", None)
        if name.startswith("resexp"):
            environment["OMP_WAIT_POLICY"] = "PASSIVE"  # as the command itself sets it
        self.name, self.peak = name, 0
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def advance(self, steps: int) -> float:
        """Return the seconds that `steps` steps took."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        answer = self.process.stdout.readline()
        ended.set()
        watcher.join()
        if not answer:
            raise RuntimeError(f"{self.name}: ended with {self.process.wait()}")
        return float(answer)

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.5):
            self.peak = max(self.peak, sum(map(proportional_set_size, tree(self.process.pid))))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all that it started, on Linux."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))
    except OSError:
        return


def proportional_set_size(pid: int) -> int:
    """Return the bytes a process holds, shared pages divided among their holders; 0 where it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
