"""The only mutable thing in training: a net, its optimizer, and how their steps are executed."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from resexp.config import Config
from resexp.data.batches import Draw, draw, render
from resexp.data.dataset import Dataset
from resexp.models.resnet import Network, build
from resexp.seeds import derive
from resexp.training.cpu import Flushed, keep_freed_memory
from resexp.training.cuda_graph import Graphed
from resexp.training.distributed.process_group import ALONE, Group, synchronised
from resexp.training.ema import Average
from resexp.training.evaluation import Scores, evaluate
from resexp.training.execution import Execution, compiled
from resexp.training.lr_schedule import learning_rate
from resexp.training.step import Course, OneByOne, Readings, Stepper, train_step


def prepare(execution: Execution) -> None:
    """Set this process's threads and arithmetic. Once, before the first tensor of a run."""
    keep_freed_memory()
    torch.set_num_threads(execution.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # cuDNN's own default multiplies float32 as TF32: 10 bits of 23.
    torch.backends.cudnn.allow_tf32 = execution.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = execution.precision == "tf32"


class Engine:
    """A net, its optimizer and its place in the schedule. `step` counts the updates made."""

    def __init__(self, config: Config, train: Dataset, execution: Execution, group: Group = ALONE) -> None:
        prepare(execution)
        self.config = config
        self.execution = execution
        self._group = group
        self.step = 0
        self.train = train.to(execution.device)
        net = build(seed=config.seed, num_classes=train.num_classes, **config.model.model_dump())
        self.net = net.to(execution.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = self._sgd()
        layers = self.net.weighted_layers() if config.record.gradient_norm else []
        self.weights = [layer.weight for _, layer in layers]
        seen = synchronised(self.net) if execution.sync_batch_norm else self.net
        self._forward = self._in_precision(group.across(compiled(seen) if execution.compiled else seen))
        self._average = Average(self.net, config.optim.ema) if config.optim.ema else None
        self._flushed = Flushed(execution.threads)
        shape = (config.optim.batch_size, *self.train.images.shape[1:])
        self._apart(group.rehearse, self._forward, self.net, shape)
        self._make_steps = self._stepper(derive(config.seed, "batches"))

    def _sgd(self) -> torch.optim.SGD:
        """SGD whose momentum is there before the first step, so that it never moves in memory."""
        optim, graphed = self.config.optim, self.execution.graphed
        optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=torch.tensor(optim.lr, device=self.execution.device) if graphed else optim.lr,
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=optim.weight_decay,
            fused=graphed,  # reads the rate where it lies; the others ask the device for its value
        )
        if optim.momentum:
            for parameter in self.net.parameters():
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer

    def _stepper(self, chance: int) -> Stepper:
        course = Course(
            draw=partial(
                draw,
                chance,
                num_images=len(self.train.labels),
                batch_size=self.config.optim.batch_size,
                augment=self.config.data.augment,
            ),
            rate=partial(learning_rate, self.config.optim),
        )
        if not self.execution.graphed:
            return OneByOne(self._update, self.optimizer, course)
        return Graphed(
            self._update,
            self.optimizer,
            course,
            [tensor for part in self._tensors().values() for tensor in part.values()],
            batch_size=self.config.optim.batch_size,
            num_layers=len(self.weights),
            device=self.execution.device,
        )

    def _update(self, chance: Draw) -> Readings:
        batch = render(self.train, self._group.slice(chance))
        readings = train_step(self._forward, self.weights, self.optimizer, batch)
        if self._average:
            self._average.follow()
        return readings

    def _apart(self, work: Callable[..., Any], *args: Any) -> Any:
        """Do work of the CPU where denormals are flushed; a GPU has no need to."""
        return self._flushed(work, *args) if self.execution.device == "cpu" else work(*args)

    def _in_precision(self, net: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Convolutions in the run's precision; parameters, norms and the loss stay float32."""
        if self.execution.precision != "bfloat16":
            return net

        def forward(images: Tensor) -> Tensor:
            with torch.autocast(self.execution.device, torch.bfloat16, cache_enabled=False):
                return net(images)

        return forward

    def advance(self, num_steps: int, should_stop: Callable[[], bool] = lambda: False) -> Readings:
        """Make up to `num_steps` updates, at least one, and return their readings.

        `should_stop` is asked between steps.
        """
        self.net.train()
        readings: Readings = self._apart(self._make_steps, self.step, num_steps, should_stop)
        self.step += len(readings.loss)
        return self._group.mean(readings)

    def evaluate(self, dataset: Dataset, indices: Tensor | None = None) -> Scores:
        """Return the scores of the net (of its average, where there is one), nothing in it changed.

        Running statistics are in use. `dataset` lies on the run's device already.
        """
        net = (self._average.net if self._average else self.net).eval()
        return self._apart(evaluate, self._in_precision(net), dataset, indices)

    def copy_of_net(self) -> Network:
        """Return an eager copy in training mode, for probes to do with as they like."""
        return deepcopy(self.net).train()

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the config: tensors and plain values."""
        return {"step": self.step, **self._tensors()}

    def _tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """All that a step changes, in place, by part and name."""
        average = {"average": dict(self._average.state())} if self._average else {}
        return {"net": dict(self.net.state_dict()), "momentum": self._momentum(), **average}

    def _momentum(self) -> dict[str, Tensor]:
        state = self.optimizer.state
        return {
            name: state[parameter]["momentum_buffer"]
            for name, parameter in self.net.named_parameters()
            if "momentum_buffer" in state[parameter]
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned. Raises KeyError when it is of another net."""
        for part, tensors in self._tensors().items():
            for name, tensor in tensors.items():
                tensor.copy_(state[part][name])
        self.step = state["step"]
