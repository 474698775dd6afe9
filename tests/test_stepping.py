"""One step, executed in several ways: the same training, each way the same bits whenever it is repeated.

On a CPU the graphed way is its twin: the same function over the same buffers, called instead of replayed.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import make_splits, tiny_config
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.errors import Diverged
from resexp.experiments.verify import tensor_digests
from resexp.records.run import Run
from resexp.training.cuda_graph import WINDOW
from resexp.training.engine import Engine
from resexp.training.execution import Execution, keep_compilations, resolve
from resexp.training.loop import run
from resexp.training.step import Readings

STEPS = 200
AT_FIRST, LOSS_WITHIN, NORM_WITHIN = 10, 1e-5, 1e-3
"""Relative. Rounding in another order grows from step to step, so the limits hold for so many steps;"""
LATER_LOSS_WITHIN, LATER_NORM_WITHIN = 1e-2, 2e-2
"""these hold for all of them, the second for the mean over steps and layers."""

needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
MODES = ["eager", "graphed", pytest.param("compiled", marks=needs_a_compiler)]


def execution(mode: str) -> Execution:
    return Execution("cpu", "float32", mode, 1, "test")


def config(**changes: object) -> Config:
    """Few layers and small steps, rates that change with every step, images that are cropped and mirrored."""
    schedule = {"name": "cosine", "warmup_steps": 30}
    small = {"model__depth": 5, "model__convs_per_block": 1, "optim__batch_size": 16}
    return tiny_config(
        **{"optim__steps": STEPS, "optim__lr": 0.002, "optim__schedule": schedule, **small, **changes}
    )


def engine(mode: str, made: Config | None = None) -> Engine:
    return Engine(made or config(), make_splits().train, execution(mode))


@cache
def trained(mode: str, attempt: int = 0) -> tuple[Readings, dict[str, str]]:
    """Return the readings of 200 steps and the digests of what they led to."""
    made = engine(mode)
    return made.advance(STEPS), tensor_digests(made.state())


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile into a folder of these tests' own, so that what is kept from before takes no part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.mark.parametrize("mode", MODES[1:])
def test_every_way_trains_alike(mode: str) -> None:
    (measured, _), (expected, _) = trained(mode), trained("eager")
    loss, norm = (((a - b) / b).abs() for a, b in zip(measured, expected, strict=True))
    assert loss[:AT_FIRST].max() < LOSS_WITHIN
    assert norm[:AT_FIRST].max() < NORM_WITHIN
    assert loss.max() < LATER_LOSS_WITHIN
    assert norm.mean() < LATER_NORM_WITHIN
    assert expected.loss[-20:].mean() < 0.8 * expected.loss[:20].mean()  # else agreement would say little


@pytest.mark.parametrize("mode", MODES)
def test_each_way_is_reproducible_to_the_last_bit(mode: str) -> None:
    (first, tensors), (again, tensors_again) = trained(mode, 0), trained(mode, 1)
    assert torch.equal(first.loss, again.loss)
    assert torch.equal(first.gradient_norm, again.gradient_norm)
    assert tensors == tensors_again


@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_spans_of_any_length_are_the_same_steps(mode: str) -> None:
    made = engine(mode)
    lengths = [1, 1, 3, WINDOW - 5, WINDOW, WINDOW - 1, 2, STEPS - 3 * WINDOW - 1]
    readings = Readings.cat([made.advance(length) for length in lengths])
    whole, tensors = trained(mode)
    assert torch.equal(readings.loss, whole.loss)
    assert torch.equal(readings.gradient_norm, whole.gradient_norm)
    assert tensor_digests(made.state()) == tensors


@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_it_stops_between_steps_and_another_engine_goes_on(mode: str) -> None:
    made, asked = engine(mode), []
    readings = made.advance(STEPS, should_stop=lambda: asked.append(0) or len(asked) == WINDOW + 7)
    assert len(readings.loss) == made.step == WINDOW + 7
    other = engine(mode)
    other.restore(made.state())
    rest = other.advance(STEPS - other.step)
    whole, tensors = trained(mode)
    assert torch.equal(torch.cat([readings.loss, rest.loss]), whole.loss)
    assert tensor_digests(other.state()) == tensors


def test_going_back_leaves_nothing_behind() -> None:
    """As after a damaged checkpoint: the same engine, restored to an earlier step."""
    made = engine("graphed")
    made.advance(10)
    state = {
        key: {name: tensor.clone() for name, tensor in value.items()} if isinstance(value, dict) else value
        for key, value in made.state().items()
    }
    first = made.advance(60)
    made.restore(state)
    again = made.advance(60)
    assert torch.equal(first.loss, again.loss)


@pytest.mark.parametrize(
    "changes",
    [
        {"optim__momentum": 0.0},
        {"optim__nesterov": True, "optim__weight_decay": 0.01},
        {"record__gradient_norm": False},
        {"optim__ema": 0.9},
        {"model__shortcut": "projection", "model__order": "pre", "model__width": 8},
        {"model__shortcut": "projection", "model__width": 8},
        {"model__norm": "none", "model__learn_branch_scale": True},
    ],
    ids=str,
)
def test_every_kind_of_net_and_optimizer_can_be_graphed(changes: dict) -> None:
    results = {mode: engine(mode, config(**changes)).advance(AT_FIRST) for mode in ("eager", "graphed")}
    for measured, expected in zip(results["graphed"], results["eager"], strict=True):
        torch.testing.assert_close(measured, expected, rtol=LOSS_WITHIN, atol=1e-6)


def test_a_graphed_run_diverges_at_the_same_step_with_the_same_record(splits: Splits, tmp_path: Path) -> None:
    # Weight decay this large multiplies the weights by -9 at each step: they overflow after some 40 steps.
    made = tiny_config(
        optim__steps=100, optim__lr=10.0, optim__weight_decay=1.0, model__norm="none", record__probes=()
    )
    faults = []
    for mode in ("eager", "graphed"):
        (tmp_path / mode).mkdir()
        with pytest.raises(Diverged):
            run(made, tmp_path / mode, splits, execution=execution(mode))
        faults.append(Run(tmp_path / mode).metrics[-1])
    assert faults[0] == faults[1]


@needs_a_compiler
def test_seeds_and_rates_share_one_compilation() -> None:
    from torch._dynamo.utils import counters

    trained("compiled")
    before = counters["stats"]["unique_graphs"]
    assert before > 0
    engine("compiled", config(seed=1, optim__lr=0.02, optim__weight_decay=0.01)).advance(2)
    assert counters["stats"]["unique_graphs"] == before


def test_compilations_are_kept_with_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert kept_in(keep_compilations) == str(tmp_path / "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())  # as torchvision's import leaves it
    assert kept_in(keep_compilations) == str(tmp_path / "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert kept_in(keep_compilations) == "/elsewhere"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path / "file"))
    assert kept_in(keep_compilations) is None


def kept_in(keep: Callable[[], None]) -> str | None:
    keep()
    return os.environ.get("TORCHINDUCTOR_CACHE_DIR")


def test_a_gpu_gets_the_graph_and_a_cpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def mode(**section: object) -> str:
        made = tiny_config(**{f"run__{key}": value for key, value in section.items()})
        return resolve(made.run, num_images=10**9).mode

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert mode(device="cuda", compile="auto") == "graphed"
    assert mode(device="cuda", compile=False) == "graphed"
    assert mode(device="cuda", compile=True) == "graphed+compiled"
    assert mode(device="cpu", compile=False) == "eager"
    assert mode(device="cpu", compile="auto", precision="float32") == "eager"
    assert mode(device="cpu", compile=True) == "compiled"
