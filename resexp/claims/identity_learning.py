"""Blocks learn a target: the cases, the targets, and what became of the branches."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.claims.stacked_training import Pairs, fit, make_blocks
from resexp.models.blocks import Block, conv
from resexp.probes.norms import norms
from resexp.seeds import derive

CHANNELS, _SIZE, TEACHER_CHANNELS = 8, 8, 32
LEARNING_STEPS, LEARNING_BATCH, _NUM_CHOOSING, _NUM_HELD_OUT = 150, 8, 16, 32
LEARNING_RATES = (5e-6, 2e-5, 1e-4, 4e-4)
LITTLE = 0.1
"""How much of the teacher is added where Y = x and a little more."""


class Case(NamedTuple):
    """How many blocks, and what they are given."""

    title: str
    num_blocks: int
    signed: bool
    when: str
    """as it is said after `holds only if`"""


CASES = (
    Case("one block, signed inputs", 1, True, "there is one block and its inputs have both signs"),
    Case("one block, inputs of 0 and above", 1, False, "there is one block and no input is below 0"),
    Case("four blocks, signed inputs", 4, True, "there are four blocks"),
)
SAME, NEAR, UNRELATED, OPPOSITE = "Y = x", "Y = x + a little", "Y unrelated", "Y = -x"
Target = Callable[[Tensor, Tensor], Tensor]
"""(x, the teacher's answer to x) to what is wanted."""
TARGETS: dict[str, Target] = {
    SAME: lambda x, taught: x,
    NEAR: lambda x, taught: x + LITTLE * taught,
    UNRELATED: lambda x, taught: taught,
    OPPOSITE: lambda x, taught: -x,
}
ZEROED = 0.1
"""Weights that keep less than this part of their norm have been zeroed."""


class Branch(NamedTuple):
    """How a trained block comes to add little, all its blocks together."""

    first: float
    """norm of the first layers' weights at the end over that at the start"""
    last: float
    """the same of the last layers, those before the addition"""
    live: float
    """percent of the ReLUs (a channel each) that fire at any pixel of the held-out images"""
    response: float
    """|R(x)|² over |x|², mean over the blocks"""


class Learned(NamedTuple):
    """One arm at one target."""

    errors: dict[int, float]
    rate: float
    branches: dict[int, Branch]


def learn_targets(case: Case, target: str, arm: str, seeds: Sequence[int]) -> Learned:
    """Return each seed's error on held-out images, at which rate, and what its branches became."""
    teachers = {seed: teacher(seed, case.signed) for seed in seeds}

    def pairs(seed: int, *words: str | int, num: int) -> Pairs:
        x = noise_images(seed, *words, num=num, signed=case.signed)
        return Pairs(x, TARGETS[target](x, teachers[seed](x)))

    def all_seeds(what: str, num: int) -> Pairs:
        return Pairs(
            *(torch.stack(p) for p in zip(*(pairs(seed, what, num=num) for seed in seeds), strict=True))
        )

    held_out = all_seeds("held out", _NUM_HELD_OUT)
    result = fit(
        lambda seed: blocks(arm, seed, case.num_blocks),
        seeds,
        LEARNING_RATES,
        lambda seed, step: pairs(seed, "training", step, num=LEARNING_BATCH),
        steps=LEARNING_STEPS,
        looks=(LEARNING_STEPS,),
        choosing=all_seeds("choosing", _NUM_CHOOSING),
        held_out=held_out,
    )
    errors = missed(result.outputs[LEARNING_STEPS], held_out.wanted)
    branches = {}
    for i, seed in enumerate(seeds):
        begun = blocks(arm, seed, case.num_blocks)
        ended = blocks(arm, seed, case.num_blocks)
        ended.load_state_dict({name: weight[i] for name, weight in result.weights.items()})
        branches[seed] = branch(begun, ended, held_out.given[i])
    return Learned(dict(zip(seeds, errors, strict=True)), result.rate, branches)


@torch.no_grad()
def branch(begun: nn.Sequential, ended: nn.Sequential, x: Tensor) -> Branch:
    """Compare blocks with what they began as, and see what they answer to images x [N, C, H, W]."""
    live, responses = [], []
    for block in ended.children():
        assert isinstance(block, Block)
        fires = block.get_submodule("conv1")(x) > 0
        live.append(float(fires.any(dim=3).any(dim=2).any(dim=0).double().mean()))
        responses.append(float(block.branch(x).double().square().sum() / x.double().square().sum()))
        x = block(x)
    first, last = (_kept(begun, ended, layer) for layer in ("conv1", "conv2"))
    return Branch(first, last, 100 * sum(live) / len(live), sum(responses) / len(responses))


def _kept(begun: nn.Sequential, ended: nn.Sequential, layer: str) -> float:
    """Return the norm of this layer's weights in all blocks over that at the start; 1 where that was 0."""
    start, end = (
        float(norms([torch.stack([b.get_parameter(f"{layer}.weight") for b in each])])[0])
        for each in (begun, ended)
    )
    return end / start if start else 1.0


def blocks(arm: str, seed: int, num_blocks: int) -> nn.Sequential:
    return make_blocks(
        arm, seed, CHANNELS, lambda: conv(CHANNELS, CHANNELS, norm="none"), num_blocks=num_blocks
    )


def noise_images(seed: int, *words: str | int, num: int, signed: bool) -> Tensor:
    """Return images [num, CHANNELS, SIZE, SIZE], uniform in [-1, 1], or in [0, 1]."""
    rng = torch.Generator().manual_seed(derive(seed, "identity", *words))
    x = torch.rand(num, CHANNELS, _SIZE, _SIZE, generator=rng)
    return 2 * x - 1 if signed else x


def teacher(seed: int, signed: bool) -> Callable[[Tensor], Tensor]:
    """Return a random block four times as wide as the learners', its answers as large as its inputs."""
    rng = torch.Generator().manual_seed(derive(seed, "identity", "teacher"))
    first = torch.randn(TEACHER_CHANNELS, CHANNELS, 3, 3, generator=rng)
    last = torch.randn(CHANNELS, TEACHER_CHANNELS, 3, 3, generator=rng)

    def answer(x: Tensor) -> Tensor:
        return F.conv2d(F.relu(F.conv2d(x, first, padding=1)), last, padding=1)

    x = noise_images(seed, "scale", num=64, signed=signed)
    scale = x.square().mean().sqrt() / answer(x).square().mean().sqrt()
    return lambda x: scale * answer(x)


def missed(made: Tensor, wanted: Tensor) -> list[float]:
    """Return |made - wanted|² / |wanted|² of each seed, over all its images."""
    return (
        (made - wanted).double().square().flatten(1).sum(1) / wanted.double().square().flatten(1).sum(1)
    ).tolist()
