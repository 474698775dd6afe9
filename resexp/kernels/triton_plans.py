"""Which convolutions the Triton kernels serve, and how each is cut: what was fastest on an H200.

Batch 128, images of 32 x 32, bfloat16, microseconds a call in a CUDA graph; beside ours cuDNN's deterministic
kernels and, where it is another, the fastest of its own (torch 2.11, cuDNN 9.19, Triton 3.6). Weights for
output and input gradient lie in bfloat16, as `TritonKernels.begin` makes them. The weight gradients include
the sum of the shares. Other shapes have not been measured and are not served.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class OutputPlan:
    """How `_convolve` cuts an output into programs; with `take`, `_convolve_stepwise` does."""

    abreast: int
    block: int
    tiles: int = 1
    warps: int = 4
    stages: int = 1
    k_block: int | None = None
    take: int | None = None


@dataclass(frozen=True)
class WeightPlan:
    """How `_weigh` cuts a batch: into shares of the pixels, these by rows and columns of the weight."""

    abreast: int
    block: int
    shares: int
    rows: int = 3
    warps: int = 4
    stages: int = 1
    k_block: int | None = None
    take: int | None = None
    sum_block: int = 16
    """Weights a program of the summing kernel."""


class Plans(NamedTuple):
    output: OutputPlan
    input: OutputPlan
    weight: WeightPlan


PLANS = {  # channels in, channels out, stride
    (3, 16, 1): Plans(
        OutputPlan(2, 128),  # 5.3; 23.1
        OutputPlan(1, 64),  # nobody asks for it, and it has not been measured
        WeightPlan(2, 128, 512, sum_block=16),  # 10.4; 50.1, 43.0
    ),
    (16, 16, 1): Plans(
        OutputPlan(2, 64, tiles=4, stages=3),  # 7.8; 21.6
        OutputPlan(2, 64, tiles=4, stages=3),  # 7.7; 25.9, 21.5
        WeightPlan(2, 64, 256, stages=3, sum_block=16),  # 10.9; 43.1, 40.0
    ),
    (16, 32, 2): Plans(
        OutputPlan(1, 128),  # 5.6; 9.0, 8.1
        OutputPlan(1, 128),  # 5.6; 21.4, 15.0
        WeightPlan(1, 128, 128, sum_block=16),  # 9.6; 42.9, 21.8
    ),
    (32, 32, 1): Plans(
        OutputPlan(2, 128, warps=8),  # 6.2; 7.7
        OutputPlan(2, 128, warps=8),  # 6.3; 10.2, 8.3
        WeightPlan(2, 64, 64, rows=1, stages=3, sum_block=32),  # 10.0; 53.9, 24.2
    ),
    (32, 64, 2): Plans(
        OutputPlan(1, 64, take=1, stages=3, k_block=32),  # 5.0; 6.0
        OutputPlan(1, 64),  # 4.9; 12.0, 11.3
        WeightPlan(1, 64, 43, rows=1, sum_block=64),  # 9.2; 14.2
    ),
    (64, 64, 1): Plans(
        OutputPlan(1, 64, take=1, stages=4, k_block=32),  # 5.1; 9.2, 7.5
        OutputPlan(1, 64, take=1, stages=4, k_block=32),  # 5.7; 7.3, 6.9
        WeightPlan(1, 64, 16, rows=1, take=1, stages=3, sum_block=64),  # 9.0; 18.6, 17.8
    ),
}
NORM_CHANNELS = (16, 32, 64)
"""Of the maps that the norms serve."""


def plans_for(x: Tensor, weight: Tensor, stride: int) -> Plans | None:
    """Return the plans for images [N, C, H, W] and weight [K, C, 3, 3], None where there are none."""
    channels_out, channels_in, *size = weight.shape
    plans = PLANS.get((channels_in, channels_out, stride))
    if plans is None or size != [3, 3] or x.shape[2] % stride or x.shape[3] % stride:
        return None
    width = x.shape[3] // stride
    return None if any(width % plan.abreast for plan in plans) else plans
