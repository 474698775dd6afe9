"""Stochastic depth against Huang et al. 2016, and against nets from which the blocks are really taken out."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from conftest import make_splits, tiny_config
from harness.comparing import differences
from harness.interrupting import train
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.config import Config
from resexp.data.batches import render
from resexp.data.splits import Splits
from resexp.experiments.verify import verify
from resexp.models.resnet import Network, build
from resexp.records.run import Run
from resexp.seeds import derive
from resexp.training.engine import Engine
from resexp.training.execution import Execution
from resexp.training.stochastic_depth import draw_kept

SGD = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01}


def config(**changes: object) -> Config:
    rates = {f"optim__{key}": value for key, value in SGD.items()}
    return tiny_config(**{"model__depth": 14, "model__survival": 0.5, "optim__steps": 6, **rates, **changes})


def engine(made: Config, mode: str = "eager") -> Engine:
    return Engine(made, make_splits().train, Execution("cpu", "float32", mode, 1, "test"))


def kept_at(made: Config, step: int) -> list[bool]:
    survivals = build(seed=0, num_classes=4, **made.model.model_dump()).survivals()
    drawn = draw_kept(derive(made.seed, "batches"), step, survivals=torch.tensor(survivals))
    return [bool(kept) for kept in drawn]


def test_of_54_blocks_a_step_keeps_40_on_average_as_the_paper_says() -> None:
    """Section 3: E(L) = (3L - 1) / 4 for p_L = 0.5, so 40 of 54; and each block by its own share."""
    net = build(seed=0, num_classes=10, depth=110, width=4, survival=0.5)
    survivals = torch.tensor(net.survivals())
    assert len(survivals) == 54
    assert survivals.tolist() == pytest.approx([1 - k / 108 for k in range(1, 55)])
    num_steps = 4_000
    drawn = torch.stack([draw_kept(0, step, survivals=survivals) for step in range(num_steps)])
    deviation = (survivals * (1 - survivals)).sum().sqrt()
    assert float(drawn.sum(1).mean()) == pytest.approx(
        (3 * 54 - 1) / 4, abs=float(4 * deviation) / num_steps**0.5
    )
    errors = (drawn.mean(0) - survivals) / (survivals * (1 - survivals) / num_steps).sqrt()
    assert errors.abs().max() < 4
    assert drawn.sum(1).var() == pytest.approx(float(deviation) ** 2, rel=0.1), "drawn independently"


class Removed(nn.Module):
    """The net without the blocks that a step leaves out: their shortcuts alone, and no branch."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net
        self.kept: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        x = self.net.stem(images)
        for kept, (_, block) in zip(self.kept, self.net.blocks(), strict=True):
            s = block.shortcut(x)
            x = block.after(s + block.branch(x) if kept else s)
        return self.net.head(self.net.closing(x).mean((2, 3)))


@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_step_is_that_of_the_net_without_the_blocks_it_leaves_out(norm: str, order: str) -> None:
    made = config(model__norm=norm, model__order=order, data__augment=False)
    ours = engine(made)
    net = build(seed=0, num_classes=4, **(made.model.model_dump() | {"survival": 1.0})).train()
    parameters = dict(net.named_parameters())
    momentum = {name: torch.zeros_like(value) for name, value in parameters.items()}
    removed = Removed(net)
    seen = set()
    for step in range(6):
        removed.kept = kept_at(made, step)
        seen |= {*zip(range(6), removed.kept, strict=True)}
        batch = render(ours.train, ours._make_steps._inputs.draw(step))  # pyright: ignore[reportAttributeAccessIssue]
        loss = F.cross_entropy(removed(batch.images), batch.labels)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        with torch.no_grad():
            for (name, value), g in zip(parameters.items(), gradients, strict=True):
                decayed = SGD["weight_decay"] * value + (0 if g is None else g)
                momentum[name] = SGD["momentum"] * momentum[name] + decayed
                value -= SGD["lr"] * momentum[name]
        assert float(ours.advance(1).loss) == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, value in ours.net.named_parameters():
        torch.testing.assert_close(value, parameters[name], rtol=1e-3, atol=1e-5, msg=name)
    assert (5, False) in seen
    assert len(seen) >= 10, "nearly every block was kept once and left out once"


def test_the_net_of_evaluation_is_the_mean_over_all_nets_of_training() -> None:
    """Exact where nothing bends: all 64 subsets of six blocks, weighted by how likely each is."""
    axes = {"depth": 14, "width": 4, "activation": "identity", "norm": "none", "survival": 0.3}
    net = build(seed=2, num_classes=4, **axes).double().train()
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.zeros(5, 4, dtype=torch.float64)
    with torch.no_grad():
        for kept in itertools.product((0, 1), repeat=6):
            chance = math.prod(p if k else 1 - p for k, p in zip(kept, net.survivals(), strict=True))
            net.keep(torch.tensor(kept).double())
            expected += chance * net(images)
        found = net.eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(
        build(seed=2, num_classes=4, **(axes | {"survival": 1.0})).double()(images), expected
    )


@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_a_run_that_goes_on_keeps_the_blocks_it_would_have_kept(mode: str) -> None:
    whole, first, second = (engine(config(), mode) for _ in range(3))
    losses = whole.advance(6).loss
    first.advance(3)
    second.restore(first.state())
    assert torch.equal(second.advance(3).loss, losses[3:])
    for name, value in second.net.state_dict().items():
        assert torch.equal(value, whole.net.state_dict()[name])


def test_an_interrupted_run_ends_with_the_bits_of_a_whole_one(splits: Splits, tmp_path: Path) -> None:
    made = config(optim__steps=12)
    train(tmp_path / "whole", made, splits)
    assert train(tmp_path / "broken", made, splits, until=5) is None
    train(tmp_path / "broken", made, splits)
    assert differences(tmp_path / "whole", tmp_path / "broken") == []


def test_the_summary_takes_no_gradient_of_one_draw_and_can_be_verified(
    splits: Splits, tmp_path: Path
) -> None:
    train(tmp_path, config(), splits)
    result = Run(tmp_path).result
    assert result is not None
    assert result.gradient is None
    assert result.transport.initial is not None
    assert all(check.holds for check in verify(tmp_path, lambda: splits))


def test_running_statistics_of_a_block_left_out_see_its_batch_too() -> None:
    made = config(model__norm="batch")
    trained = engine(made)
    trained.advance(1)
    left_out = [
        block for kept, (_, block) in zip(kept_at(made, 0), trained.net.blocks(), strict=True) if not kept
    ]
    assert left_out
    assert all(bool(block.get_buffer("norm1.running_mean").any()) for block in left_out)


def test_probes_see_each_block_with_its_share_of_the_steps() -> None:
    trained = engine(config())
    trained.advance(3)
    drawn = [float(block.kept) for _, block in trained.net.blocks()]
    assert drawn == [float(kept) for kept in kept_at(config(), 2)]
    copied = [float(block.kept) for _, block in trained.copy_of_net().blocks()]
    assert copied == pytest.approx(trained.net.survivals())
    assert [float(block.kept) for _, block in trained.net.blocks()] == drawn, "the net itself is left alone"


def test_batches_and_initial_weights_are_what_they_are_without() -> None:
    with_, without = engine(config()), engine(config(model__survival=1.0))
    for name, value in with_.net.state_dict().items():
        assert torch.equal(value, without.net.state_dict()[name])
    draws = [made._make_steps._inputs.draw(4) for made in (with_, without)]  # pyright: ignore[reportAttributeAccessIssue]
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))


def test_a_probability_that_rounds_to_one_is_one() -> None:
    assert engine(config(model__survival=1 - 2.0**-53)).advance(1).loss.isfinite()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "plain"}, "survival 0.5 goes with kind residual, not plain"),
        (
            {"block": "highway"},
            "survival 0.5 goes with block basic or bottleneck or squeeze_excite, not highway",
        ),
        ({"survival": 0.0}, "greater than 0"),
        ({"survival": 1.5}, "less than or equal to 1"),
    ],
)
def test_what_it_does_not_go_with_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        build(seed=0, num_classes=4, **({"depth": 8, "survival": 0.5} | changes))
