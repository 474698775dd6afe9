"""CIFAR-10's archive, in miniature, and a real server on this machine that is slow, broken or wrong."""

import hashlib
import io
import pickle
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import numpy as np
from torchvision.datasets import CIFAR10

NAMES = ("plane", "car", "bird")


def batch(seed: int, num: int) -> bytes:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (num, 3072), dtype=np.uint8)
    return pickle.dumps({"data": data, "labels": rng.integers(0, 3, num).tolist()})


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


FILES = {
    "data_batch_1": batch(1, 8),
    "data_batch_2": batch(2, 8),
    "test_batch": batch(3, 6),
    "batches.meta": pickle.dumps({"label_names": list(NAMES)}),
}


def packed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = packed()


class Tiny(CIFAR10):
    """torchvision's class, told to expect the miniature."""

    tgz_md5 = md5(ARCHIVE)
    train_list = [[name, md5(FILES[name])] for name in ("data_batch_1", "data_batch_2")]  # noqa: RUF012
    test_list = [["test_batch", md5(FILES["test_batch"])]]  # noqa: RUF012
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(FILES["batches.meta"])}  # noqa: RUF012


class Server(ThreadingHTTPServer):
    """Answers every path in its own way, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[str] = []

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{way}"

    def handle_error(self, request, client_address) -> None:
        """Say nothing: clients hang up on bad answers, which is what the tests are about."""


class Answers(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        way = self.path.strip("/")
        cast(Server, self.server).asked.append(way)
        content = ARCHIVE
        if way == "missing":
            return self.send_error(404)
        if way == "silent":
            time.sleep(30)
        if way == "slowly":
            time.sleep(0.5)
        if way == "wrong":
            content = b"x" * len(ARCHIVE)
        self.send_response(200)
        if way == "endless":
            self.end_headers()
            while True:
                self.wfile.write(content)
        self.send_header("Content-Length", str(len(ARCHIVE)))
        self.end_headers()
        if way == "stall":
            self.wfile.write(content[: 1 << 14])
            self.wfile.flush()
            time.sleep(30)
        elif way == "drip":
            for byte in content[:400]:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        elif way == "cut":
            self.wfile.write(content[: len(content) // 2])
        else:
            self.wfile.write(content)
        return None


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server for the block."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
