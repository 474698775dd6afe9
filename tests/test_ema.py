"""The average of the weights: by which a net is evaluated, and which changes nothing in its training."""

from pathlib import Path

import pytest
import torch
from conftest import tiny_config
from harness.comparing import differences
from harness.interrupting import train

from resexp.data.splits import Splits
from resexp.training.engine import Engine, prepared_engine
from resexp.training.execution import Execution

DECAY, STEPS = 0.8, 7


def engine(splits: Splits, ema: float, mode: str = "eager") -> Engine:
    return prepared_engine(
        tiny_config(optim__ema=ema), splits.train, Execution("cpu", "float32", mode, 1, "test")
    )


@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_it_is_the_sum_of_all_weights_on_the_way_each_worth_less_with_age(mode: str, splits: Splits) -> None:
    plain, averaged = engine(splits, 0.0), engine(splits, DECAY, mode)
    way = [{name: tensor.double() for name, tensor in plain.state()["net"].items()}]
    for _ in range(STEPS):
        plain.advance(1)
        way.append({name: tensor.double() for name, tensor in plain.state()["net"].items()})
    averaged.advance(STEPS)
    worth = [DECAY**STEPS] + [(1 - DECAY) * DECAY ** (STEPS - step) for step in range(1, STEPS + 1)]
    assert sum(worth) == pytest.approx(1)
    for name, tensor in averaged.state()["average"].items():
        by_hand = sum(weight * tensors[name] for weight, tensors in zip(worth, way, strict=True))
        torch.testing.assert_close(tensor.double(), by_hand, rtol=1e-4, atol=1e-5)


def test_it_is_evaluated_and_the_net_trains_on_as_without_it(splits: Splits) -> None:
    plain, averaged = engine(splits, 0.0), engine(splits, DECAY)
    losses = [made.advance(STEPS).loss for made in (plain, averaged)]
    assert torch.equal(*losses)
    for name, tensor in plain.state()["net"].items():
        assert torch.equal(tensor, averaged.state()["net"][name])
    expected = engine(splits, 0.0)
    expected.net.take(averaged.state()["average"])
    assert averaged.evaluate(splits.test) == expected.evaluate(splits.test)
    assert averaged.evaluate(splits.test) != plain.evaluate(splits.test)


def test_an_interruption_changes_no_bit_of_it(splits: Splits, tmp_path: Path) -> None:
    config = tiny_config(optim__ema=DECAY, record__probes=())
    train(tmp_path / "whole", config, splits)
    assert train(tmp_path / "broken", config, splits, until=6) is None
    assert train(tmp_path / "broken", config, splits) is not None
    assert differences(tmp_path / "whole", tmp_path / "broken") == []
