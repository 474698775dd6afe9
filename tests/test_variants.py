"""Blocks that papers compare: each has the property its paper gives it, computed here in another way."""

import math
from typing import Any

import pytest
import torch
from conftest import make_splits, tiny_config
from torch import nn

from resexp.config import ModelSection
from resexp.data.batches import render, unaugmented
from resexp.errors import UsageError
from resexp.models.blocks import Block
from resexp.models.resnet import Network, build
from resexp.models.variants import BLOCK_CLASSES
from resexp.probes.gradient_profile import gradient_profile

VARIANTS = {
    "bottleneck": {"depth": 11, "convs_per_block": 3},
    "squeeze_excite": {"depth": 8},
    "highway": {"depth": 8},
    "fixup": {"depth": 8, "norm": "none"},
}


def net_of(block: str, **changes: object) -> Network:
    keys = {"block": block, "width": 8, **VARIANTS[block], **changes}
    return build(seed=0, num_classes=10, **keys)


def part(net: nn.Module, name: str) -> Any:
    return net.get_submodule(name)


def parameters(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def test_every_block_that_a_config_may_name_is_there() -> None:
    assert set(BLOCK_CLASSES) == {"basic", *VARIANTS}


def test_resnet_164_has_the_papers_parameters() -> None:
    """1.7 million (He et al. 2016, Table 4's net), by the sum over its convolutions."""
    net = build(
        seed=0, num_classes=10, block="bottleneck", depth=164, convs_per_block=3, order="pre",
        shortcut="projection",
    )  # fmt: skip
    total, source = 3 * 16 * 9, 16
    for width in (16, 32, 64):
        total += source * 4 * width
        for i in range(18):
            comes_in = source if i == 0 else 4 * width
            total += comes_in * width + 9 * width**2 + 4 * width**2 + 2 * (comes_in + 2 * width)
        source = 4 * width
    total += 2 * 256 + 256 * 10 + 10
    assert parameters(net) == total
    assert round(total / 1e6, 1) == 1.7
    assert len(net.weighted_layers()) == 164


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_squeeze_and_excitation_adds_the_papers_parameters(kind: str) -> None:
    """2 / r times the sum over the stages of N C^2 (Hu et al. 2018, equation 5), r = 16."""
    with_gains, without = (
        build(seed=0, num_classes=10, kind=kind, depth=20, width=16, block=block)
        for block in ("squeeze_excite", "basic")
    )
    added = sum(2 * 3 * width**2 // 16 for width in (16, 32, 64))
    assert parameters(with_gains) - parameters(without) == added


def test_squeeze_and_excitation_scales_each_channel_by_one_number() -> None:
    net = net_of("squeeze_excite").eval()
    block = part(net, "stage2.0")
    x = torch.rand(2, 8, 8, 8)
    quotient = block.branch(x) / Block.branch(block, x)
    assert torch.allclose(quotient, quotient[:, :, :1, :1].expand_as(quotient), rtol=1e-4)
    assert ((quotient > 0) & (quotient < 1)).all()


def test_a_closed_gate_carries_the_input_on_and_an_open_one_none_of_it() -> None:
    net = net_of("highway").eval()
    block = part(net, "stage1.0")
    x = torch.rand(2, 8, 8, 8)
    for bias, expected in ((-1e4, x), (1e4, block.after(block.branch(x)))):
        block.gate.bias.data.fill_(bias)
        assert torch.equal(block(x), expected)


def test_a_highway_begins_nearly_closed() -> None:
    net = net_of("highway")
    x = torch.zeros(1, 8, 8, 8)
    gate = part(net, "stage1.0").gate(x).sigmoid()
    assert gate.mean().item() == pytest.approx(1 / (1 + math.exp(2)))


def test_fixup_begins_as_the_identity_and_at_guessing() -> None:
    net = net_of("fixup")
    x = torch.rand(2, 8, 16, 16)
    assert torch.equal(part(net, "stage1.0")(x), x)
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    assert nn.functional.cross_entropy(net(images), labels).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize(("depth", "convs"), [(20, 2), (56, 2), (29, 3)])
def test_fixup_scales_the_first_convolutions_by_the_papers_power_of_the_depth(depth: int, convs: int) -> None:
    net = net_of("fixup", depth=depth, convs_per_block=convs, width=16)
    num_blocks = (depth - 2) // convs
    for _, block in net.blocks():
        *first, last = (conv.get_parameter("weight") for conv, _ in block.layers())
        assert not last.any()
        for weight in first:
            fan_in = weight[0].numel()
            expected = math.sqrt(2 / fan_in) * num_blocks ** (-1 / (2 * convs - 2))
            assert weight.std().item() == pytest.approx(expected, rel=0.1)


def test_fixups_first_update_reaches_the_head_alone_and_the_second_every_branch() -> None:
    net = net_of("fixup")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    reached = []
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        reached.append(
            {name for name, weight in net.named_parameters() if weight.grad is not None and weight.grad.any()}
        )
        optimizer.step()
    assert {name.split(".")[0] for name in reached[0]} == {"head"}
    assert "stage1.0.conv2.weight" in reached[1]
    assert {name for name, _ in net.named_parameters() if "conv" in name} <= reached[2]


@pytest.mark.parametrize("block", VARIANTS)
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_the_profile_is_plain_autograds(block: str, kind: str) -> None:
    if kind == "plain" and block in ("highway", "fixup"):
        pytest.skip("has a shortcut always")
    net = net_of(block, kind=kind).double().train()
    with torch.no_grad():  # away from Fixup's zeros
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    splits = make_splits(num_train=8)
    batch = render(splits.train, unaugmented(torch.arange(8)))
    outputs, value = [], net.stem(batch.images.double())
    for _, part in net.blocks():
        outputs.append(value)
        value = part(value)
    outputs.append(value)
    loss = nn.functional.cross_entropy(net.classify(value), batch.labels, reduction="sum")
    expected = [g.norm().item() / math.sqrt(8) for g in torch.autograd.grad(loss, outputs)]
    found = [output["norm"] for output in gradient_profile(net, batch)["outputs"]]
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"block": "fixup"}, "block fixup goes with norm none, not batch"),
        ({"block": "fixup", "norm": "none", "kind": "plain"}, "kind residual, not plain"),
        ({"block": "highway", "kind": "plain"}, "block highway goes with kind residual"),
        ({"block": "bottleneck"}, "block bottleneck goes with convs_per_block 3, not 2"),
        ({"block": "resnext"}, "block"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_said(keys: dict[str, object], said: str) -> None:
    sets = [f"model.{key}={value}" for key, value in keys.items()]
    from resexp.config.load import load

    with pytest.raises(UsageError, match=said):
        load(None, sets)


def test_the_block_is_part_of_a_runs_identity_and_the_basic_one_changes_no_name() -> None:
    before = tiny_config()
    assert before.model.block == "basic"
    assert "block" in ModelSection.model_fields
    assert tiny_config(model__block="squeeze_excite").digest() != before.digest()
    assert tiny_config(model__block="basic").digest() == before.digest()
