"""The convolution kernel and its gradients say what float64 says, in every instruction set, at every size."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from shutil import which

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.kernels import Kernels, load
from resexp.training.execution import kernels_folder

HAS = torch.cpu.get_capabilities()
SETS = [
    "native",
    *(["haswell"] if HAS.get("avx2") else []),
    *(["x86-64"] if HAS.get("architecture") == "x86_64" else []),
]
TARGETS = [f"{compiler} {target}" for compiler in ("g++", "clang++") if which(compiler) for target in SETS]
NATIVE = TARGETS[0]
SIZES = [  # channels in and out, height, width, batch, stride
    (8, 8, 5, 5, 130, 1),
    (8, 16, 33, 33, 3, 2),
    (16, 16, 32, 32, 3, 1),
    (16, 32, 32, 32, 5, 2),
    (24, 24, 7, 19, 13, 1),
    (24, 48, 9, 6, 65, 2),
    (32, 32, 16, 16, 8, 1),
    (40, 8, 5, 33, 8, 1),
    (64, 64, 8, 8, 33, 1),
    (64, 128, 8, 8, 129, 2),
    (128, 128, 4, 4, 130, 1),
    (128, 128, 13, 13, 9, 1),
]


@pytest.fixture(params=TARGETS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return built(request.param)


@cache
def built(compiler_and_target: str) -> Kernels:
    compiler, target = compiler_and_target.split()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CXX", compiler)
        return load.__wrapped__(kernels_folder(), target)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def maps(
    channels_in: int, channels_out: int, height: int, width: int, batch: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Positive inputs, as a ReLU leaves them, a filter and a bias."""
    rng = torch.Generator().manual_seed(channels_in * height + batch + seed)
    x = torch.randn(batch, channels_in, height, width, generator=rng).relu()
    w = torch.randn(channels_out, channels_in, 3, 3, generator=rng)
    return last(x), last(w), torch.randn(channels_out, generator=rng)


def through(kernels: Kernels | None, *inputs: Tensor, stride: int, scale: float = 1.0) -> list[Tensor]:
    """The output, and the gradients for x, w and bias of its product with fixed numbers (times `scale`)."""
    x, w, bias = (tensor.clone(memory_format=torch.preserve_format).requires_grad_() for tensor in inputs)
    y = kernels.conv3x3(x, w, bias, stride) if kernels else F.conv2d(x, w, bias, stride, padding=1)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) * scale
    return [y.detach(), *torch.autograd.grad(y, (x, w, bias), last(dy.to(y.dtype)))]


def error(found: Tensor, true: Tensor) -> float:
    return float((found.double() - true).norm() / true.norm())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_output_and_gradients_are_within_four_times_torchs_error(
    kernels: Kernels, size: tuple[int, ...]
) -> None:
    *shape, stride = size
    inputs = maps(*shape)
    true = through(None, *(tensor.double() for tensor in inputs), stride=stride)
    for name, ours, torchs, exact in zip(
        ("y", "dx", "dw", "dbias"),
        through(kernels, *inputs, stride=stride),
        through(None, *inputs, stride=stride),
        true,
        strict=True,
    ):
        assert error(ours, exact) <= 4 * error(torchs, exact), name


def grid() -> Iterator[tuple[int, int, int]]:
    """A fifth of all widths, maps and batches together, those of little work."""
    for i, width in enumerate((8, 16, 24, 32, 64, 128)):
        for k, side in enumerate((4, 5, 6, 7, 8, 13, 16, 20, 25, 33)):
            for m, batch in enumerate((1, 2, 3, 12, 130)):
                if (i + k + m) % 5 == 0 and width**2 * side**2 * batch <= 2 * 10**7:
                    yield width, side, batch


@pytest.mark.parametrize("stride", [1, 2])
def test_whatever_the_width_the_map_and_the_batch_the_error_is_within_four_times_torchs(stride: int) -> None:
    """Of three draws together: a single small one may fall well for torch."""
    for width, side, batch in grid():
        square = {}
        for seed in range(3):
            inputs = maps(width, width * stride, side, side, batch, seed)
            true = through(None, *(tensor.double() for tensor in inputs), stride=stride)
            for who in (built(NATIVE), None):
                for i, found in enumerate(through(who, *inputs, stride=stride)):
                    square[i, who] = square.get((i, who), 0) + error(found, true[i]) ** 2
        for i, name in enumerate(("y", "dx", "dw", "dbias")):
            ours, torchs = (square[i, who] ** 0.5 for who in (built(NATIVE), None))
            assert ours <= 4 * torchs, (width, side, batch, name)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_what_else_comes_back_for_x_is_added_to_its_gradient(
    kernels: Kernels, stride: int, layout: torch.memory_format
) -> None:
    x, w, _ = maps(16, 24, 9, 13, 32)
    x.requires_grad_()
    more = torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).to(memory_format=layout)
    y, kept = kernels.conv3x3_and_x(x, w, None, stride)
    dy = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    (alone,) = torch.autograd.grad(y, x, dy, retain_graph=True)
    (both,) = torch.autograd.grad((y, kept), x, (dy, more), retain_graph=True)
    (kept_alone,) = torch.autograd.grad(kept, x, more)
    assert torch.equal(kept_alone, more)
    assert error(both, alone.double() + more) <= 1e-7


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_what_finite_differences_say(kernels: Kernels, stride: int) -> None:
    """y is linear in x and in w, so a difference has no error but rounding."""
    inputs = maps(16, 24, 6, 9, 70)
    y, *gradients = through(kernels, *inputs, stride=stride)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    for i, gradient in enumerate(gradients):
        step = torch.randn(inputs[i].shape, generator=torch.Generator().manual_seed(2 + i))
        moved = [
            last(t + step) if i == k and t.dim() == 4 else t + step if i == k else t
            for k, t in enumerate(inputs)
        ]
        difference = through(kernels, *moved, stride=stride)[0].double() - y.double()
        slope = float((gradient.double() * step).sum())
        assert float((difference * dy).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("exponent", [100, -100])
def test_numbers_of_1e30_and_of_1e_minus_30_keep_every_bit(
    kernels: Kernels, exponent: int, stride: int
) -> None:
    """Scaled by a power of two nothing rounds otherwise, as long as nothing leaves the range."""
    x, w, bias = maps(16, 16, 9, 9, 32)
    scale = 2.0**exponent
    y, dx, dw, _ = through(kernels, x, w, 0 * bias, stride=stride)
    scaled, dx_scaled, *_ = through(kernels, x * scale, w, 0 * bias, stride=stride, scale=scale)
    assert torch.equal(scaled, y * scale)
    assert torch.equal(dx_scaled, dx * scale)
    assert torch.equal(through(kernels, x, w, bias, stride=stride, scale=scale)[2], dw * scale)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("spoilt", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_and_in_its_image(kernels: Kernels, spoilt: float, stride: int) -> None:
    x, w, bias = maps(16, 16, 9, 9, 32)
    clean = through(kernels, x, w, bias, stride=stride)
    x[1, :, 4, 4] = spoilt
    ours, torchs = (through(which, x, w, bias, stride=stride) for which in (kernels, None))
    assert not ours[0][~torchs[0].isfinite()].isfinite().any()
    assert torch.equal(ours[0][0::2], clean[0][0::2])
    assert not ours[2][~torchs[2].isfinite()].isfinite().any()


@pytest.mark.parametrize("flush", [True, False])
def test_subnormal_numbers_are_flushed_where_the_caller_flushes_and_only_there(
    kernels: Kernels, flush: bool
) -> None:
    """In turn in one thread, whose helpers have begun already: with torch they keep what they began with."""
    _, w, bias = maps(16, 16, 9, 9, 1)
    w, bias = w.clamp(0.5, 1.5), 0 * bias
    x = last(torch.full((16, 16, 9, 9), 1e-40))
    try:
        for mode in (not flush, flush):
            torch.set_flush_denormal(mode)
            y = kernels.conv3x3(x, w)
    finally:
        torch.set_flush_denormal(False)
    if flush:
        assert not y.view(torch.int32).any()
    else:
        assert error(y, F.conv2d(x.double(), w.double(), padding=1)) < 1e-4


def test_bits_are_the_same_again_and_output_and_dx_for_any_number_of_threads(kernels: Kernels) -> None:
    for stride in (1, 2):
        inputs = maps(16, 32, 13, 13, 32)
        first, again = (through(kernels, *inputs, stride=stride) for _ in range(2))
        assert all(map(torch.equal, first, again))
        torch.set_num_threads(3)
        assert all(map(torch.equal, through(kernels, *inputs, stride=stride)[:2], first[:2]))
        torch.set_num_threads(2)


PRINT_BITS = """
import hashlib, sys, torch
sys.path.insert(0, "tests")
from test_kernels_conv import bits
print(bits())
"""


def bits() -> str:
    torch.set_num_threads(2)
    tensors = through(built(NATIVE), *maps(16, 16, 13, 13, 16), stride=1)
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


def test_bits_are_the_same_in_another_process() -> None:
    found = subprocess.run([sys.executable, "-c", PRINT_BITS], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == bits()


def test_any_layout_and_no_gradient_for_x(kernels: Kernels) -> None:
    x, w, _ = maps(16, 16, 9, 9, 32)
    y = kernels.conv3x3(x.contiguous(), w.contiguous().requires_grad_())
    assert torch.equal(y, kernels.conv3x3(x, w))
    y.sum().backward()
