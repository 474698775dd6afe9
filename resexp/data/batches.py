"""Batches and augmentation: `draw` makes small tables of integers, `render` makes images of them.

Both arms of an experiment, every seed of a resume and every device see the same batches, because a batch is
a pure function of the seed and the step.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from resexp.data.dataset import Dataset
from resexp.errors import DataError
from resexp.seeds import derive

PAD = 4


class Draw(NamedTuple):
    """What decides one batch: int64 [B] each, on the CPU until someone moves it."""

    indices: Tensor
    """which images, in [0, N)"""
    top: Tensor
    """first row of the crop in the image padded by 4 on each side, in [0, 8]; 4 leaves the image in place"""
    left: Tensor
    """first column of the crop, likewise"""
    flip: Tensor
    """1 where the crop is mirrored left to right, else 0"""
    cut: Tensor
    """row * size + column of the middle of the square that is cut out of the crop; -1 where none is"""

    def to(self, device: torch.device | str) -> "Draw":
        """Return the same draw on `device`."""
        return Draw(*(table.to(device, non_blocking=True) for table in self))


class Batch(NamedTuple):
    """What the net sees."""

    images: Tensor
    """float32 [B, 3, 32, 32], normalised; channels last in memory"""
    labels: Tensor
    """int64 [B], in [0, num_classes)"""


def epoch_steps(num_images: int, batch_size: int) -> int:
    """Return the steps in one epoch, floor(N / B), at least 1; a batch larger than that is a DataError."""
    if batch_size > num_images:
        raise DataError(
            f"optim.batch_size is {batch_size}, but there are only {num_images} training images: "
            "lower it, or data.validation, which holds images back"
        )
    return num_images // batch_size


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, num_images: int) -> Tensor:
    return torch.randperm(num_images, generator=_stream(derive(seed, "order", epoch)))


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(
    seed: int,
    step: int,
    *,
    num_images: int,
    batch_size: int,
    augment: bool,
    mirror: bool = True,
    cutout: int = 0,
    size: int = 32,
) -> Draw:
    """Return what decides the batch at `step`, a pure function of the arguments.

    Each epoch has its own permutation, of which the last N mod B images are dropped: another rest each
    epoch. Crops and flips have a stream of their own, and cutout another, so switching one off leaves all
    else as it was; so does `mirror`, false where a mirrored image would be of another class. size: of the
    images, in pixels.
    """
    epoch, position = divmod(step, epoch_steps(num_images, batch_size))
    first = position * batch_size
    indices = _order(seed, epoch, num_images)[first : first + batch_size].clone()
    drawn = unaugmented(indices)
    if augment:
        rng = _stream(derive(seed, "augment", step))
        top, left = torch.randint(2 * PAD + 1, (2, batch_size), generator=rng)
        flip = torch.randint(2, (batch_size,), generator=rng)
        drawn = drawn._replace(top=top, left=left, flip=flip if mirror else torch.zeros_like(flip))
    if cutout:
        rng = _stream(derive(seed, "cutout", step))
        drawn = drawn._replace(cut=torch.randint(size * size, (batch_size,), generator=rng))
    return drawn


def unaugmented(indices: Tensor) -> Draw:
    """Return the draw of these images as they are, not cropped, mirrored or cut: int64 [B] of indices."""
    centre = torch.full_like(indices, PAD)
    return Draw(indices, centre, centre, torch.zeros_like(indices), torch.full_like(indices, -1))


def render(dataset: Dataset, draw: Draw) -> Batch:
    """Return the batch a draw speaks of, on the device of the dataset and in the size of its (square) images.

    Raw images are padded with black, cropped, mirrored and then normalised, in torchvision's order; with
    `pad: after` they are normalised first, each pixel by its own mean, and padded with zeros. No shape
    depends on the values and nothing is read back, so it can stand inside a CUDA graph when the draw lies on
    the device already. 128 images take 1.0 ms on one CPU core: padding the batch and gathering each pixel
    once was the fastest of eight ways tried (gathering straight from the store 1.7 ms, rows and then columns
    2.2 ms, products with 0/1 matrices 1.8 ms).
    """
    indices, top, left, flip, cut = draw.to(dataset.images.device)
    size = dataset.images.shape[-1]
    span = torch.arange(size, device=indices.device)
    padded_size = size + 2 * PAD
    rows = top[:, None] + span
    columns = left[:, None] + torch.where(flip[:, None] == 1, size - 1 - span, span)
    pixels = rows[:, :, None] * padded_size + columns[:, None, :]

    num = indices.shape[0]
    chosen = dataset.images[indices]
    if dataset.pad == "after":
        chosen = _normalised(chosen, dataset)
    padded = F.pad(chosen, (PAD, PAD, PAD, PAD)).view(num, 3, -1)
    images = padded.gather(2, pixels.view(num, 1, -1).expand(-1, 3, -1)).view(num, 3, size, size)
    if dataset.pad == "before":
        images = _normalised(images, dataset)
    images = cut_out(images, cut, dataset.cutout)
    return Batch(images.contiguous(memory_format=torch.channels_last), dataset.labels[indices])


def cut_out(images: Tensor, middle: Tensor, side: int) -> Tensor:
    """Return normalised images with a square of zeros each, `side` wide, of which what is inside counts.

    middle: as in a draw; where it is -1 nothing is cut. An even side reaches one pixel further up and left
    of its middle (DeVries and Taylor 2017).
    """
    if not side:
        return images
    size = images.shape[-1]
    span = torch.arange(size, device=images.device)

    def within(at: Tensor) -> Tensor:
        first = at[:, None] - side // 2
        return (span >= first) & (span < first + side)

    rows, columns = within(middle // size), within(middle % size)
    square = rows[:, None, :, None] & columns[:, None, None, :] & (middle >= 0)[:, None, None, None]
    return images.masked_fill(square, 0.0)


def _normalised(images: Tensor, dataset: Dataset) -> Tensor:
    return images.float().sub_(dataset.mean).div_(dataset.std)


def sample(num_images: int, size: int) -> Tensor:
    """Return `size` indices (fewer where there are fewer images), int64: the first of a fixed permutation.

    The same for all arms and seeds: what probes and evaluations on training images look at.
    """
    return torch.randperm(num_images, generator=_stream(derive(0, "sample")))[:size]
