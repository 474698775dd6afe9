"""Launching ranks: torchrun's agent starts them, waits for them, ends them.

They meet in a file that this user alone can read, and talk over the loopback interface: no port of theirs can
be reached from another machine.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from resexp.errors import Exit, ResourceError
from resexp.signals import exit_code, heeded
from resexp.training.distributed.rank import STORE

SAVING_SECONDS = 600
"""For the ranks to finish what they are at and save, after one signal; a second one does not wait."""


def launch(devices: int, arguments: Sequence[str]) -> int:
    """Run `resexp ARGUMENTS` as so many ranks on this machine and return the exit code of them all.

    What ranks say goes where this process would say it. Raises ResourceError where ranks were killed and none
    was left to say so.
    """
    logger = logging.getLogger("torch.distributed.elastic")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost rank is one line, and no C++ stack
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVING_SECONDS))
    with tempfile.TemporaryDirectory(prefix="resexp-") as private:  # 0700
        os.environ |= _meeting_in(Path(private))
        return _agent(devices, arguments, Path(private))


def _meeting_in(folder: Path) -> dict[str, str]:
    """What the ranks' environment says of where they meet and over what they talk."""
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    return {
        STORE: str(folder / "ranks"),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # the agent would offer the ranks a store of its own
    }


def _agent(devices: int, arguments: Sequence[str], private: Path) -> int:
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint=str(private / "agent"),
        rdzv_configs={"store_type": "file"},
        local_addr="localhost",
        max_restarts=0,
        signals_to_handle=",".join(number.name for number in heeded()),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "resexp", *arguments)
    except ChildFailedError as error:
        return outcome(error.failures)
    except SignalException as error:
        return exit_code(error.sigval)
    return Exit.DONE


def outcome(failures: Mapping[int, ProcessFailure]) -> int:
    """Return what the ranks' ends amount to; a rank without a reason of its own ends with 6, or is ended.

    Raises ResourceError when ranks were killed and no other has said so.
    """
    codes = [failure.exitcode for failure in sorted(failures.values(), key=lambda each: each.timestamp)]
    reasons = [code for code in codes if code > 0 and code not in (Exit.RESOURCES, Exit.TERMINATED)]
    if reasons or Exit.RESOURCES in codes:
        return (reasons or [Exit.RESOURCES])[0]
    killed = {rank: each for rank, each in failures.items() if each.exitcode not in _ENDED_BY_AGENT}
    if not killed:
        return Exit.TERMINATED
    rank, failure = next(iter(killed.items()))
    raise ResourceError(
        f"rank {rank} (process {failure.pid}) was killed by {failure.signal_name()}; "
        "add --resume auto to go on from the last checkpoint"
    )


_ENDED_BY_AGENT = (Exit.TERMINATED, -signal.SIGTERM)
