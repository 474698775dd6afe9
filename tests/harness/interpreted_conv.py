"""Run by test_triton_conv with TRITON_INTERPRET=1: print, as JSON, how far each product is from float64's."""

import json
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.kernels import triton_conv as ours
from resexp.kernels.triton_conv_weights import weight_gradient
from resexp.kernels.triton_plans import OutputPlan, WeightPlan

SHAPES = {  # N, C, K, H, W, stride
    "square": (2, 16, 16, 8, 8, 1),
    "one row": (5, 16, 32, 1, 4, 1),
    "three channels, and no multiple of a block": (2, 3, 16, 4, 12, 1),
    "48 channels to 32": (1, 48, 32, 4, 4, 1),
    "stride 2": (2, 16, 32, 8, 8, 2),
    "stride 2, wide": (1, 32, 48, 4, 8, 2),
}


def plans(product: str, stride: int) -> Iterator[OutputPlan | WeightPlan]:
    """Every way through the kernels: pixels abreast, rows and columns apart, channels in parts."""
    if product == "weight":
        yield WeightPlan(1, 16, 2, sum_block=1024)
        yield WeightPlan(2, 16, 3, rows=1, take=1, k_block=16, sum_block=1024)
        yield WeightPlan(2, 32, 1, take=2, sum_block=512)
    else:
        yield OutputPlan(1, 16, tiles=2)
        yield OutputPlan(2, 16, k_block=16)
        if product == "output" or stride == 1:
            yield OutputPlan(2, 32, take=1)
            yield OutputPlan(1, 16, take=2, k_block=16)


def last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def errors(name: str, layout: torch.memory_format) -> Iterator[dict[str, object]]:
    N, C, K, H, W, stride = SHAPES[name]
    generator = torch.Generator().manual_seed(len(name))
    x = torch.randn(N, C, H, W, generator=generator, dtype=torch.float64, requires_grad=True)
    w = torch.randn(K, C, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x, w, stride=stride, padding=1)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    dx, dw = torch.autograd.grad(y, (x, w), dy)
    images, slopes = last(x.detach().float()), last(dy.float())
    weight = w.detach().float().contiguous(memory_format=layout)
    products = {
        "output": (y.detach(), lambda plan: ours.output(images, weight, None, stride, plan)[0]),
        "input": (dx, lambda plan: ours.input_gradient(slopes, weight, stride, plan)[0]),
        "weight": (dw, lambda plan: weight_gradient(images, slopes, stride, plan)),
    }
    for product, (expected, compute) in products.items():
        for nth, plan in enumerate(plans(product, stride)):
            out = compute(plan)
            error = ((out.double() - expected).norm() / expected.norm()).item()
            again = name != "square" or nth > 1 or torch.equal(out, compute(plan))
            yield {
                "shape": name,
                "product": product,
                "plan": str(plan),
                "layout": str(layout),
                "error": error,
                "same bits twice": again,
                "channels last": out.is_contiguous(memory_format=torch.channels_last),
            }


if __name__ == "__main__":
    # Memory that nobody wrote is NaN: an element that a kernel passes over does not stay hidden.
    torch.use_deterministic_algorithms(True)
    layouts = dict.fromkeys(SHAPES, torch.channels_last) | {"square": torch.contiguous_format}
    print(json.dumps([row for name, layout in layouts.items() for row in errors(name, layout)]))
