"""CIFAR-100, SVHN, MNIST and Fashion-MNIST on files in their own formats, made small."""

import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_config
from harness.commands import environment, write_config
from harness.published import (
    FINE,
    NUMS,
    PARTS,
    WORDS,
    Miniature,
    WarmMiniatures,
    miniature,
    packed_as,
    shop_of,
    use_miniatures,
)
from PIL import Image
from torch.nn import functional as F

from resexp.cli.completion import data_names, published_names
from resexp.config import DataSection
from resexp.data import image_folder, mnist, sets, splits
from resexp.data.dataset import Raw
from resexp.data.published import PublishedSet, fetch_published, load, verify_published
from resexp.errors import DataError
from resexp.records.run import Run
from resexp.training import engine
from resexp.training.loop import run

FILES = [(word, path) for word in WORDS for path in miniature(word).read]
IDX = [(word, path) for word, path in FILES if "mnist" in word]


@pytest.fixture(autouse=True)
def miniatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "PART_IMAGES", mnist.PART_IMAGES)
    monkeypatch.setattr(sets, "BY_WORD", dict(sets.BY_WORD))
    use_miniatures()


@pytest.fixture(scope="module")
def commands() -> Iterator[WarmMiniatures]:
    with WarmMiniatures() as running:
        yield running


def lay_out(small: Miniature, root: Path, *, with_packed: bool = True) -> Path:
    """Write a data set as torchvision lays it out."""
    for path, content in small.read.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    for source in small.published.sources if with_packed else ():
        (root / source.path).write_bytes(small.given_out[Path(source.path).name])
    return root


@pytest.mark.parametrize("word", WORDS)
def test_the_images_are_those_in_the_files(word: str, tmp_path: Path) -> None:
    small = miniature(word)
    raw = sets.load(word, lay_out(small, tmp_path))
    assert raw.train_labels.tolist() == small.labels["train"].tolist()
    assert raw.test_labels.tolist() == small.labels["test"].tolist()
    for part, images in (("train", raw.train_images), ("test", raw.test_images)):
        assert images.dtype == np.uint8
        assert images.shape == (NUMS[part], 3, 32, 32)
        if "mnist" not in word:
            assert np.array_equal(images, small.images[part])
            continue
        grey = torch.from_numpy(small.images[part])[:, None].float()
        stretched = F.interpolate(grey, (32, 32), mode="bilinear", align_corners=False)
        assert float((torch.from_numpy(images) - stretched).abs().max()) <= 1, "in each of three channels"
        assert (images == images[:, :1]).all()


def test_svhns_ten_is_the_digit_0_and_every_class_has_its_name(tmp_path: Path) -> None:
    raw = {word: sets.load(word, lay_out(miniature(word), tmp_path)) for word in WORDS}
    assert raw["svhn"].train_labels[0] == 0
    assert raw["svhn"].classes == tuple("0123456789")
    assert raw["cifar100"].classes == FINE
    assert [len(raw[word].classes) for word in ("mnist", "fashion_mnist")] == [10, 10]
    assert raw["mnist"].classes[7] == "7 - seven"
    assert raw["fashion_mnist"].classes[9] == "Ankle boot"


def test_grey_images_are_what_a_folder_of_the_same_as_files_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESEXP_CACHE", str(tmp_path / "cache"))
    small = miniature("mnist")
    for part in NUMS:
        for k, (image, label) in enumerate(zip(small.images[part], small.labels[part], strict=True)):
            folder = tmp_path / "folder" / part / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{k:02d}.png")
    order = np.argsort(small.labels["train"], kind="stable")
    raw = sets.load("mnist", lay_out(small, tmp_path))
    # The tests' images need not be of every class, which a folder must hold in both parts.
    for label in set(small.labels["train"].tolist()) ^ set(small.labels["test"].tolist()):
        for part in NUMS:
            folder = tmp_path / "folder" / part / str(label)
            folder.mkdir(exist_ok=True)
            Image.new("L", (28, 28)).save(folder / "99.png")
    read = image_folder.load(tmp_path / "folder")
    shown = read.train_images[[image.any() for image in read.train_images]]
    assert np.array_equal(shown, raw.train_images[order])


@pytest.mark.parametrize("word", WORDS)
def test_digits_are_never_mirrored_and_things_are(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flips, draw = list[int](), engine.draw

    def watched(*args, **kwargs):
        drawn = draw(*args, **kwargs)
        flips.append(int(drawn.flip.sum()))
        return drawn

    monkeypatch.setattr(engine, "draw", watched)
    data = {"name": word, "root": str(lay_out(miniature(word), tmp_path / "data"))}
    config = tiny_config(data=data, optim__steps=2)
    run(config, tmp_path / "run", splits.load(config.data))
    assert len(flips) == 2
    assert any(flips) == (word in ("cifar100", "fashion_mnist"))


@pytest.mark.parametrize("word", WORDS)
def test_it_is_fetched_whole_and_checked_and_not_fetched_again(word: str, tmp_path: Path) -> None:
    small = miniature(word)
    seen = list[tuple[int, int | None]]()
    with shop_of(small) as shop:
        said = fetch_published(small.published, tmp_path, progress=lambda *at: seen.append(at))
        assert sorted(shop.asked) == sorted(small.given_out)
        load(small.published, tmp_path)
        fetch_published(small.published, tmp_path)
        assert len(shop.asked) == len(small.given_out)
    assert "is there and whole" in said
    assert "every MD5 right" in verify_published(small.published, tmp_path)
    assert [at[0] for at in seen] == sorted(at[0] for at in seen)
    assert {path: (tmp_path / path).read_bytes() for path in small.read} == small.read
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("word", WORDS)
def test_other_bytes_from_the_server_are_refused_and_the_way_by_hand_is_told(
    word: str, tmp_path: Path
) -> None:
    small = miniature(word)
    source = small.published.sources[-1]
    name = Path(source.path).name
    with shop_of(small) as shop:
        shop.spoilt.add(name)
        with pytest.raises(DataError) as caught:
            load(small.published, tmp_path)
    lines = caught.value.lines
    assert caught.value.code == 3
    assert lines[0] == f"{small.published.label} could not be downloaded:"
    assert "other bytes: their MD5 is" in lines[1]
    assert f"{name} ({source.num_bytes:,} bytes, MD5 {source.md5})" in lines[2]
    assert f"`resexp data fetch {word} --root {tmp_path}`" in lines[2]
    (tmp_path / source.path).write_bytes(small.given_out[name])
    with shop_of(small) as shop:
        load(small.published, tmp_path)
        assert not shop.asked, "the others had come, this one was put there by hand"


@pytest.mark.parametrize("word", WORDS)
def test_what_is_not_there_is_said_with_the_command_that_gets_it(word: str, tmp_path: Path) -> None:
    small = miniature(word)
    for look in (tmp_path / "none", lay_out(small, tmp_path / "part")):
        (look / next(iter(small.read))).unlink(missing_ok=True)
        with pytest.raises(
            DataError, match=rf"`resexp data fetch {word} --root {look}` (gets it|repairs it)"
        ):
            verify_published(small.published, look)


DAMAGE = {
    "cut": lambda content: content[:-1],
    "emptied": lambda content: b"",
    "altered": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "header": lambda content: content[:4] + b"\xff" + content[5:],
    "pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("word", "path"), FILES)
def test_a_damaged_file_is_named_left_alone_and_repaired_when_asked(
    word: str, path: str, damage: str, tmp_path: Path
) -> None:
    small = miniature(word)
    spoilt = DAMAGE[damage](small.read[path])
    (lay_out(small, tmp_path) / path).write_bytes(spoilt)
    for look in (load, verify_published):
        with pytest.raises(DataError) as caught:
            look(small.published, tmp_path)
        (line,) = caught.value.lines
        assert line.startswith(f"{tmp_path / path}: ")
        assert line.endswith(f"`resexp data fetch {word} --root {tmp_path}` repairs it")
    assert (tmp_path / path).read_bytes() == spoilt
    with shop_of(small) as shop:
        fetch_published(small.published, tmp_path)
        assert shop.asked == ([Path(path).name] if word == "svhn" else [])
    assert (tmp_path / path).read_bytes() == small.read[path]


@pytest.mark.parametrize(("word", "path"), IDX)
def test_idx_files_without_their_gz_are_read_and_said_to_have_no_sums(
    word: str, path: str, tmp_path: Path
) -> None:
    small = miniature(word)
    lay_out(small, tmp_path, with_packed=False)
    raw = load(small.published, tmp_path)
    assert len(raw.train_images) == NUMS["train"]
    assert "no sums are known" in raw.notes[1]
    assert "0 with their .gz" in verify_published(small.published, tmp_path)
    content = small.read[path]
    for damage in ("cut", "header", "emptied"):
        (tmp_path / path).write_bytes(DAMAGE[damage](content))
        with pytest.raises(DataError, match=r"are expected|does not begin"):
            load(small.published, tmp_path)
    (tmp_path / path).write_bytes(content[:-1] + b"\x0a")
    if "labels" in path:
        with pytest.raises(DataError, match="has a label 10; allowed: 0 to 9"):
            load(small.published, tmp_path)


def test_a_missing_file_is_added_to_the_others_which_stay(tmp_path: Path) -> None:
    for word in ("svhn", "mnist"):
        small = miniature(word)
        lay_out(small, tmp_path, with_packed=False)
        path = list(small.read)[1]
        (tmp_path / path).unlink()
        with shop_of(small) as shop:
            load(small.published, tmp_path)
            assert [name.removesuffix(".gz") for name in shop.asked] == [Path(path).name]
        assert (tmp_path / path).read_bytes() == small.read[path]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    small = miniature("mnist")
    path = lay_out(small, tmp_path, with_packed=False) / "MNIST/raw/t10k-images-idx3-ubyte"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: no file"):
        load(small.published, tmp_path)


WRITTEN = [
    ("svhn", ".svhn.lock"),
    ("svhn", ".train_32x32.mat.part"),
    ("cifar100", ".cifar-100-python.tar.gz.part"),
    ("cifar100", ".cifar100-fresh"),
    ("mnist", "MNIST/raw/.train-labels-idx1-ubyte.part"),
]


@pytest.mark.parametrize(("word", "name"), WRITTEN)
@pytest.mark.parametrize("way", ["symbolic", "hard", "pipe"])
def test_nothing_is_written_through_what_stands_in_the_place_of_a_file_of_ours(
    word: str, name: str, way: str, tmp_path: Path
) -> None:
    place, foreign = tmp_path / "root" / name, tmp_path / "foreign"
    place.parent.mkdir(parents=True)
    foreign.write_text("somebody's own")
    if way == "symbolic":
        place.symlink_to(foreign)
    elif way == "hard":
        os.link(foreign, place)
    else:
        os.mkfifo(place)
    small = miniature(word)
    with shop_of(small), pytest.raises(DataError) as caught:
        fetch_published(small.published, tmp_path / "root")
    (line,) = caught.value.lines
    assert line.startswith(f"{place}: ")
    assert foreign.read_text() == "somebody's own"


class Harmful:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_strangers_pickle_is_not_loaded(name: str, tmp_path: Path) -> None:
    small = miniature("cifar100")
    ran, harmful = tmp_path / "ran", pickle.dumps(Harmful(tmp_path / "ran"))
    (lay_out(small, tmp_path) / "cifar-100-python" / name).write_bytes(harmful)
    for look in (load, verify_published):
        with pytest.raises(DataError, match=f"{name}: altered or cut short"):
            look(small.published, tmp_path)
    packed = packed_as({f"cifar-100-python/{one}": harmful for one in ("train", "test", "meta")})
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(packed)
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch_published(small.published, tmp_path)
    assert not ran.exists()
    pickle.loads(harmful)
    assert ran.is_dir(), "it would have"


def test_what_older_versions_of_torchvision_left_is_not_read_in_place_of_the_files(tmp_path: Path) -> None:
    small = miniature("mnist")
    lay_out(small, tmp_path)
    (tmp_path / "MNIST/processed").mkdir()
    for name in ("training.pt", "test.pt"):
        old = (torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.long))
        torch.save(old, tmp_path / "MNIST/processed" / name)
    assert load(small.published, tmp_path).train_labels.tolist() == small.labels["train"].tolist()


@pytest.mark.parametrize(
    ("word", "inside"),
    [("cifar100", "cifar-100-python"), ("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST/raw")],
)
def test_a_root_that_is_the_data_sets_own_folder_will_do(word: str, inside: str, tmp_path: Path) -> None:
    small = miniature(word)
    raw = load(small.published, lay_out(small, tmp_path) / inside)
    assert len(raw.test_images) == NUMS["test"]


def test_a_root_of_the_same_name_is_one_all_the_same(tmp_path: Path) -> None:
    small = miniature("mnist")
    raw = load(small.published, lay_out(small, tmp_path / "MNIST"))
    assert len(raw.test_images) == NUMS["test"]


@pytest.mark.parametrize("word", WORDS)
def test_three_processes_download_once_and_none_fails(word: str, tmp_path: Path) -> None:
    small = miniature(word)
    with shop_of(small) as shop:
        children = []
        for _ in range(3):
            if not (child := os.fork()):
                status = 1
                try:
                    status = 0 if len(load(small.published, tmp_path).train_images) == NUMS["train"] else 2
                finally:
                    os._exit(status)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
        assert sorted(shop.asked) == sorted(small.given_out)


@pytest.mark.parametrize("word", WORDS)
def test_what_another_process_completes_in_between_is_read(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = miniature(word)
    read, came_too_early = type(small.published).read, iter([True])

    def reading(published: PublishedSet, root: Path) -> Raw:
        if next(came_too_early, False):
            lay_out(small, tmp_path)
            raise RuntimeError("Dataset not found or corrupted.")
        return read(published, root)

    monkeypatch.setattr(type(small.published), "read", reading)
    assert len(load(small.published, tmp_path).train_images) == NUMS["train"]


def resexp(commands: WarmMiniatures, *arguments: str, folder: Path) -> tuple[int, str, str]:
    return commands.run(arguments, folder, environment(folder))


@pytest.mark.parametrize("word", WORDS)
def test_a_net_is_trained_on_it_and_the_record_says_on_what(
    word: str, commands: WarmMiniatures, tmp_path: Path
) -> None:
    lay_out(miniature(word), tmp_path / "data")
    write_config(tmp_path / "c.yaml", tiny_config(optim__steps=2))
    arguments = ("train", "--config", "c.yaml", "--data", word, "--name", "n")
    code, _, stderr = resexp(commands, *arguments, folder=tmp_path)
    assert code == 0, stderr
    trained = Run(tmp_path / "runs/n")
    assert trained.result is not None
    assert trained.result.steps == 2
    data = trained.manifest.data
    assert (data.name, data.label) == (word, sets.title_of(word))
    said = "grey images, the same in all three channels, 28x28 stretched to 32x32"
    assert ((data.notes or []) == [said]) == ("mnist" in word)
    assert (said in stderr) == ("mnist" in word)
    again = resexp(commands, "verify", "runs/n", folder=tmp_path)
    assert again[0] == 0, again


def test_commands_end_with_3_and_one_line_for_each_file_where_images_are_damaged(
    commands: WarmMiniatures, tmp_path: Path
) -> None:
    write_config(tmp_path / "c.yaml", tiny_config(optim__steps=2))
    for word, path in (("cifar100", "cifar-100-python/test"), ("fashion_mnist", "FashionMNIST/raw/train-labels-idx1-ubyte")):  # fmt: skip  # noqa: E501
        (lay_out(miniature(word), tmp_path / "data") / path).write_bytes(b"")
        for arguments in (("train", "--config", "c.yaml", "--data", word), ("data", "verify", word)):
            code, _, stderr = resexp(commands, *arguments, folder=tmp_path)
            assert code == 3
            (line,) = stderr.splitlines()
            assert f"data/{path}: " in line
            assert line.endswith(f"`resexp data fetch {word}` repairs it")


@pytest.mark.parametrize("word", WORDS)
def test_offline_every_command_ends_with_3_and_says_what_to_do_by_hand(
    word: str, commands: WarmMiniatures, tmp_path: Path
) -> None:
    write_config(tmp_path / "c.yaml", tiny_config(optim__steps=2))
    for arguments in (("train", "--config", "c.yaml", "--data", word), ("data", "fetch", word)):
        code, _, stderr = resexp(commands, *arguments, folder=tmp_path)
        assert code == 3
        lines = stderr.splitlines()
        assert "could not be downloaded" in lines[0]
        assert "Connection refused" in lines[1]
        assert "by hand: put" in lines[2]
        assert f"call `resexp data fetch {word}`" in lines[2]
    code, _, stderr = resexp(commands, "data", "verify", word, folder=tmp_path)
    assert code == 3
    assert f"is not there; `resexp data fetch {word}` gets it" in stderr


def test_a_data_set_that_is_not_known_is_answered_with_those_that_are(
    commands: WarmMiniatures, tmp_path: Path
) -> None:
    for command in ("fetch", "verify"):
        code, _, stderr = resexp(commands, "data", command, "imagenet", folder=tmp_path)
        assert code == 2
        assert stderr.count("\n") == 1
        assert "allowed are cifar10, cifar100, svhn, mnist, fashion_mnist" in stderr
    code, _, stderr = resexp(commands, "data", "verify", folder=tmp_path)
    assert code == 3
    assert "CIFAR-10 is not there; `resexp data fetch` gets it" in stderr


def test_the_doctor_shows_a_net_grey_images_in_three_channels(
    commands: WarmMiniatures, tmp_path: Path
) -> None:
    lay_out(miniature("mnist"), tmp_path / "data")
    layers = "nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 28 * 28, 10)"
    net = f"from torch import nn\n\n\ndef make():\n    return nn.Sequential({layers})\n"
    (tmp_path / "net.py").write_text(net)
    arguments = ("doctor", "net.py:make", "--data", "mnist", "--batch", "8", "--seeds", "2", "--json")
    code, stdout, stderr = resexp(commands, *arguments, folder=tmp_path)
    assert code == 0, stderr
    assert "images of MNIST" in stdout


def test_completion_knows_every_word() -> None:
    assert data_names("") == ["cifar10", *WORDS, "crayons", "folder", "auto"]
    assert published_names("cifar") == ["cifar10", "cifar100"]
    for word in data_names(""):
        DataSection.model_validate({"name": word})


def test_the_headers_are_those_of_the_idx_format() -> None:
    assert mnist.Idx(Path("a"), (5, 28, 28)).header == struct.pack(">4I", 2051, 5, 28, 28)
    assert mnist.Idx(Path("a"), (7,)).header == struct.pack(">2I", 2049, 7)
    assert set(PARTS.values()) == set(mnist.PART_IMAGES)
