"""A program of the harness: a line of JSON on its stdin asks, one on its stdout answers."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).parents[1]


class Asked:
    """Starts `python -m MODULE`, for the block, and asks it; with one thread, and warnings are errors."""

    module: str
    flags: Sequence[str] = ("-W", "error")

    def __enter__(self) -> Self:
        path = f"{TESTS.parent}{os.pathsep}{TESTS}"
        self._process = subprocess.Popen(
            [sys.executable, *self.flags, "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
            cwd=TESTS.parent,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, request: dict[str, Any]) -> Any:
        """Return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())
