"""The data set in memory: raw images as a source gives them; labelled tensors with their statistics."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.config import Normalize, Pad

OnDecoded = Callable[[float], None]
"""What is told the part of the image files that is decoded, in [0, 1]."""


class Dataset(NamedTuple):
    """Labelled images on one device, with what is needed to normalise them."""

    images: Tensor
    """uint8 [N, 3, 32, 32], red, green, blue"""
    labels: Tensor
    """int64 [N], in [0, num_classes)"""
    num_classes: int
    fingerprint: str
    """64 hex digits: SHA-256 of the images and labels"""
    mean: Tensor
    """float32 [3, 1, 1] or [3, 32, 32], of the training images, in [0, 255]"""
    std: Tensor
    """float32 [3, 1, 1], in [0, 255]; the net sees (image - mean) / std"""
    classes: tuple[str, ...]
    """names in the order of the labels"""
    pad: Pad = "before"
    """normalising: with black pixels before, or with zeros after it"""
    mirrored: bool = True
    """whether an image mirrored left to right is of the same class"""
    cutout: int = 0
    """side of the square that a batch may cut out of each image"""

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the same data on `device`."""
        return self._replace(
            images=self.images.to(device),
            labels=self.labels.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def first(self, num: int) -> "Dataset":
        """Return the first `num` images, normalised as all are."""
        return self._replace(images=self.images[:num], labels=self.labels[:num])


def fingerprint(images: Tensor, labels: Tensor) -> str:
    """Return 64 hex digits that change with any pixel or label: SHA-256 of the bytes on the CPU."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for tensor in (images, labels):
        digest.update(tensor.contiguous().view(-1).numpy().data)
    return digest.hexdigest()


def statistics(images: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation to normalise with, float32, in [0, 255].

    channel: the mean and standard deviation of each channel, [3, 1, 1] both.
    pixel_mean: the mean image, [3, 32, 32], and 255 as the deviation, so that the net sees differences from
    the mean image in units of the full range (He et al. 2015 subtract the mean image and name no scale).
    Sums are exact: integers, whatever the number of threads.
    """
    num = images.shape[0]
    if normalize == "pixel_mean":
        total = images.numpy().sum(axis=0, dtype=np.int64)
        return torch.from_numpy(total / num).float(), torch.full((3, 1, 1), 255.0)
    values = torch.arange(256, dtype=torch.int64)
    counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(3)])
    pixels = num * images.shape[2] * images.shape[3]
    mean = (counts * values).sum(1).double() / pixels
    square = (counts * values**2).sum(1).double() / pixels
    std = (square - mean**2).sqrt().clamp(min=1.0)
    return mean.float().view(3, 1, 1), std.float().view(3, 1, 1)


def dataset(
    images: Tensor,
    labels: Tensor,
    classes: tuple[str, ...],
    normalisation: tuple[Tensor, Tensor],
    pad: Pad = "before",
) -> Dataset:
    """Return a Dataset of uint8 [N, 3, 32, 32] and int64 [N], normalised by what `statistics` returned."""
    mean, std = normalisation
    return Dataset(images, labels, len(classes), fingerprint(images, labels), mean, std, classes, pad)


class Raw(NamedTuple):
    """Training and test images, and what to call them."""

    train_images: NDArray[np.uint8]
    """[N, 3, 32, 32], red, green, blue"""
    train_labels: NDArray[np.int64]
    """[N], indices into classes"""
    test_images: NDArray[np.uint8]
    """[M, 3, 32, 32]"""
    test_labels: NDArray[np.int64]
    """[M]"""
    classes: tuple[str, ...]
    label: str
    """for titles, "CIFAR-10" or "crayons (drawn)" """
    notes: tuple[str, ...] = ()
    """what was decided in reading them, in sentences"""
    mirrored: bool = True
    """whether an image mirrored left to right is of the same class"""
