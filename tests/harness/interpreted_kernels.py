"""Run by test_triton_kernels with TRITON_INTERPRET=1: print, as JSON, how far all is from float64."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.config import Config, Pad
from resexp.data.batches import PAD, draw, render
from resexp.data.dataset import Dataset
from resexp.kernels.triton_operations import TritonKernels
from resexp.models.by_kernels import ByKernels
from resexp.models.resnet import build
from resexp.training import engine as engines
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution
from tests.conftest import make_splits

Row = dict[str, Any]
rng = torch.Generator().manual_seed(0)
normal = partial(torch.randn, generator=rng, dtype=torch.float64)
new_kernels = partial(TritonKernels, aside=False, dtype=torch.float32)


class Torch:
    """The same operations by PyTorch."""

    def conv3x3(self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        return F.conv2d(x, weight, bias, stride, 1)

    def norm_act(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        *,
        shortcut: Tensor | None = None,
        relu: bool = True,
        training: bool = True,
    ) -> Tensor:
        z = F.batch_norm(x, *running, weight, bias, training)
        z = z if shortcut is None else z + shortcut
        return F.relu(z) if relu else z

    def pad_shortcut(self, x: Tensor, stride: int, before: int, after: int) -> Tensor:
        return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, before, after))

    def pool(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


Work = Callable[[Any, Sequence[Tensor], tuple[Tensor, Tensor]], Tensor]


def as_float32(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().float()
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def distance(mine: Tensor, exact: Tensor) -> float:
    return ((mine.double() - exact).norm() / exact.norm()).item()


def compared(name: str, work: Work, inputs: Sequence[Tensor], *, twice: bool = False) -> Row:
    """How far a result, the running statistics and all gradients are from float64's, the largest of them."""
    kernels, channels = new_kernels(), 16

    def all_of(by: Any, tensors: Sequence[Tensor], slope: Tensor | None) -> tuple[list[Tensor], Tensor]:
        tensors = [tensor.requires_grad_() for tensor in tensors]
        dtype = tensors[0].dtype
        running = torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)
        out = work(by, tensors, running)
        slope = normal(out.shape) if slope is None else slope
        return [out.detach(), *running, *torch.autograd.grad(out, tensors, slope.to(dtype))], slope

    exact, slope = all_of(Torch(), [tensor.detach().clone() for tensor in inputs], None)
    mine, _ = all_of(kernels, list(map(as_float32, inputs)), slope)
    again, _ = all_of(kernels, list(map(as_float32, inputs)), slope) if twice else (mine, slope)
    return {
        "name": name,
        "error": max(map(distance, mine, exact)),
        "same bits twice": all(map(torch.equal, mine, again)),
    }


def norms() -> Iterator[Row]:
    for added in (False, True):
        for relu in (True, False):

            def work(
                by: Any, t: Sequence[Tensor], running: Any, added: bool = added, relu: bool = relu
            ) -> Tensor:
                return by.norm_act(*t[:3], running, shortcut=t[3] if added else None, relu=relu)

            inputs = [normal(3, 16, 20, 10) + 10, normal(16), normal(16), *[normal(3, 16, 20, 10)] * added]
            yield compared(f"norm{', shortcut' * added}{', ReLU' * relu}", work, inputs, twice=True)


def chains() -> Iterator[Row]:
    """Convolutions and norms that tell one another; the norm's output read by one, by two, by a shortcut."""

    def chain(by: Any, t: Sequence[Tensor], running: Any, *, readers: str) -> Tensor:
        x, w, v, gamma, beta, u = t
        z = by.norm_act(by.conv3x3(x, w, None, 1), gamma, beta, running)
        y = by.conv3x3(z, v, beta, 1)
        fresh = torch.zeros_like(running[0]), torch.ones_like(running[1])
        if readers == "two":
            y = y + z * z
        out = by.norm_act(y, beta, gamma, fresh, shortcut=z if readers == "a shortcut" else None)
        if readers == "two":
            return by.norm_act(by.conv3x3(out, u, None, 2), *[torch.cat((gamma, beta))] * 2, double(fresh))
        return by.pool(out) if readers == "one" else out + by.pad_shortcut(out, 1, 0, 0)

    def double(running: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.cat((running[0],) * 2), torch.cat((running[1],) * 2)

    inputs = [normal(2, 16, 16, 8), *(normal(16, 16, 3, 3) / 12 for _ in range(2)), normal(16), normal(16)]
    inputs.append(normal(32, 16, 3, 3) / 12)
    for readers in ("one", "two", "a shortcut"):
        used = partial(chain, readers=readers)
        if readers == "two":
            yield compared(f"{readers} readers", used, inputs)
            continue

        def without(by: Any, t: Sequence[Tensor], running: Any, used: Any = used) -> Tensor:
            return used(by, [*t, t[0]], running)

        yield compared(f"{readers} reader", without, inputs[:-1], twice=readers == "one")


def shortcuts() -> Iterator[Row]:
    def work(by: Any, t: Sequence[Tensor], _: Any) -> Tensor:
        return by.pad_shortcut(t[0], 2, 3, 5) * 1

    yield compared("pad shortcut", work, [normal(2, 8, 6, 10)])


def evaluated() -> Row:
    x, gamma, beta, mean = normal(3, 16, 4, 6), normal(16), normal(16), normal(16)
    variance = normal(16).square() + 0.1
    exact = Torch().norm_act(x, gamma, beta, (mean, variance), training=False)
    given = as_float32(x), as_float32(gamma), as_float32(beta)
    running = as_float32(mean), as_float32(variance)
    mine = new_kernels().norm_act(*given, running, training=False)
    kept = torch.equal(running[0], mean.float()) and torch.equal(running[1], variance.float())
    return {"name": "evaluation", "error": distance(mine, exact), "running statistics kept": kept}


def not_a_number() -> bool:
    """Whether a NaN in one map comes out of the norm and its ReLU, and of its gradient."""
    x = as_float32(normal(2, 16, 4, 4))
    x[0, 3, 1, 1] = torch.nan
    x.requires_grad_()
    z = new_kernels().norm_act(x, torch.ones(16), torch.zeros(16), (torch.zeros(16), torch.ones(16)))
    (slope,) = torch.autograd.grad(z.sum(), x)
    other = torch.arange(16) != 3
    bad = bool(z[:, 3].isnan().all() and slope[:, 3].isnan().all())
    return bad and bool(z[:, other].isfinite().all() and slope[:, other].isfinite().all())


def batches() -> list[bool]:
    """Whether a batch is torch's to the last bit: a mean a channel or a pixel, padded before or after."""
    found = []
    images = torch.randint(256, (9, 3, 12, 12), generator=rng, dtype=torch.uint8)
    for mean in (torch.rand(3, 1, 1, generator=rng) * 200, torch.rand(3, 12, 12, generator=rng) * 200):
        std = torch.rand(3, 1, 1, generator=rng) * 50 + 10
        for pad in get_args(Pad):
            data = Dataset(images, torch.arange(9), 9, "", mean, std, (), pad)
            spec = draw(3, 0, num_images=9, batch_size=5, augment=True)
            expected = render(data, spec)
            mine, labels = new_kernels().render(images, data.labels, mean, std, spec[:4], PAD, pad == "after")
            found.append(torch.equal(mine, expected.images) and torch.equal(labels, expected.labels))
    return found


def whole_net() -> Row:
    """Gradients of all parameters of a net whose norms come first, and its running statistics."""
    images, labels = normal(2, 3, 8, 8), torch.tensor([1, 2])
    built = partial(build, seed=1, num_classes=4, depth=5, convs_per_block=1, order="pre")
    net = built().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    exact = built().double()
    F.cross_entropy(ByKernels(net, new_kernels())(as_float32(images)), labels).backward()
    F.cross_entropy(exact(images), labels).backward()
    pairs = [(p.grad, q.grad) for p, q in zip(net.parameters(), exact.parameters(), strict=True)]
    pairs += list(zip(net.buffers(), exact.buffers(), strict=True))
    error = max(distance(a, b) for a, b in pairs if a is not None and b is not None)
    return {"name": "a net", "error": error}


def steps() -> dict[str, Any]:
    """Readings of an engine's first steps by the kernels and by torch, and what its probes are given."""
    config = Config.model_validate(
        {
            "model": {"depth": 5, "convs_per_block": 1},
            "optim": {"steps": 10, "batch_size": 2},
            "run": {"device": "cpu"},
        }
    )
    execution = Execution("cpu", "float32", "eager", 1, "a test")
    data = make_splits(num_train=16).train
    data = data._replace(images=data.images[:, :, 8:24, 8:24].contiguous())
    plain = prepared_engine(config, data, execution)
    engines.kernels_for = lambda _: new_kernels()
    ours = prepared_engine(config, data, execution)
    theirs, mine = plain.advance(1), ours.advance(1)
    return {
        "loss": distance(mine.loss, theirs.loss.double()),
        "gradient_norm": distance(mine.gradient_norm, theirs.gradient_norm),
        "probed": type(ours.copy_of_net()).__name__,
    }


if __name__ == "__main__":
    # Memory that nobody wrote is NaN: an element that a kernel passes over does not stay hidden.
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    rows = [*norms(), *chains(), *shortcuts(), evaluated(), whole_net()]
    print(json.dumps({"rows": rows, "nan": not_a_number(), "batches": batches(), "steps": steps()}))
