"""Lesions: what is taken out, that nothing else is, and what the numbers are taken for."""

import pytest
import torch

from resexp.analysis.statistics import Estimate
from resexp.claims import small_responses
from resexp.claims.lesions import examine, removable, without
from resexp.claims.small_responses import below
from resexp.claims.small_training import drawings, shrunk
from resexp.models.resnet import Network, build

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def tiny(**axes) -> Network:
    return build(seed=0, num_classes=10, depth=14, width=4, **axes).eval()


@pytest.mark.parametrize("order", ["post", "pre"])
def test_lesion_of_a_block_whose_branch_is_zero_changes_nothing(order: str):
    net = tiny(order=order)
    for name in removable(net):
        before = net(IMAGES)
        block = dict(net.blocks())[name]
        block.branch_scale = 0.0
        silent = net(IMAGES)
        assert torch.equal(without(net, name)(IMAGES), silent)
        assert not torch.equal(silent, before)
        block.branch_scale = 1.0


def test_lesion_of_a_plain_block_feeds_its_input_to_the_next_one():
    net = tiny(kind="plain")
    x = net.stem(IMAGES)
    for name, block in net.blocks():
        if name != "stage2.1":
            x = block(x)
    assert torch.equal(without(net, "stage2.1")(IMAGES), net.classify(x))


def test_only_strided_blocks_cannot_be_taken_out():
    net = tiny()
    assert removable(net) == ["stage1.0", "stage1.1", "stage2.1", "stage3.1"]


def test_examining_a_net_changes_nothing_in_it_and_knows_its_error():
    images = drawings()
    few = images.test._replace(images=images.test.images[:200], labels=images.test.labels[:200])
    net = tiny()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    patient = examine(net, images._replace(test=few))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    x = (few.images.float() - few.mean) / few.std
    wrong = (net(x).argmax(1) != few.labels).float().mean()
    assert patient.error["running"] == pytest.approx(float(wrong), abs=1e-6)
    assert patient.accuracy == pytest.approx(1 - float(wrong), abs=1e-6)
    assert list(patient.without["batch"]) == removable(net)


def test_a_bound_is_passed_only_by_the_whole_interval():
    assert below(Estimate(3, 0.05, (0.01, 0.09)), 0.1) is True
    assert below(Estimate(3, 0.2, (0.15, 0.25)), 0.1) is False
    assert below(Estimate(3, 0.1, (0.05, 0.15)), 0.1) is None
    assert below(Estimate(1, 0.05), 0.1) is None


def test_answer_needs_every_part_and_trained_nets():
    answer = small_responses.answer
    assert answer(3, {"a": True, "b": True}) == "holds"
    assert answer(3, {"a": True, "b": False}) == "holds only if"
    assert answer(3, {"a": True, "b": None}) == "not resolved"
    assert answer(3, {"a": False, "b": False}) == "does not hold"
    assert answer(0, {"a": None}) == "not trained enough to say"


def test_nets_that_know_nothing_are_not_operated_on(monkeypatch: pytest.MonkeyPatch):
    images = drawings()
    few = images.test._replace(images=images.test.images[:64], labels=images.test.labels[:64])
    monkeypatch.setattr(small_responses, "drawings", lambda: images._replace(train=few, test=few))
    monkeypatch.setattr(small_responses, "OPTIM", {"steps": 1, "batch_size": 16, "lr": 0.1})
    monkeypatch.setattr(small_responses, "MODEL", {"depth": 8, "width": 4})
    finding = small_responses.claim([0], lambda done: None)
    assert finding.answer == "not trained enough to say"
    assert finding.sentence.startswith("0 of 1 pairs passed 80% test accuracy")
    assert finding.pictures == ()


def test_drawings_are_shrunk_by_averaging_squares():
    images = torch.arange(2 * 3 * 4 * 4).remainder(251).to(torch.uint8).view(2, 3, 4, 4).numpy()
    squares = images.astype(float)
    mean = sum(squares[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    assert (abs(shrunk(images).numpy() - mean) <= 0.5).all()
