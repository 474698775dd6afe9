"""Any net's gradient, against plain autograd on nets that others wrote, in float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from resexp.errors import UsageError
from resexp.probes.any_net import NetReading, measure_net

NUM = 6
LABELS = torch.arange(NUM) % 5


def loss_of(output: Tensor) -> Tensor:
    return F.cross_entropy(output, LABELS)


def measured(net: nn.Module, x: Tensor) -> NetReading:
    return measure_net(net, [x], loss_of, NUM)


def size(gradient: Tensor) -> float:
    """L2 norm an image."""
    return math.sqrt(float(gradient.square().sum()) / NUM)


def images(*shape: int) -> Tensor:
    return torch.randn(NUM, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double()


def norms(reading: NetReading) -> dict[str, float | None]:
    return {layer.name: layer.norm for layer in reading.layers}


def test_a_sequential_net_layer_by_layer() -> None:
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 5)
        )
    )
    x = images(3, 8, 8)
    outputs, value = [], x
    for module in net.children():
        value = module(value)
        outputs.append(value)
    gradients = torch.autograd.grad(NUM * loss_of(value), outputs)
    reading = measured(net, x)
    found = norms(reading)
    for index in (0, 2, 4):
        assert found[str(index)] == pytest.approx(size(gradients[index]), rel=1e-10)
    assert reading.loss == pytest.approx(float(loss_of(value).detach()), rel=1e-12)
    (by_weight,) = torch.autograd.grad(loss_of(net(x)), net[0].weight)
    (first,) = (layer for layer in reading.layers if layer.name == "0")
    assert first.weight_rms == pytest.approx(float(by_weight.square().mean().sqrt()), rel=1e-10)
    assert all(weight.grad is None for weight in net.parameters())


class TwoBlocks(nn.Module):
    """torchvision's own blocks, with nothing of ours in them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = BasicBlock(8, 8), BasicBlock(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)).mean((2, 3)))


def test_the_shortcut_of_another_authors_block_is_found_by_execution() -> None:
    net, x = seeded(TwoBlocks), images(8, 6, 6)
    reading = measured(net, x)
    assert [(block.name, block.shortcut) for block in reading.blocks] == [
        ("first", "identity"),
        ("second", "identity"),
    ]
    between = net.first(x).detach().requires_grad_()
    block, added = net.second, between.clone()
    inside = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(between)))))
    last = F.relu(inside + added)
    by_branch, by_shortcut = torch.autograd.grad(NUM * loss_of(net.head(last.mean((2, 3)))), (between, added))
    # `between` gets both: through the branch, and through its clone.
    whole, by_branch = by_branch, by_branch - by_shortcut
    share = float((by_shortcut * whole).sum() / whole.square().sum())
    assert reading.blocks[1].split["shortcut_share"] == pytest.approx(share, rel=1e-10)
    assert reading.blocks[1].split["branch_share"] == pytest.approx(1 - share, rel=1e-9)


class Encoder(nn.Module):
    """torch's own transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x)).mean(1))


def test_a_transformers_layers_and_both_its_additions() -> None:
    net, x = seeded(Encoder), images(7, 4)
    embedded = net.embed(x)
    (gradient,) = torch.autograd.grad(NUM * loss_of(net.head(net.layer(embedded).mean(1))), embedded)
    reading = measured(net, x)
    assert norms(reading)["embed"] == pytest.approx(size(gradient), rel=1e-10)
    assert len(reading.blocks) == 2
    assert {block.shortcut for block in reading.blocks} == {"identity"}


class Twice(nn.Module):
    """One layer that runs twice, and activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(12, 12)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.shared(self.relu(self.shared(x)))))


def test_a_shared_layer_has_a_reading_each_time_and_in_place_changes_nothing() -> None:
    net, x = seeded(Twice), images(12)
    first = net.shared(x)
    second = net.shared(F.relu(first))
    gradients = torch.autograd.grad(NUM * loss_of(net.head(F.relu(second))), (first, second))
    shared = [layer for layer in measured(net, x).layers if layer.name == "shared"]
    assert [layer.number for layer in shared] == [1, 2]
    for layer, gradient in zip(shared, gradients, strict=True):
        assert layer.norm == pytest.approx(size(gradient), rel=1e-10)


def test_t_is_the_first_over_the_last_end() -> None:
    reading = measured(seeded(TwoBlocks), images(8, 6, 6))
    assert reading.first is not None
    assert reading.last is not None
    assert reading.first.norm is not None
    assert reading.ratio == pytest.approx(reading.first.norm / (reading.last.norm or math.nan))
    assert reading.depth >= 2


def test_a_loss_that_depends_on_nothing_is_told_in_a_line() -> None:
    net = seeded(Twice)
    with pytest.raises(UsageError, match="no gradient leads to it"):
        measure_net(net, [images(12)], lambda output: output.detach().sum(), NUM)
    with pytest.raises(UsageError, match="its shape is"):
        measure_net(net, [images(12)], lambda output: output, NUM)
