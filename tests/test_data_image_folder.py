"""Any folder of images becomes what PIL makes of it, or is refused with what is wrong with it."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import Sound
from harness.folders import hostile_folders
from PIL import Image
from torchvision.datasets import ImageFolder

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


@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".thumbnails", "deep/.cache/deeper"])
def test_hidden_folders_inside_a_class_hold_no_images_of_it(root: Path, name: str) -> None:
    for part in ("train", "test"):
        (root / part / "cat" / name).mkdir(parents=True)
        noise(77).save(root / part / "cat" / name / "copy.png")
    raw = image_folder.load(root)
    assert (len(raw.train_images), len(raw.test_images)) == (6, 2)


def test_folders_inside_a_class_are_read_in_the_order_of_torchvisions_own_reader(root: Path) -> None:
    for k, name in enumerate(["b/a", "b-c", "b", "a0", "b/a-b", "B"]):
        (root / "train" / "dog" / name).mkdir(parents=True, exist_ok=True)
        noise(50 + k).save(root / "train" / "dog" / name / "z.png")
    (root / "train" / "dog" / "linked").symlink_to("b")
    ours = [file.path for file in image_folder._scan(root, "train", str, []).files]
    assert ours == [path for path, _ in ImageFolder(root / "train").samples]


BAD = {
    "a link to nothing": lambda path: path.symlink_to("nowhere.png"),
    "two links in a circle": lambda path: (
        path.symlink_to("y.png"),
        path.with_name("y.png").symlink_to(path),
    ),
    "a link to a folder above": lambda path: path.symlink_to(".."),
    "a pipe": os.mkfifo,
    "a folder's link through another class": lambda path: (
        path.symlink_to("../dog"),
        (path.parents[1] / "dog" / "back").symlink_to("../cat"),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_file_in_the_end_is_named(root: Path, what: str) -> None:
    path = root / "train" / "cat" / "x.png"
    BAD[what](path)
    with pytest.raises(DataError, match="files are no images that can be read") as caught:
        image_folder.load(root)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [b"B\xe4r", b"a\nb", b"\x1b[31mred"])
def test_a_class_name_that_cannot_be_shown_is_refused_in_a_line_that_can(root: Path, name: bytes) -> None:
    for part in ("train", "test"):
        os.rename(root / part / "dog", os.path.join(os.fsencode(root / part), name))
    with pytest.raises(DataError, match="rename it") as caught:
        image_folder.load(root)
    assert caught.value.lines[0].isprintable()
    caught.value.lines[0].encode("utf-8")


def test_file_names_that_are_not_utf8_are_read(root: Path) -> None:
    path = os.path.join(os.fsencode(root), b"train", b"cat", b"B\xe4r.png")
    os.rename(root / "train" / "cat" / "train0.png", path)
    assert np.array_equal(
        sorted(image.tobytes() for image in image_folder.load(root).train_images),
        sorted(np.asarray(noise(seed)).transpose(2, 0, 1).tobytes() for seed in (0, 1, 2, 10, 11, 12)),
    )
    with open(path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(DataError) as caught:
        image_folder.load(root)
    "".join(caught.value.lines).encode("utf-8")


def test_floats_are_read_as_0_to_1_and_refused_beyond(root: Path) -> None:
    values = np.random.default_rng(3).random((32, 32), dtype=np.float32)
    path = root / "train" / "cat" / "a.tiff"
    Image.fromarray(values).save(path)
    image = image_folder.load(root).train_images[0]
    assert np.array_equal(image[0], np.rint(values * 255))
    assert np.array_equal(image[0], image[2])
    for wrong in (values * 255, values - 0.5, np.full_like(values, np.nan), np.full_like(values, np.inf)):
        Image.fromarray(wrong.astype(np.float32)).save(path)
        with pytest.raises(DataError) as caught:
            image_folder.load(root)
        assert "allowed: 0 to 1" in caught.value.lines[1]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_files_of_16_bits_are_read_by_the_bits_that_they_use(root: Path, bits: int, ending: str) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (2, 32, 32), dtype=np.uint16)
    values[0] >>= 1  # a darker one stays darker
    values[1, 0, 0] = 2**bits - 1
    for k in range(2):
        Image.fromarray(values[k]).save(root / "train" / "cat" / f"a{k}.{ending}")
    raw = image_folder.load(root)
    for k in range(2):
        assert np.array_equal(raw.train_images[k, 0], values[k] // 2 ** (bits - 8))
    said = [f"files of 16 bits that use {bits} at most, read as of {bits}: 2"] if bits < 16 else []
    assert list(raw.notes) == said
    assert image_folder.load(root).notes == raw.notes, "from the cache too"


def png(values: np.ndarray) -> bytes:
    """Return [H, W, C] of 16 bits as a PNG, C of 3 or 4: Pillow writes none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, content)
        for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_in_16_bits_are_read_where_they_use_them_and_refused_where_not(
    root: Path, channels: int
) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (32, 32, channels), dtype=np.uint16)
    values[..., 3:] = 65535
    path = root / "train" / "cat" / "a.png"
    path.write_bytes(png(values))
    assert np.array_equal(image_folder.load(root).train_images[0], (values[..., :3] >> 8).transpose(2, 0, 1))
    values[..., :3] >>= 4
    path.write_bytes(png(values))
    with pytest.raises(DataError) as caught:
        image_folder.load(root)
    assert "use 12 at most; save them with 8 bits" in caught.value.lines[1]


@pytest.mark.parametrize("way", ["RGBA", "LA", "P", "RGB with a clear colour"])
def test_what_shines_through_a_transparent_part_is_white_and_not_what_it_hides(root: Path, way: str) -> None:
    path = root / "train" / "cat" / "a.png"
    if way == "P":
        image = Image.new("P", (32, 32), 7)
        image.putpalette([0, 200, 0] * 256)
        image.save(path, transparency=7)
    elif way == "RGB with a clear colour":
        Image.new("RGB", (32, 32), (0, 200, 0)).save(path, transparency=(0, 200, 0))
    else:
        Image.new(way, (32, 32), (0, 200, 0, 0) if way == "RGBA" else (50, 0)).save(path)
    raw = image_folder.load(root)
    assert (raw.train_images[0] == 255).all()
    assert raw.notes == ("files with transparent parts, read as white: 1",)


def test_half_transparent_is_half_white(root: Path) -> None:
    Image.new("RGBA", (32, 32), (0, 200, 0, 128)).save(root / "train" / "cat" / "a.png")
    pixel = image_folder.load(root).train_images[0, :, 3, 3].astype(float)
    opacity = 128 / 255
    assert np.abs(pixel - (np.array([0, 200, 0]) * opacity + 255 * (1 - opacity))).max() <= 1


SIDES = {
    1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
    5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom",
}  # fmt: skip
"""Where EXIF says that the first row and the first column of what is stored belong."""


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    row, _ = sides = SIDES[orientation].split()
    if row in ("left", "right"):
        stored = stored.swapaxes(0, 1)
    return stored[:: -1 if "bottom" in sides else 1, :: -1 if "right" in sides else 1]


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
@pytest.mark.parametrize("orientation", SIDES)
def test_images_stand_as_exif_says_that_they_were_taken(root: Path, orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.asarray(noise(9))
    image = Image.fromarray(values if mode == "RGB" else values[..., 0])
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    image.save(root / "train" / "cat" / "a.png", exif=exif)
    expected = upright(values, orientation)
    seen = image_folder.load(root).train_images[0]
    assert np.array_equal(seen[0], expected[..., 0])
    assert np.array_equal(seen[2], expected[..., 2 if mode == "RGB" else 0])


def test_damaged_exif_turns_nothing_and_costs_no_image(root: Path) -> None:
    noise(9).save(root / "train" / "cat" / "a.png", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert np.array_equal(image_folder.load(root).train_images[0], np.asarray(noise(9)).transpose(2, 0, 1))


def test_a_pointer_of_git_lfs_is_said_to_be_one(root: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    (root / "train" / "cat" / "a.jpg").write_text(pointer)
    with pytest.raises(DataError) as caught:
        image_folder.load(root)
    assert "`git lfs pull` gets that" in caught.value.lines[1]


def test_progress_goes_from_nothing_to_all_where_there_are_many_files(root: Path) -> None:
    seen = list[float]()
    image_folder.load(root, progress=seen.append)
    assert seen == [], "not worth a bar"
    source = root / "train" / "cat" / "train0.png"
    for k in range(2 * image_folder.CHUNK_FILES):
        os.link(source, root / "train" / "cat" / f"x{k}.png")
    image_folder.load(root, progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) == 3
    assert seen[-1] == 1
    image_folder.load(root, progress=seen.append)
    assert len(seen) == 3, "nothing is decoded a second time"


@pytest.mark.parametrize("share", [0.2, 0.34, 0.5])
def test_a_test_split_takes_the_same_share_of_every_class_and_parts_the_whole(
    root: Path, share: float
) -> None:
    for k in range(5):
        noise(30 + k).save(root / "train" / "dog" / f"more{k}.png")
    whole = image_folder.load(root)
    raw = image_folder.load(root, test_split=share)
    assert raw.classes == whole.classes
    for k, num in enumerate((3, 8)):
        assert (raw.test_labels == k).sum() == max(1, round(share * num))
    rows = [
        *zip(raw.train_images, raw.train_labels, strict=True),
        *zip(raw.test_images, raw.test_labels, strict=True),
    ]
    named = sorted((image.tobytes(), int(label)) for image, label in rows)
    every = zip(whole.train_images, whole.train_labels, strict=True)
    assert named == sorted((image.tobytes(), int(label)) for image, label in every)
    assert (
        f"{len(raw.test_labels)} of 11 images became test images (data.test_split {share:g}" in raw.notes[0]
    )
    assert "seed 0" in raw.notes[0]
    assert np.array_equal(image_folder.load(root, test_split=share).test_images, raw.test_images)


def test_a_test_split_that_leaves_a_class_nothing_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="cat has 3 images, and none would be left"):
        image_folder.load(root, test_split=0.9)


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


def test_folders_as_strangers_bring_them_are_read_rightly_or_said_what_is_wrong(
    tmp_path: Path, sound: Sound
) -> None:
    sound("image folders as strangers bring them", hostile_folders(tmp_path, 40, seed=11))
