"""What the shortcuts let through, against what they must by arithmetic."""

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch.nn import functional as F

from resexp.claims.finding import judged
from resexp.claims.highway import (
    _NETS,
    CLEAR,
    Passage,
    Passages,
    exact_share,
    highway,
    highway_settings,
    noise_batch,
    transmission,
)
from resexp.models.resnet import build

TINY = {"depth": 20, "width": 4}
"""Three blocks a stage."""


def test_a_clear_shortcut_passes_every_bit() -> None:
    passages = highway(0, _NETS[CLEAR].axes, **TINY)
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
    images, labels = noise_batch(2)
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
    strided = [p for p in highway(0, _NETS[CLEAR].axes, **TINY) if not p.same_shape]
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


def passages(transmission: Mapping[str, Sequence[float]], halving: Sequence[float] = (0.5,) * 5) -> Passages:
    """Two blocks a seed, one of which halves the image; by net, what the other one lets through."""
    return {
        name: {
            seed: [Passage(True, t == 1, t, 1.0, t), Passage(False, False, h, 0.25, h)]
            for seed, (t, h) in enumerate(zip(transmission.get(name, SHRUNK), halving, strict=False))
        }
        for name in _NETS
    }


SHRUNK = (0.9, 0.91, 0.89, 0.9, 0.9)
CLEAR_WAY = {CLEAR: (1.0,) * 5}


def answer(found: Passages) -> str:
    return judged(highway_settings(found)).text


def test_only_equal_bits_are_not_shrunk_and_an_interval_around_1_is_not_resolved() -> None:
    condition = "holds only if nothing stands after the addition and the block keeps the shape"
    assert answer(passages(CLEAR_WAY)) == condition
    relu = "ReLU after the addition"
    around = passages({**CLEAR_WAY, relu: (0.9, 1.1, 0.95, 1.05, 1.0)})
    assert answer(around) == f"{condition}, or perhaps a ReLU stands after the addition (not resolved)"
    assert answer(passages(dict.fromkeys(_NETS, (0.9, 1.1, 0.95, 1.05, 1.0)))) == "not resolved"
    assert answer(passages({})) == "does not hold"


def test_blocks_that_halve_the_image_count() -> None:
    all_clear = passages(dict.fromkeys(_NETS, (1.0,) * 5))
    assert "halves" not in answer(all_clear)
    assert answer(all_clear).startswith("holds only if")


def test_one_seed_has_no_answer() -> None:
    assert answer(passages({name: each[:1] for name, each in CLEAR_WAY.items()}, (0.5,))) == "not resolved"
