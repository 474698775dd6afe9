"""CIFAR-100: the archive of its Python version, as torchvision's own class reads and checks it."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import CIFAR100

from resexp.data.dataset import Raw
from resexp.data.on_disk import right, unpack, what_is_wrong
from resexp.data.published import PublishedSet, Source, WrongFile

ARCHIVE_BYTES = 169_001_437


class Cifar100(PublishedSet):
    """100 fine classes; the 20 coarse ones are not used."""

    word, label, needs = "cifar100", "CIFAR-100", "360 MB with its archive"

    def __init__(self, archive: type[CIFAR100] = CIFAR100) -> None:
        self._archive = archive
        self.sources = (Source(archive.filename, (archive.url,), archive.tgz_md5, ARCHIVE_BYTES),)

    def root(self, root: Path) -> Path:
        return root.parent if root.name == self._archive.base_folder else root

    def folder(self, root: Path) -> Path:
        return root / self._archive.base_folder

    def faults(self, root: Path) -> list[WrongFile]:
        folder = self.folder(root)
        nothing = not folder.is_dir()  # of a folder that is there no file is merely missing: all are one
        return [
            WrongFile(folder / name, f"{what_is_wrong(folder / name)} (its MD5 must be {md5})", nothing)
            for name, md5 in self._sums
            if not right(folder / name, md5)
        ]

    def install(self, root: Path) -> None:
        packed, folder = root / self._archive.filename, self.folder(root)
        unpack(
            packed, folder, lambda fresh: all(right(fresh / name, md5) for name, md5 in self._sums), self.word
        )

    def read(self, root: Path) -> Raw:
        with warnings.catch_warnings():
            # The pickles are of 2009 and spell a dtype's flag as 0, which NumPy 2.4 warns of.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            train, test = self._archive(root, train=True), self._archive(root, train=False)
        return Raw(*_labelled(train), *_labelled(test), tuple(train.classes), self.label)

    def checked(self, root: Path) -> str:
        return f"{len(self._sums)} files, every MD5 right"

    @property
    def _sums(self) -> list[tuple[str, str]]:
        archive = self._archive
        lists = [(name, md5) for name, md5 in archive.train_list + archive.test_list]
        return [*lists, (archive.meta["filename"], archive.meta["md5"])]


def _labelled(part: CIFAR100) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.array(part.targets, dtype=np.int64)
