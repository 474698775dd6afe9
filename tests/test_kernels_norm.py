"""The norm kernel and its gradients say what float64 says, and no variance is lost to cancellation."""

from collections.abc import Iterator

import pytest
import torch
from test_kernels_conv import TARGETS, built, error, last
from torch import Tensor
from torch.nn import functional as F

from resexp.kernels import Kernels


@pytest.fixture(params=TARGETS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return built(request.param)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def maps(channels: int, size: int, batch: int, mean: float = 0.0) -> list[Tensor]:
    """y, s, gamma, beta; y with a spread of 1 about `mean`."""
    rng = torch.Generator().manual_seed(channels + size)
    y, s = (torch.randn(batch, channels, size, size, generator=rng) for _ in range(2))
    gamma, beta = (torch.randn(channels, generator=rng) for _ in range(2))
    return [last(y + mean), last(s), gamma, beta]


def through(kernels: Kernels | None, inputs: list[Tensor], *, relu: bool, add: bool) -> dict[str, Tensor]:
    """The output, the gradients of its product with fixed numbers, the running statistics."""
    y, s, gamma, beta = (tensor.clone().requires_grad_() for tensor in inputs)
    running = torch.zeros_like(inputs[2]), torch.ones_like(inputs[2])
    if kernels:
        z = kernels.norm_act(y, gamma, beta, running, shortcut=s if add else None, relu=relu)
    else:
        z = F.batch_norm(y, *running, gamma, beta, training=True)
        z = z + s if add else z
        z = F.relu(z) if relu else z
    dz = last(torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(z.dtype))
    wanted = {"dy": y, "dgamma": gamma, "dbeta": beta} | ({"ds": s} if add else {})
    gradients = torch.autograd.grad(z, list(wanted.values()), dz)
    moved = {"running mean": running[0], "running variance": running[1]}
    return {"z": z.detach(), **dict(zip(wanted, gradients, strict=True)), **moved}


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize(
    ("channels", "size", "batch"), [(8, 4, 130), (16, 32, 4), (24, 7, 3), (128, 5, 1), (72, 13, 5)]
)
def test_output_gradients_and_statistics_are_within_four_times_torchs_error(
    kernels: Kernels, channels: int, size: int, batch: int, relu: bool, add: bool
) -> None:
    inputs = maps(channels, size, batch)
    true = through(None, [tensor.double() for tensor in inputs], relu=relu, add=add)
    ours, torchs = (through(which, inputs, relu=relu, add=add) for which in (kernels, None))
    for name, exact in true.items():
        assert error(ours[name], exact) <= 4 * max(error(torchs[name], exact), 1e-7), name


@pytest.mark.parametrize("mean", [1e3, -1e3, 1e5])
def test_a_mean_far_above_the_spread_costs_no_digits(kernels: Kernels, mean: float) -> None:
    inputs = maps(24, 32, 16, mean)
    true = through(None, [tensor.double() for tensor in inputs], relu=True, add=True)
    ours = through(kernels, inputs, relu=True, add=True)
    rounding = 1e-7 * abs(mean)
    """of the inputs' mean to float32, against a spread of 1"""
    assert error(ours["running variance"], true["running variance"]) < 1e-6
    assert error(ours["z"], true["z"]) < rounding
    assert error(ours["dgamma"], true["dgamma"]) < rounding * 30


def test_gradients_are_what_finite_differences_say(kernels: Kernels) -> None:
    inputs = maps(16, 5, 4)
    found = through(kernels, inputs, relu=False, add=True)
    dz = torch.randn(found["z"].shape, generator=torch.Generator().manual_seed(1)).double()
    for i, name in enumerate(("dy", "ds", "dgamma", "dbeta")):
        step = torch.randn(inputs[i].shape, generator=torch.Generator().manual_seed(2 + i)) * 1e-2
        ends = []
        for sign in (1, -1):
            moved = [t + sign * step if i == k else t for k, t in enumerate(inputs)]
            ends.append(float((through(kernels, moved, relu=False, add=True)["z"].double() * dz).sum()))
        slope = float((found[name].double() * step).sum())
        assert (ends[0] - ends[1]) / 2 == pytest.approx(slope, rel=2e-3, abs=1e-4), name


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf")])
def test_what_is_not_finite_reaches_its_whole_channel_and_no_other(kernels: Kernels, spoilt: float) -> None:
    inputs = maps(16, 8, 4)
    clean = through(kernels, inputs, relu=True, add=True)
    inputs[0][2, 3, 1, 1] = spoilt
    ours = through(kernels, inputs, relu=True, add=True)
    others = [c for c in range(16) if c != 3]
    for name in ("z", "dy", "running mean", "running variance"):
        of_channel = ours[name].movedim(1, 0) if ours[name].dim() == 4 else ours[name]
        of_clean = clean[name].movedim(1, 0) if clean[name].dim() == 4 else clean[name]
        assert torch.equal(of_channel[others], of_clean[others])
        assert not of_channel[3].isfinite().all()
    assert ours["z"][:, 3].isnan().all()


@pytest.mark.parametrize("relu", [True, False])
def test_evaluation_uses_the_running_statistics_and_leaves_them(kernels: Kernels, relu: bool) -> None:
    y, s, gamma, beta = maps(24, 7, 3, mean=2.0)
    running = torch.full((24,), 2.0), torch.full((24,), 1.5)
    with torch.inference_mode():
        z = kernels.norm_act(y, gamma, beta, running, shortcut=s, relu=relu, training=False)
    mean, var = (t.double() for t in running)
    true = F.batch_norm(y.double(), mean, var, gamma.double(), beta.double()) + s.double()
    assert error(z, true.relu() if relu else true) < 3e-7
    assert (running[0] == 2.0).all()
    assert (running[1] == 1.5).all()


@pytest.mark.parametrize("flush", [True, False])
def test_subnormal_numbers_are_flushed_where_the_caller_flushes_and_only_there(
    kernels: Kernels, flush: bool
) -> None:
    y, s, gamma, beta = maps(16, 16, 16)
    s = torch.full_like(s, 1e-40)
    try:
        for mode in (not flush, flush):
            torch.set_flush_denormal(mode)
            z = kernels.norm_act(y, 0 * gamma, 0 * beta, (0 * beta, beta), shortcut=s, relu=False)
    finally:
        torch.set_flush_denormal(False)
    assert z.view(torch.int32).count_nonzero() == (0 if flush else z.numel())


def test_bits_are_the_same_again(kernels: Kernels) -> None:
    first, again = (through(kernels, maps(24, 13, 9), relu=True, add=True) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
