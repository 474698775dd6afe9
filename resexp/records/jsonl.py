"""Files that only grow, JSON Lines above all, and are cut back to a known length on resume."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypedDict

from resexp.errors import RunFolderError
from resexp.records.files import disk_errors, strict_json, sync_folder, write_all

Row = Mapping[str, Any]
"""One JSON object."""


class Mark(TypedDict):
    """What a checkpoint says of a file that grows: how much of it was there, and what."""

    length: int
    """bytes"""
    sha256: str
    """of those bytes, 64 hex digits"""


PIECE = 1 << 20
"""bytes read at once: however long a file is, no more of it is in memory"""
EMPTY: Mark = {"length": 0, "sha256": hashlib.sha256().hexdigest()}


class AppendOnlyFile:
    """A file that is only appended to, without a buffer: what is written is seen at once.

    With a `mark`, what stands behind it is cut off first: it was written after the checkpoint that is
    resumed. Without one the file goes on behind its last whole line. Raises RunFolderError when the file no
    longer holds what was marked, or when its path leads to something else than when it was opened.
    """

    length: int
    """bytes"""

    def __init__(self, path: Path, mark: Mark | None = None) -> None:
        self.path = path
        with disk_errors(path):
            # Readable and writable: opening a pipe for writing alone would wait for its reader.
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                self.length = _whole_lines(self._descriptor) if mark is None else mark["length"]
                self._sha256 = _hash_of_first(self._descriptor, self.length)
                if mark is not None and mark != self._mark():
                    raise RunFolderError(
                        f"{path}: altered, its first {self.length:,} bytes are not what was saved"
                    )
                os.ftruncate(self._descriptor, self.length)
                sync_folder(path.parent)
            except BaseException:
                os.close(self._descriptor)
                raise

    def append(self, content: bytes) -> None:
        """Write to the end. A kill of the process loses nothing of it, a power cut may."""
        with disk_errors(self.path, needed=len(content)):
            self._check_place()
            write_all(self._descriptor, content)
        self.length += len(content)
        self._sha256.update(content)

    def sync(self) -> Mark:
        """Bring all to the disk and return what is there."""
        with disk_errors(self.path):
            self._check_place()
            os.fsync(self._descriptor)
        return self._mark()

    def _mark(self) -> Mark:
        return {"length": self.length, "sha256": self._sha256.hexdigest()}

    def _check_place(self) -> None:
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._descriptor)):
            raise RunFolderError(f"{self.path}: vanished or replaced while it was being written")

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonlWriter(AppendOnlyFile):
    """A growing file of JSON objects, one a line."""

    def row(self, row: Row) -> None:
        """Append one object. Raises ValueError for a number that is not finite."""
        self.append((strict_json(row) + "\n").encode())


def sha256_of_first(path: Path, length: int) -> str:
    """Return the SHA-256 of a file's first bytes, 64 hex digits. Raises RunFolderError."""
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _hash_of_first(descriptor, length).hexdigest()
        finally:
            os.close(descriptor)


def _hash_of_first(descriptor: int, length: int) -> "hashlib._Hash":
    found, at = hashlib.sha256(), 0
    while at < length and (piece := os.pread(descriptor, min(PIECE, length - at), at)):
        found.update(piece)
        at += len(piece)
    return found


def _whole_lines(descriptor: int) -> int:
    """The bytes up to the last line end."""
    end = os.fstat(descriptor).st_size
    while end:
        begin = max(0, end - PIECE)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
