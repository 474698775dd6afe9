"""The process group: ranks that train one net, how they join, what they say to each other, how they part.

Every method is called by all ranks at the same place, or by none. With one rank each is the identity.
"""

import io
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore, Store, rendezvous  # pyright: ignore[reportPrivateImportUsage]

from resexp.data.batches import Draw
from resexp.errors import Exit, Interrupted, ResourceError, Terminated
from resexp.signals import Stop, heeded
from resexp.training.distributed.rank import STORE, Rank
from resexp.training.step import Readings

CPU = torch.device("cpu")
Forward = Callable[[Tensor], Tensor]
TIMEOUT = timedelta(minutes=30)
"""For a rank that falls silent without closing its connections, and for rank 0's longest evaluation. One that
is killed closes them, and the others know at once."""
WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Group:
    """The ranks as seen from the one that is `here`."""

    here: Rank

    def slice(self, batch_spec: Draw) -> Draw:
        """Return this rank's part of a draw: the parts, in the order of their ranks, are the whole draw."""
        return Draw(*(table.chunk(self.here.size)[self.here.rank] for table in batch_spec))

    def wrap_ddp(self, net: Forward) -> Forward:
        """Return the net whose backward pass leaves the mean of all ranks' gradients in the parameters."""
        if self.here.size == 1:
            return net
        assert isinstance(net, nn.Module)  # a compiled one is, whatever torch.compile's type says
        return nn.parallel.DistributedDataParallel(net)

    def settle_buckets(self, forward: Forward, net: nn.Module, batch: Sequence[int]) -> None:
        """Let `wrap_ddp` learn in which order gradients arrive; nothing in `net` changes.

        From then on it sums them in another arrangement. Were that to happen after the first step, a run that
        is resumed would differ from one that is not, in the last bits, with three ranks or more.
        """
        if self.here.size == 1:
            return
        num, *shape = batch
        images = torch.zeros(num // self.here.size, *shape, device=next(net.parameters()).device)
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        for _ in range(2):  # it rearranges at the second
            forward(images.contiguous(memory_format=torch.channels_last)).sum().backward()
        net.zero_grad(set_to_none=True)
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])

    def broadcast(self, value: Any = None) -> Any:
        """Return rank 0's value on every rank: tensors, which lie on the CPU there, and plain values.

        What comes from the wire can be nothing else: whoever sends it, it is not unpickled into objects.
        """
        if self.here.size == 1:
            return value
        parcel = io.BytesIO()
        if self.here.rank == 0:
            torch.save(value, parcel)
        content = torch.frombuffer(bytearray(parcel.getvalue() or b"-"), dtype=torch.uint8)
        length = torch.tensor(len(content))
        distributed.broadcast(length, src=0)
        if self.here.rank != 0:
            content = torch.empty(int(length), dtype=torch.uint8)
        distributed.broadcast(content, src=0)
        if self.here.rank == 0:
            return value
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location=CPU, weights_only=True)

    def mean(self, readings: Readings) -> Readings:
        """Return the readings of the whole batch from those of the slices: gradients are means already.

        Gathered and added here: a sum made on the way depends on how many steps are reduced together, and so
        on interruptions.
        """
        if self.here.size == 1:
            return readings
        losses = [torch.empty_like(readings.loss) for _ in range(self.here.size)]
        distributed.all_gather(losses, readings.loss)
        return readings._replace(loss=torch.stack(losses).double().mean(0).float())

    def pause_on_any_rank(
        self, stop: Stop, overdue: Callable[[], bool] = lambda: False
    ) -> Callable[[], bool]:
        """Return the question, asked after each step, whether any rank was told to stop, or has to save.

        It also finds, within a step, that a rank is gone, while a GPU would wait for it much longer.
        """
        if self.here.size == 1:
            return lambda: stop() or overdue()

        def asked() -> bool:
            # In one number: the signal, if any, above the bit that says a checkpoint is overdue.
            number = torch.tensor(2 * (stop.signal or 0) + overdue())
            distributed.all_reduce(number, distributed.ReduceOp.MAX)
            stop.elsewhere = int(number) // 2 or None
            return bool(number)

        return asked

    @contextmanager
    def end_workers(self) -> Iterator[None]:
        """On rank 0, around all steps: tell the others, at an end between steps, how they shall end.

        At any other end this process's connections close, and that tells them.
        """
        try:
            yield
        except (Interrupted, Terminated) as end:
            self.broadcast(-end.code)
            raise
        self.broadcast(-Exit.DONE)


def synchronised(net: nn.Module) -> nn.Module:
    """Return a net whose batch norms take their statistics over all ranks; on GPUs only.

    Its tensors are those of `net`, which itself stays as it is: rank 0 looks at it alone.
    """
    own = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    twin = nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(net, own))
    for module in twin.modules():
        if isinstance(module, nn.SyncBatchNorm) and module.running_mean is not None:
            # It insists on counting batches; the net itself does without.
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64, device=module.running_mean.device)
    return twin


ALONE = Group(Rank())


class AlreadyReported(ResourceError):  # noqa: N818 not what went wrong
    """This rank ends because another one did, which has said why."""


@contextmanager
def joined(here: Rank, label: str = "") -> Iterator[Group]:
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
        label = group.broadcast(label)
        yield group
    except (Interrupted, Terminated):
        raise
    except Exception as error:
        first = _first_to_fail(store)
        # How this rank ends is settled; torchrun, which has seen the other one end, would end it otherwise.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Its threads would be cut off at the process's end, which aborts it and hides its exit code.
        distributed.destroy_process_group()
        if not first:
            raise AlreadyReported from error
        if not _lost(error):
            raise
        why = re.sub(r"^(\[[^]]*\] )+|\. .*$", "", str(error).strip().splitlines()[0])
        raise ResourceError(
            f"{label}: one of the {here.size} ranks is gone ({why}); "
            "add --resume auto to go on from the last checkpoint"
        ) from error
    distributed.destroy_process_group()


def _join(here: Rank) -> tuple[Store, Group]:
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(here.local_rank % torch.cuda.device_count())
    store = _meet(here)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=store,
        rank=here.rank,
        world_size=here.size,
        timeout=TIMEOUT,
    )
    return store, Group(here)


def _meet(here: Rank) -> Store:
    """The store in which ranks find each other: a private file, or what torchrun offers across machines."""
    if STORE in os.environ:
        return FileStore(os.environ[STORE], here.size)
    return next(rendezvous("env://", timeout=TIMEOUT))[0]


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal ends the process at once: Python's handlers wait for torch, and torch for another rank."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in heeded()}
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
