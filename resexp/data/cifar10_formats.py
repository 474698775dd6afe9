"""CIFAR-10 in the three versions that its authors give out, Python, binary and Matlab, where they lie."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resexp.data.dataset import Raw
from resexp.data.pixels import is_lfs_pointer
from resexp.errors import DataError

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
NUM_IN_FILE = 10_000
PIXELS = 3 * 32 * 32
TRAIN = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST = ("test_batch",)

RawImages = tuple[NDArray[np.uint8], NDArray[np.int64]]


class Version(NamedTuple):
    """One of the three."""

    name: str
    folder: str
    """as its archive unpacks"""
    ending: str
    archive: str


PYTHON = Version("Python", "cifar-10-batches-py", "", "cifar-10-python.tar.gz")
BINARY = Version("binary", "cifar-10-batches-bin", ".bin", "cifar-10-binary.tar.gz")
MATLAB = Version("Matlab", "cifar-10-batches-mat", ".mat", "cifar-10-matlab.tar.gz")


def find_cifar10(root: Path) -> tuple[Path, Version] | None:
    """Return the folder of batches that is `root`, lies in it or one level below, None if there is none.

    The Python version comes first: its files have known sums. Raises DataError for another that is packed.
    """
    below = sorted(path for path in root.glob("*") if path.is_dir() and not path.name.startswith("."))
    for version in (PYTHON, BINARY, MATLAB):
        for folder in (root / version.folder, root, *(path / version.folder for path in below)):
            if (folder / f"{TRAIN[0]}{version.ending}").exists():
                return folder, version
    for version in (BINARY, MATLAB):
        if (packed := root / version.archive).exists():
            there, here = (shlex.quote(str(path)) for path in (packed, root))
            raise DataError(f"{packed}: CIFAR-10 is in it; unpack it: tar -xzf {there} -C {here}")
    return None


def read_version(folder: Path, version: Version, repair: str) -> Raw:
    """Return the images of the binary or the Matlab version. Raises DataError with the file that is wrong."""
    one = _binary if version is BINARY else _matlab

    def part(names: tuple[str, ...]) -> RawImages:
        paths = [folder / f"{name}{version.ending}" for name in names]
        images, labels = zip(*(_read_one(path, one, repair) for path in paths), strict=True)
        return np.concatenate(images).reshape(-1, 3, 32, 32), np.concatenate(labels)

    note = f"the {version.name} version, for whose files no sums are known"
    return Raw(*part(TRAIN), *part(TEST), CIFAR10_CLASSES, "CIFAR-10", (note,))


def _read_one(path: Path, one: Callable[[Path], RawImages], repair: str) -> RawImages:
    try:
        if is_lfs_pointer(path):
            raise ValueError("a pointer of Git LFS, not the images; `git lfs pull` gets them")
        images, labels = one(path)
        if images.shape != (NUM_IN_FILE, PIXELS) or labels.shape != (NUM_IN_FILE,):
            raise ValueError(f"holds {len(images):,} images; {NUM_IN_FILE:,} are expected")
        if labels.max() >= len(CIFAR10_CLASSES):
            raise ValueError(f"has a label {labels.max()}; allowed: 0 to 9")
    except Exception as fault:  # scipy raises whatever it comes across
        why = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
        raise DataError(f"{path}: {why}; remove {path.parent}, and `{repair}` gets CIFAR-10 anew") from None
    return images, labels


def _binary(path: Path) -> RawImages:
    """A byte with the label, then the three planes, for each image."""
    content = np.fromfile(path, dtype=np.uint8)
    if len(content) % (1 + PIXELS):
        raise ValueError(f"{len(content):,} bytes; {NUM_IN_FILE * (1 + PIXELS):,} are expected")
    rows = content.reshape(-1, 1 + PIXELS)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _matlab(path: Path) -> RawImages:
    from scipy.io import loadmat

    held = loadmat(path, variable_names=["data", "labels"])
    return held["data"].astype(np.uint8, casting="safe"), held["labels"].ravel().astype(np.int64)
