"""The Triton kernels on a GPU: right, the same twice, how many, how fast, and where their time goes.

    python -m benchmarks.gpu_kernels [--depth 20,56,110] [--seconds 140] [--part PART ...]

Parts, in this order: cold, operations, steps, profile, gradient, trajectory, reproducible, variants,
overlapped, compiled.
Each ends by itself; what fails is recorded as its fault; the file is written after every part. Begun on a
cache without kernels (TRITON_CACHE_DIR), `cold` says what compiling them costs.
"""

import argparse
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.contender import config_of
from benchmarks.results import record, spread
from resexp.data.batches import draw, render
from resexp.data.splits import load
from resexp.kernels import triton_conv, triton_norm, triton_plans
from resexp.kernels.triton_conv import OutputPlan
from resexp.kernels.triton_operations import TritonKernels
from resexp.models.by_kernels import ByKernels
from resexp.models.resnet import Network, build
from resexp.seeds import derive
from resexp.training import engine as engines
from resexp.training.engine import Engine, prepared_engine
from resexp.training.execution import Execution, kernels_for, kernels_name

BATCH = 128
ROUNDS = 3
BEGAN = time.monotonic()
KINDS: dict[str, dict[str, Any] | None] = {
    "torch": None,
    "triton": {"aside": True, "letters": True},
    "triton, one stream": {"aside": False, "letters": True},
    "triton, no letters": {"aside": True, "letters": False},
    "triton, one stream, no letters": {"aside": False, "letters": False},
}
"""How the steps are made; of the Triton kernels, with and without what they tell one another."""


def execution(kind: str, mode: str = "graphed") -> Execution:
    triton = KINDS.get(kind) is not None
    return Execution(
        "cuda", "bfloat16", mode, 8, "a benchmark", kernels=kernels_name("triton") if triton else "torch"
    )


def made(kind: str, depth: int, mode: str = "graphed", lr: float = 0.02) -> Engine:
    """Return an engine whose steps are made so."""
    how = KINDS.get(kind)
    engines.kernels_for = lambda _: None if how is None else TritonKernels(**how)
    try:
        config = config_of(depth, lr=lr)
        return prepared_engine(config, load(config.data).train, execution(kind, mode))
    finally:
        engines.kernels_for = kernels_for


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def cold(_: argparse.Namespace) -> dict[str, float]:
    """Seconds until ResNet-20's first span is made: by torch's kernels, then compiling the Triton ones."""
    return {kind: seconds(lambda kind=kind: made(kind, 20).advance(50)) for kind in ("torch", "triton")}


def relative(mine: Tensor, exact: Tensor) -> float:
    """L2 norm of the difference over that of the exact."""
    return ((mine.double() - exact).norm() / exact.norm()).item()


def random(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(shape, generator=generator, device="cuda") * scale


def images(seed: int, *shape: int) -> Tensor:
    return random(seed, *shape).bfloat16().contiguous(memory_format=torch.channels_last)


def operations(_: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Relative errors of every operation and gradient on fresh random inputs against float64."""
    found = {}
    for channels_in, channels_out, stride in triton_plans.PLANS:
        size = 32 * 16 // channels_in if channels_in > 3 else 32
        found[f"conv {channels_in} to {channels_out}, stride {stride}"] = conv_errors(
            channels_in, channels_out, stride, size
        )
    for channels in triton_plans.NORM_CHANNELS:
        for added in (False, True):
            for relu in (True, False):
                name = f"norm {channels}{', shortcut' * added}{', ReLU' * relu}"
                found[name] = norm_errors(channels, 32 * 16 // channels, added=added, relu=relu)
    return found


def conv_errors(channels_in: int, channels_out: int, stride: int, size: int) -> dict[str, float]:
    kernels, seed = TritonKernels(aside=False), time.time_ns() % 2**31
    x = images(seed, BATCH, channels_in, size, size).requires_grad_(channels_in > 3)
    weight = random(seed + 1, channels_out, channels_in, 3, 3, scale=(2 / (9 * channels_in)) ** 0.5)
    weight = weight.contiguous(memory_format=torch.channels_last).requires_grad_()
    dy = images(seed + 2, BATCH, channels_out, size // stride, size // stride)
    kernels.begin([weight])
    y = kernels.conv3x3(x, weight, None, stride)
    wanted = (x, weight) if x.requires_grad else (weight,)
    mine = torch.autograd.grad(y, wanted, dy)
    exact_x = x.detach().double().requires_grad_()
    exact_weight = weight.detach().bfloat16().double().requires_grad_()
    exact = F.conv2d(exact_x, exact_weight, None, stride, 1)
    theirs = torch.autograd.grad(exact, (exact_x, exact_weight)[-len(wanted) :], dy.double())
    named_gradients = dict(zip(("input", "weight")[-len(wanted) :], map(relative, mine, theirs), strict=True))
    return {"output": relative(y.detach(), exact.detach())} | named_gradients


def norm_errors(channels: int, size: int, *, added: bool, relu: bool) -> dict[str, float]:
    """Of a map whose mean is three deviations from 0, so that cancellation would show."""
    kernels, seed = TritonKernels(aside=False), time.time_ns() % 2**31
    x = (images(seed, BATCH, channels, size, size) + 3).requires_grad_()
    shortcut = images(seed + 1, BATCH, channels, size, size).requires_grad_()
    weight, bias = random(seed + 2, channels).requires_grad_(), random(seed + 3, channels).requires_grad_()
    dz = images(seed + 4, BATCH, channels, size, size)
    running = torch.zeros(channels, device="cuda"), torch.ones(channels, device="cuda")
    z = kernels.norm_act(x, weight, bias, running, shortcut=shortcut if added else None, relu=relu)
    inputs = (x, weight, bias, *([shortcut] if added else []))
    mine = torch.autograd.grad(z, inputs, dz)
    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    moved = torch.zeros(channels, device="cuda").double(), torch.ones(channels, device="cuda").double()
    exact = F.batch_norm(doubles[0], *moved, *doubles[1:3], training=True)
    exact = exact + doubles[3] if added else exact
    exact = F.relu(exact) if relu else exact
    theirs = torch.autograd.grad(exact, doubles, dz.double())
    names = ("input", "weight", "bias", "shortcut")
    return {
        "output": relative(z.detach(), exact.detach()),
        "running mean": relative(running[0], moved[0]),
        "running variance": relative(running[1], moved[1]),
        **{name: relative(a, b) for name, a, b in zip(names, mine, theirs, strict=False)},
    }


def steps(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a step by each kind, in turn."""
    found = {}
    for depth in options.depth:
        kinds = KINDS if depth == 20 else ("torch", "triton", "triton, one stream")
        found[f"resnet{depth}"] = in_turn({kind: made(kind, depth) for kind in kinds}, 6000 // depth)
    return found


def in_turn(arms: Mapping[str, Engine], num_steps: int) -> dict[str, Any]:
    for engine in arms.values():
        engine.advance(50)
    times: dict[str, list[float]] = {kind: [] for kind in arms}
    for _ in range(ROUNDS):
        for kind, engine in arms.items():
            times[kind].append(1e3 * seconds(lambda engine=engine: engine.advance(num_steps)) / num_steps)
    return {kind: {"milliseconds_a_step": spread(found)} for kind, found in times.items()}


def where(kind: str, depth: int, mode: str, num_steps: int = 20) -> dict[str, Any]:
    """Kernels a step, their own time and how long by name; in a graph, from the graph's own replays."""
    engine = made(kind, depth, mode)
    engine.advance(50)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        engine.advance(num_steps)
        torch.cuda.synchronize()
    micros, calls = Counter(), Counter()
    for event in found.events() or []:
        if event.device_type == DeviceType.CUDA:
            micros[event.name[:90]] += event.device_time_total / num_steps
            calls[event.name[:90]] += 1
    return {
        "kernels_a_step": sum(calls.values()) / num_steps,
        "microseconds_a_step": sum(micros.values()),
        "longest": {
            name: {"microseconds": value, "calls": calls[name] / num_steps}
            for name, value in micros.most_common(40)
        },
    }


def profile_steps(_: argparse.Namespace) -> dict[str, Any]:
    return {kind: where(kind, 20, "graphed") for kind in ("triton, one stream", "triton", "torch")}


def nets(depth: int = 20) -> tuple[Callable[[], Network], Any]:
    """A way to make one net again and again, and a batch."""
    config = config_of(depth, augment=False)
    train = load(config.data).train.to("cuda")

    def net() -> Network:
        made = build(seed=1, num_classes=train.num_classes, **config.model.model_dump())
        return made.to("cuda").to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    seed = derive(config.seed, "batches")
    spec = draw(seed, 0, num_images=len(train.labels), batch_size=BATCH, augment=False)
    return net, render(train, spec)


def gradients(net: Network, forward: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> list[Tensor]:
    F.cross_entropy(forward(x).to(torch.promote_types(torch.float32, x.dtype)), labels).backward()
    return [layer.weight.grad for _, layer in net.weighted_layers() if layer.weight.grad is not None]


def autocast(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def cast(x: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            return forward(x)

    return cast


def gradient(_: argparse.Namespace) -> dict[str, Any]:
    """Errors of ResNet-20's weight gradients, layer by layer, against float64: by Triton and by cuDNN."""
    net, batch = nets()
    exact_net = net().double()
    exact = gradients(exact_net, exact_net, batch.images.double(), batch.labels)
    plain, ours = net(), net()
    by_torch = gradients(plain, autocast(plain), batch.images, batch.labels)
    by_triton = gradients(
        ours, autocast(ByKernels(ours, TritonKernels(aside=False))), batch.images, batch.labels
    )
    return {
        "triton": spread([relative(a, b) for a, b in zip(by_triton, exact, strict=True)]),
        "torch": spread([relative(a, b) for a, b in zip(by_torch, exact, strict=True)]),
    }


def trajectory(_: argparse.Namespace) -> dict[str, Any]:
    """Mean losses of 200 steps by both, and of the last 50."""
    found = {}
    for kind in ("torch", "triton"):
        readings = made(kind, 20).advance(200)
        found[kind] = {
            "mean_loss": readings.loss.mean().item(),
            "mean_loss_of_the_last_50": readings.loss[150:].mean().item(),
            "first_gradient_norms": readings.gradient_norm[0].tolist(),
        }
    last = [found[kind]["mean_loss_of_the_last_50"] for kind in ("triton", "torch")]
    return found | {"relative_difference_of_the_last_50": last[0] / last[1] - 1}


def reproducible(_: argparse.Namespace) -> dict[str, Any]:
    """Whether 100 steps made twice, graphed, and 20 made eagerly, are equal to the last bit."""
    first, second = (made("triton", 20) for _ in range(2))
    a, b = first.advance(100), second.advance(100)
    eager = made("triton", 20, "eager").advance(20)
    return {
        "losses": torch.equal(a.loss, b.loss),
        "gradient_norms": torch.equal(a.gradient_norm, b.gradient_norm),
        "parameters": all(
            torch.equal(p, q) for p, q in zip(first.net.parameters(), second.net.parameters(), strict=True)
        ),
        "first_losses_eager_as_graphed": (eager.loss - a.loss[:20]).abs().max().item(),
    }


@contextmanager
def changed(place: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


def replanned(key: tuple[int, int, int], **plans: OutputPlan) -> dict[Any, Any]:
    return triton_plans.PLANS | {key: triton_plans.PLANS[key]._replace(**plans)}


def variants(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a step of ResNet-20 with one thing changed, as long as there is time."""
    tiles4, tiles2 = OutputPlan(2, 64, tiles=4, stages=1), OutputPlan(2, 128, tiles=2)
    tried: dict[str, tuple[Any, str, object]] = {
        "as it is": (triton_norm, "TILE", triton_norm.TILE),
        "norm tiles of 4096": (triton_norm, "TILE", 4096),
        "norm tiles of 16384": (triton_norm, "TILE", 16384),
        "16 channels: 64 x 4, one stage": (
            triton_plans,
            "PLANS",
            replanned((16, 16, 1), output=tiles4, input=tiles4),
        ),
        "16 channels: 128 x 2": (triton_plans, "PLANS", replanned((16, 16, 1), output=tiles2, input=tiles2)),
        "32 channels: 128 rows, 4 warps": (
            triton_plans,
            "PLANS",
            replanned((32, 32, 1), output=OutputPlan(2, 128), input=OutputPlan(2, 128)),
        ),
    }
    found = {}
    for name, change in tried.items():
        if left(options) < 10:
            found[name] = "no time left"
            continue
        with changed(*change):
            engine = made("triton", 20)
            found[name] = in_turn({"triton": engine}, 300)["triton"]
    return found


def compiled(options: argparse.Namespace) -> dict[str, Any]:
    """What torch.compile makes of the same step, where there is time for it: ResNet-20 alone."""
    if left(options) < 45:
        return {"fault": "no time left"}
    return in_turn(
        {"graphed+compiled": made("torch", 20, "graphed+compiled"), "triton": made("triton", 20)}, 300
    )


def overlapped(_: argparse.Namespace) -> dict[str, Any]:
    """The same with kernels that begin while the one before them ends; bits must be the same."""
    plain = made("triton", 20)
    before = plain.advance(50)
    with changed(triton_conv, "OVERLAP", True):
        arms = {kind: made(kind, 20) for kind in ("triton", "triton, one stream")}
        same = {kind: torch.equal(engine.advance(50).loss, before.loss) for kind, engine in arms.items()}
        times = in_turn(arms, 300)
        deep = in_turn({"triton": made("triton", 56)}, 100)
    return {"same_losses": same, "resnet20": times, "resnet56": deep}


def left(options: argparse.Namespace) -> float:
    return options.seconds - (time.monotonic() - BEGAN)


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "cold": cold,
    "operations": operations,
    "steps": steps,
    "profile": profile_steps,
    "gradient": gradient,
    "trajectory": trajectory,
    "reproducible": reproducible,
    "variants": variants,
    "overlapped": overlapped,
    "compiled": compiled,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", default="20,56,110", type=lambda text: [int(d) for d in text.split(",")])
    parser.add_argument("--seconds", type=float, default=140, help="after them no part is begun")
    parser.add_argument("--part", nargs="*", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name in options.part:
        began = time.monotonic()
        if left(options) < 5:
            found[name] = {"fault": "no time left"}
            continue
        try:
            found[name] = PARTS[name](options)
        except Exception as error:  # the other parts are to be had all the same
            traceback.print_exc()
            found[name] = {"fault": f"{type(error).__name__}: {error}"[:500]}
        found[name]["seconds"] = round(time.monotonic() - began, 1)
        record("gpu_kernels", found)
        print(name, found[name], flush=True)
    print(record("gpu_kernels", found))


if __name__ == "__main__":
    main()
