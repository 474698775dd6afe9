"""A run folder on disk: its name, its lock, writes that are whole or not there."""

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resexp.errors import InUseError, ResourceError, RunFolderError, UsageError

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXHAUSTED = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
TAKEN = (errno.EAGAIN, errno.EACCES)
LOCK_ATTEMPTS, LOCK_PAUSE = 5, 0.02
"""Tries, and seconds between them: `is_locked` of another process holds a free lock for a moment."""


def child(root: Path, name: str) -> Path:
    """Return root/name. Raises UsageError for a name that could lead elsewhere."""
    if not NAME.fullmatch(name) or set(name) == {"."}:
        raise UsageError(f"run name {name!r}: allowed are 1 to 100 of A-Z a-z 0-9 . _ -")
    return root / name


@contextmanager
def disk_errors(path: Path, *, needed: int = 0) -> Iterator[None]:
    """Turn what the disk refuses into one line: exit 6 when it is full, 4 when the path is at fault.

    `needed` is the size of what was to be written, in bytes.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in FULL:
            size = f"{needed:,} bytes are needed, " if needed else ""
            raise ResourceError(f"{path}: {why}; {size}{_free(path)}. Make room and resume") from error
        if error.errno in EXHAUSTED:
            raise ResourceError(f"{path}: {why}") from error
        if error.errno == errno.ELOOP:
            why = "a symbolic link; a run is written nowhere but in its own folder"
        raise RunFolderError(f"{path}: {why}") from error


def _free(path: Path) -> str:
    for place in (path, *path.parents):
        with suppress(OSError):
            stat = os.statvfs(place)
            return f"{stat.f_bavail * stat.f_frsize:,} are free there"
    return "it cannot be said how many are free"


def ensure(folder: Path) -> None:
    """Make the folder and its parents. Raises RunFolderError where that cannot be, e.g. over a file."""
    with disk_errors(folder):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte: a nearly full disk takes a part and refuses the rest only when asked again."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path, needed=len(content)):
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON without NaN or infinity literals. Raises ValueError where there is one."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON document, whole or not at all."""
    write_atomic(path, (strict_json(value, indent=1) + "\n").encode())


_held: set[tuple[int, int, int]] = set()
"""Process, device and inode of the locks held here. POSIX gives up all of a process's locks on a file when it
closes any descriptor of it, so a file that is in here must not be opened a second time."""


def _identity(lock: Path) -> tuple[int, int, int] | None:
    try:
        stat = os.lstat(lock)
    except OSError:
        return None
    return os.getpid(), stat.st_dev, stat.st_ino


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, made if need be. Raises InUseError, naming the pid, when it is held already.

    lockf on an open file: it goes with the process however that dies, and no child inherits it.
    """
    with disk_errors(folder):
        if folder.is_symlink():
            raise RunFolderError(f"{folder}: a symbolic link; name the folder it leads to")
    ensure(folder)
    lock = folder / "lock"
    if _identity(lock) in _held:
        raise InUseError(f"{folder}: in use by process {os.getpid()}, this very one")
    with disk_errors(lock):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        with disk_errors(lock):
            if not _taken(descriptor):
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                raise InUseError(f"{folder}: in use by process {holder}; wait for it or stop it")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        identity = _identity(lock)
        if identity is None:
            raise RunFolderError(f"{folder}: vanished while it was being opened")
        _held.add(identity)
        try:
            yield
        finally:
            _held.discard(identity)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    for attempt in range(LOCK_ATTEMPTS):
        time.sleep(LOCK_PAUSE if attempt else 0)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        else:
            return True
    return False


def is_locked(folder: Path) -> bool:
    """Whether a process, be it this one, is writing this run now."""
    lock = folder / "lock"
    if _identity(lock) in _held:
        return True
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in TAKEN
    finally:
        os.close(descriptor)
    return False
