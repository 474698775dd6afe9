"""What a source of images hands over, before anything is split off or normalised."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
