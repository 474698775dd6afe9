"""Image folder, root/train/CLASS/* and root/test/CLASS/*, in the order of torchvision's ImageFolder."""

import hashlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from resexp.config.yaml_nodes import CONTROL_CHARACTER, one_line
from resexp.data.cache import Arrays, cached
from resexp.data.dataset import OnDecoded, Raw
from resexp.data.layouts import classes_in, instead_of_classes, instead_of_test, instead_of_train, part_in
from resexp.data.pixels import IMAGE_SIZE, bits_of, decode_image, is_lfs_pointer
from resexp.errors import DataError
from resexp.seeds import derive

CHUNK_FILES = 256
NUM_NAMED = 5
READER = 2
"""Counted up when the same file comes to be read as other pixels, so that no cache hands out the old ones."""

Fault = tuple[str, str]


class ImageFile(NamedTuple):
    """An image file, and what tells that it was changed."""

    path: str
    label: int
    size: int
    time: int
    """nanoseconds"""


class FolderPart(NamedTuple):
    """The training or the test folder."""

    classes: tuple[str, ...]
    files: list[ImageFile]

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array([file.label for file in self.files], dtype=np.int64)


def load(
    root: Path, *, test: str = "test", test_split: float = 0.0, progress: OnDecoded = lambda _: None
) -> Raw:
    """Return the images as RGB, stretched to 32x32, labelled in the order of the classes' names.

    test: the folder of test images. test_split: the share of each class's training images that become test
    images instead. All files are looked at before anything is returned. A missing folder, an empty class or
    files that are no images raise DataError, with the first five of them and their total, or with what lies
    there instead of what is expected. Decoded images are cached under the names, sizes and times of the
    files. `progress` is told the part that is decoded, where there are more than a few hundred.
    """
    faults = list[Fault]()
    train = _scan(root, "train", instead_of_train, faults)
    parts = {"train": train}
    if not test_split:
        parts["test"] = _scan(root, test, lambda root: instead_of_test(root, test), faults)
        _require_same_classes(root, parts)
    if faults:
        raise _broken(faults)
    decoded = cached(f"folder-{_digest(root, parts)}", lambda: _decode_all(parts, progress))
    images, notes = decoded["train"], _notes(*map(int, decoded["seen"]))
    named = (train.classes, f"folder {one_line(root.resolve().name)}")
    if not test_split:
        return Raw(images, train.labels, decoded["test"], parts["test"].labels, *named, notes)
    kept, held_out = _parted(train, test_split)
    stated = (
        f"{len(held_out):,} of {len(images):,} images became test images (data.test_split {test_split:g}, of "
        "each class, by seed 0 whatever the run's own)"
    )
    labels = train.labels
    return Raw(images[kept], labels[kept], images[held_out], labels[held_out], *named, (stated, *notes))


def _parted(train: FolderPart, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices that stay and those held out: of each class the same share, at least one."""
    labels, held_out = train.labels, list[int]()
    for k, name in enumerate(train.classes):
        own = np.flatnonzero(labels == k)
        num = max(1, round(share * len(own)))
        if num >= len(own):
            raise DataError(
                f"data.test_split {share:g}: {name} has {len(own)} images, and none would be left; lower it"
            )
        stream = torch.Generator().manual_seed(derive(0, "test", k))
        held_out += own[torch.randperm(len(own), generator=stream)[:num].numpy()].tolist()
    out = np.array(sorted(held_out), dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), out), out


def _scan(root: Path, name: str, instead: Callable[[Path], str], faults: list[Fault]) -> FolderPart:
    """Return what lies in one folder; files that cannot be images are added to `faults`."""
    try:
        folder = part_in(root, name)
        if folder is None:
            raise DataError(f"{root / name}: No such file or directory; {instead(root)}")
        classes = classes_in(folder)
        if wrong := instead_of_classes(root, folder, classes):
            raise DataError(f"{folder}: {wrong}")
        files, empty = list[ImageFile](), list[str]()
        for label, one in enumerate(classes):
            if CONTROL_CHARACTER.search(one):
                raise DataError(
                    f"{folder}: the class folder {repr(os.fsencode(one))[1:]} has a name that is no text in "
                    "UTF-8, or that commands a terminal; rename it"
                )
            found = list(_files(folder / one, label, _identities(root, folder), faults))
            files += found
            empty += [] if found else [one]
    except OSError as fault:
        path = one_line(os.fsdecode(fault.filename or root / name), limit=4096)
        raise DataError(
            f"{path}: {fault.strerror}; an image folder (data.root) holds train/CLASS/* and test/CLASS/*"
        ) from None
    if empty and not faults:
        raise DataError(
            f"{folder}: no files in {len(empty)} of {len(classes)} classes: "
            f"{', '.join(empty[:NUM_NAMED])}; add images or remove the folders"
        )
    return FolderPart(tuple(classes), files)


def _identities(*folders: str | Path) -> frozenset[tuple[int, int]]:
    """Return what tells folders apart whatever way leads to them."""
    return frozenset((status.st_dev, status.st_ino) for status in map(os.stat, folders))


def _files(
    top: Path, label: int, above: frozenset[tuple[int, int]], faults: list[Fault]
) -> Iterator[ImageFile]:
    """Yield the files of a class and of the folders in it, in the order of their names.

    What starts with a dot, on whatever level, is the system's own. Links are followed, but not in a circle,
    nor to the folders `above`.
    """
    found: dict[str, list[os.DirEntry[str]]] = {}
    folders = [(str(top), above)]
    while folders:
        folder, above = folders.pop()
        here = _identities(folder)
        if here & above:
            faults.append((folder, "a link back to a folder that it lies in"))
            continue
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
        found[folder] = [entry for entry in visible if not _is_folder(entry)]
        folders += [(entry.path, above | here) for entry in visible if _is_folder(entry)]
    for folder in sorted(found):
        for entry in sorted(found[folder], key=lambda entry: entry.name):
            try:
                status = entry.stat()
            except OSError as fault:
                linked = "a link that leads to nothing" if entry.is_symlink() else fault.strerror
                faults.append((entry.path, linked or "cannot be read"))
                continue
            if stat.S_ISREG(status.st_mode):
                yield ImageFile(entry.path, label, status.st_size, status.st_mtime_ns)
            else:
                faults.append((entry.path, "a pipe or a device"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links, of which its stat will tell
        return False


def _require_same_classes(root: Path, parts: dict[str, FolderPart]) -> None:
    train, test = (part.classes for part in parts.values())
    if train != test:
        odd = sorted(set(train) ^ set(test))
        raise DataError(
            f"{root}: train and test must hold the same classes; "
            f"only in one of them: {', '.join(odd[:NUM_NAMED])}"
        )


def _digest(root: Path, parts: dict[str, FolderPart]) -> str:
    """Return what names the decoded images: each file's name, size and time, and what decodes them."""
    digest = hashlib.sha256(f"{PIL.__version__} {IMAGE_SIZE} {READER} {len(parts)}".encode())
    for file in _all_files(parts):
        name = file.path.removeprefix(str(root))
        digest.update(f"{name}\0{file.size}\0{file.time}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _all_files(parts: dict[str, FolderPart]) -> list[ImageFile]:
    return [file for part in parts.values() for file in part.files]


def _decode_all(parts: dict[str, FolderPart], progress: OnDecoded) -> Arrays:
    """Return each part's images, uint8 [N, 3, 32, 32], and what was seen of all.

    Seen: the number of files of 16 bits, the bits that they use, the number with transparent parts.
    """
    files = _all_files(parts)
    images = np.zeros((len(files), 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    peaks, transparent = np.zeros(len(files), dtype=np.int64), np.zeros(len(files), dtype=bool)

    def read(k: int, bits: int = 16) -> Fault | None:
        path = Path(files[k].path)
        try:
            images[k], peaks[k], transparent[k] = decode_image(path, bits)
        except Exception as fault:  # a broken file can raise anything at all in Pillow's readers
            if is_lfs_pointer(path):
                return files[k].path, "a pointer of Git LFS, not the image; `git lfs pull` gets that"
            return files[k].path, str(fault).removesuffix(f" {str(path)!r}") or type(fault).__name__
        return None

    def read_all(indices: NDArray[np.int64], bits: int, progress: OnDecoded) -> list[Fault]:
        starts = range(0, len(indices), CHUNK_FILES)
        chunks = [[(int(k), bits) for k in indices[first : first + CHUNK_FILES]] for first in starts]
        faults = list[Fault]()
        with ThreadPoolExecutor(os.cpu_count()) as threads, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's, which would come with lines of source
            for done, some in enumerate(threads.map(lambda chunk: list(starmap(read, chunk)), chunks), 1):
                faults += filter(None, some)
                if len(chunks) > 1:
                    progress(done / len(chunks))
        return faults

    faults = read_all(np.arange(len(files)), 16, progress)
    deep = np.flatnonzero(peaks)
    bits = bits_of(int(peaks.max(initial=0))) if len(deep) else 16
    if bits < 16:
        faults += read_all(deep, bits, lambda _: None)
    if faults:
        raise _broken(faults)
    ends = np.cumsum([len(part.files) for part in parts.values()])
    arrays = dict(zip(parts, np.split(images, ends[:-1]), strict=True))
    return {**arrays, "seen": np.array([len(deep), bits, transparent.sum()])}


def _notes(num_deep: int, bits: int, num_transparent: int) -> tuple[str, ...]:
    """Return in sentences what was decided in reading the files, which their makers may not expect."""
    notes = []
    if bits < 16:
        notes.append(f"files of 16 bits that use {bits} at most, read as of {bits}: {num_deep:,}")
    if num_transparent:
        notes.append(f"files with transparent parts, read as white: {num_transparent:,}")
    return tuple(notes)


def _broken(faults: list[Fault]) -> DataError:
    return DataError(
        f"{len(faults)} files are no images that can be read; mend or remove them:",
        *(f"  {one_line(path, limit=4096)}: {one_line(why, limit=200)}" for path, why in faults[:NUM_NAMED]),
        *([f"  and {len(faults) - NUM_NAMED} more"] if len(faults) > NUM_NAMED else []),
    )
