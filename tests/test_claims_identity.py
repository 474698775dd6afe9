"""What the targets are, what can represent them, and when nothing is missed."""

import pytest
import torch
from torch import nn

from resexp.analysis.statistics import Word
from resexp.claims.identity import (
    CASES,
    CHANNELS,
    NEAR,
    OPPOSITE,
    SAME,
    TARGETS,
    UNRELATED,
    answer_of,
    blocks,
    missed,
    noise,
    teacher,
)
from resexp.claims.stacked_training import ARMS, PLAIN, RESIDUAL, ZERO


def copying(block: nn.Module, lift: float) -> None:
    """Set a block's weights so that its branch lifts its input above zero, and then lowers it again."""
    for name, bias in (("conv1", lift), ("conv2", -lift)):
        nn.init.dirac_(block.get_parameter(f"{name}.weight"))
        nn.init.constant_(block.get_parameter(f"{name}.bias"), bias)


@pytest.mark.parametrize("case", CASES)
def test_an_exact_identity_misses_nothing(case: tuple) -> None:
    x = noise(0, "test", num=4, signed=case[2])
    made = blocks(ZERO, 0, case[1])(x)
    assert missed(made[None], x[None]) == [0.0]
    assert missed(torch.zeros_like(x)[None], x[None]) == [1.0]


def test_a_plain_block_with_biases_can_copy_signed_inputs() -> None:
    block = blocks(PLAIN, 0, 1)
    copying(block.get_submodule("0"), 1.0)
    x = noise(0, "test", num=4, signed=True)
    assert missed(block(x)[None].detach(), x[None])[0] < 1e-12


def test_a_residual_block_can_copy_backwards() -> None:
    block = blocks(RESIDUAL, 0, 1)
    copying(block.get_submodule("0"), 1.0)
    with torch.no_grad():
        block.get_parameter("0.conv2.weight").mul_(-2)
        block.get_parameter("0.conv2.bias").mul_(-2)
    x = noise(0, "test", num=4, signed=True)
    assert missed(block(x)[None].detach(), -x[None])[0] < 1e-12


def test_missed_is_a_part_of_the_targets_square_for_each_seed() -> None:
    wanted = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    made = torch.tensor([[[3.0, 0.0]], [[1.0, 2.0]]])
    assert missed(made, wanted) == [16 / 25, 1 / 4]


@pytest.mark.parametrize("signed", [True, False])
def test_inputs_keep_to_their_bounds_and_the_teachers_answers_are_as_large(signed: bool) -> None:
    x = noise(5, "test", num=64, signed=signed)
    assert float(x.max()) <= 1
    assert float(x.min()) < -0.99 if signed else float(x.min()) >= 0
    taught = teacher(5, signed)(x)
    assert float(taught.square().mean() / x.square().mean()) == pytest.approx(1, abs=0.1)
    wanted = {name: target(x, taught) for name, target in TARGETS.items()}
    assert torch.equal(wanted[SAME], x)
    assert torch.equal(wanted[OPPOSITE], -x)
    assert torch.equal(wanted[UNRELATED], taught)
    torch.testing.assert_close(wanted[NEAR] - x, 0.1 * taught, rtol=1e-4, atol=1e-6)


def test_a_teacher_is_not_one_of_the_learners_shape_and_repeats() -> None:
    x = noise(1, "test", num=2, signed=True)
    assert torch.equal(teacher(1, True)(x), teacher(1, True)(x))
    assert not torch.equal(teacher(1, True)(x), teacher(2, True)(x))


@pytest.mark.parametrize("num_blocks", [1, 4])
def test_arms_have_the_same_parameters(num_blocks: int) -> None:
    counts = {sum(p.numel() for p in blocks(arm, 0, num_blocks).parameters()) for arm in ARMS}
    assert counts == {num_blocks * 2 * (CHANNELS * CHANNELS * 9 + CHANNELS)}


@pytest.mark.parametrize(
    ("same", "others", "answer"),
    [
        (("lower", "lower"), "lower", "holds"),
        (("lower", "lower"), "higher", "holds only if"),
        (("lower", "lower"), "not resolved", "holds only if"),
        (("lower", "not resolved"), "lower", "holds only if"),
        (("not resolved", "not resolved"), "lower", "not resolved"),
        (("lower", "higher"), "lower", "does not hold"),
        ((None, None), None, "not resolved"),
    ],
)
def test_the_answer_follows_the_words(
    same: tuple[Word | None, ...], others: Word | None, answer: str
) -> None:
    words: dict[tuple[str, str], Word | None] = {
        ("one", SAME): same[0],
        ("four", SAME): same[1],
        ("one", OPPOSITE): others,
    }
    assert answer_of(words) == answer
