"""JSON lines that only grow, and are cut back to a known length on resume."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from resexp.errors import RunFolderError
from resexp.records.folder import disk_errors, strict_json


class Lines:
    """A file of JSON objects, one a line, appended to.

    `length` is None for a file that goes on where it ends, else what stands behind that many bytes is
    cut off first: it was written after the checkpoint that is resumed.
    """

    def __init__(self, path: Path, *, length: int | None = None) -> None:
        self.path = path
        with disk_errors(path):
            self._file = open(path, "ab")  # noqa: SIM115 lives as long as the run
            if length is not None:
                if os.fstat(self._file.fileno()).st_size < length:
                    raise RunFolderError(f"{path}: shorter than its checkpoint says ({length} bytes)")
                self._file.truncate(length)
                self._file.seek(0, os.SEEK_END)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; a reader sees it at once, a kill may still lose it."""
        with disk_errors(self.path):
            self._file.write((strict_json(row) + "\n").encode())
            self._file.flush()

    def sync(self) -> int:
        """Bring the rows to the disk and return the file's length in bytes."""
        with disk_errors(self.path):
            os.fsync(self._file.fileno())
            return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
