"""The gradient split by path length is the gradient, and agrees with walking every path."""

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

from resexp.claims.finding import judged
from resexp.claims.paths import (
    _NETS,
    SHORT,
    folded_net,
    gradients_by_length,
    mean_length,
    path_settings,
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


@pytest.mark.parametrize("net", _NETS)
def test_each_length_is_the_sum_over_its_paths(net: str) -> None:
    blocks, g_last = folded_net(3, _NETS[net].axes, **TINY)
    expected: dict[int, Tensor] = {}
    for path in itertools.product((0, 1), repeat=len(blocks)):
        length = sum(path)
        expected[length] = walk(blocks, path, g_last) + expected.get(length, torch.zeros(()))
    found = gradients_by_length(blocks, g_last)
    assert len(found) == len(blocks) + 1
    for length, part in enumerate(found):
        torch.testing.assert_close(part, expected[length], rtol=1e-9, atol=1e-12 * float(g_last.abs().max()))


@pytest.mark.parametrize("net", _NETS)
def test_the_lengths_add_up_to_what_backward_gives(net: str) -> None:
    blocks, g_last = folded_net(0, _NETS[net].axes, **TINY)
    whole = torch.stack(gradients_by_length(blocks, g_last)).sum(0)

    # The same weights, images and labels through the net itself, nothing folded.
    model = build(seed=0, num_classes=10, kind="residual", **{**TINY, **_NETS[net].axes}).double()
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


def carried(**share: float) -> dict[str, dict[int, float]]:
    """Percent of the gradient on short paths, five seeds a net; 97 where nothing is said."""
    return {
        name: {seed: share.get(SHORT_NAMES[name], 97.0) + 0.1 * seed for seed in range(5)} for name in _NETS
    }


SHORT_NAMES = dict(zip(_NETS, ("norm", "pre", "default", "he"), strict=True))


@pytest.mark.parametrize(
    ("share", "word"),
    [
        ({}, "holds"),
        ({"he": 1.0}, "holds only if"),
        ({"norm": 60.0}, "holds only if"),
        ({"norm": 50.0, "pre": 50.0, "default": 50.0, "he": 1.0}, "does not hold"),
        ({"he": 89.8}, "not resolved"),
    ],
)
def test_the_answer_needs_the_short_paths_of_every_net(share: dict[str, float], word: str) -> None:
    assert judged(path_settings(carried(**share), 0.5)).word == word


def test_paths_that_are_not_few_settle_it() -> None:
    assert judged(path_settings(carried(), 2.0)).word == "does not hold"


def test_a_condition_names_no_net_that_fails() -> None:
    answer = judged(path_settings(carried(he=1.0), 0.5)).text
    assert "He's" not in answer
    assert answer.endswith("or there is no norm and the weights begin small (PyTorch's)")


def test_the_shortest_paths_are_short_too() -> None:
    """Without norm and with small weights lengths 0 to 4 carry nearly all, which a window from 5 misses."""
    blocks, g_last = folded_net(0, _NETS["no norm, PyTorch's own init"].axes, **TINY)
    shares = projection_shares(gradients_by_length(blocks, g_last))
    assert sum(shares[:5]) > 0.95
    assert min(SHORT) == 0
    assert max(SHORT) == 17


def test_seeds_too_few_for_a_word_resolve_nothing() -> None:
    one = {name: {0: 97.0} for name in _NETS}
    assert judged(path_settings(one, 0.5)).word == "not resolved"
