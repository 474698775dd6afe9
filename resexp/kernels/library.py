"""The C functions on tensors: they check nothing and know no gradients."""

import ctypes
from ctypes import POINTER, Structure, byref, c_double, c_int, c_long, c_size_t, c_void_p
from pathlib import Path

import torch
from torch import Tensor


class _Conv(Structure):  # as in conv3x3.cpp
    _fields_ = (
        *((name, c_void_p) for name in ("x", "w", "bias", "dy", "plus", "y", "dx", "dw", "scratch")),
        *(
            (name, c_int)
            for name in ("n", "height", "width", "channels_in", "channels_out", "stride", "threads")
        ),
    )


class _Norm(Structure):  # as in norm_act.cpp
    _fields_ = (
        *((name, c_void_p) for name in ("y", "s", "z", "dz", "gamma", "beta", "out", "ds")),
        *((name, c_void_p) for name in ("mean", "inverse_std", "running_mean", "running_var")),
        *((name, c_void_p) for name in ("dgamma", "dbeta", "sums")),
        *((name, c_double) for name in ("eps", "momentum")),
        ("pixels", c_long),
        *((name, c_int) for name in ("channels", "relu", "threads")),
    )


def _set(structure: Structure, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None:
            setattr(structure, name, tensor.data_ptr())


def channels_last(tensor: Tensor) -> Tensor:
    """Return `tensor` [N, C, H, W] itself if its channels lie last in memory, else such a copy."""
    return tensor.contiguous(memory_format=torch.channels_last)


class Library:
    """All tensors are float32 with channels last, channels multiples of 8; results are new tensors."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be loaded."""
        self._c = ctypes.CDLL(str(path))
        self._c.conv3x3_scratch.restype = c_size_t
        for name, of in (
            ("conv3x3_pays", _Conv),
            ("conv3x3_scratch", _Conv),
            ("conv3x3_forward", _Conv),
            ("conv3x3_backward", _Conv),
            ("norm_act_forward", _Norm),
            ("norm_act_apply", _Norm),
            ("norm_act_backward", _Norm),
        ):
            getattr(self._c, name).argtypes = [POINTER(of)]

    def pays(self, x: Tensor, w: Tensor, stride: int) -> bool:
        """Whether the convolution is large enough to be cut into tiles."""
        return bool(self._c.conv3x3_pays(byref(self._describe(x, w, stride))))

    def conv(self, x: Tensor, w: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        """Return the convolution of x [N, C, H, W] with w [K, C, 3, 3], padding 1."""
        conv = self._describe(x, w, stride)
        size = (len(x), len(w), (x.shape[2] - 1) // stride + 1, (x.shape[3] - 1) // stride + 1)
        y = torch.empty(size, memory_format=torch.channels_last)
        _set(conv, bias=bias, y=y)
        self._call("conv3x3_forward", conv)
        return y

    def conv_gradients(
        self, dy: Tensor, x: Tensor, w: Tensor, stride: int, *, for_x: bool, plus: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Return the gradients for x, where asked for, with `plus` added, and w."""
        conv = self._describe(x, w, stride)
        dx = torch.empty_like(x) if for_x else None
        dw = torch.empty_like(w)
        _set(conv, dy=dy, plus=plus, dx=dx, dw=dw)
        self._call("conv3x3_backward", conv)
        return dx, dw

    def _describe(self, x: Tensor, w: Tensor, stride: int) -> _Conv:
        n, channels, height, width = x.shape
        conv = _Conv(
            n=n, height=height, width=width, channels_in=channels, channels_out=len(w), stride=stride
        )
        conv.threads = torch.get_num_threads()
        _set(conv, x=x, w=w)
        return conv

    def _call(self, name: str, conv: _Conv) -> None:
        scratch = torch.empty(self._c.conv3x3_scratch(byref(conv)))  # torch's: it raises, and frees
        _set(conv, scratch=scratch)
        getattr(self._c, name)(byref(conv))

    def norm(
        self,
        y: Tensor,
        s: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        running: tuple[Tensor, Tensor],
        *,
        eps: float,
        momentum: float,
        relu: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return z = act(norm(y) + s) by the batch's statistics, and its mean and 1 / std [C].

        running: mean and variance, moved in place.
        """
        norm, sums = self._describe_norm(y, relu)
        z, mean, inverse_std = torch.empty_like(y), torch.empty_like(gamma), torch.empty_like(gamma)
        norm.eps, norm.momentum = eps, momentum
        _set(norm, s=s, gamma=gamma, beta=beta, running_mean=running[0], running_var=running[1])
        _set(norm, out=z, mean=mean, inverse_std=inverse_std, sums=sums)
        self._c.norm_act_forward(byref(norm))
        return z, mean, inverse_std

    def norm_by(
        self,
        y: Tensor,
        s: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        inverse_std: Tensor,
        *,
        relu: bool,
    ) -> Tensor:
        """Return z = act(norm(y) + s) by these statistics."""
        norm, _ = self._describe_norm(y, relu)
        z = torch.empty_like(y)
        _set(norm, s=s, gamma=gamma, beta=beta, mean=mean, inverse_std=inverse_std, out=z)
        self._c.norm_act_apply(byref(norm))
        return z

    def norm_gradients(
        self,
        dz: Tensor,
        y: Tensor,
        z: Tensor,
        gamma: Tensor,
        mean: Tensor,
        inverse_std: Tensor,
        *,
        relu: bool,
        for_s: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Return the gradients for y, for s where asked for, gamma and beta."""
        norm, sums = self._describe_norm(y, relu)
        dy, dgamma, dbeta = torch.empty_like(y), torch.empty_like(gamma), torch.empty_like(gamma)
        ds = torch.empty_like(y) if for_s and relu else None  # without a ReLU it is dz
        _set(norm, dz=dz, z=z, gamma=gamma, mean=mean, inverse_std=inverse_std)
        _set(norm, out=dy, ds=ds, dgamma=dgamma, dbeta=dbeta, sums=sums)
        self._c.norm_act_backward(byref(norm))
        return dy, dz if for_s and not relu else ds, dgamma, dbeta

    def _describe_norm(self, y: Tensor, relu: bool) -> tuple[_Norm, Tensor]:
        n, channels, height, width = y.shape
        threads = torch.get_num_threads()
        norm = _Norm(pixels=n * height * width, channels=channels, relu=relu, threads=threads)
        _set(norm, y=y)
        return norm, torch.empty(threads * 2 * channels, dtype=torch.float64)
