"""The real command, on image files that are read in a moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from conftest import make_splits
from PIL import Image

from harness.tally import Tally
from harness.warm import warm
from resexp.config import Config, write

TESTED = "import atexit, sys; from resexp.cli import main\n"
TELL_TORCH = (
    TESTED + "atexit.register(lambda: print('torch' if 'torch' in sys.modules else 'no torch'))\nmain()"
)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float


def write_images(root: Path) -> Path:
    """Write the tests' images as root/train/CLASS/*.png and root/test/CLASS/*.png."""
    splits = make_splits()
    for part, dataset in (("train", splits.train), ("test", splits.test)):
        for k, (image, label) in enumerate(zip(dataset.images, dataset.labels.tolist(), strict=True)):
            folder = root / part / dataset.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{k:03d}.png")
    return root


def write_config(path: Path, config: Config) -> Path:
    """Write a config file."""
    path.write_text(write(config))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Return what the command finds in its environment."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "RESEXP_CACHE": str(folder / "cache")}


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start `resexp ARGUMENTS` in `folder`; its last line on stdout says whether torch was imported."""
    return subprocess.Popen(
        [sys.executable, "-c", TELL_TORCH, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    )


def resexp(*arguments: str, folder: Path) -> Ended:
    """Run `resexp ARGUMENTS` in `folder` to its end, in a process that need not import torch first."""
    began = time.perf_counter()
    code, stdout, stderr = warm().run(arguments, folder, environment(folder))
    return Ended(code, stdout, stderr, time.perf_counter() - began)


def resexp_from_cold(*arguments: str, folder: Path) -> Ended:
    """Run `resexp ARGUMENTS` in `folder` to its end, as a shell starts it; of its stdout see `start`."""
    began = time.perf_counter()
    process = start(arguments, folder)
    stdout, stderr = process.communicate()
    return Ended(process.returncode, stdout, stderr, time.perf_counter() - began)


def start_together(arguments: Sequence[str], folder: Path) -> tuple[Ended, str]:
    """Start one command twice at once; return how the loser ended and what the winner's folder lock says.

    The winner is killed once the loser is gone: a run of it would take seconds.
    """
    began = time.perf_counter()
    both = [start(arguments, folder) for _ in range(2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    loser, winner = sorted(both, key=lambda process: process.poll() is None)
    winner.send_signal(signal.SIGKILL)
    winner.communicate()
    stdout, stderr = loser.communicate()
    assert f"in use by process {winner.pid};" in stderr, stderr
    return Ended(loser.returncode, stdout, stderr, seconds), str(winner.pid)


def start_twice(folder: Path, num: int, limit: float) -> Tally:
    """Start c.yaml twice at once, `num` times: the loser leaves with 7, in one line, without torch.

    limit: seconds from both starts until it must be gone; the longest it took is told.
    """
    faults, seconds = list[str](), list[float]()
    for k in range(num):
        loser, _ = start_together(["train", "--config", "c.yaml", "--name", f"twice{k}"], folder)
        seconds.append(loser.seconds)
        if loser.code != 7 or loser.stderr.count("\n") != 1 or loser.stdout != "no torch\n":
            faults.append(f"{loser}")
        if loser.seconds > limit:
            faults.append(f"{k}: gone after {loser.seconds:.2f} s")
    print(
        f"        the loser was gone after {median(seconds):.2f} s (median), {max(seconds):.2f} s (longest)"
    )
    return Tally(num, faults)
