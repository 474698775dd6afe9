"""The nets: what they count, where they begin, and the one line between the arms."""

import inspect
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.config import ModelSection, words
from resexp.models import blocks
from resexp.models.init import INITS
from resexp.models.resnet import Network, build

PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}


def net_of(**model: object) -> Network:
    return build(**{"seed": 0, "num_classes": 10, "kind": "residual", "depth": 8, "width": 8, **model})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameters_are_the_papers(kind: str, depth: int) -> None:
    net = build(seed=0, num_classes=10, kind=kind, depth=depth)
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[depth]


@pytest.mark.parametrize("convs_per_block", [1, 2, 3])
@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("shortcut", blocks.SHORTCUTS)
def test_depth_counts_the_weighted_layers(convs_per_block: int, order: str, shortcut: str) -> None:
    depth = 3 * 2 * convs_per_block + 2
    net = net_of(depth=depth, convs_per_block=convs_per_block, order=order, shortcut=shortcut)
    names = [name for name, _ in net.weighted_layers()]
    assert len(names) == depth
    assert (names[0], names[-1]) == ("stem.conv", "head")
    counted = {
        name
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and ".shortcut." not in name
    }
    assert set(names) == counted


@pytest.mark.parametrize(
    "model", [{}, {"order": "pre"}, {"norm": "none", "init": "default"}, {"norm": "group"}]
)
def test_same_seed_gives_bit_equal_twins(model: dict[str, object]) -> None:
    plain, residual = (net_of(kind=kind, **model).state_dict() for kind in ("plain", "residual"))
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(net_of(seed=0).head.weight, net_of(seed=1).head.weight)


def test_twins_differ_by_the_shortcut_alone() -> None:
    """With the same weights, residual minus plain is the shortcut, in every block."""
    plain, residual = (net_of(kind=kind, order="pre", norm="none") for kind in ("plain", "residual"))
    x = torch.randn(2, 8, 8, 8)
    for (_, a), (_, b) in zip(plain.blocks(), residual.blocks(), strict=True):
        stride = a.conv1.stride[0]  # type: ignore[index,union-attr]
        wide = a.conv1.out_channels - x.shape[1]  # type: ignore[operator,union-attr]
        shortcut = F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, wide // 2, wide // 2))  # type: ignore[misc]
        torch.testing.assert_close(b(x), a(x) + shortcut)
        x = torch.randn_like(a(x))


def test_the_kind_is_asked_for_in_one_line_of_the_forward_pass() -> None:
    source = inspect.getsource(blocks.Block)
    after_construction = source[source.index("def layers") :]
    assert after_construction.count("kind") == 1


@pytest.mark.parametrize("order", ["post", "pre"])
def test_a_block_is_what_the_paper_draws(order: str) -> None:
    """Against the formula, written out: He et al. 2015 for post order, 2016 for pre order."""
    net = net_of(order=order).eval()
    block: nn.Module = net.get_submodule("stage1.0")
    x = torch.randn(2, 8, 8, 8)
    conv1, conv2, norm1, norm2 = (block.get_submodule(name) for name in ("conv1", "conv2", "norm1", "norm2"))
    if order == "post":
        expected = F.relu(x + norm2(conv2(F.relu(norm1(conv1(x))))))
    else:
        expected = x + conv2(F.relu(norm2(conv1(F.relu(norm1(x))))))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_scales_multiply_branch_and_shortcut(scale: float) -> None:
    x = torch.randn(2, 8, 8, 8)
    one = net_of(order="pre").eval().get_submodule("stage1.0")
    both = net_of(order="pre", branch_scale=scale, shortcut_scale=3.0).eval().get_submodule("stage1.0")
    torch.testing.assert_close(both(x), scale * (one(x) - x) + 3.0 * x)


def test_a_learned_branch_scale_is_a_parameter_that_begins_as_stated() -> None:
    block = net_of(branch_scale=0.0, learn_branch_scale=True).get_submodule("stage1.0")
    assert isinstance(block.branch_scale, nn.Parameter)
    assert block.branch_scale.item() == 0.0
    x = torch.rand(2, 8, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("norm", blocks.NORMS)
def test_a_conv_has_a_bias_exactly_where_no_norm_follows(norm: str) -> None:
    convs = [layer for layer in net_of(norm=norm).modules() if isinstance(layer, nn.Conv2d)]
    assert all((layer.bias is not None) == (norm == "none") for layer in convs)


@pytest.mark.parametrize("width", [4, 8, 12, 20, 28])
@pytest.mark.parametrize("norm", blocks.NORMS)
def test_every_width_divisible_by_four_runs(width: int, norm: str) -> None:
    assert net_of(width=width, norm=norm)(torch.randn(2, 3, 16, 16)).shape == (2, 10)


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("he", lambda i, o: 2 / i),
        ("xavier", lambda i, o: 2 / (i + o)),
        ("default", lambda i, o: 1 / (3 * i)),
        ("orthogonal", lambda i, o: 1 / max(i, o)),
    ],
)
def test_init_has_the_stated_variance(init: str, variance) -> None:
    weight = net_of(init=init, width=32).get_submodule("stage1.0.conv2").weight
    assert isinstance(weight, Tensor)
    channels_out, fan_in = weight.shape[0], weight[0].numel()
    fan_out = channels_out if init == "orthogonal" else channels_out * 9
    expected = variance(fan_in, fan_out)
    spread = 4 * expected * math.sqrt(2 / weight.numel())
    assert abs(weight.var().item() - expected) < spread
    assert abs(weight.mean().item()) < 4 * math.sqrt(expected / weight.numel())


def test_biases_begin_at_zero_except_pytorchs_own() -> None:
    for init, drawn in (("he", False), ("xavier", False), ("orthogonal", False), ("default", True)):
        biases = [p for name, p in net_of(norm="none", init=init).named_parameters() if name.endswith("bias")]
        assert all(bias.any().item() == drawn for bias in biases)


def test_default_init_is_pytorchs() -> None:
    """The largest of many weights comes close to torch.nn's own bound, and never beyond it."""
    weight = net_of(init="default", width=32).get_submodule("stage1.0.conv2").weight
    assert isinstance(weight, Tensor)
    torch.manual_seed(0)
    reference = nn.Conv2d(32, 32, 3).weight
    bound = 1 / math.sqrt(32 * 9)
    for tensor in (weight, reference):
        assert 0.99 * bound < tensor.abs().max().item() <= bound


def test_words_and_dicts_agree() -> None:
    from typing import get_args

    for word, table in [
        (words.Norm, blocks.NORMS),
        (words.Activation, blocks.ACTIVATIONS),
        (words.Shortcut, blocks.SHORTCUTS),
        (words.Init, INITS),
    ]:
        own = get_args(word)[0] if word in (words.Activation, words.Init) else word  # beside import paths
        assert set(get_args(own)) == set(table)


def test_build_takes_the_keys_of_the_model_section() -> None:
    assert build(seed=0, num_classes=7, **ModelSection(depth=8).model_dump()).head.out_features == 7


@pytest.mark.parametrize("width", [4, 16])
def test_a_projection_is_the_strided_convolution_of_option_b(width: int) -> None:
    """Channels last too, where oneDNN's own strided gradient of 4 channels takes the process down."""
    projection = blocks.ProjectionShortcut(width, 2 * width, 2, norm="none", order="pre")
    projection.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    x = torch.randn(4, width, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    given = projection(x)
    parameters = dict(projection.named_parameters())
    weight, bias = parameters["conv.weight"], parameters["conv.bias"]
    corners = x.detach()[:, :, ::2, ::2]
    expected = torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], corners) + bias[:, None, None]
    torch.testing.assert_close(given, expected)
    given.sum().backward()
    assert x.grad is not None
    taken = torch.zeros(8, 8, dtype=torch.bool)
    taken[::2, ::2] = True
    assert (x.grad[:, :, ~taken] == 0).all()
    torch.testing.assert_close(x.grad[0, :, 0, 0], weight[:, :, 0, 0].sum(0))
