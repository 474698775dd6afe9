"""Clipping, label smoothing, cutout and two inits: each does what its paper says, or by default nothing."""

import math
from functools import partial

import pytest
import torch
from conftest import make_splits, tiny_config
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.config import Config
from resexp.data.batches import draw, render, sample, unaugmented
from resexp.models.resnet import build
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution
from resexp.training.initial_net import initial_net, lsuv_images
from resexp.training.step import Recipe, clip, train_step, with_smoothing

EAGER = Execution("cpu", "float32", "eager", 1, "test")


def config(**changes: object) -> Config:
    small = {"model__depth": 5, "model__convs_per_block": 1, "optim__batch_size": 16, "optim__steps": 6}
    return tiny_config(**{**small, **changes})


def stepped(recipe: Recipe, momentum: float = 0.0) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return the parameters before and after a step of SGD at rate 1, and the loss that is recorded."""
    net = build(seed=1, num_classes=10, kind="residual", depth=8, width=4)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=momentum)
    batch = render(make_splits().train, unaugmented(torch.arange(16)))
    before = [parameter.detach().clone() for parameter in net.parameters()]
    readings = train_step(net, [], optimizer, batch, recipe)
    return before, [parameter.detach() for parameter in net.parameters()], readings.loss


def test_the_clipped_update_is_as_long_as_the_limit_and_points_where_it_did() -> None:
    before, free, _ = stepped(Recipe())
    _, held, _ = stepped(Recipe(clip=0.01))
    free_step, held_step = (
        torch.cat([(a - b).double().flatten() for a, b in zip(before, after, strict=True)])
        for after in (free, held)
    )
    assert free_step.norm() > 0.1
    assert float(held_step.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(F.cosine_similarity(free_step, held_step, dim=0)) == pytest.approx(1.0, abs=1e-5)


def test_a_limit_above_the_norm_changes_no_bit() -> None:
    _, free, _ = stepped(Recipe())
    _, held, _ = stepped(Recipe(clip=1e6))
    assert all(torch.equal(a, b) for a, b in zip(free, held, strict=True))


def test_a_gradient_whose_square_float32_cannot_hold_is_clipped_and_not_lost() -> None:
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([3e30, 0.0, 4e30])
    clip([weight], 1.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.0, 0.8]))


def test_smoothing_pulls_as_torchs_does_and_the_recorded_loss_has_none() -> None:
    logits = torch.randn(7, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.arange(7)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    with_smoothing(F.cross_entropy(ours, labels), ours, 0.1).backward()
    F.cross_entropy(theirs, labels, label_smoothing=0.1).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(stepped(Recipe())[2], stepped(Recipe(label_smoothing=0.1))[2])


def test_smoothed_logits_come_to_rest_where_the_paper_says() -> None:
    """At the least loss the right class leads each other one by log((1 - e + e/K) / (e/K)): no further."""
    smoothing, classes = 0.1, 10
    logits = torch.zeros(1, classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-12)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = with_smoothing(F.cross_entropy(logits, torch.tensor([3])), logits, smoothing)
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    lead = logits.detach()[0, 3] - logits.detach()[0, torch.arange(classes) != 3]
    rest = math.log((1 - smoothing + smoothing / classes) / (smoothing / classes))
    assert lead.tolist() == pytest.approx([rest] * (classes - 1), abs=1e-5)


@pytest.mark.parametrize("side", [1, 6, 9, 64])
@pytest.mark.parametrize("pad", ["before", "after"])
def test_cutout_is_a_square_of_zeros_around_its_middle(side: int, pad: str) -> None:
    train = make_splits().train._replace(pad=pad, cutout=side)  # type: ignore[arg-type]
    size = train.images.shape[-1]
    tables = draw(3, 5, num_images=len(train.labels), batch_size=32, augment=True, cutout=side, size=size)
    expected = render(train._replace(cutout=0), tables).images.clone()
    for image, middle in zip(expected, tables.cut.tolist(), strict=True):
        row, column = divmod(middle, size)
        top, left = row - side // 2, column - side // 2
        image[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0
    assert torch.equal(render(train, tables).images, expected)


def test_cutout_leaves_order_crops_and_flips_as_they_were_and_its_middles_reach_every_pixel() -> None:
    options = {"num_images": 400, "batch_size": 400, "augment": True, "size": 8}
    without, with_it = draw(3, 5, **options), draw(3, 5, **options, cutout=4)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(without[:4], with_it[:4], strict=True))
    assert set(with_it.cut.tolist()) == set(range(64))
    assert not torch.equal(with_it.cut, draw(3, 6, **options, cutout=4).cut)  # type: ignore[arg-type]


def test_no_evaluation_sees_a_cut() -> None:
    train = make_splits().train
    tables = unaugmented(sample(len(train.labels), 16))
    assert torch.equal(render(train._replace(cutout=8), tables).images, render(train, tables).images)


@pytest.mark.parametrize(
    "changes", [{"optim__clip": 0.1}, {"optim__label_smoothing": 0.2}, {"data__cutout": 4}]
)
def test_a_step_made_as_a_graph_is_made_is_the_eager_one(changes: dict) -> None:
    made = config(**changes)
    train = make_splits().train._replace(cutout=made.data.cutout)
    ways = [prepared_engine(made, train, EAGER._replace(mode=mode)) for mode in ("eager", "graphed")]
    plain = prepared_engine(config(), make_splits().train, EAGER)
    losses = [way.advance(6).loss for way in (*ways, plain)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    assert not torch.equal(losses[0], losses[2])


@pytest.mark.parametrize("shape", [(16, 16), (32, 16)])
def test_a_delta_orthogonal_convolution_keeps_every_norm(shape: tuple[int, int]) -> None:
    """Its whole map, over pixels and channels, is an isometry (Xiao et al. 2018)."""
    out, into = shape
    net = build(
        seed=1, num_classes=10, kind="residual", depth=5, width=16, convs_per_block=1, init="delta_orthogonal"
    )
    weights = [part.weight for part in net.modules() if isinstance(part, nn.Conv2d)]
    (weight,) = [weight for weight in weights if weight.shape[:2] == (out, into)][:1]
    images = torch.randn(4, into, 8, 8, generator=torch.Generator().manual_seed(0))
    came = F.conv2d(images, weight, padding=1)
    torch.testing.assert_close(came.flatten(1).norm(dim=1), images.flatten(1).norm(dim=1))
    centre = torch.zeros(3, 3).index_put((torch.tensor(1), torch.tensor(1)), torch.tensor(1.0))
    assert not (weight * (1 - centre)).any()


@pytest.mark.parametrize(
    "changes", [{}, {"model__norm": "none"}, {"model__kind": "plain", "model__order": "pre"}]
)
def test_after_lsuv_every_layer_gives_variance_one(changes: dict) -> None:
    made = config(model__init="lsuv", model__depth=14, **changes)
    train = make_splits().train
    net = initial_net(made, made.seed, train).train()
    seen: dict[str, float] = {}

    def note(name: str, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        seen[name] = float(output.detach().var())

    for name, layer in net.weighted_layers():
        layer.register_forward_hook(partial(note, name))
    again = initial_net(made, made.seed, train).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in net.state_dict().items())
    net(lsuv_images(made.seed, train))
    assert len(seen) == 14
    assert list(seen.values()) == pytest.approx([1.0] * 14, rel=0.02)  # torch divides by one less
