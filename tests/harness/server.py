"""Trains in forked children: imports are paid once, so that a run can be killed many times a second.

As a program it is the server: a line of JSON on stdin asks for one run, one on stdout says how it ended.
"""

import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.asked import Asked


class End(NamedTuple):
    """How a child ended."""

    code: int
    """exit code; minus the signal that killed it"""
    seconds: float
    cpu: float
    """seconds of processor time"""
    stderr: str
    trace: list[str]
    """the calls that touched the disk, if it lived to tell"""


class Server(Asked):
    """Starts the server and asks it for runs."""

    module = "harness.server"

    def train(
        self,
        folder: Path,
        changes: dict[str, Any] | None = None,
        *,
        signals: Sequence[tuple[float, int]] = (),
        point: int | None = None,
        how: str = "kill",
        limit: tuple[str, int] | None = None,
    ) -> End:
        """Train `tiny_config(**changes)` in `folder` from where it is.

        signals: seconds to wait before each, and which. point, how: see `Points`. limit: a resource's name
        in `resource` and its value.
        """
        request = {
            "folder": str(folder),
            "changes": changes or {},
            "signals": list(signals),
            "point": point,
            "how": how,
            "limit": limit,
        }
        return End(**self.ask(request))


def serve() -> None:
    """Answer until stdin ends."""
    import torch
    from conftest import make_splits, tiny_config

    from resexp.training.loop import run

    torch.set_num_threads(1)
    splits = make_splits()
    with tempfile.TemporaryDirectory() as folder:  # what is set up on first use is then there for every child
        run(tiny_config(), Path(folder), splits)
    gc.collect()
    gc.freeze()  # or a child's collector would go through all that was imported: 0.3 s, in every child
    logs = Path(tempfile.mkdtemp())
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        log, trace = (logs / end for end in ("stderr", "trace"))  # never on the disk that may be full
        folder.parent.mkdir(parents=True, exist_ok=True)
        trace.unlink(missing_ok=True)
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
                code = _child(request, folder, splits, trace)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        for delay, number in request["signals"]:
            time.sleep(delay)
            os.kill(pid, number)  # not reaped yet, so it is still this child's number
        _, status, usage = os.wait4(pid, 0)
        end = End(
            code=os.waitstatus_to_exitcode(status),
            seconds=time.perf_counter() - began,
            cpu=usage.ru_utime + usage.ru_stime,
            stderr=log.read_text() if log.exists() else "",
            trace=trace.read_text().splitlines() if trace.exists() else [],
        )
        print(json.dumps(end._asdict()), flush=True)
    shutil.rmtree(logs)


def _child(request: dict[str, Any], folder: Path, splits: Any, trace: Path) -> int:
    """What `resexp train --resume auto` does, without the command line and the loading of images."""
    import resource

    from conftest import tiny_config

    from harness.points import Points
    from resexp.errors import ResexpError
    from resexp.records.lock import locked
    from resexp.records.preflight import admit
    from resexp.signals import heeded, leave_at_once, stop_on_signals
    from resexp.training.loop import run

    for number in heeded():
        signal.signal(number, leave_at_once)
    if request["limit"]:
        name, value = request["limit"]
        resource.setrlimit(getattr(resource, name), (value, value))
    changes = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request["changes"].items()
    }
    config = tiny_config(**changes)
    points = Points(request["point"], request["how"])
    code = 0
    try:
        with locked(folder):
            if admit(folder, config, resume=True) != "finished":
                with stop_on_signals() as stop:
                    run(config, folder, splits, stop=stop)
    except ResexpError as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        code = int(error.code)
    if request["point"] is None and not request["limit"]:
        trace.write_text("\n".join(points.trace))
    return code


if __name__ == "__main__":
    serve()
