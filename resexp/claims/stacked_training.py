"""Stacked training (vmap): an arm's seeds and learning rates, small blocks each, trained all at once.

They are stacked: each has its own weights, data and steps, what they share is the arithmetic.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from resexp.errors import Diverged
from resexp.models.blocks import Block
from resexp.models.init import initialize

MOMENTUM = 0.9
PLAIN, RESIDUAL, ZERO = "plain", "residual", "residual from zero"
BLOCK_ARMS = (PLAIN, RESIDUAL, ZERO)
"""The third is the residual block whose last layer starts at zero, so that it starts as y = x."""


class OpenBlock(Block):
    """A block with nothing after the addition, so that it can make negative numbers too."""

    def after(self, z: Tensor) -> Tensor:
        return z


def make_blocks(
    arm: str,
    seed: int,
    channels: int,
    layer: Callable[[], nn.Module],
    *,
    num_blocks: int = 1,
    kind: type[Block] = OpenBlock,
) -> nn.Sequential:
    """Return blocks of layer, ReLU, layer, with He's initial weights and zero biases.

    Arms of one seed start with the same weights, but for the zeros of `residual from zero`. layer: makes one
    that keeps the shape.
    """
    blocks = nn.Sequential()
    for _ in range(num_blocks):
        block = kind(
            channels, channels, stride=1, kind="plain" if arm == PLAIN else "residual",
            convs_per_block=2, order="post", shortcut="pad", norm="none", activation="relu",
            branch_scale=1.0, shortcut_scale=1.0,
            learn_branch_scale=False,
        )  # fmt: skip
        block.conv1, block.conv2 = layer(), layer()
        blocks.append(block)
    initialize(blocks, "he", seed)
    if arm == ZERO:
        for block in blocks:
            nn.init.zeros_(block.get_submodule("conv2").get_parameter("weight"))
    return blocks


class Pairs(NamedTuple):
    """What is given and what is wanted, [N, ...] each; [S, N, ...] where there is one set a seed."""

    given: Tensor
    wanted: Tensor


class Fit(NamedTuple):
    """An arm after training, at the learning rate that was best for it."""

    rate: float
    outputs: dict[int, Tensor]
    """by step: what each seed's blocks make of its held-out images, [S, N, ...]"""
    weights: dict[str, Tensor]
    """by name: each seed's, [S, ...], at the end"""


class Stack:
    """K blocks of one shape, with SGD and momentum."""

    def __init__(self, blocks: Sequence[nn.Module], rates: Sequence[float]) -> None:
        self.weights = {name: w.detach() for name, w in stack_module_state(list(blocks))[0].items()}
        self._skeleton = deepcopy(blocks[0]).to("meta")
        self._velocity = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self._rates = torch.tensor(rates)
        self._gradient = vmap(grad_and_value(self._loss))

    def __call__(self, given: Tensor) -> Tensor:
        """Return what each block makes of its own images: [K, N, ...] to the same shape."""
        with torch.no_grad():
            return vmap(self._forward)(self.weights, given)

    def step(self, batch: Pairs) -> Tensor:
        """Take one step each; return the loss before it, [K]: squared error of an image, mean over images."""
        gradients, losses = self._gradient(self.weights, *batch)
        for name, gradient in gradients.items():
            velocity = self._velocity[name].mul_(MOMENTUM).add_(gradient)
            self.weights[name] -= self._rates.view(-1, *[1] * (gradient.dim() - 1)) * velocity
        return losses

    def _forward(self, weights: dict[str, Tensor], given: Tensor) -> Tensor:
        return functional_call(self._skeleton, weights, (given,))

    def _loss(self, weights: dict[str, Tensor], given: Tensor, wanted: Tensor) -> Tensor:
        return (self._forward(weights, given) - wanted).square().sum() / len(given)


def fit(
    make: Callable[[int], nn.Module],
    seeds: Sequence[int],
    rates: Sequence[float],
    batch: Callable[[int, int], Pairs],
    *,
    steps: int,
    looks: Sequence[int],
    choosing: Pairs,
    held_out: Pairs,
    report: Callable[[float], None] = lambda done: None,
) -> Fit:
    """Train `make(seed)` for every seed at every rate; keep the rate that is best over all seeds.

    batch: (seed, step) to that step's pairs. looks: the steps at which held-out outputs are kept. choosing:
    pairs, one set a seed, on which rates are compared at the end; held_out: those that measure the winner.
    """
    per_seed = len(rates)
    stack = Stack([make(seed) for seed in seeds for _ in rates], list(rates) * len(seeds))
    outputs: dict[int, Tensor] = {}
    with torch.no_grad():
        for step in range(steps + 1):
            if step in looks:
                outputs[step] = stack(held_out.given.repeat_interleave(per_seed, 0))
                report(step / steps)
            if step < steps:
                pairs = [batch(seed, step) for seed in seeds]
                given, wanted = (
                    torch.stack(part).repeat_interleave(per_seed, 0) for part in zip(*pairs, strict=True)
                )
                stack.step(Pairs(given, wanted))
    made = stack(choosing.given.repeat_interleave(per_seed, 0))
    errors = (made - choosing.wanted.repeat_interleave(per_seed, 0)).square().flatten(1).mean(1)
    # A rate at which any seed diverged is never the best.
    by_rate = errors.view(len(seeds), per_seed).nan_to_num(torch.inf).mean(0)
    best = int(by_rate.argmin())
    if not by_rate[best].isfinite():
        raise Diverged(
            f"no learning rate of {', '.join(map(str, rates))} keeps the loss finite for every seed"
        )
    return Fit(
        rates[best],
        {step: output[best::per_seed] for step, output in outputs.items()},
        {name: weight[best::per_seed] for name, weight in stack.weights.items()},
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: work this small only waits for a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
