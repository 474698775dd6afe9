"""Launching ranks: torchrun's agent starts them, waits for them, ends them."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from resexp.errors import Exit, ResourceError
from resexp.signals import exit_code, heeded

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
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", ",".join(number.name for number in heeded()))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
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
