"""Lesions: what is taken out, that nothing else is, and what the numbers are taken for."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from resexp.claims import small_responses
from resexp.claims.lesions import STATISTICS, Patient, Statistics, examine, removable, responses, without
from resexp.claims.small_responses import lesions_of
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


def test_every_3x3_layer_answers_after_its_norm_and_before_the_relu():
    net: Any = tiny().train()
    x = net.stem.norm(net.stem.conv(IMAGES))
    expected = [x]
    x = net.stem.activation(x)
    for _, block in net.blocks():
        inner = block.norm1(block.conv1(x))
        expected += [inner, block.norm2(block.conv2(inner.relu()))]
        x = (expected[-1] + block.shortcut(x)).relu()
    found = responses(tiny(), IMAGES)
    assert list(found) == [name for name, _ in net.weighted_layers()[:-1]]
    assert list(found.values()) == pytest.approx([float(e.detach().std(correction=0)) for e in expected])


def patient(rises: Sequence[float], response: float) -> Patient:
    """A net that errs in 10 of 100 drawings, and how many more it errs in without each block."""
    without = {f"stage1.{i}": 0.1 + rise for i, rise in enumerate(rises)}
    both: dict[Statistics, dict[str, float]] = {"running": without, "batch": without}
    return Patient(0.9, dict.fromkeys(STATISTICS, 0.1), both, tuple(without), {"stem.conv": response})


def answer(residual: Sequence[float], plain: Sequence[float] = (0.7, 0.75), response: float = 0.5) -> str:
    """The answer for five pairs that differ a little."""
    pairs = {
        seed: {
            "residual": patient([r + 0.001 * seed for r in residual], response + 0.01 * seed),
            "plain": patient([r + 0.001 * seed for r in plain], 1.0 + 0.02 * seed),
        }
        for seed in range(5)
    }
    return small_responses._finding(pairs, 0.1).answer.text


def test_a_part_that_is_not_so_is_no_condition():
    assert answer(residual=(0.01, 0.05)) == "holds"
    assert answer(residual=(0.24, 0.46)) == "does not hold"
    assert answer(residual=(0.01, 0.05), plain=(0.2, 0.3)) == "does not hold"
    assert answer(residual=(0.01, 0.05), response=1.5) == "does not hold"


def test_any_one_is_the_worst_of_a_residual_net_and_the_mildest_of_a_plain_one():
    assert answer(residual=(0.0, 0.0, 0.0, 0.3)) == "does not hold"
    assert answer(residual=(0.01, 0.05), plain=(0.75, 0.1)) == "does not hold"
    found = lesions_of({0: patient((0.02, 0.3), 1.0)}, "running", 0.9)
    assert found.worst[0] == pytest.approx(30)
    assert found.mildest[0] == pytest.approx(100 * 0.02 / 0.8)
    assert found.mean[0] == pytest.approx(16)


def test_a_condition_is_the_kind_of_statistics():
    pairs = {}
    for seed in range(5):
        residual, plain = patient((0.02 + 0.001 * seed,), 0.5 + 0.01 * seed), patient((0.7,), 1.0)
        running = {"stage1.0": 0.5 + 0.001 * seed}
        pairs[seed] = {
            "residual": residual._replace(without={**residual.without, "running": running}),
            "plain": plain,
        }
    found = small_responses._finding(pairs, 0.1).answer.text
    assert found == f"holds only if {small_responses.STATISTICS_WHEN['batch']}"


def test_nets_that_know_nothing_are_not_operated_on(monkeypatch: pytest.MonkeyPatch):
    images = drawings()
    few = images.test._replace(images=images.test.images[:64], labels=images.test.labels[:64])
    monkeypatch.setattr(small_responses, "drawings", lambda: images._replace(train=few, test=few))
    monkeypatch.setattr(small_responses, "_OPTIM", {"steps": 1, "batch_size": 16, "lr": 0.1})
    monkeypatch.setattr(small_responses, "MODEL", {"depth": 8, "width": 4})
    finding = small_responses.claim([0], lambda done: None)
    assert finding.answer.word == "not trained enough to say"
    assert finding.sentence.startswith("0 of 1 pairs passed 80% test accuracy")
    assert finding.pictures == ()


def test_drawings_are_shrunk_by_averaging_squares():
    images = torch.arange(2 * 3 * 4 * 4).remainder(251).to(torch.uint8).view(2, 3, 4, 4).numpy()
    squares = images.astype(float)
    mean = sum(squares[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    assert (abs(shrunk(images).numpy() - mean) <= 0.5).all()
