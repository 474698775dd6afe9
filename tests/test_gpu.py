"""What only a GPU can show: the recorded graph trains as eager steps do, and the host never waits in it."""

import warnings
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from conftest import make_splits, tiny_config

from resexp.config import Config
from resexp.errors import Diverged
from resexp.experiments.verify import tensor_digests
from resexp.records.run import Run
from resexp.training.cuda_graph import WINDOW
from resexp.training.engine import Engine, prepared_engine
from resexp.training.execution import Execution, resolve
from resexp.training.loop import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.filterwarnings("ignore:::torch"),  # Inductor's own imports warn in some versions
]
STEPS = 200
AT_FIRST = 10
WITHIN = {"float32": (1e-4, 1e-2), "bfloat16": (1e-2, 5e-2)}
"""Relative: of the losses of the first 10 steps one by one, of the mean loss of all 200."""
MODES = ["graphed", "compiled", "graphed+compiled"]


def execution(mode: str, precision: str = "float32") -> Execution:
    return Execution("cuda", precision, mode, 1, "test")


def config(**changes: object) -> Config:
    schedule = {"name": "cosine", "warmup_steps": 30}
    size = {"model__width": 16, "optim__batch_size": 32, "optim__lr": 0.005}
    return tiny_config(**{"optim__steps": STEPS, "optim__schedule": schedule, **size, **changes})


def engine(mode: str, precision: str = "float32", made: Config | None = None) -> Engine:
    return prepared_engine(made or config(), make_splits(num_train=256).train, execution(mode, precision))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_every_way_trains_alike(mode: str, precision: str) -> None:
    measured, expected = (engine(way, precision).advance(STEPS).loss for way in (mode, "eager"))
    first, mean = WITHIN[precision]
    torch.testing.assert_close(measured[:AT_FIRST], expected[:AT_FIRST], rtol=first, atol=0)
    torch.testing.assert_close(measured.mean(), expected.mean(), rtol=mean, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__shortcut": "projection"},
        {"optim__name": "adamw"},
        {"optim__clip": 1.0, "optim__label_smoothing": 0.1},
        {"model__order": "pre", "model__kind": "plain"},
        {"model__norm": "group", "model__learn_branch_scale": True},
        {"optim__nesterov": True, "optim__ema": 0.9},
        {"optim__momentum": 0.0, "record__gradient_norm": False},
    ],
    ids=str,
)
def test_every_kind_of_net_and_optimizer_can_be_graphed(changes: dict) -> None:
    losses = [engine(mode, made=config(**changes)).advance(AT_FIRST).loss for mode in ("graphed", "eager")]
    torch.testing.assert_close(*losses, rtol=WITHIN["float32"][0], atol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["eager", *MODES])
def test_each_way_is_reproducible_to_the_last_bit(mode: str, precision: str) -> None:
    found = []
    for _ in range(2):
        made = engine(mode, precision)
        losses = made.advance(STEPS).loss.tolist()
        found.append((losses, tensor_digests(made.state())))
    assert found[0] == found[1]


def test_a_run_broken_anywhere_ends_with_the_same_bits() -> None:
    whole, first, second = engine("graphed"), engine("graphed"), engine("graphed")
    losses = whole.advance(STEPS).loss
    asked: list[int] = []
    begun = first.advance(STEPS, should_stop=lambda: asked.append(0) or len(asked) == WINDOW + 7).loss
    assert first.step == WINDOW + 7
    second.restore(first.state())
    rest = second.advance(STEPS - second.step).loss
    assert torch.equal(torch.cat([begun, rest]), losses)
    assert tensor_digests(second.state()) == tensor_digests(whole.state())


def test_recording_leaves_the_net_as_it_was() -> None:
    # A rate too small to move a parameter that is not zero, as PyTorch's own biases are not.
    still = config(optim__lr=1e-30, optim__momentum=0.0, model__norm="none", model__init="default")
    made = engine("graphed", made=still)
    before = tensor_digests(made.state())
    made.advance(1)
    assert tensor_digests(made.state()) == before


def test_the_host_never_waits_for_the_device_between_spans() -> None:
    made = engine("graphed")
    made.advance(1)
    try:
        set_sync_debug_mode("error")
        made.advance(3 * WINDOW)
    finally:
        set_sync_debug_mode("default")


def set_sync_debug_mode(mode: str) -> None:
    with warnings.catch_warnings(action="ignore"):  # torch calls the mode a prototype
        torch.cuda.set_sync_debug_mode(mode)


def test_float32_is_float32_and_tf32_only_by_name() -> None:
    batch = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(1)).cuda()

    def error(precision: str) -> float:
        net = engine("eager", precision, made=config(model__norm="none", model__init="default")).net.eval()
        with torch.no_grad():
            features = net.get_submodule("stage1")(
                net.stem(batch)
            )  # three channels alone are multiplied in float32 anyhow
            exact = deepcopy(net).double()
            expected = exact.get_submodule("stage1")(exact.stem(batch.double()))
        return float((features - expected).norm() / expected.norm())

    assert error("float32") < 2e-6 < 1e-5 < error("tf32")


def test_a_graphed_run_that_diverges_is_a_result(tmp_path: Path) -> None:
    # Weight decay this large multiplies the weights by -9 at each step: they overflow after some 40 steps.
    made = tiny_config(
        optim__steps=100, optim__lr=10.0, optim__weight_decay=1.0, model__norm="none", model__width=8,
        run__device="cuda", run__compile="auto",
    )  # fmt: skip
    with pytest.raises(Diverged):
        run(made, tmp_path, make_splits())
    assert Run(tmp_path).manifest.execution.mode == "graphed"
    assert Run(tmp_path).metrics[-1].kind == "fault"


def test_what_auto_chooses_here_is_the_graph_in_bfloat16_where_the_card_has_it() -> None:
    chosen = resolve(config(run__device="auto", run__compile="auto", run__precision="auto").run, num_images=1)
    modern = torch.cuda.get_device_capability() >= (8, 0)
    assert chosen[:3] == ("cuda", "bfloat16" if modern else "float32", "graphed")
