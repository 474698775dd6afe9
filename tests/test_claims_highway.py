"""What the shortcuts let through, against what they must by arithmetic."""

import math

import pytest
import torch
from torch.nn import functional as F

from resexp.claims.finding import Measurement
from resexp.claims.highway import CLEAR, NETS, Passage, exact_share, highway, judge, noise, transmission
from resexp.models.resnet import build

TINY = {"depth": 20, "width": 4}
"""Three blocks a stage."""


def test_a_clear_shortcut_passes_every_bit() -> None:
    passages = highway(0, NETS[CLEAR], **TINY)
    assert exact_share(passages) == 100
    assert transmission(passages, True) == 1.0
    assert [p.same_shape for p in passages] == [True] * 3 + [False, True, True] * 2


@pytest.mark.parametrize("scale", [0.5, 0.9])
def test_a_scaled_shortcut_leaves_the_product_of_the_scales(scale: float) -> None:
    plain = highway(1, {"order": "pre"}, **TINY)
    scaled = highway(1, {"order": "pre", "shortcut_scale": scale}, **TINY)
    assert exact_share(scaled) == 0
    assert transmission(scaled, True) == pytest.approx(scale)
    # Along the last stage, where the shapes stay: equation 8 of He et al. 2016.
    assert [p.left for p in scaled[-2:]] == pytest.approx([scale**2, scale])
    assert [p.left for p in plain[-2:]] == [1.0, 1.0]


def test_a_relu_passes_what_lies_where_the_sum_is_positive() -> None:
    last = highway(2, {}, **TINY)[-1]

    # The same loss through the net itself: of its gradient at the last sum only the positive pixels count.
    net = build(seed=2, num_classes=10, kind="residual", **TINY).double()
    images, labels = noise(2)
    x = net.stem(images)
    for _, block in net.blocks():
        x = block(x)
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(net.classify(x), labels, reduction="sum"), x)
    assert last.transmission == pytest.approx(float((g * (x > 0)).norm() / g.norm()))
    assert 0 < last.transmission < 1


def test_a_sigmoid_passes_at_most_a_quarter() -> None:
    passages = highway(2, {"activation": "sigmoid"}, **TINY)
    same = [p.transmission for p in passages if p.same_shape]
    assert max(same) <= 0.25
    assert passages[0].left <= 0.25 ** len(passages)


def test_a_halving_block_reaches_a_quarter_of_the_pixels() -> None:
    strided = [p for p in highway(0, NETS[CLEAR], **TINY) if not p.same_shape]
    assert [p.reach for p in strided] == [0.25, 0.25]
    assert all(p.transmission < 1 for p in strided)


def test_means_are_geometric() -> None:
    passages = [Passage(True, True, t, 1.0, 1.0) for t in (0.25, 1.0)] + [
        Passage(False, False, 0.1, 0.25, 0.1)
    ]
    assert transmission(passages, True) == pytest.approx(math.sqrt(0.25))
    assert transmission(passages, False) == pytest.approx(0.1)
    assert exact_share(passages) == 100


def test_nothing_is_trained_and_a_seed_repeats() -> None:
    with torch.random.fork_rng():
        first = highway(4, {}, **TINY)
        torch.manual_seed(99)
        assert highway(4, {}, **TINY) == first


def test_the_answer_follows_the_intervals() -> None:
    def of(interval: tuple[float, float] | None, n: int = 5) -> Measurement:
        return Measurement("", 0.5, interval, n, "x")

    exactly = Measurement("", 100.0, (100.0, 100.0), 5, "%")
    left = {name: of((0.1, 0.9)) for name in NETS}
    shrink = {name: of((1.0, 1.0) if name == CLEAR else (0.4, 0.6)) for name in NETS}
    assert judge(exactly, 9, shrink, of((0.4, 0.6)), left)[0] == "holds only if"
    wide = {name: of((0.4, 1.2)) for name in NETS}
    assert judge(exactly, 9, wide, of((0.4, 0.6)), left)[0] == "holds"
    short = Measurement("", 90.0, (80.0, 99.0), 5, "%")
    assert judge(short, 9, shrink, of((0.4, 0.6)), left)[0] == "does not hold"
    one = Measurement("", 100.0, None, 1, "%")
    assert judge(one, 9, {name: of(None, 1) for name in NETS}, of(None, 1), left)[0] == "not resolved"
