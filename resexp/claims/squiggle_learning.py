"""Blocks learn to draw the whole of a squiggle from its half: the sets, the steps, and their courses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resexp.claims.finding import OnProgress
from resexp.claims.squiggle_data import SHEET_SIZE, WHOLE, error_parts
from resexp.claims.stacked_training import OpenBlock, Pairs, fit, make_blocks
from resexp.models.blocks import Block
from resexp.seeds import derive

NUM_TRAINING, _NUM_CHOOSING, _NUM_HELD_OUT = 2048, 128, 256
SQUIGGLE_STEPS, SQUIGGLE_BATCH = 300, 32
LOOKS = (0, 10, 30, 100, 300)
SQUIGGLE_RATES = (0.005, 0.015, 0.045)
ALONE_STEPS, ALONE_LOOK = 40, 20


class Course(NamedTuple):
    """An arm over its training: errors by step, part and seed, and what it drew of one held-out squiggle."""

    rate: float
    errors: dict[int, dict[str, dict[int, float]]]
    drawn: dict[int, Tensor]

    @property
    def last(self) -> dict[str, dict[int, float]]:
        return self.errors[max(self.errors)]


SETS = {"training": NUM_TRAINING, "choosing": _NUM_CHOOSING, "held out": _NUM_HELD_OUT}


def learn_halves(
    arm: str,
    seeds: Sequence[int],
    data: dict[str, list[Pairs]],
    report: OnProgress,
    *,
    kind: type[Block] = OpenBlock,
) -> Course:
    """Train one arm. kind: Block puts its ReLU after the addition."""
    training = dict(zip(seeds, data["training"], strict=True))
    choosing, held_out = (
        Pairs(*(torch.stack(part) for part in zip(*data[what], strict=True)))
        for what in ("choosing", "held out")
    )

    def batch(seed: int, step: int) -> Pairs:
        rng = torch.Generator().manual_seed(derive(seed, "squiggle", "batch", step))
        some = torch.randint(NUM_TRAINING, (SQUIGGLE_BATCH,), generator=rng)
        return Pairs(*(part[some] for part in training[seed]))

    result = fit(
        lambda seed: dense(arm, seed, kind), seeds, SQUIGGLE_RATES, batch,
        steps=SQUIGGLE_STEPS, looks=LOOKS, choosing=choosing, held_out=held_out, report=report,
    )  # fmt: skip
    errors = {
        step: {
            part: dict(zip(seeds, each, strict=True)) for part, each in error_parts(made, held_out).items()
        }
        for step, made in result.outputs.items()
    }
    return Course(result.rate, errors, {step: made[0, 0] for step, made in result.outputs.items()})


def learn_one(arm: str, seeds: Sequence[int], data: dict[str, list[Pairs]]) -> dict[int, float]:
    """Return each seed's error, after ALONE_LOOK steps on a single squiggle, on that squiggle."""
    one = {
        seed: Pairs(*(part[:1] for part in pairs))
        for seed, pairs in zip(seeds, data["training"], strict=True)
    }
    both = Pairs(*(torch.stack(part) for part in zip(*one.values(), strict=True)))
    result = fit(
        lambda seed: dense(arm, seed), seeds, SQUIGGLE_RATES, lambda seed, step: one[seed],
        steps=ALONE_STEPS, looks=(ALONE_LOOK, ALONE_STEPS), choosing=both, held_out=both,
    )  # fmt: skip
    return dict(zip(seeds, error_parts(result.outputs[ALONE_LOOK], both)[WHOLE], strict=True))


def dense(arm: str, seed: int, kind: type[Block] = OpenBlock) -> nn.Module:
    """Return one block whose layers join every pixel to every pixel."""
    pixels = SHEET_SIZE * SHEET_SIZE
    return make_blocks(arm, seed, pixels, lambda: nn.Linear(pixels, pixels), kind=kind)
