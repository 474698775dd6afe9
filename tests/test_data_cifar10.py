"""CIFAR-10's archive, in miniature, from a real server on this machine that is slow, broken or wrong."""

import io
import os
import pickle
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from harness import cold
from harness.mirrors import ARCHIVE, FILES, NAMES, Server, Tiny, md5, serving
from scipy.io import savemat

from resexp.config import DataSection
from resexp.data import cifar10, cifar10_formats, splits
from resexp.data.download import BRIEF, NoMirrorError, Patience, StayEncrypted, download
from resexp.errors import DataError


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*ways: str) -> None:
        monkeypatch.delenv(cifar10.MIRROR_VARIABLE, raising=False)
        monkeypatch.setattr(cifar10, "MIRRORS", tuple(server.url(way) for way in ways))

    return use


def test_the_archive_becomes_the_images_in_it(tmp_path: Path, mirror: Callable[..., None]) -> None:
    mirror("good")
    raw = cifar10.load(tmp_path, archive=Tiny)
    rows = np.concatenate([pickle.loads(FILES[f"data_batch_{k}"])["data"] for k in (1, 2)])
    assert np.array_equal(raw.train_images, rows.reshape(16, 3, 32, 32))
    assert raw.test_labels.tolist() == pickle.loads(FILES["test_batch"])["labels"]
    assert raw.classes == NAMES
    assert raw.label == "CIFAR-10"


def test_mirrors_are_tried_in_order_until_one_is_right(
    tmp_path: Path, server: Server, mirror: Callable[..., None]
) -> None:
    mirror("missing", "cut", "wrong", "good", "never")
    cifar10.fetch_cifar10(tmp_path, archive=Tiny)
    assert server.asked == ["missing", "cut", "wrong", "good"]
    assert "every MD5 right" in cifar10.verify_cifar10(tmp_path, archive=Tiny)


def test_when_none_is_right_each_is_named_with_its_reason_and_what_to_do(
    tmp_path: Path, server: Server, mirror: Callable[..., None]
) -> None:
    mirror("missing", "cut", "wrong")
    with pytest.raises(DataError) as caught:
        cifar10.load(tmp_path, archive=Tiny)
    lines = caught.value.lines
    assert caught.value.code == 3
    assert server.url("missing") in lines[1]
    assert "HTTP 404" in lines[1]
    assert "broke off after" in lines[2]
    assert md5(b"x" * len(ARCHIVE)) in lines[3]
    assert str(tmp_path) in lines[4]
    assert Tiny.tgz_md5 in lines[4]
    assert {path.name for path in tmp_path.iterdir()} == {".cifar-10.lock"}


def test_a_mirror_of_ones_own_is_the_only_one_asked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cifar10.MIRROR_VARIABLE, server.url("missing"))
    with pytest.raises(DataError):
        cifar10.fetch_cifar10(tmp_path, archive=Tiny)
    assert server.asked == ["missing"]


@pytest.mark.parametrize("way", ["silent", "drip"])
def test_a_slow_mirror_is_left_in_time(tmp_path: Path, server: Server, way: str) -> None:
    start = time.monotonic()
    patience = Patience(first_byte=1, total=6, brief=False)
    with pytest.raises(NoMirrorError, match=r"no byte within|fell silent|too slow"):
        download([server.url(way)], tmp_path / "file", md5=Tiny.tgz_md5, num_bytes=10**6, patience=patience)
    assert time.monotonic() - start < 5


def test_brief_patience_covers_all_mirrors_together(tmp_path: Path, server: Server) -> None:
    start = time.monotonic()
    patience = BRIEF._replace(first_byte=0.9)
    with pytest.raises(NoMirrorError) as caught:
        download(
            [server.url("silent")] * 3,
            tmp_path / "file",
            md5=Tiny.tgz_md5,
            num_bytes=10**6,
            patience=patience,
        )
    assert len(caught.value.reasons) == 3
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(("old", "new", "followed"), [("https", "http", False), ("http", "https", True)])
def test_no_redirect_leaves_https(old: str, new: str, followed: bool) -> None:
    request = urllib.request.Request(f"{old}://example.org/a")
    rest = (io.BytesIO(), 302, "", HTTPMessage(), f"{new}://example.org/b")
    if followed:
        target = StayEncrypted().redirect_request(request, *rest)
        assert target is not None
        assert target.full_url == f"{new}://example.org/b"
    else:
        with pytest.raises(URLError, match="redirects from https to http, which is refused"):
            StayEncrypted().redirect_request(request, *rest)


def test_a_mirror_that_sends_without_end_is_left_at_the_known_size(tmp_path: Path, server: Server) -> None:
    target = tmp_path / "file"
    with pytest.raises(NoMirrorError, match="sends more than the 200,000 bytes that there are"):
        download([server.url("endless")], target, md5=Tiny.tgz_md5, num_bytes=200_000)
    assert target.stat().st_size <= 200_000


def test_the_known_size_is_that_of_cifar10s_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()
    monkeypatch.setattr(cifar10, "download", lambda *_, num_bytes, **__: seen.append(num_bytes) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cifar10.fetch_cifar10(tmp_path)
    assert seen == [170_498_071]


NAMES_WRITTEN = [".cifar-10.lock", f".{Tiny.filename}.part", ".cifar-10-fresh"]


@pytest.mark.parametrize("name", NAMES_WRITTEN)
@pytest.mark.parametrize("way", ["symbolic", "dangling", "hard", "pipe"])
def test_nothing_is_written_through_what_stands_in_the_place_of_a_file_of_ours(
    tmp_path: Path, mirror: Callable[..., None], name: str, way: str
) -> None:
    mirror("good")
    root, foreign, folder = tmp_path / "root", tmp_path / "foreign", tmp_path / "folder"
    root.mkdir()
    folder.mkdir()
    foreign.write_text("somebody's own")
    place = root / name
    if way == "symbolic":
        place.symlink_to(folder if name == ".cifar-10-fresh" else foreign)
    elif way == "dangling":
        place.symlink_to(tmp_path / "nowhere")
    elif way == "hard":
        os.link(foreign, place)
    else:
        os.mkfifo(place)
    with pytest.raises(DataError) as caught:
        cifar10.fetch_cifar10(root, archive=Tiny)
    assert str(place) in caught.value.lines[0]
    assert len(caught.value.lines) == 1
    assert foreign.read_text() == "somebody's own"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "foreign", "root"]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "nonsense"])
def test_only_web_addresses_are_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(NoMirrorError, match="neither an https nor an http address"):
        download([url], tmp_path / "file", md5="", num_bytes=1)


def test_a_batch_cut_short_is_named_with_the_repair_which_repairs(
    tmp_path: Path, server: Server, mirror: Callable[..., None]
) -> None:
    mirror("good")
    cifar10.fetch_cifar10(tmp_path, archive=Tiny)
    damaged = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (tmp_path / "cifar-10-batches-py" / "batches.meta").unlink()
    for look in (cifar10.load, cifar10.verify_cifar10):
        with pytest.raises(DataError) as caught:
            look(tmp_path, archive=Tiny)
        assert f"{damaged}: altered or cut short" in caught.value.lines[0]
        assert "batches.meta: missing" in caught.value.lines[1]
        assert all(f"`resexp data fetch --root {tmp_path}` repairs it" in line for line in caught.value.lines)
    assert len(server.asked) == 1
    cifar10.fetch_cifar10(tmp_path, archive=Tiny)
    assert len(server.asked) == 1, "the archive on disk was right"
    assert len(cifar10.load(tmp_path, archive=Tiny).train_images) == 16


def written(root: Path, version: str, places: str) -> Path:
    """Write the miniature's images as another version and return the root that leads there."""
    names = {"data_batch_1": 1, "data_batch_2": 2, "data_batch_3": 1, "data_batch_4": 2, "data_batch_5": 1}
    folder = root / {"in": ".", "at": ".", "below": "deep"}[places] / f"cifar-10-batches-{version}"
    folder.mkdir(parents=True)
    for name, k in {**names, "test_batch": 1}.items():
        held = pickle.loads(FILES[f"data_batch_{k}"])
        labels = np.array(held["labels"], dtype=np.uint8)[:, None]
        if version == "bin":
            (folder / f"{name}.bin").write_bytes(np.hstack([labels, held["data"]]).tobytes())
        else:
            savemat(folder / f"{name}.mat", {"data": held["data"], "labels": labels, "batch_label": name})
    return folder if places == "at" else root


@pytest.mark.parametrize("places", ["in", "at", "below"])
@pytest.mark.parametrize("version", ["bin", "mat"])
def test_the_other_versions_give_the_same_images_and_are_not_downloaded_again(
    tmp_path: Path, server: Server, mirror: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
    version: str, places: str,
) -> None:  # fmt: skip
    mirror("good")
    monkeypatch.setattr(cifar10_formats, "NUM_IN_FILE", 8)
    raw = cifar10.load(written(tmp_path, version, places))
    held = [pickle.loads(FILES[f"data_batch_{k}"]) for k in (1, 2, 1, 2, 1)]
    assert np.array_equal(
        raw.train_images, np.concatenate([one["data"] for one in held]).reshape(40, 3, 32, 32)
    )
    assert raw.train_labels.tolist() == [label for one in held for label in one["labels"]]
    assert np.array_equal(raw.test_images, held[0]["data"].reshape(8, 3, 32, 32))
    assert not server.asked
    assert not list(tmp_path.rglob(".cifar*"))


@pytest.mark.parametrize("version", ["bin", "mat"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "pointer", "missing", "other labels"])
def test_a_damaged_file_of_another_version_is_named_with_what_gets_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, damage: str
) -> None:
    monkeypatch.setattr(cifar10_formats, "NUM_IN_FILE", 8)
    root = written(tmp_path, version, "in")
    path = root / f"cifar-10-batches-{version}" / f"data_batch_3.{version}"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other labels" and version == "bin":
        path.write_bytes(b"\x0b" + content[1:])
    elif damage == "other labels":
        savemat(path, {"data": np.zeros((8, 3072), np.uint8), "labels": np.full((8, 1), 11, np.uint8)})
    else:
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
        path.write_bytes({"cut": content[:-700], "emptied": b"", "pointer": pointer}[damage])
    with pytest.raises(DataError) as caught:
        cifar10.load(root)
    (line,) = caught.value.lines
    assert line.startswith(f"{path}: ")
    assert f"`resexp data fetch --root {root}` gets CIFAR-10 anew" in line


@pytest.mark.parametrize("places", ["at", "below", "at, under another name"])
def test_the_python_version_is_found_at_and_below_the_root_and_checked_there(
    tmp_path: Path, server: Server, mirror: Callable[..., None], places: str
) -> None:
    mirror("good")
    cifar10.fetch_cifar10(tmp_path / "deep", archive=Tiny)
    folder = tmp_path / "deep" / "cifar-10-batches-py"
    if places == "at, under another name":
        folder = folder.rename(tmp_path / "renamed")
    root = tmp_path if places == "below" else folder
    assert len(cifar10.load(root, archive=Tiny).train_images) == 16
    (folder / "data_batch_2").write_bytes(b"")
    with pytest.raises(DataError, match="data_batch_2: altered or cut short"):
        cifar10.load(root, archive=Tiny)
    if places == "at":
        cifar10.fetch_cifar10(root, archive=Tiny)
        assert len(cifar10.load(root, archive=Tiny).train_images) == 16
    assert server.asked == ["good"]
    assert not list(folder.glob(".*"))


def test_another_version_that_is_packed_is_said_to_be_with_what_unpacks_it(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"unpack it: tar -xzf .*cifar-10-binary\.tar\.gz -C "):
        cifar10.load(tmp_path)


def test_a_batch_that_is_a_pointer_of_git_lfs_is_said_to_be_one(
    tmp_path: Path, mirror: Callable[..., None]
) -> None:
    mirror("good")
    cifar10.fetch_cifar10(tmp_path, archive=Tiny)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_text(pointer)
    with pytest.raises(DataError, match="data_batch_2: a pointer of Git LFS, not the file"):
        cifar10.load(tmp_path, archive=Tiny)


def test_an_archive_put_there_by_hand_is_used(
    tmp_path: Path, server: Server, mirror: Callable[..., None]
) -> None:
    mirror("missing")
    (tmp_path / Tiny.filename).write_bytes(ARCHIVE)
    assert len(cifar10.load(tmp_path, archive=Tiny).test_images) == 6
    assert not server.asked


def test_what_a_kill_left_is_made_good(tmp_path: Path, mirror: Callable[..., None]) -> None:
    mirror("good")
    (tmp_path / f".{Tiny.filename}.part").write_bytes(ARCHIVE[:100])
    (tmp_path / Tiny.filename).write_bytes(ARCHIVE[:5000])
    (tmp_path / ".cifar-10-fresh" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / ".cifar-10-fresh" / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    cifar10.load(tmp_path, archive=Tiny)
    assert {path.name for path in tmp_path.iterdir()} == {
        ".cifar-10.lock",
        Tiny.filename,
        "cifar-10-batches-py",
    }


def test_four_processes_download_once_and_none_fails(tmp_path: Path, server: Server) -> None:
    assert cold.all_at_once(tmp_path, server) == "[0, 0, 0, 0]\n"
    assert server.asked == ["slowly"]


def test_a_kill_during_the_download_is_made_good_by_the_next_start(tmp_path: Path, server: Server) -> None:
    assert cold.killed_first(tmp_path, server) == "[0]\n"
    assert server.asked == ["stall", "good"]
    assert not (tmp_path / f".{Tiny.filename}.part").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"choose another data\.root"):
        cifar10.fetch_cifar10(tmp_path / "file", archive=Tiny)


def test_auto_takes_crayons_when_no_mirror_answers_and_says_why(
    tmp_path: Path, server: Server, mirror: Callable[..., None]
) -> None:
    mirror("missing", "missing")
    data = splits.load(DataSection(name="auto", root=str(tmp_path)))
    assert data.name == "crayons"
    assert data.label == "crayons (drawn)"
    assert "HTTP 404" in data.note
    assert "resexp data fetch" in data.note


def test_auto_takes_cifar10_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / Tiny.filename).write_bytes(ARCHIVE)
    monkeypatch.setattr(cifar10, "load", partial(cifar10.load, archive=Tiny))
    data = splits.load(DataSection(name="auto", root=str(tmp_path)))
    assert (data.name, data.label, data.note) == ("cifar10", "CIFAR-10", "")
