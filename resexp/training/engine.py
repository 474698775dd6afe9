"""How the step is executed: the only mutable thing in training."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from resexp.config import Config
from resexp.data.batches import draw, render
from resexp.data.datasets import Dataset
from resexp.nets.network import Network, build
from resexp.seeds import derive
from resexp.training.allocator import keep_freed_memory
from resexp.training.evaluation import Scores, evaluate
from resexp.training.execution import Execution
from resexp.training.schedules import learning_rate
from resexp.training.step import Readings, train_step


def prepare(execution: Execution) -> None:
    """Set this process's threads and arithmetic. Once, before the first tensor of a run."""
    keep_freed_memory()
    torch.set_num_threads(execution.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers below 1.2e-38 count as zero: a vanishing net is 13 times slower without (see docs/speed.md)."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class Engine:
    """A net, its optimizer and its place in the schedule. `step` counts the updates made."""

    def __init__(self, config: Config, train: Dataset, execution: Execution) -> None:
        prepare(execution)
        self.config = config
        self.execution = execution
        self.step = 0
        self._chance = derive(config.seed, "batches")
        self.train = train.to(execution.device)
        net = build(seed=config.seed, num_classes=train.num_classes, **config.model.model_dump())
        self.net = net.to(execution.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optim = config.optim
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=optim.lr,
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=optim.weight_decay,
        )
        layers = self.net.weighted_layers() if config.record.gradient_norm else []
        self.weights = [layer.weight for _, layer in layers]
        compiled = execution.mode == "compiled"
        self._forward = self._in_precision(torch.compile(self.net) if compiled else self.net)

    def _in_precision(self, net: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Convolutions in the run's precision; parameters, norms and the loss stay float32."""
        if self.execution.precision == "float32":
            return net

        def forward(images: Tensor) -> Tensor:
            with torch.autocast(self.execution.device, torch.bfloat16, cache_enabled=False):
                return net(images)

        return forward

    def advance(self, num_steps: int, should_stop: Callable[[], bool] = lambda: False) -> Readings:
        """Make up to `num_steps` updates, at least one, and return their readings.

        `should_stop` is asked between steps.
        """
        optim, readings = self.config.optim, []
        self.net.train()
        with denormals_flushed():
            for _ in range(num_steps):
                chance = draw(
                    self._chance,
                    self.step,
                    num_images=len(self.train.labels),
                    batch_size=optim.batch_size,
                    augment=self.config.data.augment,
                )
                self.optimizer.param_groups[0]["lr"] = learning_rate(optim, self.step)
                batch = render(self.train, chance)
                readings.append(train_step(self._forward, self.weights, self.optimizer, batch))
                self.step += 1
                if should_stop():
                    break
        return Readings.cat(readings)

    def evaluate(self, dataset: Dataset, indices: Tensor | None = None) -> Scores:
        """Return the net's scores, running statistics in use, nothing in it changed.

        `dataset` lies on the run's device already.
        """
        self.net.eval()
        with denormals_flushed():
            return evaluate(self._in_precision(self.net), dataset, indices)

    def copy_of_net(self) -> Network:
        """Return an eager copy in training mode, for probes to do with as they like."""
        return deepcopy(self.net).train()

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the config: tensors and plain values."""
        momentum = {
            name: buffer
            for name, parameter in self.net.named_parameters()
            if (buffer := self.optimizer.state[parameter].get("momentum_buffer")) is not None
        }
        return {"step": self.step, "net": dict(self.net.state_dict()), "momentum": momentum}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned. Raises KeyError when it is of another net."""
        self.net.take(state["net"])
        for name, parameter in self.net.named_parameters():
            if name in state["momentum"]:
                buffer = state["momentum"][name].to(parameter.device)
                self.optimizer.state[parameter]["momentum_buffer"] = buffer.clone()
        self.step = state["step"]
