"""How ranks come together, and how they part when one of them is gone."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import Store, rendezvous  # pyright: ignore[reportPrivateImportUsage]

from resexp.errors import Interrupted, ResourceError, Terminated
from resexp.training.group import ALONE, Group
from resexp.training.place import Place
from resexp.training.signals import SIGNALS

TIMEOUT = timedelta(minutes=30)
"""For a rank that falls silent without closing its connections, and for rank 0's longest evaluation. One that
is killed closes them, and the others know at once."""
WATCH_SECONDS = 0.5


class Unsaid(ResourceError):  # noqa: N818 not what went wrong
    """This rank ends because another one did, which has said why."""


@contextmanager
def joined(here: Place, label: str = "") -> Iterator[Group]:
    """Join the other ranks, for the block; `label` is what rank 0 calls the run.

    Raises, where another rank is gone, ResourceError (exit 6) on the first rank that fails, and Unsaid on the
    others: one failure is one line, whoever has it.
    """
    if here.size == 1:
        yield ALONE
        return
    with _ended_by_signals():
        store, group = _join(here)
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        label = group.share(label)
        yield group
    except (Interrupted, Terminated):
        raise
    except Exception as error:
        first = _first_to_fail(store)
        # How this rank ends is settled; torchrun, which has seen the other one end, would end it otherwise.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not first:
            raise Unsaid from error
        if not _lost(error):
            raise
        why = re.sub(r"^(\[[^]]*\] )+|\. .*$", "", str(error).strip().splitlines()[0])
        raise ResourceError(
            f"{label}: one of the {here.size} ranks is gone ({why}); "
            "add --resume auto to go on from the last checkpoint"
        ) from error
    distributed.destroy_process_group()


def _join(here: Place) -> tuple[Store, Group]:
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(here.local_rank % torch.cuda.device_count())
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo", store=store, rank=rank, world_size=size, timeout=TIMEOUT
    )
    return store, Group(here)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal ends the process at once: Python's handlers wait for torch, and torch for another rank."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with(parent: int) -> None:
    """Stop as on SIGTERM when torchrun is gone: ranks are in sessions of their own and would go on."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _first_to_fail(store: Store) -> bool:
    try:
        return store.add("resexp/failed", 1) == 1
    except RuntimeError:  # its host is gone as well
        return True


def _lost(error: Exception) -> bool:
    """Whether an error means that another rank is gone; gloo's own errors have no type."""
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )
