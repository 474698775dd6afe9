"""SVHN's cropped digits, two .mat files, as torchvision's own class reads and checks them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import SVHN

from resexp.data.dataset import Raw
from resexp.data.on_disk import right, what_is_wrong
from resexp.data.published import PublishedSet, Source, WrongFile

MAT_BYTES = {"train": 182_040_794, "test": 64_275_384}
TEN_DIGITS = tuple("0123456789")


class Svhn(PublishedSet):
    """Digits in order; the files call 0 a 10. The extra training images are not used."""

    word, label, needs = "svhn", "SVHN", "250 MB"

    def __init__(self, archive: type[SVHN] = SVHN) -> None:
        self._archive = archive
        parts = [(archive.split_list[split], num) for split, num in MAT_BYTES.items()]
        self.sources = tuple(Source(name, (url,), md5, num) for (url, name, md5), num in parts)

    def folder(self, root: Path) -> Path:
        return root

    def faults(self, root: Path) -> list[WrongFile]:
        paths = [(root / source.path, source.md5) for source in self.sources]
        return [
            WrongFile(path, f"{what_is_wrong(path)} (its MD5 must be {md5})", not path.exists())
            for path, md5 in paths
            if not right(path, md5)
        ]

    def install(self, root: Path) -> None:
        """Nothing: they are read as they come."""

    def read(self, root: Path) -> Raw:
        train, test = self._archive(root, split="train"), self._archive(root, split="test")
        return Raw(*_labelled(train), *_labelled(test), TEN_DIGITS, self.label, mirrored=False)

    def checked(self, root: Path) -> str:
        return f"{len(self.sources)} files, every MD5 right"


def _labelled(part: SVHN) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.ascontiguousarray(part.data), np.asarray(part.labels, dtype=np.int64)
