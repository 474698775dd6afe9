"""Several ranks that train one net: torch's process group, and all that they say to each other.

Every method is called by all ranks at the same place, or by none. With one rank each is the identity.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from resexp.data.batches import Draw
from resexp.errors import Exit, Interrupted, Terminated
from resexp.training.place import Place
from resexp.training.signals import Stop
from resexp.training.step import Readings

CPU = torch.device("cpu")
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Group:
    """The ranks as seen from the one at `place`."""

    place: Place

    def slice(self, chance: Draw) -> Draw:
        """Return this rank's part of a draw: the parts, in the order of their ranks, are the whole draw."""
        return Draw(*(table.chunk(self.place.size)[self.place.rank] for table in chance))

    def across(self, net: Forward) -> Forward:
        """Return the net whose backward pass leaves the mean of all ranks' gradients in the parameters."""
        if self.place.size == 1:
            return net
        assert isinstance(net, nn.Module)  # a compiled one is, whatever torch.compile's type says
        return nn.parallel.DistributedDataParallel(net)

    def rehearse(self, forward: Forward, net: nn.Module, batch: Sequence[int]) -> None:
        """Let `across` learn in which order gradients arrive; nothing in `net` changes.

        From then on it sums them in another arrangement. Were that to happen after the first step, a run that
        is resumed would differ from one that is not, in the last bits, with three ranks or more.
        """
        if self.place.size == 1:
            return
        num, *shape = batch
        images = torch.zeros(num // self.place.size, *shape, device=next(net.parameters()).device)
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        for _ in range(2):  # it rearranges at the second
            forward(images.contiguous(memory_format=torch.channels_last)).sum().backward()
        net.zero_grad(set_to_none=True)
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])

    def share(self, value: Any = None) -> Any:
        """Return rank 0's value on every rank; there its tensors lie on the CPU."""
        if self.place.size == 1:
            return value
        parcel = io.BytesIO()
        torch.save(value, parcel)
        box = [parcel.getvalue()]
        distributed.broadcast_object_list(box, src=0, device=CPU)
        if self.place.rank == 0:
            return value
        return torch.load(io.BytesIO(box[0]), map_location=CPU, weights_only=False)  # from our own rank 0

    def mean(self, readings: Readings) -> Readings:
        """Return the readings of the whole batch from those of the slices: gradients are means already.

        Gathered and added here: a sum made on the way depends on how many steps are reduced together, and so
        on interruptions.
        """
        if self.place.size == 1:
            return readings
        losses = [torch.empty_like(readings.loss) for _ in range(self.place.size)]
        distributed.all_gather(losses, readings.loss)
        return readings._replace(loss=torch.stack(losses).double().mean(0).float())

    def heed(self, stop: Stop) -> Callable[[], bool]:
        """Return the question, asked after each step, whether any rank was told to stop.

        It also finds, within a step, that a rank is gone, while a GPU would wait for it much longer.
        """
        if self.place.size == 1:
            return stop

        def asked() -> bool:
            number = torch.tensor((stop.signal or 0) if stop() else 0)
            distributed.all_reduce(number, distributed.ReduceOp.MAX)
            stop.elsewhere = int(number) or None
            return stop.elsewhere is not None

        return asked

    @contextmanager
    def leading(self) -> Iterator[None]:
        """On rank 0, around all steps: tell the others, at an end between steps, how they shall end.

        At any other end this process's connections close, and that tells them.
        """
        try:
            yield
        except (Interrupted, Terminated) as end:
            self.share(-end.code)
            raise
        self.share(-Exit.DONE)


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


ALONE = Group(Place())
