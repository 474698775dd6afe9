"""The gradient split by path length is the gradient, and agrees with walking every path."""

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

from resexp.claims.finding import Measurement
from resexp.claims.paths import (
    MAIN,
    NETS,
    folded_net,
    gradients_by_length,
    judge,
    mean_length,
    path_shares,
    projection_shares,
)
from resexp.models.resnet import build
from resexp.probes.gradient_profile import Folded

TINY = {"depth": 14, "width": 4}
"""Two blocks a stage: 2^6 paths."""


def walk(blocks: list[Folded], path: tuple[int, ...], g: Tensor) -> Tensor:
    """Take g back along one path: at each block 0 is the shortcut, 1 the branch."""
    for folded, turn in zip(reversed(blocks), reversed(path), strict=True):
        way = (folded.into_shortcut, folded.into_branch)[turn]
        (g,) = torch.autograd.grad(folded.output, way, g, retain_graph=True)
    return g


@pytest.mark.parametrize("net", NETS)
def test_each_length_is_the_sum_over_its_paths(net: str) -> None:
    blocks, g_last = folded_net(3, NETS[net], **TINY)
    expected: dict[int, Tensor] = {}
    for path in itertools.product((0, 1), repeat=len(blocks)):
        length = sum(path)
        expected[length] = walk(blocks, path, g_last) + expected.get(length, torch.zeros(()))
    found = gradients_by_length(blocks, g_last)
    assert len(found) == len(blocks) + 1
    for length, part in enumerate(found):
        torch.testing.assert_close(part, expected[length], rtol=1e-9, atol=1e-12 * float(g_last.abs().max()))


@pytest.mark.parametrize("net", NETS)
def test_the_lengths_add_up_to_what_backward_gives(net: str) -> None:
    blocks, g_last = folded_net(0, NETS[net], **TINY)
    whole = torch.stack(gradients_by_length(blocks, g_last)).sum(0)

    # The same weights, images and labels through the net itself, nothing folded.
    model = build(seed=0, num_classes=10, kind="residual", **{**TINY, **NETS[net]}).double()
    x = blocks[0].into_branch.detach().clone().requires_grad_()
    out = x
    for _, block in model.blocks():
        out = block(out)
    (gradient,) = torch.autograd.grad(out, x, g_last)
    torch.testing.assert_close(whole, gradient, rtol=1e-10, atol=1e-13 * float(gradient.abs().max()))


def test_counts_agree_with_listing_all_paths() -> None:
    listed = Counter(sum(path) for path in itertools.product((0, 1), repeat=10))
    assert path_shares(10) == [listed[length] / 2**10 for length in range(11)]


def test_the_papers_share_of_paths_for_54_blocks() -> None:
    assert 100 * sum(path_shares(54)[5:18]) == pytest.approx(0.45, abs=0.005)


def test_shares_are_projections_and_add_up() -> None:
    parts = [torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]), torch.tensor([0.0, 0.0])]
    assert projection_shares(parts) == pytest.approx([9 / 25, 16 / 25, 0])
    assert mean_length(projection_shares(parts)) == pytest.approx(16 / 25)
    against = projection_shares([torch.tensor([2.0]), torch.tensor([-1.0])])
    assert against == pytest.approx([2, -1])


@pytest.mark.parametrize(
    ("main", "other", "answer"),
    [
        ((96, 99), (95, 99), "holds"),
        ((96, 99), (1, 3), "holds only if"),
        ((85, 99), (1, 3), "not resolved"),
        ((50, 60), (95, 99), "does not hold"),
        (None, (1, 3), "not resolved"),
    ],
)
def test_the_answer_needs_the_whole_interval(
    main: tuple[float, float] | None, other: tuple[float, float], answer: str
) -> None:
    def of(interval: tuple[float, float] | None) -> Measurement:
        return Measurement("", 97.0 if interval is None else sum(interval) / 2, interval, 5, "%")

    measured = {name: of(main if name == MAIN else other) for name in NETS}
    assert judge(measured, 0.0045)[0] == answer


def test_normalisation_is_blamed_only_where_all_others_lack_it() -> None:
    def sentence(*refuted: str) -> str:
        shares = {name: 2.0 if name in refuted else 97.0 for name in NETS}
        measured = {n: Measurement("", s, (s - 1, s + 1), 5, "%") for n, s in shares.items()}
        return judge(measured, 0.0045)[1]

    without = [name for name in NETS if name.startswith("no norm")]
    with_norm = next(name for name in NETS if name != MAIN and name not in without)
    assert sentence(*without).startswith("Only with normalisation.")
    assert "normalisation" not in sentence(with_norm)
    assert "normalisation" not in sentence(*without, with_norm)
