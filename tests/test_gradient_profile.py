"""The gradient profile against gradients taken another way, and the facts about `+ x` it has to show."""

import itertools
import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.config import Probe
from resexp.data.batches import Batch
from resexp.models.blocks import Block
from resexp.models.resnet import Network, build
from resexp.probes.gradient_profile import SPLIT, fold, gradient_profile, unfold
from resexp.records.files import strict_json
from resexp.training.loop import run
from tests.conftest import tiny_config

KINDS = ("plain", "residual")
ORDERS = ("post", "pre")


def net_of(dtype: torch.dtype = torch.float64, **model: object) -> Network:
    """A small net, depth 14 and width 4 unless said otherwise, in training mode."""
    return build(**{"seed": 3, "num_classes": 4, "depth": 14, "width": 4, **model}).to(dtype)


def images_of(num: int = 3, size: int = 16, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(num, 3, size, size, generator=generator), torch.arange(num) % 4)


def block_of(dtype: torch.dtype = torch.float64, *, stage: int = 1, index: int = 1, **model: object) -> Block:
    """One block of a residual net: of the same shape on both sides, unless index is 0 in stage 2 or 3."""
    blocks = dict(net_of(dtype, **{"kind": "residual", **model}).blocks())
    return blocks[f"stage{stage}.{index}"]


def pair_of(block: Block, dtype: torch.dtype = torch.float64, num: int = 3) -> tuple[Tensor, Tensor]:
    """An input of the block and a gradient at its output."""
    generator = torch.Generator().manual_seed(5)
    channels = block.get_parameter("conv1.weight").shape[1]
    x = torch.randn(num, channels, 8, 8, generator=generator).to(dtype)
    return x, torch.randn(block(x).shape, generator=generator).to(dtype)


@pytest.mark.parametrize(("kind", "order", "norm"), [*itertools.product(KINDS, ORDERS, ("none", "batch"))])
def test_gradients_are_those_of_the_whole_net_in_one_graph(kind: str, order: str, norm: str) -> None:
    net, batch = net_of(kind=kind, order=order, norm=norm), images_of()
    x = net.stem(batch.images.double())
    outputs = [x]
    for _, block in net.blocks():
        x = block(x)
        outputs.append(x)
    loss = F.cross_entropy(net.classify(x), batch.labels, reduction="sum")
    weights = [layer.weight for _, layer in net.weighted_layers()]
    gradients = torch.autograd.grad(loss, [*outputs, *weights])
    at_outputs, of_weights = gradients[: len(outputs)], gradients[len(outputs) :]

    row = gradient_profile(net, batch)

    assert row["loss"] == pytest.approx(loss.item() / 3, rel=1e-12)
    for output, g in zip(row["outputs"], at_outputs, strict=True):
        assert output["count"] == g.numel()
        assert output["norm"] == pytest.approx((g.square().sum() / 3).sqrt().item(), rel=1e-9)
        assert output["rms"] == pytest.approx(g.square().mean().sqrt().item(), rel=1e-9)
        assert output["zeros"] == (g == 0).sum()
    for layer, g, weight in zip(row["layers"], of_weights, weights, strict=True):
        mean = g / 3  # of the mean loss, which training descends
        assert layer["rms"] == pytest.approx(mean.square().mean().sqrt().item(), rel=1e-9)
        assert layer["relative"] == pytest.approx((mean.norm() / weight.norm()).item(), rel=1e-9)


def test_layers_are_counted_from_the_stem_in_weighted_layers() -> None:
    row = gradient_profile(net_of(depth=20, convs_per_block=3), images_of())
    assert [(output["name"], output["stage"], output["layer"]) for output in row["outputs"]] == [
        ("stem", 1, 1),
        ("stage1.0", 1, 4),
        ("stage1.1", 1, 7),
        ("stage2.0", 2, 10),
        ("stage2.1", 2, 13),
        ("stage3.0", 3, 16),
        ("stage3.1", 3, 19),
    ]
    assert len(row["layers"]) == 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_identity_shortcut_hands_the_gradient_through_bit_for_bit(dtype: torch.dtype, norm: str) -> None:
    """He et al. 2016, eq. 5: nothing after the addition, the same shape on both sides."""
    block = block_of(dtype, order="pre", norm=norm)
    x, g_out = pair_of(block, dtype)
    flow, _ = unfold(fold(block, x), g_out)
    assert flow.through_shortcut is not None
    assert torch.equal(flow.through_shortcut, g_out)
    assert torch.equal(flow.at_input, flow.through_branch + g_out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaled_shortcuts_multiply_the_gradient_by_the_product_of_their_scales(dtype: torch.dtype) -> None:
    """He et al. 2016, eq. 8; a power of two, so that it holds to the last bit."""
    block = block_of(dtype, order="pre", shortcut_scale=0.5)
    x, g_out = pair_of(block, dtype)
    flow, _ = unfold(fold(block, x), g_out)
    assert flow.through_shortcut is not None
    assert torch.equal(flow.through_shortcut, 0.5 * g_out)

    # With the branches silent the shortcuts are all there is: within a stage, scale^blocks.
    net = net_of(dtype, kind="residual", order="pre", shortcut_scale=0.5, branch_scale=0.0, depth=32)
    norms = [
        output["norm"] for output in gradient_profile(net, images_of())["outputs"] if output["stage"] == 1
    ]
    assert [norm / norms[-1] for norm in norms] == pytest.approx(
        [0.5**k for k in reversed(range(len(norms)))]
    )


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_relu_after_the_addition_masks_the_shortcut(norm: str) -> None:
    block = block_of(order="post", norm=norm)
    x, g_out = pair_of(block)
    z = block.join(x, block.branch(x))
    flow, _ = unfold(fold(block, x), g_out)
    assert flow.through_shortcut is not None
    assert torch.equal(flow.through_shortcut, torch.where(z > 0, g_out, 0.0))
    assert 0.1 < (z > 0).double().mean() < 0.9


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
def test_strided_shortcut_reads_a_quarter_of_the_positions(shortcut: str) -> None:
    block = block_of(stage=2, index=0, shortcut=shortcut)
    x, g_out = pair_of(block)
    flow, _ = unfold(fold(block, x), g_out)
    assert flow.through_shortcut is not None
    reached = (flow.through_shortcut != 0).any(dim=(0, 1))
    assert reached.double().mean() == 0.25
    row = gradient_profile(net_of(kind="residual", shortcut=shortcut), images_of())
    reach = {output["name"]: output["reach"] for output in row["outputs"]}
    assert {name for name, value in reach.items() if value == 0.25} == {"stage2.0", "stage3.0"}
    assert {value for name, value in reach.items() if name.startswith("stage1")} == {1.0}


@pytest.mark.parametrize(
    ("order", "norm", "scales"), [*itertools.product(ORDERS, ("none", "batch"), ((1.0, 1.0), (0.7, 0.4)))]
)
def test_split_is_that_of_two_separate_backward_passes(
    order: str, norm: str, scales: tuple[float, float]
) -> None:
    branch_scale, shortcut_scale = scales
    axes = {"order": order, "norm": norm, "branch_scale": branch_scale, "shortcut_scale": shortcut_scale}
    net, batch = net_of(kind="residual", **axes), images_of()
    row = gradient_profile(net, batch)

    x, inputs = net.stem(batch.images.double()), []
    for _, block in net.blocks():
        inputs.append(x)
        x = block(x)
    loss = F.cross_entropy(net.classify(x), batch.labels, reduction="sum")
    at_outputs = torch.autograd.grad(loss, [*inputs, x])

    for k, (_, block) in enumerate(net.blocks()):
        source = inputs[k].detach().requires_grad_()
        g_out, g_in = at_outputs[k + 1], at_outputs[k]
        z = block.join(source, block.branch(source)).detach().requires_grad_()
        (g_z,) = torch.autograd.grad(block.after(z), z, g_out) if order == "post" else (g_out,)
        (g_s,) = torch.autograd.grad(block.shortcut(source), source, shortcut_scale * g_z)
        (g_b,) = torch.autograd.grad(block.branch(source), source, branch_scale * g_z)
        torch.testing.assert_close(g_s + g_b, g_in, rtol=1e-10, atol=0)
        split = row["outputs"][k + 1]
        assert split["shortcut_share"] == pytest.approx(((g_s * g_in).sum() / g_in.square().sum()).item())
        assert split["branch_share"] == pytest.approx(((g_b * g_in).sum() / g_in.square().sum()).item())
        assert split["shortcut_share"] + split["branch_share"] == pytest.approx(1.0, abs=1e-14)
        assert split["shortcut_transmission"] == pytest.approx((g_s.norm() / g_out.norm()).item())
        assert split["branch_transmission"] == pytest.approx((g_b.norm() / g_out.norm()).item())
        assert split["cosine"] == pytest.approx(
            F.cosine_similarity(g_s.flatten(), g_b.flatten(), dim=0).item()
        )
        assert split["response_std"] == pytest.approx(block.branch(source).std(correction=0).item())


def test_shares_of_float32_sum_to_one() -> None:
    for output in gradient_profile(net_of(torch.float32, kind="residual"), images_of())["outputs"][1:]:
        assert output["shortcut_share"] + output["branch_share"] == pytest.approx(1.0, abs=1e-14)


def test_plain_block_has_no_shortcut_to_speak_of() -> None:
    stem, *blocks = gradient_profile(net_of(kind="plain"), images_of())["outputs"]
    assert {stem[key] for key in SPLIT} == {None}
    for inner, outer in itertools.pairwise([stem, *blocks]):
        assert outer["branch_share"] == 1.0
        assert outer["branch_transmission"] == pytest.approx(inner["norm"] / outer["norm"], rel=1e-12)
        assert outer["shortcut_share"] is outer["shortcut_transmission"] is outer["cosine"] is None


def test_float32_underflow_is_counted_and_float64_sees_what_was_lost() -> None:
    """Sigmoid at PyTorch's default init shrinks by 0.141 a layer: 1e-92 at depth 110."""
    axes = {"kind": "plain", "norm": "none", "activation": "sigmoid", "init": "default", "depth": 110}
    batch = images_of(num=2, size=8)
    in_float32 = gradient_profile(net_of(torch.float32, **axes), batch)["outputs"]
    assert in_float32[0]["norm"] == in_float32[0]["rms"] == 0.0
    assert in_float32[0]["zeros"] == in_float32[0]["count"]
    assert any(output["subnormals"] for output in in_float32)
    assert in_float32[-1]["zeros"] == 0
    assert in_float32[1]["branch_share"] is in_float32[1]["branch_transmission"] is None

    in_float64 = gradient_profile(net_of(**axes), batch)["outputs"]
    assert in_float64[0]["zeros"] == in_float64[0]["subnormals"] == 0
    assert -110 < math.log10(in_float64[0]["norm"] / in_float64[-1]["norm"]) < -80


def test_squares_do_not_underflow_where_the_gradient_itself_does_not() -> None:
    net = net_of(kind="plain", norm="none", activation="sigmoid", init="default", depth=302)
    batch = images_of(num=2, size=8)
    stem = net.stem(batch.images.double())
    x = stem
    for _, block in net.blocks():
        x = block(x)
    (g,) = torch.autograd.grad(F.cross_entropy(net.classify(x), batch.labels, reduction="sum"), stem)
    largest = g.abs().max().item()
    assert 0 < largest < 1e-200
    expected = largest * ((g / largest).square().sum() / 2).sqrt().item()
    assert gradient_profile(net, batch)["outputs"][0]["norm"] == pytest.approx(expected, rel=1e-9, abs=0)


def test_what_is_not_finite_is_null_in_strict_json() -> None:
    net = net_of(kind="residual")
    with torch.no_grad():
        net.get_parameter("stage2.0.conv1.weight").fill_(math.inf)
    row = gradient_profile(net, images_of())
    assert row["loss"] is None
    assert "null" in strict_json(row)


@pytest.mark.parametrize("name", get_args(get_args(Probe)[0]))
def test_probes_do_not_change_a_bit_of_the_training(name: str, splits, tmp_path) -> None:
    record = {}
    for label, probes in (("with", (name,)), ("without", ())):
        run(tiny_config(record__probes=probes), tmp_path / label, splits)
        state = torch.load(tmp_path / label / "checkpoints" / "step-0000000012.pt", weights_only=True)
        record[label] = (tmp_path / label / "metrics.jsonl").read_bytes(), state
    assert record["with"][0] == record["without"][0]
    for part in ("net", "momentum"):
        tensors, others = record["with"][1][part], record["without"][1][part]
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensor, others[key]) for key, tensor in tensors.items())
    assert (tmp_path / "with" / "profile.jsonl").stat().st_size > 0
    assert (tmp_path / "without" / "profile.jsonl").stat().st_size == 0
