"""cuDNN's part of the null GPU: convolutions and batch norm become empty tensors and a mark in the log.

cuDNN chooses its kernels on a real device, so its operators are replaced where torch calls them. Each counts
as one kernel; on a real GPU some are two or three. Imported by every Python process under the null GPU.
"""

import ctypes
import warnings

import torch
from torch import Tensor

null_gpu = ctypes.CDLL(None)
library = torch.library.Library("aten", "IMPL")


def mark(what: str) -> None:
    null_gpu.null_gpu_launched(what.encode())


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def is_channels_last(tensor: Tensor) -> bool:
    """Whether it can only be meant so: with one channel, or maps of one pixel, both layouts are the same."""
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def layout_of(images: Tensor, weight: Tensor) -> torch.memory_format:
    """As torch chooses it: channels last where one of the two is."""
    last = is_channels_last(images) or is_channels_last(weight)
    return torch.channels_last if last else torch.contiguous_format


def in_layout(tensor: Tensor, layout: torch.memory_format, what: str) -> None:
    """Mark the kernel that torch would need to bring a tensor into the layout."""
    if not tensor.is_contiguous(memory_format=layout):
        mark(f"cudnn copies {what} into another layout")


def convolution(
    images: Tensor,
    weight: Tensor,
    padding: list[int],
    stride: list[int],
    dilation: list[int],
    groups: int,
    benchmark: bool,
    deterministic: bool,
    allow_tf32: bool,
) -> Tensor:
    size = [
        (images.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    layout = layout_of(images, weight)
    in_layout(images, layout, "images")
    in_layout(weight, layout, "weight")
    mark(f"cudnn convolution forward {name_of(images.dtype)}{' as tf32' if allow_tf32 else ''}")
    shape = (images.shape[0], weight.shape[0], *size)
    return torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=layout)


def convolution_backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    bias_sizes: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    layout = layout_of(images, weight)
    in_layout(gradient, layout, "gradient")
    of_images = of_weight = of_bias = None
    if wanted[0]:
        mark(f"cudnn convolution gradient of images {name_of(images.dtype)}")
        of_images = torch.empty_like(images, memory_format=layout)
    if wanted[1]:
        mark(f"cudnn convolution gradient of weight {name_of(images.dtype)}")
        of_weight = torch.empty_like(weight, memory_format=layout)
    if wanted[2]:
        mark("sum for the gradient of a bias")
        of_bias = torch.empty(weight.shape[0], dtype=gradient.dtype, device=gradient.device)
    return of_images, of_weight, of_bias


def batch_norm(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    training: bool,
    momentum: float,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mark(f"cudnn batch norm forward {name_of(images.dtype)}")
    reserve = torch.empty(0, dtype=torch.uint8, device=images.device)
    return torch.empty_like(images), torch.empty_like(weight), torch.empty_like(weight), reserve


def batch_norm_backward(images: Tensor, gradient: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, ...]:
    mark(f"cudnn batch norm backward {name_of(images.dtype)}")
    return torch.empty_like(images), torch.empty_like(weight), torch.empty_like(weight)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that these operators exist already: that is the point
    library.impl("cudnn_convolution", convolution, "CUDA")
    library.impl("convolution_backward", convolution_backward, "CUDA")
    library.impl("cudnn_batch_norm", batch_norm, "CUDA")
    library.impl("cudnn_batch_norm_backward", batch_norm_backward, "CUDA")
