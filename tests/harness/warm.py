"""The command line in forked children of a process that has imported it: a start costs a fork, not torch.

As a program it is the server: a line of JSON on stdin asks for one command, one on stdout says how it ended.
"""

import atexit
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from harness.asked import Asked

IMPORTED = (
    "torch",
    "torch._dynamo",
    "torch.nn.functional",
    "torchvision",
    "scipy.stats",
    "resexp.cli",
    "resexp.experiments.best_of",
    "resexp.experiments.doctor",
    "resexp.experiments.diagnosis",
    "resexp.experiments.init_gradients",
    "resexp.experiments.single",
    "resexp.experiments.until",
    "resexp.experiments.verify",
    "resexp.report.comparison_page",
    "resexp.report.doctor",
    "resexp.tensorboard.writer",
)


class Warm(Asked):
    """Runs commands, each in a child of its own."""

    module = "harness.warm"
    flags = ()

    def run(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> tuple[int, str, str]:
        """Run `resexp ARGUMENTS` in `folder`; return its exit code, stdout and stderr."""
        code, stdout, stderr = self.ask({"arguments": arguments, "folder": str(folder), "env": dict(env)})
        return code, stdout, stderr


@cache
def warm() -> Warm:
    """The server of this process of tests; it ends with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Warm())


def serve() -> None:
    """Answer until stdin ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or a child's collector would go through all that was imported
    with tempfile.TemporaryDirectory() as logs:
        stdout, stderr = (Path(logs) / name for name in ("stdout", "stderr"))
        for line in sys.stdin:
            pid = os.fork()
            if pid == 0:
                _child(json.loads(line), stdout, stderr)
            _, status = os.waitpid(pid, 0)
            ended = (os.waitstatus_to_exitcode(status), stdout.read_text(), stderr.read_text())
            print(json.dumps(ended), flush=True)


def _child(request: dict[str, object], stdout: Path, stderr: Path) -> None:
    """Be the command, as a process would be that was started for it."""
    code = 1
    try:
        for path, number in ((os.devnull, 0), (stdout, 1), (stderr, 2)):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags, 0o666), number)
        os.chdir(str(request["folder"]))
        os.environ.clear()
        os.environ.update(request["env"])  # type: ignore[arg-type]
        sys.path[0] = ""
        sys.argv[:] = ["resexp", *request["arguments"]]  # type: ignore[misc]
        from resexp.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
