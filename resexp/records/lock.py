"""The folder lock: one process at a time writes a run."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resexp.errors import InUseError, RunFolderError
from resexp.records.files import disk_errors, ensure

TAKEN = (errno.EAGAIN, errno.EACCES)
LOCK_ATTEMPTS, LOCK_PAUSE = 5, 0.02
"""Tries, and seconds between them: `is_locked` of another process holds a free lock for a moment."""


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
def locked(folder: Path, *, patience: float = LOCK_ATTEMPTS * LOCK_PAUSE) -> Iterator[None]:
    """Hold the folder, made if need be. Raises InUseError, naming the pid, when it is held already.

    patience: seconds for which that is tried.

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
            if not _taken(descriptor, patience):
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


def _taken(descriptor: int, patience: float) -> bool:
    for attempt in range(max(1, round(patience / LOCK_PAUSE))):
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
