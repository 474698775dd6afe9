"""A run folder on disk: its name, its lock, writes that are whole or not there."""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resexp.errors import InUseError, ResourceError, RunFolderError, UsageError

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def child(root: Path, name: str) -> Path:
    """Return root/name. Raises UsageError for a name that could lead elsewhere."""
    if not NAME.fullmatch(name) or set(name) == {"."}:
        raise UsageError(f"run name {name!r}: allowed are 1 to 100 of A-Z a-z 0-9 . _ -")
    return root / name


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line: exit 6 when it is full, 4 when the path is at fault."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            stat = os.statvfs(next(parent for parent in (path, *path.parents) if parent.exists()))
            free = stat.f_bavail * stat.f_frsize / 2**20
            raise ResourceError(
                f"{path}: {os.strerror(error.errno or 0)}; {free:.1f} MiB are free there. Make room and resume"
            ) from error
        raise RunFolderError(f"{path}: {os.strerror(error.errno or 0)}") from error


def ensure(folder: Path) -> None:
    """Make the folder and its parents. Raises RunFolderError where that cannot be, e.g. over a file."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON without NaN or infinity literals. Raises ValueError where there is one."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON document, whole or not at all."""
    write_atomic(path, (strict_json(value, indent=1) + "\n").encode())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises InUseError, naming the pid, when another one holds it.

    lockf on an open file: it goes with the process however that dies, and no child inherits it.
    """
    ensure(folder)
    with disk_errors(folder / "lock"):
        file = open(folder / "lock", "a+b")  # noqa: SIM115 closed below, after the body
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read(20).decode(errors="replace").strip() or "unknown"
            raise InUseError(f"{folder}: in use by process {holder}; wait for it or stop it") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        yield


def is_locked(folder: Path) -> bool:
    """Whether another process is writing this run now."""
    try:
        with open(folder / "lock", "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
