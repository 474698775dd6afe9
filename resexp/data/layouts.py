"""Layouts of image folders: what is read besides, and what is said of what is not.

Read besides root/train/CLASS/* and root/test/CLASS/*: Train for train, and train/train/CLASS, as unpacking
makes it. All else gets one line: what lies there, what is expected, the command that mends it.
"""

import csv
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from resexp.config.yaml_nodes import BARE_TEXT, one_line

EXPECTED = "an image folder (data.root) holds train/CLASS/* and test/CLASS/*"
PARTS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst", "val", "valid", "validation", "dev", "eval", "evaluation", "holdout"),
}
"""What a folder of each part is called, besides any ending of ENDINGS and however it is written."""
ENDINGS = ("set", "data", "dataset", "images", "imgs", "split", "folder")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar")
SHARE = "--set data.test_split=0.2 takes a fifth of the training images as test images"
PUBLISHED_FILES = {
    "cifar-10-batches": ("CIFAR-10", "cifar10"),
    "data_batch_1": ("CIFAR-10", "cifar10"),
    "cifar-100-python": ("CIFAR-100", "cifar100"),
    "train_32x32.mat": ("SVHN", "svhn"),
}
"""How the names of data sets' own files begin."""
MOST_LOOKED_AT = 20_000
"""Files and folders that are looked at to say what lies there."""


def part_in(root: Path, name: str) -> Path | None:
    """Return the folder `name` in `root`, however it is written, None if there is none.

    A folder that holds nothing but one of its own name (train/train) is that one. Raises OSError.
    """
    folders = {path.name: path for path in (folders_in(root) if root.is_dir() else [])}
    alike = [path for path in folders.values() if path.name.casefold() == name.casefold()]
    found = folders.get(name) or (alike[0] if len(alike) == 1 else None)
    inner = folders_in(found) if found else []
    only_itself = len(inner) == 1 and found is not None and inner[0].name.casefold() == found.name.casefold()
    return inner[0] if only_itself else found


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in `folder` that are not hidden, in the order of their names."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def classes_in(folder: Path) -> list[str]:
    """Return the names of a part's class folders in order."""
    return [path.name for path in folders_in(folder)]


def _part_named(name: str) -> str | None:
    """Return which part a folder's name stands for: Training_Set is train."""
    letters = re.sub(r"[\W_]", "", name.casefold())
    for part, names in PARTS.items():
        if letters in names or any(letters == word + ending for word in names for ending in ENDINGS):
            return part
    return None


def instead_of_train(root: Path) -> str:
    """Say what lies in a root that has no training folder, and what mends it."""
    return f"{EXPECTED}; {_instead_of_train(root)}".removesuffix("; ")


def _instead_of_train(root: Path) -> str:
    if root.is_file():
        return f"{_quoted(root)} is a file: unpack it, and name the folder"
    if not root.is_dir():
        return ""
    folders = folders_in(root)
    for inner in folders:
        if part_in(inner, "train"):
            return f"it is {inner.name} in it that does: {_set('root', inner)}"
    if said := _other_formats(root):
        return said
    if _part_named(root.resolve().name) and part_in(root.resolve().parent, "train"):
        return f"this is one of the two: {_set('root', root.parent)}"
    for inner in folders:
        if _part_named(inner.name) == "train":
            return f"{inner.name} lies there: mv {_quoted(inner)} {_quoted(root / 'train')}"
    if len(folders) > 1 and sum(map(_holds_images, islice(folders, 100))) > 1:
        several = " ".join(_quoted(path) for path in folders)
        move = f"mkdir {_quoted(root / 'train')} && mv {several} {_quoted(root / 'train')}"
        if len(several) > 1000:
            move = f"move them into {_quoted(root / 'train')}"
        return f"its {len(folders)} folders of images are classes: {move}; {SHARE}"
    names = ", ".join(one_line(path.name, 40) for path in sorted(root.iterdir())[:5])
    return f"it holds {names}" if names else "it is empty"


def instead_of_test(root: Path, name: str) -> str:
    """Say what lies beside a training folder that has no test folder beside it, and what mends it."""
    beside = [path for path in folders_in(root) if _part_named(path.name) == "test" and path.name != name]
    mend = f"{beside[0].name} lies there: {_set('test', beside[0].name)}" if beside else f"or else {SHARE}"
    return f"{EXPECTED}; {mend}"


def instead_of_classes(root: Path, folder: Path, classes: Sequence[str]) -> str:
    """Say what lies in a part in the place of classes, "" where there are classes."""
    parts = [name for name in classes if _part_named(name)]
    if classes and len(parts) == len(classes):
        return f"holds {', '.join(parts)} and no classes; {EXPECTED}; try {_set('root', folder)}"
    if len(classes) > 1:
        return ""
    text = f"{len(classes) or 'no'} class folders; there must be at least two, {_quoted(folder)}/CLASS/*"
    images = [path.name for path in _looked_at(folder, 1) if path.suffix.casefold() in IMAGES]
    if said := _other_formats(folder):
        return f"{text}; {said}"
    if not images:
        return text
    text += f"; {len(images):,} images lie in it, of no class"
    if folder.name.casefold() != "train":
        return f"{text}; {SHARE}"
    for table in sorted(root.glob("*.csv")):
        if command := _sorting(table, folder, images):
            if _leads_elsewhere(table):
                return f"{text}; {table.name} tells them, but has names with / in them that lead elsewhere"
            return f"{text}, but {table.name} tells them: {command}; then {SHARE}"
    return text


def _sorting(table: Path, folder: Path, images: Sequence[str]) -> str | None:
    """Return the command that moves images to folders of their classes, by a table of Kaggle's: id, label."""
    rows = [row for row in _rows(table, 2) if len(row) == 2]
    if len(rows) < 2:
        return None
    stems = {Path(name).stem: Path(name).suffix for name in images}
    ending = "" if rows[1][0] in images else stems.get(rows[1][0])
    if ending is None:
        return None
    there = _quoted(folder)
    return (
        f"tail -n +2 {_quoted(table)} | tr -d '\\r' | while IFS=, read -r id label; do "
        f'mkdir -p {there}/"$label" && mv {there}/"$id"{ending} {there}/"$label"/; done'
    )


def _leads_elsewhere(table: Path) -> bool:
    """Say whether a file or a class of the table would be outside the folder that the command makes."""
    return any("/" in name or name in (".", "..") for row in _rows(table, None) for name in row[:2])


def _rows(table: Path, num: int | None) -> list[list[str]]:
    """Return the first rows of a table, none where it is no table."""
    if not table.is_file():  # a pipe would be waited for
        return []
    with table.open(newline="", encoding="utf-8", errors="replace") as file, suppress(csv.Error):
        return list(islice(csv.reader(file), num))
    return []


def _other_formats(root: Path) -> str:
    """Say what lies in the root that is no image files, "" if nothing that one knows."""
    seen = list(_looked_at(root, 3))
    names = [path.name for path in seen]
    if said := _published(seen):
        return said
    if tables := [path for path in seen if path.suffix == ".parquet"]:
        return f"{len(tables)} parquet files lie there; image files out of them: {_unpacking(root)}"
    if any(".tfrecord" in name for name in names):
        return (
            "records of TensorFlow Datasets lie there: write each as an image file, train/LABEL/NUMBER.png; "
            "where they are CIFAR-10: --data cifar10"
        )
    if packed := [path for path in seen if path.name.endswith(ARCHIVES) and path.parent == root]:
        return f"{packed[0].name} lies there: unpack it"
    return ""


def _published(seen: Sequence[Path]) -> str:
    """Say which data set's own files lie there, "" if none's."""
    for path in seen:
        for beginning, (label, word) in PUBLISHED_FILES.items():
            if path.name.startswith(beginning):
                return f"{label}'s own files lie there: --data {word}"
        if path.name.startswith("train-images-idx3-ubyte"):
            word = "fashion_mnist" if "FashionMNIST" in path.parts else "mnist"
            return f"files of the kind of MNIST's lie there: --data {word}"
    return ""


def _unpacking(root: Path) -> str:
    """Return the command that writes the rows of Hugging Face's tables as image files."""
    script = (
        "import pathlib, pandas; root = pathlib.Path(ROOT); "
        "[((d := root / ('train' if 'train' in f.name else 'test') / str(r['label'])"
        ".replace('/', '_').strip('.'))"
        ".mkdir(parents=True, exist_ok=True), "
        "(d / f'{f.stem}-{k}.png').write_bytes(r['img' if 'img' in r else 'image']['bytes'])) "
        "for f in root.rglob('*.parquet') for k, (_, r) in enumerate(pandas.read_parquet(f).iterrows())]"
    ).replace("ROOT", json.dumps(str(root)))
    return f"pip install pandas pyarrow && python -c {shlex.quote(script)}"


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.casefold() in IMAGES for path in islice(_looked_at(folder, 1), 100))


def _looked_at(folder: Path, levels: int) -> Iterator[Path]:
    """Yield what is visible in `folder`, so many levels deep and not for ever."""

    def below(folder: Path, levels: int) -> Iterator[Path]:
        inner = list[Path]()
        for path in folder.iterdir():
            if not path.name.startswith("."):
                yield path
                inner += [path] if levels > 1 and path.is_dir() and not path.is_symlink() else []
        for path in inner:
            yield from below(path, levels - 1)

    return islice(below(folder, levels), MOST_LOOKED_AT)


def _set(key: str, value: object) -> str:
    text = str(value)
    return "--set " + shlex.quote(
        f"data.{key}={text if BARE_TEXT.fullmatch(text) else json.dumps(text, ensure_ascii=False)}"
    )


def _quoted(path: Path) -> str:
    return shlex.quote(one_line(str(path), limit=4096))
