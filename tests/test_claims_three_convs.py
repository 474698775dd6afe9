"""Blocks of one, two and three convolutions: the comparison is fair, and its words follow the intervals."""

from itertools import product

import pytest

from resexp.analysis.statistics import Word
from resexp.claims import three_convs
from resexp.claims.small_training import drawings
from resexp.claims.three_convs import ARMS, DEPTH, ONE, THREE, TWO, WIDTH
from resexp.models.resnet import build


@pytest.mark.parametrize("depth", [20, 38, 56])
def test_arms_have_the_same_layers_and_exactly_equal_parameters(depth: int):
    nets = [build(seed=0, num_classes=10, depth=depth, width=WIDTH, **model) for model in ARMS.values()]
    shapes = [[tuple(layer.weight.shape) for _, layer in net.weighted_layers()] for net in nets]
    assert all(each == shapes[0] and len(each) == depth for each in shapes)
    assert len({sum(weight.numel() for weight in net.parameters()) for net in nets}) == 1


def test_x_is_added_as_often_as_there_are_blocks():
    for arm, num_blocks in {ONE: 18, TWO: 9, THREE: 6, "plain": 9}.items():
        net = build(seed=0, num_classes=10, depth=DEPTH, width=WIDTH, **ARMS[arm])
        assert len(list(net.blocks())) == num_blocks


def test_answer_follows_the_words_about_three():
    words: tuple[Word | None, ...] = ("lower", "higher", "not resolved", None)
    for against_two, against_one in product(words, words):
        answer = three_convs.answer({(THREE, TWO): against_two, (THREE, ONE): against_one, (TWO, ONE): None})
        if "higher" in (against_two, against_one):
            assert answer == "does not hold"
        else:
            assert (answer == "holds") == (against_two == against_one == "lower")


def test_too_few_seeds_give_numbers_without_a_word(monkeypatch: pytest.MonkeyPatch):
    few = drawings().train
    few = few._replace(images=few.images[:64], labels=few.labels[:64])
    monkeypatch.setattr(three_convs, "drawings", lambda: drawings()._replace(train=few, test=few))
    monkeypatch.setattr(three_convs, "DEPTH", 20)
    monkeypatch.setattr(three_convs, "WIDTH", 4)
    monkeypatch.setattr(three_convs, "OPTIM", {"steps": 2, "batch_size": 16, "lr": 0.1})
    done: list[float] = []
    finding = three_convs.claim([0, 1], done.append)
    assert finding.answer == "not resolved"
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    losses = finding.details["final_loss"]
    measured = {m.what: m for m in finding.measurements}
    expected = sum(losses[THREE][s] - losses[TWO][s] for s in ("0", "1")) / 2
    assert measured[f"{THREE} minus {TWO}"].mean == pytest.approx(expected)
    assert measured[f"{THREE} minus {TWO}"].n == 2
