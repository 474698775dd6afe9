"""CIFAR-10 through torchvision."""

from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from resexp.config import DataName
from resexp.data.raw import Raw
from resexp.errors import DataError


def load(root: Path) -> Raw:
    """Return CIFAR-10 as it lies in `root`. Raises DataError where it is missing or altered."""
    try:
        train, test = (CIFAR10(str(root), train=part) for part in (True, False))
    except RuntimeError as error:
        raise DataError(f"{root}: CIFAR-10 is missing or altered; get it with: resexp data fetch") from error
    images = [np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)) for part in (train, test)]
    labels = [np.asarray(part.targets, dtype=np.int64) for part in (train, test)]
    return Raw(images[0], labels[0], images[1], labels[1], tuple(train.classes), "CIFAR-10")


def choose(root: Path) -> tuple[DataName, str]:
    """Return cifar10 if it lies in `root`, else crayons, and a note that says why."""
    try:
        load(root)
    except DataError as error:
        return "crayons", f"{error.lines[0]}"
    return "cifar10", ""
