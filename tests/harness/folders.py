"""Image folders as strangers bring them, made by a seeded generator: read rightly, or said what is wrong."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.tally import Tally
from resexp.data import image_folder
from resexp.data.dataset import Raw
from resexp.errors import DataError

SECONDS = 10
"""That one small folder may take: a pipe that is waited for takes for ever."""
NAMES = [
    "cat",
    "my$dog_$",
    "a b",
    "猫",
    "-rf",
    "train set",
    "#1",
    "{x}",
    "[y]",
    "C:",
    "é",
    "e\u0301",
    "%s",
    "~",
    "a" * 200,
]

Pixels = NDArray[np.uint8]


def _exif(rng: random.Random, values: Pixels, path: Path) -> Pixels:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(values).save(path, exif=exif)
    return values[::-1, ::-1]


def _transparent(rng: random.Random, values: Pixels, path: Path) -> Pixels:
    alpha = np.where(values[..., :1] > 127, 255, 0).astype(np.uint8)
    Image.fromarray(np.concatenate([values, alpha], axis=2)).save(path)
    return np.where(alpha > 0, values, 255).astype(np.uint8)


def _float(rng: random.Random, values: Pixels, path: Path) -> Pixels:
    Image.fromarray(values[..., 0].astype(np.float32) / 255).save(path, format="TIFF")
    return values[..., :1].repeat(3, axis=2)


def _deep(rng: random.Random, values: Pixels, path: Path) -> Pixels:
    grey = values[..., 0].copy()
    grey[0, 0] = 255
    Image.fromarray(grey.astype(np.uint16) << 8).save(path)
    return grey[..., None].repeat(3, axis=2)


def _plain(rng: random.Random, values: Pixels, path: Path) -> Pixels:
    Image.fromarray(values).save(path)
    return values


WAYS = [_plain, _plain, _exif, _transparent, _float, _deep]
"""How an image is written, and what is seen of it."""

HARMLESS: dict[str, Callable[[Path], object]] = {
    "a hidden folder": lambda folder: _image_in(folder / ".ipynb_checkpoints"),
    "a hidden folder below": lambda folder: _image_in(folder / "more" / ".thumbnails"),
    "a hidden file": lambda folder: (folder / ".DS_Store").write_bytes(b"\0"),
    "a hidden link to nothing": lambda folder: (folder / ".lock").symlink_to("nowhere"),
    "an empty folder": lambda folder: (folder / "empty").mkdir(),
    "a file beside the classes": lambda folder: (folder.parent / "notes.txt").write_text("mine"),
    "a hidden class": lambda folder: _image_in(folder.parent / ".cache"),
}
HARMFUL: dict[str, Callable[[Path], object]] = {
    "a link to nothing": lambda folder: (folder / "x.png").symlink_to("nowhere"),
    "a link to itself": lambda folder: (folder / "x.png").symlink_to("x.png"),
    "a link upwards": lambda folder: (folder / "x").symlink_to(".."),
    "a link to itself from below": lambda folder: (
        (folder / "y").mkdir(),
        (folder / "y" / "x").symlink_to(".."),
    ),
    "a pipe": lambda folder: os.mkfifo(folder / "x.png"),
    "text": lambda folder: (folder / "x\x1b[31m\n.png").write_text("no image"),
    "nothing": lambda folder: (folder / "x.jpg").write_bytes(b""),
    "half an image": lambda folder: (folder / "x.png").write_bytes(
        _image_in(folder / ".h").read_bytes()[:60]
    ),
    "a pointer": lambda folder: (folder / "x.png").write_text("version https://git-lfs.github.com/spec/v1\n"),
    "a name of bytes": lambda folder: open(os.path.join(os.fsencode(folder), b"\xff.png"), "wb").close(),
    "floats out of range": lambda folder: _save_floats(folder / "x.tiff"),
    "a class of bytes": lambda folder: os.mkdir(os.path.join(os.fsencode(folder.parent), b"\xe4")),
    "a class without images": lambda folder: (folder.parent / "zzz").mkdir(),
}


def hostile_folders(root: Path, num: int, seed: int) -> Tally:
    """Make `num` folders and read them; what is not harmful must be read to the last pixel."""
    rng, faults = random.Random(seed), list[str]()
    os.environ["RESEXP_CACHE"] = str(root / "cache")
    for k in range(num):
        folder = root / f"{k} {rng.choice(NAMES)}"
        harmless = rng.sample(sorted(HARMLESS), rng.randint(0, 3))
        harmful = rng.sample(sorted(HARMFUL), rng.choice([0, 0, 1, 2]))
        expected = _make(folder, rng, harmless, harmful)
        began = time.perf_counter()
        what = f"{k}: {harmless}, {harmful}"
        try:
            wrong = _misread(image_folder.load(folder), expected)
            if wrong or harmful:
                faults.append(f"{what}: {wrong or 'read all the same'}")
        except DataError as error:
            bad = [line for line in error.lines if not line.isprintable() or len(line) > 1000]
            if bad or not harmful or len(error.lines) > 7:
                faults.append(f"{what}: {error.lines}")
        except Exception as error:  # what must not happen
            faults.append(f"{what}: {type(error).__name__}: {error}")
        if time.perf_counter() - began > SECONDS:
            faults.append(f"{what}: took too long")
    return Tally(num, faults)


def _make(
    root: Path, rng: random.Random, harmless: list[str], harmful: list[str]
) -> dict[tuple[str, str], list[Pixels]]:
    """Write a folder and return what is to be seen in it, by part and class."""
    classes = sorted(rng.sample(NAMES, rng.randint(2, 4)))
    seen: dict[tuple[str, str], list[Pixels]] = {}
    for part in ("train", "test"):
        for name in classes:
            folder = root / part / name
            folder.mkdir(parents=True)
            seen[part, name] = []
            for i in range(rng.randint(1, 3)):
                values = np.frombuffer(rng.randbytes(3 * 32 * 32), np.uint8).reshape(32, 32, 3)
                way = rng.choice(WAYS)
                ending = "tiff" if way is _float else "png"
                seen[part, name].append(way(rng, values, folder / f"{i}.{ending}"))
    for name in (*harmless, *harmful):
        place = root / rng.choice(["train", "test"]) / rng.choice(classes)
        {**HARMLESS, **HARMFUL}[name](place)
    return seen


def _misread(raw: Raw, expected: dict[tuple[str, str], list[Pixels]]) -> str:
    """Return what differs from what is to be seen, "" if nothing."""
    classes = tuple(sorted({name for _, name in expected}))
    if raw.classes != classes:
        return f"classes {raw.classes}"
    parts = {"train": (raw.train_images, raw.train_labels), "test": (raw.test_images, raw.test_labels)}
    for part, (images, labels) in parts.items():
        wanted = [(k, image) for k, name in enumerate(classes) for image in expected[part, name]]
        if labels.tolist() != [k for k, _ in wanted]:
            return f"{part}: labels {labels.tolist()}"
        for i, (_, image) in enumerate(wanted):
            if not np.array_equal(images[i], image.transpose(2, 0, 1)):
                return f"{part}: image {i}"
    return ""


def _image_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "0.png"
    Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(path)
    return path


def _save_floats(path: Path) -> None:
    Image.fromarray(np.full((32, 32), 7.5, dtype=np.float32)).save(path)
