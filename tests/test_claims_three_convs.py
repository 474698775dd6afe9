"""Blocks of one, two and three convolutions: the comparison is fair, and its words follow the intervals."""

import math

import pytest

from resexp.claims import three_convs
from resexp.claims.finding import judged
from resexp.claims.small_training import drawings
from resexp.claims.three_convs import _ARMS, _DEPTH, _WIDTH, ONE, THREE, TWO, Losses, three_convs_parts
from resexp.models.resnet import build


@pytest.mark.parametrize("depth", [20, 38, 56])
def test_arms_have_the_same_layers_and_exactly_equal_parameters(depth: int):
    nets = [build(seed=0, num_classes=10, depth=depth, width=_WIDTH, **model) for model in _ARMS.values()]
    shapes = [[tuple(layer.weight.shape) for _, layer in net.weighted_layers()] for net in nets]
    assert all(each == shapes[0] and len(each) == depth for each in shapes)
    assert len({sum(weight.numel() for weight in net.parameters()) for net in nets}) == 1


def test_x_is_added_as_often_as_there_are_blocks():
    for arm, num_blocks in {ONE: 18, TWO: 9, THREE: 6, "plain": 9}.items():
        net = build(seed=0, num_classes=10, depth=_DEPTH, width=_WIDTH, **_ARMS[arm])
        assert len(list(net.blocks())) == num_blocks


def losses(three: float, two: float = 1.0, one: float = 1.0, spread: float = 0.01) -> Losses:
    ends = {THREE: three, TWO: two, ONE: one}
    return {
        arm: {seed: end + spread * (seed * i % 5) for seed in range(5)}
        for i, (arm, end) in enumerate(ends.items(), 1)
    }


def answer(found: Losses) -> str:
    return judged(*three_convs_parts(found, math.log(10))).text


def test_three_must_learn_faster_than_both():
    assert answer(losses(0.5)) == "holds"
    assert answer(losses(0.5, two=0.3)) == "does not hold"
    assert answer(losses(1.5)) == "does not hold"


def test_an_advantage_that_is_surely_below_the_margin_is_none_and_a_wide_interval_says_nothing():
    assert answer(losses(1.0)) == "does not hold"
    assert answer(losses(1.0, spread=0.3)) == "not resolved"


def test_nets_near_guessing_are_not_trained_enough_to_say():
    assert answer(losses(2.2, two=2.25, one=2.2)) == "not trained enough to say"
    assert answer(losses(0.5, two=2.25, one=1.0)) == "not trained enough to say"


def test_a_loss_that_is_no_number_is_a_result():
    measured = {arm: dict(of_arm) for arm, of_arm in losses(0.5).items()} | {
        "plain": dict.fromkeys(range(5), 1.0)
    }
    measured[THREE][3] = math.nan
    finding = three_convs._finding(measured, measured, dict.fromkeys(_ARMS, 7), math.log(10))
    assert "Diverged: 1 of 20 trainings." in finding.sentence
    assert finding.details["final_loss"][THREE]["3"] is None
    by_name = {m.what: m for m in finding.measurements}
    expected = sum(math.log(10) if math.isnan(x) else x for x in measured[THREE].values()) / 5
    assert by_name[THREE].mean == pytest.approx(expected)
    assert by_name[THREE].n == 5


def test_what_cannot_be_resolved_is_said():
    measured = {**losses(1.0, spread=0.3), "plain": dict.fromkeys(range(5), 1.0)}
    finding = three_convs._finding(measured, measured, dict.fromkeys(_ARMS, 7), math.log(10))
    assert finding.answer.word == "not resolved"
    assert "cannot be told from none" in finding.sentence


def test_too_few_seeds_give_numbers_without_a_word(monkeypatch: pytest.MonkeyPatch):
    few = drawings().train
    few = few._replace(images=few.images[:64], labels=few.labels[:64])
    monkeypatch.setattr(three_convs, "drawings", lambda: drawings()._replace(train=few, test=few))
    monkeypatch.setattr(three_convs, "_DEPTH", 20)
    monkeypatch.setattr(three_convs, "_WIDTH", 4)
    monkeypatch.setattr(three_convs, "_OPTIM", {"steps": 2, "batch_size": 16, "lr": 0.1})
    done: list[float] = []
    finding = three_convs.claim([0, 1], done.append)
    assert finding.answer.word in ("not resolved", "not trained enough to say")
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    losses = finding.details["final_loss"]
    measured = {m.what: m for m in finding.measurements}
    # What ends above guessing counts as guessing.
    capped = {arm: [min(losses[arm][s], math.log(10)) for s in ("0", "1")] for arm in (THREE, TWO)}
    expected = (sum(capped[THREE]) - sum(capped[TWO])) / 2
    assert measured[f"{THREE} minus {TWO}"].mean == pytest.approx(expected)
    assert measured[f"{THREE} minus {TWO}"].n == 2
