"""Drawings, their parts, and the stacked training against one block trained by torch alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from resexp.analysis.statistics import Word
from resexp.claims.squiggle import answer_of, dense
from resexp.claims.squiggle_data import DRAWN, MISSING, PARTS, SIZE, WHOLE, draw, error_parts
from resexp.claims.stacked_training import (
    ARMS,
    MOMENTUM,
    PLAIN,
    RESIDUAL,
    ZERO,
    OpenBlock,
    Pairs,
    Stack,
    fit,
    make_blocks,
)
from resexp.models.blocks import Block


def two_seeds(num: int = 6) -> Pairs:
    drawn = [draw(seed, "held out", num) for seed in (0, 1)]
    return Pairs(*(torch.stack(part) for part in zip(*drawn, strict=True)))


def small(arm: str, seed: int) -> nn.Module:
    return make_blocks(arm, seed, 5, lambda: nn.Linear(5, 5))


def test_given_is_the_left_half_of_wanted() -> None:
    given, wanted = (part.view(2, -1, SIZE, SIZE) for part in two_seeds())
    assert bool((given <= wanted + 1e-6).all())
    middle = SIZE // 2
    assert float(given[..., middle + 2 :].abs().max()) == 0
    torch.testing.assert_close(given[..., : middle - 2], wanted[..., : middle - 2])
    assert bool((wanted[..., middle + 2 :].sum((2, 3)) > 1).all())


def test_the_parts_of_the_error_add_up_to_the_whole() -> None:
    pairs = two_seeds()
    chance = torch.Generator().manual_seed(0)
    made = torch.randn(pairs.given.shape, generator=chance)
    parts = error_parts(made, pairs)
    for seed in (0, 1):
        assert sum(parts[part][seed] for part in PARTS) == pytest.approx(parts[WHOLE][seed])
        copying = F.mse_loss(pairs.given[seed], pairs.wanted[seed])
        assert parts[WHOLE][seed] == pytest.approx(
            float(F.mse_loss(made[seed], pairs.wanted[seed]) / copying), rel=1e-5
        )


def test_just_copying_misses_the_missing_half_and_nothing_else() -> None:
    pairs = two_seeds()
    parts = error_parts(pairs.given, pairs)
    assert parts[WHOLE] == pytest.approx([1, 1])
    assert parts[MISSING] == pytest.approx([1, 1], abs=2e-3)
    assert parts[DRAWN] == pytest.approx([0, 0], abs=1e-3)
    assert error_parts(pairs.wanted, pairs)[WHOLE] == [0, 0]


def test_arms_of_a_seed_start_alike() -> None:
    plain, residual, zero = (dict(dense(arm, 3).named_parameters()) for arm in ARMS)
    assert plain.keys() == residual.keys() == zero.keys()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)
    assert {name for name in plain if not torch.equal(plain[name], zero[name])} == {"0.conv2.weight"}


def test_a_zero_start_hands_on_its_input_exactly() -> None:
    given = two_seeds().given[0]
    assert torch.equal(dense(ZERO, 0)(given), given)


def test_a_relu_after_the_addition_blocks_a_zero_start_on_blank_paper() -> None:
    given, wanted = (part[0] for part in two_seeds())
    missing = (given == 0) & (wanted > 0)
    for kind, moves in ((OpenBlock, True), (Block, False)):
        block = dense(ZERO, 0, kind)
        last = block.get_parameter("0.conv2.bias")
        (g,) = torch.autograd.grad((block(given) - wanted).square().sum(), last)
        assert bool((g[missing.any(0) & ~(given > 0).any(0)] != 0).any()) == moves


@pytest.mark.parametrize("arm", ARMS)
def test_a_stack_trains_each_block_as_torch_would_alone(arm: str) -> None:
    members = [(0, 0.01), (0, 0.03), (1, 0.03)]
    chance = torch.Generator().manual_seed(2)
    data = [Pairs(*torch.randn(2, 3, 4, 5, generator=chance)) for _ in range(6)]
    stack = Stack([small(arm, seed) for seed, _ in members], [rate for _, rate in members])
    losses = torch.stack([stack.step(batch) for batch in data])
    for k, (seed, rate) in enumerate(members):
        alone = small(arm, seed)
        optimizer = torch.optim.SGD(alone.parameters(), lr=rate, momentum=MOMENTUM)
        for step, batch in enumerate(data):
            loss = (alone(batch.given[k]) - batch.wanted[k]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.testing.assert_close(losses[step, k], loss.detach())
        for name, weight in alone.named_parameters():
            torch.testing.assert_close(stack.weights[name][k], weight.detach())


def test_the_rate_kept_is_the_best_one_and_never_one_that_diverged() -> None:
    chance = torch.Generator().manual_seed(2)
    pairs = [Pairs(x, x) for x in torch.randn(2, 8, 5, generator=chance)]
    both = Pairs(*(torch.stack(part) for part in zip(*pairs, strict=True)))
    fits = {
        rates: fit(
            lambda seed: small(PLAIN, seed), (0, 1), rates, lambda seed, step: pairs[seed],
            steps=30, looks=(0, 30), choosing=both, held_out=both,
        )
        for rates in [(1e-6, 0.02, 1e6), (0.02,)]
    }  # fmt: skip
    kept, alone = fits.values()
    assert kept.rate == 0.02
    assert list(kept.outputs) == [0, 30]
    for step in (0, 30):
        torch.testing.assert_close(kept.outputs[step], alone.outputs[step])


WORDS: dict[str, tuple[Word | None, Word | None, Word | None]] = {
    "holds": ("lower", "lower", "lower"),
    "holds only if": ("lower", "higher", "not resolved"),
    "does not hold": ("not resolved", "not resolved", "higher"),
    "not resolved": (None, None, None),
}


@pytest.mark.parametrize("answer", WORDS)
def test_the_answer_follows_the_words(answer: str) -> None:
    words = dict(zip([(RESIDUAL, DRAWN), (RESIDUAL, MISSING), (RESIDUAL, WHOLE)], WORDS[answer], strict=True))
    assert answer_of({**words, (ZERO, WHOLE): "higher"}) == answer
