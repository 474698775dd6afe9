"""One step, executed in several ways: the same training, each way the same bits whenever it is repeated.

On a CPU the graphed way is its twin: the same function over the same buffers, called instead of replayed.
"""

import gc
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_splits, tiny_config
from packaging.version import Version
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.errors import Diverged, Exit, ResourceError
from resexp.experiments.verify import tensor_digests
from resexp.records.run import Run, read_lines
from resexp.training.compilation import keep_compilations
from resexp.training.cuda_graph import WINDOW, CaptureError
from resexp.training.engine import Engine, prepare, prepared_engine, rehearsed
from resexp.training.execution import Execution, resolve
from resexp.training.loop import run
from resexp.training.metrics import MetricsLogger
from resexp.training.step import Readings, train_step

INDUCTOR_WARNS = Version(torch.__version__) < Version("2.14")
"""As it is imported, of torch's own deprecations: seen with 2.11."""
pytestmark = [pytest.mark.filterwarnings("ignore:::torch")] if INDUCTOR_WARNS else []
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
    return prepared_engine(made or config(), make_splits().train, execution(mode))


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


def test_making_an_engine_leaves_the_process_as_it_is_until_that_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    threads = torch.get_num_threads()
    Engine(config(), make_splits().train, execution("eager")._replace(threads=threads + 1))
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == (threads, False)
    prepared_engine(config(), make_splits().train, execution("eager")._replace(threads=threads + 1))
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == (threads + 1, True)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "tf32"])
def test_tf32_multiplies_only_where_it_is_asked_for_by_name(precision: str) -> None:
    products: Any = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [one.allow_tf32 for one in products]
    try:
        for one in products:
            one.allow_tf32 = precision != "tf32"
        prepare(execution("eager")._replace(precision=precision, threads=torch.get_num_threads()))
        assert [one.allow_tf32 for one in products] == [precision == "tf32"] * 2
    finally:
        for one, value in zip(products, before, strict=True):
            one.allow_tf32 = value


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
        {"optim__name": "adam", "optim__weight_decay": 0.01},
        {"optim__name": "adamw", "optim__weight_decay": 0.01},
        {"model__shortcut": "projection", "model__order": "pre", "model__width": 8},
        {"model__shortcut": "projection", "model__width": 8},
        {"model__norm": "none", "model__learn_branch_scale": True},
        {"model__survival": 0.5, "model__depth": 14},
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


@pytest.fixture
def a_step_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a read-back in the step, which no CUDA graph can hold."""

    def waiting(*arguments: Any) -> Readings:
        readings = train_step(*arguments)
        readings.loss.item()
        return readings

    monkeypatch.setattr("resexp.training.engine.train_step", waiting)


@pytest.mark.usefixtures("a_step_that_waits")
def test_a_step_that_cannot_be_recorded_is_made_eagerly_and_the_record_says_why(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resexp.training.resume.resolve", lambda *_, **__: execution("graphed"))
    said: list[str] = []
    made = tiny_config(optim__steps=3, record__probes=())
    run(made, tmp_path, splits, say=said.append)
    recorded = Run(tmp_path).manifest.execution.to_json()
    assert recorded["mode"] == "eager"
    assert "mode eager after all: the step cannot be recorded as one CUDA graph: " in recorded["reason"]
    assert "_local_scalar_dense" in recorded["reason"]
    assert said == [f"execution: {recorded['reason']}"]


@pytest.mark.usefixtures("a_step_that_waits")
def test_a_run_that_was_to_be_graphed_ends_with_exit_6_where_it_cannot(
    splits: Splits, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError) as caught:
        run(tiny_config(optim__steps=3, record__probes=()), tmp_path, splits, execution=execution("graphed"))
    assert caught.value.code == Exit.RESOURCES


def test_one_net_that_cannot_be_recorded_decides_for_all_arms(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting_if_deep(forward: Any, weights: Any, *rest: Any) -> Readings:
        readings = train_step(forward, weights, *rest)
        if len(weights) > 5:
            readings.loss.item()
        return readings

    monkeypatch.setattr("resexp.training.engine.train_step", waiting_if_deep)
    batch = splits.train.first(16)
    shallow, deep = ((config(model__depth=depth), batch) for depth in (5, 8))
    assert rehearsed(execution("graphed"), [shallow]) == execution("graphed")
    assert rehearsed(execution("graphed"), [shallow, deep]).mode == "eager"


def test_out_of_memory_while_recording_stays_what_it_is(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starving(*_: Any) -> Readings:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("resexp.training.engine.train_step", starving)
    made = tiny_config(optim__steps=3, record__probes=())
    assert rehearsed(execution("graphed"), [(made, splits.train.first(8))]).mode == "graphed"
    with pytest.raises(ResourceError, match=r"out of memory with optim\.batch_size 8"):
        run(made, tmp_path, splits, execution=execution("graphed"))


@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_an_engine_is_gone_when_its_run_is_over(
    mode: str, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Python's search for cycles, which may come late, and would come in the midst of a recording."""
    engines: list[weakref.ref[Engine]] = []

    class Watched(Engine):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            engines.append(weakref.ref(self))

    monkeypatch.setattr("resexp.training.engine.Engine", Watched)
    gc.collect()
    gc.disable()
    try:
        run(tiny_config(optim__steps=3), tmp_path, splits, execution=execution(mode))
        assert [engine() for engine in engines] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("mode", ["eager", "graphed"])
def test_a_span_is_written_while_a_graph_makes_the_next(
    mode: str, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    advance, steps = Engine.advance, MetricsLogger.steps

    def advancing(self: Engine, *arguments: Any, **options: Any) -> Readings:
        done.append(f"make {self.step}")
        return advance(self, *arguments, **options)

    def writing(self: MetricsLogger, start: int, readings: Readings) -> Any:
        done.append(f"write {start}")
        return steps(self, start, readings)

    monkeypatch.setattr(Engine, "advance", advancing)
    monkeypatch.setattr(MetricsLogger, "steps", writing)
    made = tiny_config(
        optim__steps=170, record__eval_every=120, record__checkpoint_every=500, record__probes=()
    )
    run(made, tmp_path, splits, execution=execution(mode))
    at_once = "make 0, write 0, make 50, write 50, make 100, write 100, make 120, write 120"
    while_running = "make 0, make 50, write 0, make 100, write 50, write 100, make 120, write 120"
    assert ", ".join(done) == (while_running if mode == "graphed" else at_once)
    record = Run(tmp_path)
    assert [row.step for row in record.rows("step")] == [*range(0, 170, 5), 169]
    assert [row["step"] for row in read_lines(tmp_path / "timing.jsonl")] == [50, 100, 120, 170]


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


def pretend_gpu(patch: pytest.MonkeyPatch, capability: tuple[int, int], built_for: list[str]) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    patch.setattr(torch.cuda, "get_device_name", lambda *_: "Old GPU")
    patch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    patch.setattr(torch.version, "cuda", "13.0")


@pytest.mark.parametrize(
    ("capability", "built_for", "usable"),
    [
        ((7, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((7, 5), ["sm_75", "sm_80", "sm_90"], True),
        ((8, 9), ["sm_75", "sm_80", "sm_90"], True),  # machine code runs on a later GPU of the same family
        ((10, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((10, 0), ["sm_80", "compute_90"], True),  # PTX is translated for whatever came later
        ((9, 0), ["sm_120"], False),
        ((12, 1), ["sm_120"], True),
        ((10, 0), ["sm_90a"], False),
        ((9, 0), ["sm_90a"], True),
    ],
)
def test_auto_takes_no_gpu_that_this_torch_has_no_kernels_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], built_for: list[str], usable: bool
) -> None:
    pretend_gpu(monkeypatch, capability, built_for)
    chosen = resolve(config(run__device="auto").run, num_images=1)
    assert chosen.device == ("cuda" if usable else "cpu")
    if not usable:
        number = ".".join(map(str, capability))
        assert f"Old GPU, capability {number} (it has {', '.join(built_for)})" in chosen.reason
        with pytest.raises(ResourceError, match=r"run\.device is cuda, but this torch has no kernels"):
            resolve(config(run__device="cuda").run, num_images=1)


def test_a_gpu_gets_the_graph_and_a_cpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def mode(**section: object) -> str:
        made = tiny_config(**{f"run__{key}": value for key, value in section.items()})
        return resolve(made.run, num_images=10**9).mode

    pretend_gpu(monkeypatch, (9, 0), ["sm_90"])
    assert mode(device="cuda", compile="auto") == "graphed"
    assert mode(device="cuda", compile=False) == "graphed"
    assert mode(device="cuda", compile=True) == "graphed+compiled"
    assert mode(device="cpu", compile=False) == "eager"
    assert mode(device="cpu", compile="auto", precision="float32") == "eager"
    assert mode(device="cpu", compile=True) == "compiled"
