"""Any folder of images becomes what PIL makes of it, or is refused with what is wrong with it."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resexp.data import image_folder
from resexp.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a sound folder: two classes, three training images and one test image each."""
    root = tmp_path / "pets"
    for k, name in enumerate(("cat", "dog")):
        for part, num in (("train", 3), ("test", 1)):
            (root / part / name).mkdir(parents=True)
            for i in range(num):
                noise(10 * k + i).save(root / part / name / f"{part}{i}.png")
    return root


def test_images_and_labels_are_those_of_the_files(root: Path) -> None:
    raw = image_folder.load(root)
    assert raw.classes == ("cat", "dog")
    assert raw.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw.test_labels.tolist() == [0, 1]
    assert raw.label == "folder pets"
    for k, seed in enumerate((0, 1, 2, 10, 11, 12)):
        assert np.array_equal(raw.train_images[k], np.asarray(noise(seed)).transpose(2, 0, 1))


def test_other_sizes_are_stretched_to_32(root: Path) -> None:
    large = noise(5, size=(50, 90))
    large.save(root / "train" / "cat" / "a.png")
    expected = np.asarray(large.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(image_folder.load(root).train_images[0], expected)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_other_modes_become_rgb(root: Path, mode: str) -> None:
    grey = np.full((32, 32), 204, dtype=np.uint8)
    path = root / "train" / "cat" / ("a.tiff" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(grey).convert("RGB").convert(mode).save(path)
    image = image_folder.load(root).train_images[0]
    assert image.shape == (3, 32, 32)
    # 204 is a colour of the web palette; one bit dithers, and only the mean is kept.
    assert abs(image.mean() - 204) < 3
    if mode != "1":
        assert image.std() < 3


def test_transparent_palettes_raise_no_warning(root: Path) -> None:
    noise(1).convert("P").save(root / "train" / "cat" / "a.png", transparency=bytes(range(256)))
    assert image_folder.load(root).train_images.shape == (7, 3, 32, 32)


def test_first_five_bad_files_are_named_with_the_total(root: Path) -> None:
    sound = (root / "train" / "cat" / "train0.png").read_bytes()
    for k in range(4):
        (root / "train" / "cat" / f"x{k}.jpg").write_text("no image")
    for k in range(2):
        (root / "train" / "dog" / f"y{k}.png").write_bytes(sound[: len(sound) // 2])
    (root / "test" / "dog" / "z.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        image_folder.load(root)
    first, *named, rest = caught.value.lines
    assert first.startswith("7 files")
    assert [Path(line.split(": ")[0].strip()).name for line in named] == [
        "x0.jpg",
        "x1.jpg",
        "x2.jpg",
        "x3.jpg",
        "y0.png",
    ]
    assert "truncated" in named[4]
    assert rest.strip() == "and 2 more"


def test_hidden_files_and_folders_are_the_systems(root: Path) -> None:
    (root / "train" / "cat" / ".DS_Store").write_text("no image")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert len(image_folder.load(root).train_images) == 6


@pytest.mark.parametrize("missing", ["", "train", "test"])
def test_missing_folder_is_named_with_what_is_expected(root: Path, missing: str) -> None:
    path = root.parent / "nowhere" if not missing else root
    if missing:
        (root / missing).rename(root / "else")
    with pytest.raises(DataError, match=r"No such file.*train/CLASS/\* and test/CLASS/\*") as caught:
        image_folder.load(path)
    assert caught.value.lines[0].startswith(str(path / (missing or "train")))


def test_folder_without_classes_is_refused(root: Path) -> None:
    (root / "train").rename(root / "else")
    (root / "train").mkdir()
    with pytest.raises(DataError, match="train: no class folders"):
        image_folder.load(root)


def test_empty_class_is_named(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "eel").mkdir()
    with pytest.raises(DataError, match="no files in 1 of 3 classes: eel"):
        image_folder.load(root)


def test_classes_of_train_and_test_must_agree(root: Path) -> None:
    (root / "test" / "dog").rename(root / "test" / "dogs")
    with pytest.raises(DataError, match="only in one of them: dog, dogs"):
        image_folder.load(root)


def files(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}


def test_second_start_reads_the_cache_and_nothing_lands_in_the_folder(root: Path, own_cache: Path) -> None:
    before = sorted(root.rglob("*"))
    first = image_folder.load(root)
    made = files(own_cache)
    assert len(made) == 1
    again = image_folder.load(root)
    assert files(own_cache) == made
    assert np.array_equal(first.train_images, again.train_images)
    assert sorted(root.rglob("*")) == before


def test_changed_file_is_read_anew(root: Path, own_cache: Path) -> None:
    image_folder.load(root)
    path = root / "train" / "cat" / "train0.png"
    noise(99).save(path)
    os.utime(path, ns=(1, 1))
    assert np.array_equal(image_folder.load(root).train_images[0], np.asarray(noise(99)).transpose(2, 0, 1))
    assert len(files(own_cache)) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_damaged_cache_is_made_again(root: Path, own_cache: Path, damage: str) -> None:
    expected = image_folder.load(root).train_images
    (path,) = own_cache.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-300], "flipped": content, "emptied": b""}[damage])
    assert np.array_equal(image_folder.load(root).train_images, expected)
    with np.load(path) as stored:
        assert np.array_equal(stored["train"], expected)


def test_without_a_place_for_the_cache_images_load_all_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path / "file" / "cache"))
    assert len(image_folder.load(root).train_images) == 6
