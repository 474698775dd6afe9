"""The command as several ranks: forked processes, imports paid, in the environment that torchrun gives.

As a program it is the server: a line of JSON on stdin asks for one training, one on stdout says how it ended.
"""

import gc
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.asked import Asked

AGENT_LOOKS_EVERY = 0.1


class End(NamedTuple):
    """How a rank ended."""

    code: int
    """exit code; minus the signal that killed it"""
    stderr: str
    seconds: float
    """from the signal, or else the start"""


class Ranks(Asked):
    """Starts the server and asks it for trainings."""

    module = "harness.ranks"

    def __call__(
        self,
        *arguments: str,
        folder: Path,
        size: int = 2,
        signals: Mapping[int, int] | None = None,
        after: str = "",
    ) -> list[End]:
        """Run `resexp ARGUMENTS` in `folder` as `size` ranks, and return how each of them ended.

        signals: which to send to which rank, as soon as there is a file `after` in the folder. Rank k > 0
        runs in the folder rank-k of it where there is one, as on another machine.
        """
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "size": size,
            "signals": list((signals or {}).items()),
            "after": after,
        }
        return [End(*end) for end in self.ask(request)]


def serve() -> None:
    """Answer until stdin ends."""
    import torch
    import torch._dynamo  # which DDP asks for
    from conftest import make_splits, tiny_config

    import resexp.report.tables
    import resexp.training.distributed.process_group
    import resexp.training.worker  # noqa: F401
    from resexp.training.loop import run

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # what is set up on first use is then there for every rank
        run(tiny_config(), Path(folder), make_splits())
    gc.collect()
    gc.freeze()  # see harness.server
    for line in sys.stdin:
        print(json.dumps(_ends(json.loads(line))), flush=True)


def _ends(request: dict[str, Any]) -> list[End]:
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    with socket.socket() as free, tempfile.TemporaryDirectory() as logs:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        files = [Path(logs) / str(rank) for rank in range(request["size"])]
        pids = [_fork(request, rank, port, file) for rank, file in enumerate(files)]
        store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)  # its thread: after forks
        began = time.perf_counter()
        if request["signals"]:
            while not (Path(request["folder"]) / request["after"]).exists():
                time.sleep(0.001)
                assert time.perf_counter() - began < 60, [file.read_text() for file in files]
            began = time.perf_counter()
            for rank, number in request["signals"]:
                os.kill(pids[rank], number)
        ends = {}
        while len(ends) < len(pids):
            pid, status = os.wait()
            ends[pid] = os.waitstatus_to_exitcode(status), time.perf_counter() - began
            if status:  # as torchrun's agent does, once it has looked
                time.sleep(AGENT_LOOKS_EVERY)
                for other in set(pids) - ends.keys():
                    os.kill(other, signal.SIGTERM)
        del store
        return [
            End(ends[pid][0], file.read_text(), ends[pid][1]) for pid, file in zip(pids, files, strict=True)
        ]


def _fork(request: dict[str, Any], rank: int, port: int, log: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT, 0o666)
        os.dup2(output, 1)
        os.dup2(output, 2)
        own = Path(request["folder"]) / f"rank-{rank}"
        os.chdir(own if own.exists() else request["folder"])
        size = str(request["size"])
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": size,
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": size,
        }
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        sys.argv = ["resexp", *request["arguments"]]
        from resexp.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
