"""What takes too long for every day: `python tests/torture.py [--real FOLDER]`, ten minutes on two cores.

Prints what was done and how often, and ends with 1 when one bit differed. Its counts stand in
docs/reliability.md. --real FOLDER adds a ResNet-20 on an image folder, in the machine's own precision and
compiled where that is the default, killed five times.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from conftest import tiny_config
from harness.breaking import SHORT, break_at_points, kill_at_random, reference, signal_at_random
from harness.claims_together import claims_together
from harness.cold import cold_folders
from harness.commands import resexp, start, start_twice, write_config, write_images
from harness.comparing import differences
from harness.damaging import flip_bits, flip_digest, truncate
from harness.folders import hostile_folders
from harness.mutating import mutate_commands, mutate_configs
from harness.points import How
from harness.server import Server
from harness.tally import Tally

from resexp.config import Config

PROBED = {**SHORT, "record__probes": ("gradient_profile",)}


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--real", type=Path, help="an image folder: FOLDER/train/CLASS/*, FOLDER/test/CLASS/*"
    )
    parser.add_argument(
        "--real-steps", type=int, default=1100, help="default: enough for bfloat16 to compile"
    )
    parser.add_argument("--only-real", action="store_true", help="nothing but the run on --real")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--starts", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        wrong = []
        if not options.only_real:
            wrong += on_files(root / "files")
            wrong += on_tiny_nets(root / "nets", options.kills, options.starts)
        if options.real:
            wrong += told(
                "kill -9 of a ResNet-20 on real images",
                lambda: kill_real(root / "real", options.real.resolve(), options.real_steps),
            )
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


def on_files(root: Path) -> list[str]:
    """Damage checkpoints, configs and downloads; return what went wrong."""
    root.mkdir()
    with Server() as server:
        folder, _ = reference(server, root)
    saved = folder / "checkpoints"
    wrong = told("flipped bits of a checkpoint", lambda: flip_bits(saved, 1_000, seed=0))
    wrong += told("flipped bits of its digest, all there are", lambda: flip_digest(saved))
    wrong += told("checkpoints cut short", lambda: truncate(saved, 100, seed=1))
    wrong += told("mutated configs in one process", lambda: mutate_configs(root, 10_000, seed=5))
    wrong += told("mutated configs given to the command", lambda: mutate_commands(root, 30, seed=6))
    wrong += told("image folders as strangers bring them", lambda: hostile_folders(root / "images", 100, 7))
    wrong += told("empty data folders, four processes or a kill", lambda: cold_folders(root / "data", 10))
    wrong += told("two claims at once in one folder", lambda: claims_together(root / "claims", 12, seed=8))
    return wrong


def on_tiny_nets(root: Path, kills: int, num_starts: int) -> list[str]:
    """Kill, interrupt and starve nets that train in a moment; return what went wrong."""
    root.mkdir()
    wrong: list[str] = []
    with Server() as server:
        wrong += told("kill -9 at a random moment", lambda: kill_at_random(server, root / "a", kills, seed=0))
        wrong += told(
            "kill -9 at a random moment, with probes",
            lambda: kill_at_random(server, root / "b", 30, 1, PROBED),
        )
        wrong += told(
            "SIGINT, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2, once or twice",
            lambda: signal_at_random(server, root / "c", 60, seed=2),
        )
        _, end = reference(server, root / "d")
        points = range(len(end.trace))
        for how in get_args(How):
            wrong += told(
                f"{how} at each call of a whole run that touches the disk",
                lambda how=how, points=points: break_at_points(
                    server, root / how.replace(" ", "-"), points, how
                ),
            )
        wrong += told("a disk of 1 MB that is really full", lambda: really_full(server, root / "e"))
        work = root / "work"
        work.mkdir()
        write_images(work / "images")
        config = tiny_config(name="whole", data={"name": "folder", "root": "images"}, optim__steps=40)
        write_config(work / "c.yaml", config)
        wrong += told("two simultaneous starts of one run", lambda: start_twice(work, num_starts, limit=1))
        wrong += told("kill -9 of the real command", lambda: kill_command(work, 10, []))
    return wrong


def told(what: str, do: Callable[[], Tally]) -> list[str]:
    """Do it and print a line of what came of it."""
    began = time.perf_counter()
    tally: Tally = do()
    seconds = time.perf_counter() - began
    print(f"{tally.line(what)} ({seconds:.0f} s)", flush=True)
    return [f"{what}: {fault}" for fault in tally.faults]


def kill_command(work: Path, num: int, sets: list[str]) -> Tally:
    """Kill the real command at random moments, resume it, compare it at its end, and verify it."""
    whole = resexp("train", "--config", "c.yaml", *sets, folder=work)
    if whole.code:
        return Tally(0, [whole.stderr])
    rng, kills, faults, runs = random.Random(3), 0, list[str](), 0
    while kills < num:
        runs += 1
        name = f"run{runs}"
        arguments = ["train", "--config", "c.yaml", "--name", name, "--resume", "auto", *sets]
        for _ in range(min(5, num - kills)):
            process = start(arguments, work)
            time.sleep(rng.uniform(0.1, 1) * whole.seconds)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        end = resexp(*arguments, folder=work)
        found = set(differences(work / "runs/whole", work / "runs" / name)) - {"config.yaml"}  # its name
        faults += [f"{name}: {difference}" for difference in found]
        if end.code:
            faults.append(end.stderr)
        checked = resexp("verify", f"runs/{name}", folder=work)
        faults += [line for line in checked.stdout.splitlines() if line.startswith("FAILS")]
    return Tally(kills, faults)


def kill_real(folder: Path, images: Path, steps: int) -> Tally:
    """Kill a ResNet-20 on an image folder five times, in the machine's own precision and mode."""
    folder.mkdir()
    config = tiny_config(name="whole", data={"name": "folder"}).model_dump()
    config["run"] = {}
    config["model"] = {"depth": 20}
    config["optim"] = {"steps": steps, "schedule": {"name": "cosine"}}
    config["record"] = {"eval_every": 200, "checkpoint_every": 50}
    write_config(folder / "c.yaml", Config.model_validate(config))
    return kill_command(folder, 5, ["--set", f"data.root={images}"])


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MB in memory; needs root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def really_full(server: Server, root: Path) -> Tally:
    """Fill a small file system to the last bytes at different heights, then make room and go on."""
    if os.getuid() or sys.platform != "linux":
        return Tally(0, [])
    whole, _ = reference(server, root)
    faults, full = [], 0
    for left in range(0, 260_000, 20_000):
        with small_disk(root / f"disk{left}") as disk:
            (disk / "filler").write_bytes(b"x" * (2**20 - left - 16_384))
            end = server.train(disk / "run", dict(SHORT))
            full += end.code == 6
            if (
                end.code not in (0, 6)
                or "Traceback" in end.stderr
                or (end.code == 6 and end.stderr.count("\n") != 1)
            ):
                faults.append(f"{left} bytes left: {end}")
            (disk / "filler").unlink()
            again = server.train(disk / "run", dict(SHORT))
            faults += [again.stderr] if again.code else differences(whole, disk / "run")
    return Tally(full, faults)


if __name__ == "__main__":
    main()
