"""Nets trained by the kernels: the same mathematics, chosen by rule, obeyed when a run goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_config
from torch import Tensor

from resexp.config import RunSection
from resexp.data.splits import Splits
from resexp.errors import ResourceError, UsageError
from resexp.kernels import load, source_digest, triton_digest
from resexp.models.by_kernels import ByKernels
from resexp.models.resnet import build
from resexp.training import execution
from resexp.training.distributed.rank import Rank
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution, kernels_folder, resolve, spread

OURS = f"winograd-{source_digest()}"
TRITON = f"triton-{triton_digest()}"
TORCHS = Execution("cpu", "float32", "eager", 1, "test")
WINOGRAD = TORCHS._replace(kernels=OURS)
LONG, SHORT = 10**6, 1000
NETS = [
    {},
    {"kind": "plain"},
    {"order": "pre", "width": 24},
    {"norm": "none", "branch_scale": 0.5},
    {"norm": "group", "activation": "gelu"},
    {"activation": "tanh", "shortcut": "projection"},
    {"learn_branch_scale": True, "shortcut_scale": 0.5},
    {"survival": 0.5},
    {"survival": 0.5, "order": "pre"},
    {"width": 12, "convs_per_block": 3, "depth": 11},
]


def scores(net: Any, forward: Any, x: Tensor) -> list[Tensor]:
    """Logits in training, all gradients, all buffers, logits in evaluation."""
    logits = forward(x)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=x.dtype).reshape(logits.shape)
    (logits * weights).sum().backward()
    net.eval()
    with torch.inference_mode():
        evaluated = forward(x)
    return [logits.detach(), *(p.grad for p in net.parameters()), *net.buffers(), evaluated]


@pytest.mark.parametrize("model", NETS, ids=str)
def test_every_kind_of_net_computes_what_its_own_modules_compute(model: dict[str, Any]) -> None:
    """Smooth about the kinks: all in float64 but the kernels, whose error float32 explains."""
    found = []
    for ours in (True, False):
        net = build(seed=1, num_classes=4, **({"depth": 8, "width": 8, "kind": "residual"} | model)).train()
        net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = torch.randn(32, 3, 20, 20, generator=torch.Generator().manual_seed(0))
        if ours:
            found.append(scores(net, ByKernels(net, load(kernels_folder())), x))
        else:
            found.append(scores(net.double(), net, x.double()))
    for ours, true in zip(*found, strict=True):
        assert float((ours.double() - true).norm()) <= 2e-3 * float(true.norm()) + 1e-6


def losses(
    config: Any, splits: Splits, execution: Execution, perturbed: float = 0.0, seed: int = 0
) -> Tensor:
    """The losses of 200 steps; before each, every weight is moved by `perturbed` of itself."""
    engine = prepared_engine(config, splits.train, execution)
    if not perturbed:
        return engine.advance(200).loss.double()
    rng = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(200):
        with torch.no_grad():
            for parameter in engine.net.parameters():
                parameter *= 1 + perturbed * torch.randn(parameter.shape, generator=rng)
        found.append(engine.advance(1).loss.double())
    return torch.cat(found)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_200_steps_agree_with_torchs_as_those_with_themselves_perturbed_by_1e_minus_7(
    splits: Splits, norm: str, activation: str
) -> None:
    """At every step, as kernels err anew in every step; where a ReLU's kink is crossed a difference jumps.

    Measured (three seeds of the net): 0.1 to 4 times the larger of two draws, or of four.
    """
    model = {"model__norm": norm, "model__activation": activation, "model__branch_scale": 0.5}
    config = tiny_config(model__width=8, optim__steps=200, optim__lr=0.01, seed=2, **model)
    torchs, ours = (losses(config, splits, execution) for execution in (TORCHS, WINOGRAD))
    perturbed = [losses(config, splits, TORCHS, 1e-7, seed) for seed in range(2)]
    assert 0 < float((ours - torchs).norm()) <= 10 * max(float((one - torchs).norm()) for one in perturbed)


def test_a_run_taken_up_goes_on_with_the_same_bits(splits: Splits) -> None:
    config = tiny_config(model__width=8)
    whole, half = (prepared_engine(config, splits.train, WINOGRAD) for _ in range(2))
    readings = whole.advance(4)
    half.advance(2)
    other = prepared_engine(config, splits.train, WINOGRAD)
    other.restore(half.state())
    assert torch.equal(other.advance(2).loss, readings.loss[2:])
    assert all(torch.equal(a, b) for a, b in zip(whole.net.parameters(), other.net.parameters(), strict=True))


def test_probes_look_with_torchs_operations(splits: Splits) -> None:
    """So a reading depends on the weights alone, not on how they were trained."""
    engine = prepared_engine(tiny_config(model__width=8), splits.train, WINOGRAD)
    copy = engine.copy_of_net()
    images = torch.randn(4, 3, 32, 32)
    engine.net.train()
    assert torch.equal(copy(images), engine.net(images))
    assert not torch.equal(copy(images), engine._by_kernels(engine.net)(images))


@pytest.mark.parametrize(
    ("run", "num_images", "kernels", "why"),
    [
        ({"precision": "float32"}, LONG, OURS, "kernels winograd: float32 on a CPU"),
        ({"precision": "float32"}, SHORT, "torch", "kernels torch: 1,000 images planned"),
        ({"precision": "bfloat16"}, LONG, "torch", "kernels torch: this program's own are for float32"),
        ({"precision": "float32", "compile": True}, LONG, "torch", "kernels torch: this program's own are"),
        ({"precision": "float32", "kernels": "torch"}, LONG, "torch", ""),
        ({"kernels": "winograd"}, SHORT, OURS, "precision float32: the kernels asked for have no other"),
    ],
)
def test_auto_takes_them_for_long_runs_in_float32_on_a_cpu(
    run: dict[str, Any], num_images: int, kernels: str, why: str
) -> None:
    found = resolve(RunSection(device="cpu", **run), num_images=num_images)
    assert found.kernels == kernels
    assert why in found.reason
    assert ("kernels" in found.reason) == bool(why)


@pytest.mark.parametrize("run", [{"precision": "bfloat16"}, {"compile": True}])
def test_asked_for_by_name_where_they_cannot_serve_is_an_error(run: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"run\.kernels is winograd"):
        resolve(RunSection(device="cpu", kernels="winograd", **run), num_images=LONG)


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU on which torch computes, as far as `resolve` asks."""
    monkeypatch.setattr(execution, "gpu_fault", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))


def test_those_in_triton_are_refused_on_a_cpu() -> None:
    with pytest.raises(UsageError, match=r"run\.kernels is triton, .* it would be bfloat16 on cpu, eager"):
        resolve(RunSection(device="cpu", precision="bfloat16", kernels="triton"), num_images=SHORT)


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("run", "kernels", "why"),
    [
        ({}, TRITON, "kernels triton: in bfloat16 on an H200"),
        ({"kernels": "triton"}, TRITON, ""),
        ({"kernels": "torch"}, "torch", ""),
        ({"precision": "float32"}, "torch", "kernels torch: those in Triton are for bfloat16 on a GPU"),
        ({"compile": True}, "torch", "kernels torch: those in Triton are for bfloat16 on a GPU"),
    ],
)
def test_auto_takes_those_in_triton_in_bfloat16_on_a_hopper(
    run: dict[str, Any], kernels: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any length of run: nobody builds them beforehand."""
    monkeypatch.setattr(execution, "find_spec", lambda _: object())
    found = resolve(RunSection(**run), num_images=SHORT)
    assert (found.device, found.kernels) == ("cuda", kernels)
    assert why in found.reason
    assert ("kernels" in found.reason) == bool(why)


@pytest.mark.usefixtures("hopper")
def test_another_gpu_or_no_triton_leaves_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "find_spec", lambda _: None)
    found = resolve(RunSection(), num_images=LONG)
    assert (found.kernels, "Triton is not installed" in found.reason) == ("torch", True)
    with pytest.raises(ResourceError, match="cannot be had here: Triton is not installed"):
        resolve(RunSection(kernels="triton"), num_images=LONG)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    found = resolve(RunSection(), num_images=LONG)
    assert (found.kernels, "measured on a Hopper card alone" in found.reason) == ("torch", True)


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_torch_serves_and_says_why() -> None:
    found = resolve(RunSection(device="cpu", precision="float32"), num_images=LONG)
    assert found.kernels == "torch"
    assert "kernels torch: no C++ compiler here" in found.reason
    with pytest.raises(ResourceError, match=r"cannot be had here: no C\+\+ compiler here"):
        resolve(RunSection(device="cpu", kernels="winograd"), num_images=LONG)
    with pytest.raises(ResourceError, match=r"cannot be had here: no C\+\+ compiler here"):
        execution.kernels_for(WINOGRAD)


def test_kernels_of_another_source_are_refused() -> None:
    with pytest.raises(ResourceError, match="bits would differ"):
        execution.kernels_for(TORCHS._replace(kernels="winograd-000000000000"))


def test_several_devices_are_torchs() -> None:
    config = tiny_config(model__norm="group", optim__batch_size=8)
    two = Rank(rank=0, size=2, local_rank=0, local_size=2)
    found = spread(WINOGRAD, config, two)
    assert found.kernels == "torch"
    assert "kernels torch: no others have been measured on several devices" in found.reason
