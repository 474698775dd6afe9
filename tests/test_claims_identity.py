"""What the targets are, what can represent them, and when nothing is missed."""

from typing import Any

import pytest
import torch
from torch import nn

from resexp.claims import identity
from resexp.claims.finding import judged
from resexp.claims.identity import identity_parts
from resexp.claims.identity_learning import (
    CASES,
    CHANNELS,
    NEAR,
    OPPOSITE,
    SAME,
    TARGETS,
    UNRELATED,
    Branch,
    Case,
    blocks,
    branch,
    missed,
    noise_images,
    teacher,
)
from resexp.claims.stacked_training import BLOCK_ARMS, PLAIN, RESIDUAL, ZERO


def copying(block: nn.Module, lift: float) -> None:
    """Set a block's weights so that its branch lifts its input above zero, and then lowers it again."""
    for name, bias in (("conv1", lift), ("conv2", -lift)):
        nn.init.dirac_(block.get_parameter(f"{name}.weight"))
        nn.init.constant_(block.get_parameter(f"{name}.bias"), bias)


@pytest.mark.parametrize("case", CASES)
def test_an_exact_identity_misses_nothing(case: Case) -> None:
    x = noise_images(0, "test", num=4, signed=case.signed)
    made = blocks(ZERO, 0, case.num_blocks)(x)
    assert missed(made[None], x[None]) == [0.0]
    assert missed(torch.zeros_like(x)[None], x[None]) == [1.0]


def test_a_plain_block_with_biases_can_copy_signed_inputs() -> None:
    block = blocks(PLAIN, 0, 1)
    copying(block.get_submodule("0"), 1.0)
    x = noise_images(0, "test", num=4, signed=True)
    assert missed(block(x)[None].detach(), x[None])[0] < 1e-12


def test_a_residual_block_can_copy_backwards() -> None:
    block = blocks(RESIDUAL, 0, 1)
    copying(block.get_submodule("0"), 1.0)
    with torch.no_grad():
        block.get_parameter("0.conv2.weight").mul_(-2)
        block.get_parameter("0.conv2.bias").mul_(-2)
    x = noise_images(0, "test", num=4, signed=True)
    assert missed(block(x)[None].detach(), -x[None])[0] < 1e-12


def test_missed_is_a_part_of_the_targets_square_for_each_seed() -> None:
    wanted = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    made = torch.tensor([[[3.0, 0.0]], [[1.0, 2.0]]])
    assert missed(made, wanted) == [16 / 25, 1 / 4]


@pytest.mark.parametrize("signed", [True, False])
def test_inputs_keep_to_their_bounds_and_the_teachers_answers_are_as_large(signed: bool) -> None:
    x = noise_images(5, "test", num=64, signed=signed)
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
    x = noise_images(1, "test", num=2, signed=True)
    assert torch.equal(teacher(1, True)(x), teacher(1, True)(x))
    assert not torch.equal(teacher(1, True)(x), teacher(2, True)(x))


@pytest.mark.parametrize("num_blocks", [1, 4])
def test_arms_have_the_same_parameters(num_blocks: int) -> None:
    counts = {sum(p.numel() for p in blocks(arm, 0, num_blocks).parameters()) for arm in BLOCK_ARMS}
    assert counts == {num_blocks * 2 * (CHANNELS * CHANNELS * 9 + CHANNELS)}


def errors(**residual: float) -> dict[tuple[str, str, str], dict[int, float]]:
    """Errors of five seeds: the plain block's are 0.5, the residual's 0.1 but where something is said."""
    cases = dict(zip(("one", "positive", "four"), (case.title for case in CASES), strict=True))
    found = {}
    for key, title in cases.items():
        for target in TARGETS:
            at = residual.get(key, 0.1) if target == SAME else residual.get("elsewhere", 0.1)
            for arm, value in ((PLAIN, 0.5), (RESIDUAL, at), (ZERO, 0.0)):
                found[title, target, arm] = {seed: value * (1 + 0.01 * seed) for seed in range(5)}
    return found


def answer(**residual: float) -> str:
    parts = identity_parts(errors(**residual))
    return judged({case.when: [parts[case.title, SAME]] for case in CASES}).text


def test_the_claim_is_about_every_case_of_y_equal_to_x_and_no_other_target() -> None:
    assert answer() == "holds"
    assert answer(elsewhere=0.9) == "holds"
    assert answer(one=0.9, positive=0.9, four=0.9) == "does not hold"
    assert answer(four=0.9) == f"holds only if {CASES[0].when} or {CASES[1].when}"
    assert answer(four=0.5) == "not resolved"


def test_a_branch_is_measured_against_what_it_began_as() -> None:
    begun: Any = blocks(RESIDUAL, 0, 2)
    ended = blocks(RESIDUAL, 0, 2)
    x = noise_images(0, "test", num=4, signed=True)
    same = branch(begun, ended, x)
    assert same[:3] == (1.0, 1.0, 100.0)
    r = begun[0].branch(x)
    y = x + r
    sizes = [
        float((r.square().sum() / i.square().sum()).detach()) for r, i in ((r, x), (begun[1].branch(y), y))
    ]
    assert same.response == pytest.approx(sum(sizes) / 2, rel=1e-5)
    with torch.no_grad():
        # Two of eight, in one of two blocks.
        ended.get_parameter("0.conv1.bias")[:2].fill_(-1e6)
        assert branch(begun, ended, x).live == 87.5
        ended.get_parameter("0.conv2.weight").mul_(0)
        ended.get_parameter("1.conv2.weight").mul_(0)
        # Every ReLU of the first block is dead: whatever it is given, its layer answers below zero.
        ended.get_parameter("0.conv1.bias").fill_(-1e6)
    dead = branch(begun, ended, x)
    assert dead.last == 0
    assert dead.live == 50
    assert dead.response == 0


def test_what_zeroed_the_branch_is_said_from_what_was_measured() -> None:
    kept = Branch(first=0.9, last=0.4, live=12.5, response=1e-6)
    told = identity._mechanism({"a case": dict.fromkeys(range(5), kept)})
    assert told.startswith("It does not zero its weights: at the end they keep 0.9")
    assert "12.5% of its ReLUs fire, and |R|² is 1e-6 of |x|² (a case)" in told
    zeroed = identity._mechanism({"a case": dict.fromkeys(range(5), kept._replace(last=0.01))})
    assert "does not zero" not in zeroed
