"""A folder of images: root/train/CLASS/*, root/test/CLASS/*, in torchvision's ImageFolder layout."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import ImageFolder

from resexp.data.cache import Arrays, cached
from resexp.data.raw import Raw
from resexp.errors import DataError

SIZE = 32
BAD_FILES_NAMED = 5


def load(root: Path) -> Raw:
    """Return the images, RGB, resized to 32x32 where they are not (bilinear).

    Decoded once: the next start reads a copy from the cache, as long as no file's name, size or time has
    changed. Raises DataError for what is missing, empty, or no image: the first five, with their number.
    """
    train, test = (_listed(root / part) for part in ("train", "test"))
    if train.classes != test.classes:
        odd = ", ".join(sorted(set(train.classes) ^ set(test.classes))[:5])
        raise DataError(f"{root}: train and test must hold the same classes; only one of them has {odd}")
    arrays = cached(f"folder-{_digest(root, [train, test])}", lambda: _decoded([train, test]))
    return Raw(
        arrays["train_images"],
        np.asarray(train.targets, dtype=np.int64),
        arrays["test_images"],
        np.asarray(test.targets, dtype=np.int64),
        tuple(train.classes),
        f"folder {root.resolve().name}",
    )


def _listed(folder: Path) -> ImageFolder:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; data.root needs train/CLASS/* and test/CLASS/* in it")
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:  # torchvision's word for no class, or a class without images
        raise DataError(f"{folder}: {str(error).splitlines()[0].rstrip('.')}") from error
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error


def _digest(root: Path, parts: Sequence[ImageFolder]) -> str:
    """Name the files as they are now: relative path, size, time of the last change."""
    digest = hashlib.sha256()
    for part in parts:
        for text, _ in part.samples:
            stat = Path(text).stat()
            digest.update(f"{Path(text).relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _decoded(parts: Sequence[ImageFolder]) -> Arrays:
    paths = [Path(text) for part in parts for text, _ in part.samples]
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_image, paths))
    bad = [(path, image) for path, image in zip(paths, images, strict=True) if isinstance(image, str)]
    if bad:
        lines = [f"{path}: {reason}" for path, reason in bad[:BAD_FILES_NAMED]]
        raise DataError(
            *lines, f"{len(bad)} of {len(paths)} files cannot be read as images; mend or remove them"
        )
    stacked = np.stack([image for image in images if not isinstance(image, str)])
    num_train = len(parts[0].samples)
    return {"train_images": stacked[:num_train], "test_images": stacked[num_train:]}


def _image(path: Path) -> NDArray[np.uint8] | str:
    """The pixels [3, 32, 32], or what is wrong with the file."""
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error).split(" '")[0] or type(error).__name__
    if rgb.size != (SIZE, SIZE):
        rgb = rgb.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(rgb).transpose(2, 0, 1).copy()
