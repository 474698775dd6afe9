"""Image folder, root/train/CLASS/* and root/test/CLASS/*, as torchvision's ImageFolder reads it."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import ImageFolder

from resexp.data.cache import Arrays, cached
from resexp.data.dataset import Raw
from resexp.errors import DataError

IMAGE_SIZE = 32
CHUNK_FILES = 256
NUM_NAMED = 5

Fault = tuple[Path, str]


class _Half(ImageFolder):
    """The train or the test folder. What starts with a dot is the system's own, no class and no image."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            root, is_valid_file=lambda path: not os.path.basename(path).startswith("."), allow_empty=True
        )

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = sorted(e.name for e in os.scandir(directory) if e.is_dir() and not e.name.startswith("."))
        if len(names) < 2:
            raise DataError(
                f"{directory}: {len(names) or 'no'} class folders; "
                f"there must be at least two, {directory}/CLASS/*"
            )
        return names, {name: k for k, name in enumerate(names)}


def load(root: Path) -> Raw:
    """Return the images as RGB, stretched to 32x32 (bilinear, antialiased), labelled in the order of names.

    All files are looked at before anything is returned. A missing folder, an empty class or files that are
    no images raise DataError, with the first five of them and their total. The decoded images are cached
    under the names, sizes and times of the files, so that a second start takes less than a second.
    """
    train, test = _scan(root, "train"), _scan(root, "test")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(
            f"{root}: train and test must hold the same classes; "
            f"only in one of them: {', '.join(odd[:NUM_NAMED])}"
        )
    half = {"train": train, "test": test}
    key = _digest(root, [path for part in half.values() for path, _ in part.samples])
    decoded = cached(f"folder-{key}", lambda: _decode_all(half))
    train_labels, test_labels = (np.array(part.targets, dtype=np.int64) for part in half.values())
    return Raw(
        decoded["train"],
        train_labels,
        decoded["test"],
        test_labels,
        tuple(train.classes),
        f"folder {root.name}",
    )


def _scan(root: Path, part: str) -> _Half:
    folder = root / part
    try:
        half = _Half(folder)
    except OSError as fault:
        raise DataError(
            f"{folder}: {fault.strerror}; an image folder (data.root) holds train/CLASS/* and test/CLASS/*"
        ) from None
    filled = set(half.targets)
    empty = [name for name, k in half.class_to_idx.items() if k not in filled]
    if empty:
        raise DataError(
            f"{folder}: no files in {len(empty)} of {len(half.classes)} classes: "
            f"{', '.join(empty[:NUM_NAMED])}; add images or remove the folders"
        )
    return half


def _digest(root: Path, paths: list[str]) -> str:
    """Return what names the decoded images: each file's name, size and time, and what decodes them."""
    digest = hashlib.sha256(f"{PIL.__version__} {IMAGE_SIZE}".encode())
    for path in paths:
        status = os.stat(path)
        name = path.removeprefix(str(root))
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _decode_all(half: dict[str, _Half]) -> Arrays:
    faults: list[Fault] = []
    arrays: Arrays = {}
    for name, part in half.items():
        arrays[name], broken = _decode([Path(path) for path, _ in part.samples])
        faults += broken
    if faults:
        raise DataError(
            f"{len(faults)} files are no images that can be read; mend or remove them:",
            *(f"  {path}: {why}" for path, why in faults[:NUM_NAMED]),
            *([f"  and {len(faults) - NUM_NAMED} more"] if len(faults) > NUM_NAMED else []),
        )
    return arrays


def _decode(paths: list[Path]) -> tuple[NDArray[np.uint8], list[Fault]]:
    images = np.zeros((len(paths), 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)

    def fill(first: int) -> list[Fault]:
        faults = []
        for k, path in enumerate(paths[first : first + CHUNK_FILES], first):
            try:
                images[k] = _pixels(path)
            except Exception as fault:  # a broken file can raise anything at all in Pillow's readers
                faults.append((path, str(fault).removesuffix(f" {str(path)!r}") or type(fault).__name__))
        return faults

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        broken = [fault for some in threads.map(fill, range(0, len(paths), CHUNK_FILES)) for fault in some]
    return images, broken


def _pixels(path: Path) -> NDArray[np.uint8]:
    """Return one image, uint8 [3, 32, 32]."""
    with Image.open(path) as image:
        image.load()
        if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip rather than scale
            image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        image = image.convert("RGB")
        if image.size != (IMAGE_SIZE, IMAGE_SIZE):
            image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
        return np.asarray(image).transpose(2, 0, 1)
