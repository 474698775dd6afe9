"""Layouts as people bring them: read where that is cheap, else the line says what lies there and mends it."""

import csv
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from resexp.config.load import load as load_config
from resexp.data.splits import Splits, load
from resexp.errors import DataError, UsageError

CLASSES = ("cat", "dog")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path / "cache"))


def classes(folder: Path, num: int = 4) -> None:
    """Write `num` images of each class, told apart by their brightness."""
    for k, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(num):
            Image.new("RGB", (32, 32), (100 * k + i,) * 3).save(folder / name / f"{i}.png")


def images(root: Path, *sets: str) -> Splits:
    """Return what a config with this root and these changes would train on."""
    texts = ["data.name=folder", f'data.root="{root}"', *sets]
    return load(load_config(None, texts).data)


def labels_right(splits: Splits) -> bool:
    """Is every image's label that of its brightness?"""
    parts = [splits.train, splits.test]
    return all(bool(((part.images[:, 0, 0, 0] >= 100).long() == part.labels).all()) for part in parts)


def renamed(train: str, test: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        classes(root / train)
        classes(root / test)
        return root

    return make


READ = {
    "capitals": renamed("Train", "Test"),
    "shouting": renamed("TRAIN", "test"),
    "each unpacked in its own folder": renamed("train/train", "test/test"),
    "one of them": renamed("train/train", "test"),
}


@pytest.mark.parametrize("layout", READ)
def test_what_is_cheap_to_understand_is_read(tmp_path: Path, layout: str) -> None:
    splits = images(READ[layout](tmp_path / "pets"))
    assert (len(splits.train.labels), len(splits.test.labels)) == (8, 8)
    assert splits.train.classes == CLASSES
    assert labels_right(splits)


def bare(root: Path) -> Path:
    classes(root)
    return root


def train_alone(root: Path) -> Path:
    classes(root / "train")
    return root


def too_deep(root: Path) -> Path:
    return renamed("train", "test")(root) / "train"


def too_high(root: Path) -> Path:
    return renamed("my pets/train", "my pets/test")(root)


def wrapped(root: Path) -> Path:
    """The folder `train` holds both parts, and so does `test`: what a script made that ran twice."""
    for part in ("train", "test"):
        renamed(f"{part}/train", f"{part}/test")(root)
    return root


def kaggle(root: Path, ending: str = "") -> Path:
    for part in ("train", "test"):
        (root / part).mkdir(parents=True)
    rows = [["id", "label"]]
    for i in range(1, 21):
        Image.new("RGB", (32, 32), (100 * (i % 2) + i,) * 3).save(root / "train" / f"{i}.png")
        Image.new("RGB", (32, 32), (100 * (i % 2) + i,) * 3).save(root / "test" / f"{i}.png")
        rows.append([f"{i}{ending}", CLASSES[i % 2]])
    with open(root / "trainLabels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)  # with Windows' line ends, as Kaggle has them
    return root


TO_MEND = {
    "val": (renamed("train", "val"), "val lies there", (8, 8)),
    "valid": (renamed("train", "valid"), "valid lies there", (8, 8)),
    "Validation": (renamed("train", "Validation"), "Validation lies there", (8, 8)),
    "training": (renamed("training", "test"), "training lies there", (8, 8)),
    "Test_Data": (renamed("train", "Test_Data"), "Test_Data lies there", (8, 8)),
    "training set": (renamed("training set", "test"), "training set lies there", (8, 8)),
    "no test images": (train_alone, "test_split", (6, 2)),
    "classes in the root": (bare, "its 2 folders of images are classes", (6, 2)),
    "root one level too deep": (too_deep, "this is one of the two", (8, 8)),
    "root one level too high": (too_high, "it is my pets in it that does", (8, 8)),
    "parts in parts": (wrapped, "holds test, train and no classes", (8, 8)),
    "Kaggle's": (kaggle, "20 images lie in it, of no class, but trainLabels.csv tells them", (16, 4)),
    "Kaggle's, with endings": (lambda root: kaggle(root, ".png"), "trainLabels.csv tells them", (16, 4)),
}


def mended(root: Path, message: str) -> Splits:
    """Do what the message says: run its command in a shell, then take its --set."""
    text = re.sub(r" takes a fifth.*", "", message)
    command = re.search(r"(?:mv|mkdir|tail) .*?(?=; then |; --set|$)", text)
    if command and "--set" not in command[0]:
        subprocess.run(["bash", "-euc", command[0]], check=True, cwd="/")
    sets = [words[1] for words in map(shlex.split, re.findall(r"--set .*?(?= --|$)", text))]
    roots = [text for text in sets if text.startswith("data.root=")]
    return images(root, *roots, *[text for text in sets if text not in roots])


@pytest.mark.parametrize("folder", ["pets", "my $pets' #1: x"])
@pytest.mark.parametrize("layout", TO_MEND)
def test_the_line_says_what_lies_there_and_what_it_says_to_do_mends_it(
    tmp_path: Path, layout: str, folder: str
) -> None:
    make, said, sizes = TO_MEND[layout]
    root = make(tmp_path / folder)
    with pytest.raises(DataError) as caught:
        images(root)
    (line,) = caught.value.lines
    assert said in line
    assert "train/CLASS/*" in line or "there must be at least two" in line
    splits = mended(root, line)
    assert (len(splits.train.labels), len(splits.test.labels)) == sizes
    assert splits.train.classes == CLASSES
    assert labels_right(splits)


@pytest.mark.parametrize("name", ["../../mine", "..", "/etc"])
@pytest.mark.parametrize("column", [0, 1])
def test_no_command_is_printed_for_a_table_whose_names_lead_elsewhere(
    tmp_path: Path, name: str, column: int
) -> None:
    root = kaggle(tmp_path / "pets")
    with open(root / "trainLabels.csv", "a") as file:
        file.write(",".join([name if k == column else "20" for k in range(2)]) + "\n")
    with pytest.raises(DataError, match=r"lead elsewhere$") as caught:
        images(root)
    assert "mkdir" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\0\n\0", b'"' + b"x" * 200_000, None], ids=["NUL", "endless", "a pipe"]
)
def test_what_is_no_table_is_no_table(tmp_path: Path, content: bytes | None) -> None:
    root = kaggle(tmp_path / "pets")
    (root / "trainLabels.csv").unlink()
    if content is None:
        os.mkfifo(root / "trainLabels.csv")
    else:
        (root / "trainLabels.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"20 images lie in it, of no class$"):
        images(root)


def touched(*names: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("")
        return root

    return make


def a_file(root: Path) -> Path:
    root.write_text("")
    return root


SAID = {
    "parquet": (
        touched("data/train-00000-of-00001.parquet"),
        "1 parquet files lie there; image files out of",
    ),
    "tfds": (touched("cifar10/3.0.2/cifar10-train.tfrecord-00000-of-00001"), "TensorFlow Datasets lie there"),
    "CIFAR-10 itself": (touched("cifar-10-batches-bin/data_batch_1.bin"), "--data cifar10"),
    "CIFAR-100 itself": (touched("cifar-100-python/train"), "--data cifar100"),
    "SVHN itself": (touched("train_32x32.mat"), "--data svhn"),
    "MNIST itself": (touched("MNIST/raw/train-images-idx3-ubyte"), "--data mnist"),
    "Fashion-MNIST": (touched("FashionMNIST/raw/train-images-idx3-ubyte.gz"), "--data fashion_mnist"),
    "an archive": (touched("pets.zip"), "pets.zip lies there: unpack it"),
    "the archive itself": (a_file, "is a file: unpack it"),
    "something else": (touched("notes.txt", "a/b"), "it holds a, notes.txt"),
    "nothing": (lambda root: root.mkdir() or root, "it is empty"),
}


@pytest.mark.parametrize("layout", SAID)
def test_other_formats_are_called_by_their_names(tmp_path: Path, layout: str) -> None:
    make, said = SAID[layout]
    with pytest.raises(DataError) as caught:
        images(make(tmp_path / "pets"))
    (line,) = caught.value.lines
    assert said in line
    assert "an image folder (data.root) holds train/CLASS/* and test/CLASS/*" in line


def test_the_command_for_tables_writes_every_image_below_the_folder_whatever_the_labels(
    tmp_path: Path,
) -> None:
    """Labels and an index of a stranger's that lead elsewhere."""
    root, image = tmp_path / "pets", io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    labels = ["cat", "../../cat", "..", "/tmp/cat", "."]
    rows = pandas.DataFrame({"label": labels, "img": [{"bytes": image.getvalue()}] * len(labels)})
    root.mkdir()
    rows.set_index(pandas.Index(f"../../../{k}" for k in range(len(labels)))).to_parquet(
        root / "train-0.parquet"
    )
    with pytest.raises(DataError) as caught:
        images(root)
    script = shlex.split(caught.value.lines[0].partition("python -c ")[2].partition(";  ")[0])[0]
    subprocess.run([sys.executable, "-c", script], check=True)
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert len(written) == len(labels)
    assert all(path.startswith("pets/train/") for path in written)
    assert "pets/train/cat/train-0-0.png" in written


def test_a_split_off_test_set_is_stated_and_the_folder_beside_it_not_read(tmp_path: Path) -> None:
    root = renamed("train", "test")(tmp_path / "pets")
    (root / "test" / "cat" / "broken.png").write_text("no image")
    splits = images(root, "data.test_split=0.25")
    assert len(splits.test.labels) == 2
    assert "2 of 8 images became test images (data.test_split 0.25" in splits.described


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_images_in_train_and_test_are_counted_by_their_pixels(tmp_path: Path, shared: int) -> None:
    root = tmp_path / "pets"
    for part, first in (("train", 0), ("test", 100)):
        for k, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for i in range(3):
                noise = np.random.default_rng(first + 10 * k + i).integers(
                    0, 256, (32, 32, 3), dtype=np.uint8
                )
                Image.fromarray(noise).save(root / part / name / f"{i}.png")
    for i in range(shared):  # under another name, of another class
        os.replace(root / "train" / "cat" / f"{i}.png", root / "test" / "dog" / f"{i}.png")
        Image.open(root / "test" / "dog" / f"{i}.png").save(root / "train" / "cat" / f"copy{i}.bmp")
    splits = images(root)
    assert splits.num_test_in_train == shared
    said = f"{shared} of 6 test images are training images too, pixel for pixel"
    assert (said in splits.described) == (shared > 0)


@pytest.mark.parametrize(
    "sets",
    [["data.name=crayons", "data.test=val"], ["data.name=cifar10", "data.test_split=0.5"], ["data.test=val"]],
)
def test_data_with_test_images_of_their_own_take_no_others(sets: Sequence[str]) -> None:
    with pytest.raises(UsageError, match=r"goes with data\.name folder"):
        load_config(None, sets)
