"""Splits: what a run trains on, chooses by and is tested on."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from resexp.config import DataName, DataSection
from resexp.config.imports import identity, is_import_path
from resexp.config.words import PUBLISHED
from resexp.data import own_images
from resexp.data.crayons import dataset as crayons
from resexp.data.dataset import Dataset, OnDecoded, Raw, dataset, statistics
from resexp.data.download import BRIEF
from resexp.errors import DataError, ResourceError
from resexp.seeds import derive

MOST_KEPT = 2
_loaded = dict[str, "Splits"]()


class Splits(NamedTuple):
    """The parts, and what to call them."""

    train: Dataset
    validation: Dataset | None
    test: Dataset
    name: str
    """a word of data.name, what `auto` turned out to be; or an import path"""
    label: str
    """for titles: CIFAR-10, crayons (drawn), folder NAME"""
    fingerprint: str
    """64 hex digits over all parts and how they are normalised"""
    note: str
    """what the user should know of how the data was chosen, "" if nothing"""
    notes: tuple[str, ...] = ()
    """what was decided in reading the images, in sentences"""
    num_test_in_train: int = 0
    """test images that are among the training images too, pixel for pixel"""

    @property
    def described(self) -> str:
        """The label and the note if there is one, and all else that the user should know, on one line."""
        text = f"{self.label} ({self.note})" if self.note else self.label
        return "; ".join([text, *self.notes, *self.warnings])

    @property
    def warnings(self) -> list[str]:
        """What makes a test accuracy worth less."""
        if not self.num_test_in_train:
            return []
        return [
            f"warning: {self.num_test_in_train:,} of {len(self.test.labels):,} test images are training "
            "images too, pixel for pixel"
        ]

    def to(self, device: torch.device | str) -> "Splits":
        """Return the same parts on `device`."""
        validation = self.validation and self.validation.to(device)
        return self._replace(train=self.train.to(device), validation=validation, test=self.test.to(device))


def load(section: DataSection, progress: OnDecoded = lambda _: None) -> Splits:
    """Return the images of a config's data section, on the CPU.

    `auto` is CIFAR-10 if it lies in the root or can be downloaded without making anyone wait, else crayons.
    `progress` is told the part of a large image folder that is decoded. Raises DataError (exit 3) for data
    that is missing, broken or not to be had.
    """
    if section.name == "auto":
        name, raw, note = _auto(root_of(section))
        return split(raw, section, name=name, note=note)
    if is_import_path(section.name):
        raw = own_images.load(section.name, str(root_of(section)))
    else:
        raw = SOURCES[section.name](section, progress)
    return split(raw, section, name=section.name)


def root_of(section: DataSection) -> Path:
    """Return data.root, a ~ at its beginning being the home folder as in a shell."""
    try:
        return Path(section.root).expanduser()
    except RuntimeError:
        raise DataError(f"data.root {section.root}: whose home folder that is cannot be said") from None


def _auto(root: Path) -> tuple[DataName, Raw, str]:
    """Return CIFAR-10 if it is on disk or comes quickly, else crayons and why."""
    from resexp.data import cifar10

    try:
        return "cifar10", cifar10.load(root, patience=BRIEF), ""
    except (DataError, ResourceError) as fault:
        why = " ".join(line.strip() for line in fault.lines[:2])
        return "crayons", crayons.load(), f"{why}; get it with: {cifar10.repair(root)}"


def split(raw: Raw, section: DataSection, *, name: str, note: str = "") -> Splits:
    """Return the parts of `raw`; `section.validation` images leave the training set by a fixed permutation.

    Normalised by the remaining training images alone. Raises DataError when too few of them would remain.
    """
    images, labels = torch.from_numpy(raw.train_images), torch.from_numpy(raw.train_labels)
    num = len(labels)
    if section.validation >= num:
        raise DataError(f"data.validation is {section.validation}, but there are only {num} training images")
    stream = torch.Generator().manual_seed(derive(0, "validation"))
    held_out, kept = torch.randperm(num, generator=stream).tensor_split([section.validation])
    # Without validation the images stay where they are: a copy of CIFAR-10 costs most of a second.
    left = (images[kept], labels[kept]) if section.validation else (images, labels)
    normalisation = statistics(left[0], section.normalize)

    def part(images: torch.Tensor, labels: torch.Tensor) -> Dataset:
        made = dataset(images, labels, raw.classes, normalisation, section.pad)
        return made._replace(mirrored=raw.mirrored, cutout=section.cutout)

    train = part(*left)
    validation = part(images[held_out], labels[held_out]) if section.validation else None
    test = part(torch.from_numpy(raw.test_images), torch.from_numpy(raw.test_labels))
    parts = [train, *([validation] if validation else []), test]
    words = [section.normalize, *(one.fingerprint for one in parts)]
    fingerprint = hashlib.sha256(" ".join(words).encode()).hexdigest()
    shared = num_in_both(raw.train_images, raw.test_images)
    return Splits(train, validation, test, name, raw.label, fingerprint, note, raw.notes, shared)


def num_in_both(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> int:
    """Return how many test images are, pixel for pixel, training images too.

    Random sums find those that may be (70 ms for CIFAR-10), their bytes say whether they are.
    """
    rows = [np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint64) for part in (train, test)]
    weights = np.random.default_rng(0).integers(2**64, size=rows[0].shape[1], dtype=np.uint64)
    train_sums, test_sums = (part @ weights for part in rows)
    known = {row.tobytes() for row in rows[0][np.isin(train_sums, test_sums)]}
    return sum(row.tobytes() in known for row in rows[1][np.isin(test_sums, train_sums)])


def _published(section: DataSection, progress: OnDecoded) -> Raw:
    from resexp.data import sets

    return sets.load(section.name, root_of(section))


def _folder(section: DataSection, progress: OnDecoded) -> Raw:
    from resexp.data import image_folder

    return image_folder.load(
        root_of(section), test=section.test, test_split=section.test_split, progress=progress
    )


# torchvision takes as long to import as torch: only the images that it reads wait for it.
SOURCES: dict[DataName, Callable[[DataSection, OnDecoded], Raw]] = {
    **dict.fromkeys(PUBLISHED, _published),
    "crayons": lambda section, progress: crayons.load(),
    "folder": _folder,
}


def splits_of(section: DataSection, progress: OnDecoded = lambda _: None) -> Splits:
    """Return the images of a config's data section; loaded once in a process, as `load` does."""
    key = f"{section.model_dump_json()} {identity(section.name)}"
    if key not in _loaded:
        while len(_loaded) >= MOST_KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = load(section, progress)
    return _loaded[key]


def as_loaded(section: DataSection) -> DataSection:
    """Return the section with `auto` as it was resolved in this process, for another that loads the same."""
    return section.model_copy(update={"name": splits_of(section).name})
