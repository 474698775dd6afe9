"""CIFAR-100, SVHN, MNIST and Fashion-MNIST in miniature: their files, a server of them, commands on them.

As a program it is `warm`, for which the data sets of these names are the miniatures.
"""

import gzip
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision.datasets import CIFAR100, MNIST, SVHN, FashionMNIST

from harness.mirrors import md5
from harness.warm import Warm, serve
from resexp.data import mnist, sets
from resexp.data.cifar100 import Cifar100
from resexp.data.mnist import FashionMnist, Mnist
from resexp.data.published import PublishedSet
from resexp.data.svhn import Svhn

NUMS = {"train": 24, "test": 12}
WORDS = ("cifar100", "svhn", "mnist", "fashion_mnist")
FINE = tuple(f"fine {k}" for k in range(100))
PARTS = {"train": "train", "test": "t10k"}


class Miniature(NamedTuple):
    """A data set, and all about it that a test compares with."""

    published: PublishedSet
    given_out: dict[str, bytes]
    """what a server of it has, by the file's name"""
    read: dict[str, bytes]
    """what is read, by the path in the root"""
    images: dict[str, NDArray[np.uint8]]
    """of "train" and "test" as they were drawn: [N, 3, 32, 32], or [N, 28, 28] grey"""
    labels: dict[str, NDArray[np.int64]]


@cache
def miniature(word: str) -> Miniature:
    """Return one of WORDS, the same bytes in every process, its URLs leading nowhere."""
    rng = np.random.default_rng(WORDS.index(word))
    size, classes = ((28, 28), 10) if "mnist" in word else ((3, 32, 32), 100 if word == "cifar100" else 10)
    images = {part: rng.integers(0, 256, (num, *size), dtype=np.uint8) for part, num in NUMS.items()}
    labels = {part: rng.integers(0, classes, num) for part, num in NUMS.items()}
    labels["train"][:2] = 0, classes - 1
    make = {"cifar100": _cifar100, "svhn": _svhn}.get(word, _idx)
    return make(word, images, labels)


def _cifar100(word: str, images: dict, labels: dict) -> Miniature:
    read = {
        part: pickle.dumps(
            {
                "data": images[part].reshape(-1, 3072),
                "fine_labels": labels[part].tolist(),
                "coarse_labels": (labels[part] // 5).tolist(),
            }
        )
        for part in NUMS
    }
    read["meta"] = pickle.dumps({"fine_label_names": list(FINE), "coarse_label_names": ["coarse"] * 20})
    packed = packed_as({f"cifar-100-python/{name}": content for name, content in read.items()})

    class Tiny(CIFAR100):
        url = "http://127.0.0.1:9/cifar-100-python.tar.gz"
        tgz_md5 = md5(packed)
        train_list = [["train", md5(read["train"])]]  # noqa: RUF012
        test_list = [["test", md5(read["test"])]]  # noqa: RUF012
        meta = {"filename": "meta", "key": "fine_label_names", "md5": md5(read["meta"])}  # noqa: RUF012

    files = {f"cifar-100-python/{name}": content for name, content in read.items()}
    return Miniature(Cifar100(Tiny), {Tiny.filename: packed}, files, images, labels)


def packed_as(files: dict[str, bytes]) -> bytes:
    """Return an archive, which need not be compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _svhn(word: str, images: dict, labels: dict) -> Miniature:
    read = dict[str, bytes]()
    for part in NUMS:
        buffer = io.BytesIO()
        called = np.where(labels[part] == 0, 10, labels[part]).astype(np.uint8)
        savemat(buffer, {"X": images[part].transpose(2, 3, 1, 0), "y": called[:, None]})
        without_a_date = b"MATLAB 5.0 MAT-file".ljust(116)
        read[f"{part}_32x32.mat"] = without_a_date + buffer.getvalue()[116:]

    class Tiny(SVHN):
        split_list = {  # noqa: RUF012
            part: [
                f"http://127.0.0.1:9/{part}_32x32.mat",
                f"{part}_32x32.mat",
                md5(read[f"{part}_32x32.mat"]),
            ]
            for part in NUMS
        }

    return Miniature(Svhn(Tiny), read, read, images, labels)


def _idx(word: str, images: dict, labels: dict) -> Miniature:
    kind, archive = (Mnist, MNIST) if word == "mnist" else (FashionMnist, FashionMNIST)
    read = dict[str, bytes]()
    for part, called in PARTS.items():
        num = len(labels[part])
        read[f"{called}-images-idx3-ubyte"] = struct.pack(">4I", 2051, num, 28, 28) + images[part].tobytes()
        read[f"{called}-labels-idx1-ubyte"] = (
            struct.pack(">2I", 2049, num) + labels[part].astype(np.uint8).tobytes()
        )
    packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in read.items()}
    resources = [(name, md5(packed[name])) for name, _ in archive.resources]
    told = {"mirrors": ["http://127.0.0.1:9/"], "resources": resources}
    tiny = cast(type[MNIST], type(archive.__name__, (archive,), told))
    files = {f"{archive.__name__}/raw/{name}": content for name, content in read.items()}
    return Miniature(kind(tiny), packed, files, images, labels)


def use_miniatures() -> None:
    """Make the miniatures what this process knows by the data sets' words."""
    mnist.PART_IMAGES = {called: NUMS[part] for part, called in PARTS.items()}
    sets.BY_WORD.update({word: miniature(word).published for word in WORDS})


class Shop(ThreadingHTTPServer):
    """Gives the files of one miniature by their names, other bytes for those in `spoilt`, and counts."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Counter)
        self.files, self.asked, self.spoilt = files, list[str](), set[str]()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Counter(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        shop, name = cast(Shop, self.server), self.path.strip("/")
        shop.asked.append(name)
        content = shop.files[name]
        if name in shop.spoilt:
            content = bytes(len(content))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def shop_of(small: Miniature) -> Iterator[Shop]:
    """Run a server for the block, to which the miniature's addresses lead meanwhile."""
    kept = small.published.sources
    with Shop(small.given_out) as shop:
        thread = threading.Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        small.published.sources = tuple(
            one._replace(urls=(shop.url(one.path.rpartition("/")[2]),)) for one in kept
        )
        try:
            yield shop
        finally:
            small.published.sources = kept
            shop.shutdown()
            thread.join()


class WarmMiniatures(Warm):
    """Runs commands for which the miniatures are the data sets."""

    module = "harness.published"


if __name__ == "__main__":
    use_miniatures()
    serve()
