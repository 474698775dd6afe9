"""What the doctor shows a net: noise, or the images of a data set, by (seed, step)."""

from typing import NamedTuple

import torch
from torch.nn import functional as F

from resexp.data.batches import draw, render, sample, unaugmented
from resexp.data.dataset import Dataset
from resexp.data.splits import Splits
from resexp.errors import UsageError
from resexp.experiments.diagnosis import Given
from resexp.seeds import derive


class Noise(NamedTuple):
    """Normal noise of a shape, `num` at a time, other noise at every step; labels are left to chance."""

    num: int
    shape: tuple[int, ...]
    what = "normal noise, labels drawn at random"

    def __call__(self, seed: int, step: int) -> Given:
        generator = torch.Generator().manual_seed(derive(seed, "noise", step))
        return Given(torch.randn(self.num, *self.shape, generator=generator))


class Pictures:
    """Training images as a run sees them, not augmented, enlarged or reduced to the size that is asked for.

    Step 0 is the same sample for all seeds, as in the gradient profile; steps 1, 2, ... are a run's batches.
    """

    def __init__(self, num: int, shape: tuple[int, ...], splits: Splits) -> None:
        if len(shape) != 3 or shape[0] != 3:
            raise UsageError(f"--input {','.join(map(str, shape))}: images are 3,HEIGHT,WIDTH")
        self._num, self._size = num, shape[1:]
        self._images: Dataset = splits.train
        if len(self._images.labels) < num:
            raise UsageError(f"--batch {num}: there are only {len(self._images.labels)} training images")
        side = self._images.images.shape[-1]
        scaled = "" if self._size == (side, side) else f" of {side}x{side} scaled to {shape[1]}x{shape[2]}"
        self.what = f"images of {splits.label}{scaled}"

    def __call__(self, seed: int, step: int) -> Given:
        if step == 0:
            chosen = unaugmented(sample(len(self._images.labels), self._num))
        else:
            chosen = draw(
                seed, step - 1, num_images=len(self._images.labels), batch_size=self._num, augment=False
            )
        images, labels = render(self._images, chosen)
        if images.shape[2:] != self._size:
            images = F.interpolate(images, self._size, mode="bilinear")
        return Given(images.contiguous(), labels)
