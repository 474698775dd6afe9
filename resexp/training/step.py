"""The step: one screen of mathematics. How it is executed, and what is kept of it, is decided elsewhere."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from resexp.data.batches import Batch, Draw
from resexp.probes.norms import norms, weight_gradient_norms


class Readings(NamedTuple):
    """What K steps measured, on the device."""

    loss: Tensor
    """float32 [K], mean cross-entropy with the labels as they are, in nats, before the update"""
    gradient_norm: Tensor
    """float64 [K, L], L2 norm of each weighted layer's weight gradient, before it is clipped, in depth order;
    L = 0 if not taken"""

    @staticmethod
    def cat(spans: "Sequence[Readings]") -> "Readings":
        return Readings(*(torch.cat(parts) for parts in zip(*spans, strict=True)))

    def fetched(self) -> "Callable[[], Readings]":
        """Send the readings to the CPU; the function returned waits for them alone and returns them there.

        Steps that were sent to a GPU afterwards go on meanwhile.
        """
        if not self.loss.is_cuda:
            return lambda: self
        there = Readings(*(torch.empty(part.shape, dtype=part.dtype, pin_memory=True) for part in self))
        for target, part in zip(there, self, strict=True):
            target.copy_(part, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()

        def waited() -> Readings:
            arrived.synchronize()
            return there

        return waited


class Recipe(NamedTuple):
    """What the literature does besides: 0 does nothing, and costs nothing."""

    clip: float = 0.0
    """largest L2 norm of the gradient of all parameters together"""
    label_smoothing: float = 0.0
    """share of the target that all classes have in equal parts"""


NO_RECIPE = Recipe()


def train_step(
    forward: Callable[[Tensor], Tensor],
    weights: Sequence[Tensor],
    optimizer: Optimizer,
    batch: Batch,
    recipe: Recipe = NO_RECIPE,
) -> Readings:
    """Update the parameters once and return that step's own readings (K = 1).

    `forward` gives logits [B, num_classes] in any precision; `weights` are the layers whose gradient is
    measured, after backward and before it is clipped. The loss that is returned is never smoothed, so that
    it means the same in every net, and guessing is ln K.
    """
    optimizer.zero_grad(set_to_none=True)
    logits = forward(batch.images).float()
    loss = F.cross_entropy(logits, batch.labels)
    with_smoothing(loss, logits, recipe.label_smoothing).backward()
    gradient_norm = weight_gradient_norms(weights)
    if recipe.clip:
        clip([p for group in optimizer.param_groups for p in group["params"]], recipe.clip)
    optimizer.step()
    return Readings(loss.detach()[None], gradient_norm[None])


def with_smoothing(loss: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy with smoothed targets, given that with the labels (Szegedy et al. 2015)."""
    if not smoothing:
        return loss
    return (1 - smoothing) * loss - smoothing * logits.log_softmax(1).mean()


@torch.no_grad()
def clip(parameters: Sequence[Tensor], limit: float) -> None:
    """Scale all gradients by one factor so that their norm together is `limit` at most, without a sync.

    As torch.nn.utils.clip_grad_norm_ does, but by a norm in float64: squares of an exploding gradient are
    beyond float32, and torch would set it to zero.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = torch.linalg.vector_norm(norms(gradients))
    factor = (limit / (total + 1e-6)).clamp(max=1.0).float()
    for gradient in gradients:
        gradient.mul_(factor)


Update = Callable[[Draw, Tensor], Readings]
"""One step, from its batch's draw and the blocks it keeps, both on the device or the CPU, to its readings;
reads nothing back."""


class StepInputs(NamedTuple):
    """What each step is given, as functions of its number."""

    draw: Callable[[int], Draw]
    kept: Callable[[int], Tensor]
    """which blocks the step keeps, as `stochastic_depth.draw_kept` has it"""
    rate: Callable[[int], float]


class Stepper(Protocol):
    """A way to make steps: the same steps, and readings that agree up to rounding, whichever it is."""

    def __call__(self, start: int, num_steps: int, should_stop: Callable[[], bool]) -> Readings:
        """Make the steps from `start` on, at least one, until `should_stop` says so between two of them."""
        ...


class EagerSteps:
    """Each step's kernels are sent to the device one by one, as PyTorch does by itself."""

    def __init__(self, update: Update, optimizer: Optimizer, inputs: StepInputs) -> None:
        self._update = update
        self._optimizer = optimizer
        self._inputs = inputs

    def __call__(self, start: int, num_steps: int, should_stop: Callable[[], bool]) -> Readings:
        readings = []
        for step in range(start, start + num_steps):
            for group in self._optimizer.param_groups:
                group["lr"] = self._inputs.rate(step)
            readings.append(self._update(self._inputs.draw(step), self._inputs.kept(step)))
            if should_stop():
                break
        return Readings.cat(readings)
