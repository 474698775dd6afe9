"""The engine, the only mutable thing in training: a net, its optimizer, and how steps are executed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from resexp.config import Config
from resexp.data.batches import PAD, Batch, Draw, cut_out, draw, render
from resexp.data.dataset import Dataset
from resexp.kernels.operation import Operations
from resexp.models.by_kernels import ByKernels
from resexp.models.resnet import Network
from resexp.seeds import derive
from resexp.training.compilation import compiled
from resexp.training.cpu import DenormalsFlushed, keep_freed_memory
from resexp.training.cuda_graph import CaptureError, GraphSteps
from resexp.training.distributed.process_group import ALONE, Group, synchronised
from resexp.training.ema import EMA
from resexp.training.evaluation import Scores, evaluate
from resexp.training.execution import Execution, kernels_for
from resexp.training.initial_net import initial_net
from resexp.training.lr_schedule import learning_rate
from resexp.training.optimizers import kept, make_optimizer, take_up
from resexp.training.step import EagerSteps, Readings, Recipe, StepInputs, Stepper, train_step
from resexp.training.stochastic_depth import draw_kept


def prepare(execution: Execution) -> None:
    """Set this process's threads and arithmetic. Once, before the first tensor of a run."""
    keep_freed_memory()
    torch.set_num_threads(execution.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # cuDNN's own default multiplies float32 as TF32: 10 bits of 23.
    torch.backends.cudnn.allow_tf32 = execution.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = execution.precision == "tf32"


def _update(
    rendering: Callable[[Draw], Batch],
    group: Group,
    forward: Callable[[Tensor], Tensor],
    weights: Sequence[Tensor],
    optimizer: Optimizer,
    ema: EMA | None,
    recipe: Recipe,
    keep: Callable[[Tensor], None],
    batch_spec: Draw,
    kept: Tensor,
) -> Readings:
    """One step from its draw and the blocks that it keeps, on every rank the same, to its readings.

    No method of the engine: a recording would hold its engine and the engine the recording, and what both
    have on the device would stay there until Python next looks for cycles.
    """
    if len(kept):
        keep(kept)
    readings = train_step(forward, weights, optimizer, rendering(group.slice(batch_spec)), recipe)
    if ema:
        ema.follow()
    return readings


def _rendered(kernels: Operations, train: Dataset, device: str, batch_spec: Draw) -> Batch:
    """The batch of a draw by the kernels' own rendering, in the run's precision."""
    assert kernels.render is not None
    there, zeros = batch_spec.to(device), train.pad == "after"
    images, labels = kernels.render(train.images, train.labels, train.mean, train.std, there[:4], PAD, zeros)
    return Batch(cut_out(images, there.cut, train.cutout), labels)


class Engine:
    """A net, its optimizer and its place in the schedule. `step` counts the updates made."""

    def __init__(self, config: Config, train: Dataset, execution: Execution, group: Group = ALONE) -> None:
        self.config = config
        self.execution = execution
        self._group = group
        self.step = 0
        self.train = train.to(execution.device)
        net = initial_net(config, config.seed, train)
        self.net = net.to(execution.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = make_optimizer(config.optim, self.net, execution)
        layers = self.net.weighted_layers() if config.record.gradient_norm else []
        self.weights = [layer.weight for _, layer in layers]
        seen = synchronised(self.net) if execution.sync_batch_norm else self.net
        self._kernels = kernels_for(execution)
        called = compiled(seen) if execution.compiled else seen
        self._forward = self._in_precision(
            group.wrap_ddp(called) if self._kernels is None else self._by_kernels(self.net)
        )
        self._ema = EMA(self.net, config.optim.ema) if config.optim.ema else None
        self._flushed = DenormalsFlushed(execution.threads)
        shape = (config.optim.batch_size, *self.train.images.shape[1:])
        self.apart(group.settle_buckets, self._forward, self.net, shape)
        self._make_steps = self._stepper(derive(config.seed, "batches"))

    def _stepper(self, seed: int) -> Stepper:
        update = partial(
            _update,
            self._rendering(),
            self._group,
            self._forward,
            self.weights,
            self.optimizer,
            self._ema,
            Recipe(self.config.optim.clip, self.config.optim.label_smoothing),
            self.net.keep,
        )
        survivals = torch.tensor(self.net.survivals())
        inputs = StepInputs(
            draw=partial(
                draw,
                seed,
                num_images=len(self.train.labels),
                batch_size=self.config.optim.batch_size,
                augment=self.config.data.augment,
                mirror=self.train.mirrored,
                cutout=self.config.data.cutout,
                size=self.train.images.shape[-1],
            ),
            kept=partial(draw_kept, seed, survivals=survivals),
            rate=partial(learning_rate, self.config.optim),
        )
        if not self.execution.graphed:
            return EagerSteps(update, self.optimizer, inputs)
        return GraphSteps(
            update,
            self.optimizer,
            inputs,
            [tensor for part in self._tensors().values() for tensor in part.values()] + self._kept_besides(),
            batch_size=self.config.optim.batch_size,
            num_blocks=len(survivals),
            num_layers=len(self.weights),
            device=self.execution.device,
        )

    def _rendering(self) -> Callable[[Draw], Batch]:
        """What makes a batch of a draw; no method of the engine, as `_update` says."""
        if self._kernels is None or self._kernels.render is None:
            return partial(render, self.train)
        return partial(_rendered, self._kernels, self.train, self.execution.device)

    def apart(self, work: Callable[..., Any], *args: Any) -> Any:
        """Do work of the CPU where denormals are flushed; a GPU has no need to."""
        return self._flushed(work, *args) if self.execution.device == "cpu" else work(*args)

    def _by_kernels(self, net: Network) -> Callable[[Tensor], Tensor]:
        """The net as the run's kernels carry it out."""
        return net if self._kernels is None else ByKernels(net, self._kernels)

    def _in_precision(self, net: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Convolutions and the head in the run's precision; parameters, their gradients and the loss float32.

        In bfloat16 batch norm, too, takes in and gives out bfloat16; its statistics are summed in float32.
        """
        if self.execution.precision != "bfloat16":
            return net

        def forward(images: Tensor) -> Tensor:
            with torch.autocast(self.execution.device, torch.bfloat16, cache_enabled=False):
                return net(images)

        return forward

    def record(self) -> None:
        """Record the step now, where steps are recorded at all; else the first `advance` does.

        Raises CaptureError for a step that cannot be recorded.
        """
        if isinstance(self._make_steps, GraphSteps):
            self.apart(self._make_steps.record)

    def advance(self, num_steps: int, should_stop: Callable[[], bool] = lambda: False) -> Readings:
        """Make up to `num_steps` updates, at least one, and return their readings.

        `should_stop` is asked between steps.
        """
        self.net.train()
        readings: Readings = self.apart(self._make_steps, self.step, num_steps, should_stop)
        self.step += len(readings.loss)
        return self._group.mean(readings)

    def evaluate(self, dataset: Dataset, indices: Tensor | None = None) -> Scores:
        """Return the scores of the net (of its average, where there is one), nothing in it changed.

        Running statistics are in use. `dataset` lies on the run's device already.
        """
        net = (self._ema.net if self._ema else self.net).eval()
        return self.apart(evaluate, self._in_precision(self._by_kernels(net)), dataset, indices)

    def copy_of_net(self) -> Network:
        """Return an eager copy in training mode, for probes to do with as they like.

        With stochastic depth each block is there with the share of steps that keep it, as in evaluation: what
        one step's draw happens to leave of a gradient says little of the net.
        """
        net = deepcopy(self.net).train()
        if survivals := net.survivals():
            net.keep(torch.tensor(survivals))
        return net

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the config: tensors and plain values."""
        own = {} if self.config.optim.name == "sgd" else {"optimizer": self.optimizer.state_dict()}
        return {"step": self.step, **self._tensors(), **own}

    def _tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """All that a step changes, in place, by part and name; of optimizers only what SGD keeps."""
        ema = {"average": dict(self._ema.state())} if self._ema else {}
        return {"net": dict(self.net.state_dict()), "momentum": self._momentum(), **ema}

    def _momentum(self) -> dict[str, Tensor]:
        state = self.optimizer.state
        return {
            name: state[parameter]["momentum_buffer"]
            for name, parameter in self.net.named_parameters()
            if "momentum_buffer" in state[parameter]
        }

    def _kept_besides(self) -> list[Tensor]:
        return [] if self.config.optim.name == "sgd" else kept(self.optimizer)

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned. Raises KeyError when it is of another net."""
        for part, tensors in self._tensors().items():
            for name, tensor in tensors.items():
                tensor.copy_(state[part][name])
        if self.config.optim.name != "sgd":
            take_up(self.optimizer, state["optimizer"])
        self.step = state["step"]


def prepared_engine(config: Config, train: Dataset, execution: Execution, group: Group = ALONE) -> Engine:
    """Prepare this process for the execution, and return the engine of a run that starts."""
    prepare(execution)
    return Engine(config, train, execution, group)


def rehearsed(execution: Execution, kinds: Iterable[tuple[Config, Dataset]]) -> Execution:
    """Return how steps are executed, after one step of each kind was recorded and thrown away.

    kinds: a config of each and a batch of its images. As planned; or all of them eagerly, with the reason,
    where one of them cannot be recorded: one answer for all arms. What else goes wrong is passed over, since
    the run in which it does so again tells it.
    """
    if not execution.graphed:
        return execution
    for config, train in kinds:
        if why := _unrecordable(config, train, execution):
            reason = f"{execution.reason}; mode eager after all: {why}"
            return execution._replace(mode="eager", reason=reason)
    return execution


def _unrecordable(config: Config, train: Dataset, execution: Execution) -> str | None:
    """Why the step of this net cannot be recorded; None where it can, or fails otherwise."""
    try:
        prepared_engine(config, train, execution).record()
    except CaptureError as error:
        return str(error)
    except Exception:
        return None
    finally:
        if execution.device == "cuda":
            torch.cuda.empty_cache()  # the process that trains need not be this one
    return None
