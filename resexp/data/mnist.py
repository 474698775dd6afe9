"""MNIST and Fashion-MNIST: four idx files, as torchvision's own classes read them, grey as three channels."""

import gzip
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import MNIST, FashionMNIST

from resexp.data.dataset import Raw
from resexp.data.download import open_own
from resexp.data.on_disk import part_of, right, what_is_wrong
from resexp.data.pixels import IMAGE_SIZE, is_lfs_pointer
from resexp.data.published import PublishedSet, Source, WrongFile

SIDE = 28
PART_IMAGES = {"train": 60_000, "t10k": 10_000}
GZ_BYTES = {
    "mnist": (9_912_422, 28_881, 1_648_877, 4_542),
    "fashion_mnist": (26_421_880, 29_515, 4_422_102, 5_148),
}
NOTE = f"grey images, the same in all three channels, {SIDE}x{SIDE} stretched to {IMAGE_SIZE}x{IMAGE_SIZE}"


class Idx(NamedTuple):
    """One of the four files: what its header must say."""

    path: Path
    shape: tuple[int, ...]

    @property
    def header(self) -> bytes:
        return struct.pack(f">BBBB{len(self.shape)}I", 0, 0, 8, len(self.shape), *self.shape)


class Mnist(PublishedSet):
    """Sums are known of the files as they come, packed; of those unpacked their sizes."""

    word, label, needs = "mnist", "MNIST", "90 MB with what comes packed"
    mirrored = False

    def __init__(self, archive: type[MNIST] = MNIST) -> None:
        self._name, self.classes = archive.__name__, tuple(archive.classes)
        # What torchvision's first versions wrote (processed/training.pt) would be read unchecked.
        self._archive = type(self._name, (archive,), {"_check_legacy_exist": lambda _: False})
        self.sources = tuple(
            Source(f"{self._name}/raw/{name}", tuple(f"{url}{name}" for url in archive.mirrors), md5, num)
            for (name, md5), num in zip(archive.resources, GZ_BYTES[self.word], strict=True)
        )

    def root(self, root: Path) -> Path:
        if root.match(f"{self._name}/raw"):
            return root.parents[1]
        return root.parent if root.name == self._name and (root / "raw").is_dir() else root

    def folder(self, root: Path) -> Path:
        return root / self._name / "raw"

    def faults(self, root: Path) -> list[WrongFile]:
        return [fault for _, _, fault in self._faulty(root)]

    def lacking(self, root: Path) -> list[Source]:
        return [one for one, _, _ in self._faulty(root) if not right(root / one.path, one.md5)]

    def install(self, root: Path) -> None:
        for source, idx, _ in self._faulty(root):
            part = part_of(idx.path)
            with gzip.open(root / source.path) as packed, open(open_own(part), "wb") as file:
                file.truncate()
                shutil.copyfileobj(packed, file)
            os.replace(part, idx.path)

    def read(self, root: Path) -> Raw:
        if faults := self.faults(root):
            raise RuntimeError(faults[0].why)
        train, test = self._archive(root, train=True), self._archive(root, train=False)
        notes = (NOTE,)
        if self._num_packed(root) < len(self.sources):
            notes += ("files without their .gz beside them, for which no sums are known",)
        parts = (*_labelled(train), *_labelled(test))
        return Raw(*parts, self.classes, self.label, notes, self.mirrored)

    def checked(self, root: Path) -> str:
        num = self._num_packed(root)
        sums = "each what its .gz holds, every MD5 right"
        if num < len(self.sources):
            sums = f"of the right sizes, {num} with their .gz, of which alone sums are known"
        return f"{len(self.sources)} files, {sums}"

    def _num_packed(self, root: Path) -> int:
        return sum((root / source.path).exists() for source in self.sources)

    def _faulty(self, root: Path) -> Iterator[tuple[Source, Idx, WrongFile]]:
        for source, idx in zip(self.sources, self._files(root), strict=True):
            packed = root / source.path
            if packed.exists() and not right(packed, source.md5):
                why = f"{what_is_wrong(packed)} (its MD5 must be {source.md5})"
                yield source, idx, WrongFile(packed, why)
            elif not idx.path.exists():
                yield source, idx, WrongFile(idx.path, "missing", missing=True)
            elif why := _what_is_wrong(idx, packed):
                yield source, idx, WrongFile(idx.path, why)

    def _files(self, root: Path) -> list[Idx]:
        """In the order of the sources: images, then labels, of the training and of the test part."""
        folder = self.folder(root)
        return [
            Idx(folder / f"{part}-{kind}-ubyte", shape)
            for part, num in PART_IMAGES.items()
            for kind, shape in (("images-idx3", (num, SIDE, SIDE)), ("labels-idx1", (num,)))
        ]


class FashionMnist(Mnist):
    """The same four files. A digit in a mirror is another or none, a shoe is a shoe."""

    word, label = "fashion_mnist", "Fashion-MNIST"
    mirrored = True

    def __init__(self, archive: type[MNIST] = FashionMNIST) -> None:
        super().__init__(archive)


def _what_is_wrong(idx: Idx, packed: Path) -> str:
    """Say what is wrong with an unpacked file, "" if nothing; packed: it as it came, right if it is there."""
    if not idx.path.is_file():  # a pipe would be waited for
        return "no file"
    if is_lfs_pointer(idx.path):
        return "a pointer of Git LFS, not the file"
    try:
        with open(idx.path, "rb") as file:
            header, size = file.read(len(idx.header)), os.fstat(file.fileno()).st_size
            expected = len(idx.header) + int(np.prod(idx.shape))
            if size != expected:
                return f"{size:,} bytes; {expected:,} are expected"
            if header != idx.header:
                return f"does not begin as {'x'.join(map(str, idx.shape))} bytes in idx format do"
            if len(idx.shape) == 1 and (most := max(file.read())) > 9:
                return f"has a label {most}; allowed: 0 to 9"
            if packed.exists() and zlib.crc32(idx.path.read_bytes()) != _crc_packed(packed):
                return f"not what {packed.name} holds"
    except OSError as fault:
        return fault.strerror or type(fault).__name__
    return ""


def _crc_packed(path: Path) -> int:
    """Return the CRC-32 that a .gz ends with."""
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


def _labelled(part: MNIST) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Stretched as image files of another size are (`pixels`)."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    images = (Image.fromarray(image).resize(size, Image.Resampling.BILINEAR) for image in part.data.numpy())
    grey = np.stack([np.asarray(image) for image in images])
    return np.repeat(grey[:, None], 3, axis=1), part.targets.numpy()
