"""Drawings, their parts, and the stacked training against one block trained by torch alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from resexp.claims.finding import judged
from resexp.claims.squiggle import squiggle_settings
from resexp.claims.squiggle_data import (
    BLANK,
    DRAWING_PARTS,
    DRAWN,
    MISSING,
    SHEET_SIZE,
    WHOLE,
    draw_squiggles,
    error_parts,
)
from resexp.claims.squiggle_learning import Course, dense
from resexp.claims.stacked_training import (
    BLOCK_ARMS,
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
    drawn = [draw_squiggles(seed, "held out", num) for seed in (0, 1)]
    return Pairs(*(torch.stack(part) for part in zip(*drawn, strict=True)))


def small(arm: str, seed: int) -> nn.Module:
    return make_blocks(arm, seed, 5, lambda: nn.Linear(5, 5))


def test_given_is_the_left_half_of_wanted() -> None:
    given, wanted = (part.view(2, -1, SHEET_SIZE, SHEET_SIZE) for part in two_seeds())
    assert bool((given <= wanted + 1e-6).all())
    middle = SHEET_SIZE // 2
    assert float(given[..., middle + 2 :].abs().max()) == 0
    torch.testing.assert_close(given[..., : middle - 2], wanted[..., : middle - 2])
    assert bool((wanted[..., middle + 2 :].sum((2, 3)) > 1).all())


def test_the_parts_of_the_error_add_up_to_the_whole() -> None:
    pairs = two_seeds()
    rng = torch.Generator().manual_seed(0)
    made = torch.randn(pairs.given.shape, generator=rng)
    parts = error_parts(made, pairs)
    for seed in (0, 1):
        assert sum(parts[part][seed] for part in DRAWING_PARTS) == pytest.approx(parts[WHOLE][seed])
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
    plain, residual, zero = (dict(dense(arm, 3).named_parameters()) for arm in BLOCK_ARMS)
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


@pytest.mark.parametrize("arm", BLOCK_ARMS)
def test_a_stack_trains_each_block_as_torch_would_alone(arm: str) -> None:
    members = [(0, 0.01), (0, 0.03), (1, 0.03)]
    rng = torch.Generator().manual_seed(2)
    data = [Pairs(*torch.randn(2, 3, 4, 5, generator=rng)) for _ in range(6)]
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
    rng = torch.Generator().manual_seed(2)
    pairs = [Pairs(x, x) for x in torch.randn(2, 8, 5, generator=rng)]
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


def course(drawn: float, blank: float, missing: float) -> Course:
    """Errors at the end, five seeds."""
    parts = {WHOLE: drawn + blank + missing, DRAWN: drawn, BLANK: blank, MISSING: missing}
    errors = {part: {seed: value * (1 + 0.01 * seed) for seed in range(5)} for part, value in parts.items()}
    return Course(0.01, {300: errors}, {})


PLAIN_COURSE, DRAWS = course(0.03, 0.08, 0.08), course(0.003, 0.02, 0.1)
STUCK, SCRIBBLES = course(0.003, 0.02, 0.9), course(0.003, 0.2, 0.1)


@pytest.mark.parametrize(
    ("residual", "zero", "blocked", "answer"),
    [
        (DRAWS, DRAWS, DRAWS, "holds"),
        (DRAWS, DRAWS, STUCK, "holds only if nothing stands after the addition (random start) or nothing"),
        (SCRIBBLES, DRAWS, STUCK, "holds only if nothing stands after the addition (last layer from zero)"),
        (SCRIBBLES, STUCK, STUCK, "does not hold"),
    ],
)
def test_only_what_is_missing_is_drawn_where_the_rest_is_left_alone(
    residual: Course, zero: Course, blocked: Course, answer: str
) -> None:
    courses = {PLAIN: PLAIN_COURSE, RESIDUAL: residual, ZERO: zero}
    assert judged(squiggle_settings(courses, blocked)).text.startswith(answer)


def test_parts_that_are_not_told_apart_are_not_denied() -> None:
    courses: dict[str, Course] = dict.fromkeys((PLAIN, RESIDUAL, ZERO), PLAIN_COURSE)
    assert judged(squiggle_settings(courses, PLAIN_COURSE)).text == "not resolved"
