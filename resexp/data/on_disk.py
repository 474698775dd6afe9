"""Files with known sums on disk: is each right, who may write them, how they come into their place."""

import contextlib
import errno
import fcntl
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from torchvision.datasets.utils import check_integrity

from resexp.data.download import Patience, open_own
from resexp.data.pixels import is_lfs_pointer
from resexp.errors import DataError, ResourceError


def right(path: Path, md5: str) -> bool:
    """Is the file there, with this MD5?"""
    try:
        return check_integrity(path, md5)
    except OSError:  # no permission, or a bad sector
        return False


def what_is_wrong(path: Path) -> str:
    """Say what a file is that has another sum than it must have."""
    if is_lfs_pointer(path):
        return "a pointer of Git LFS, not the file"
    return "altered or cut short" if path.exists() else "missing"


@contextlib.contextmanager
def alone(lock: Path, label: str, patience: Patience) -> Iterator[None]:
    """Hold a lock, which ends with the process; DataError where another is not done in time."""
    end = time.monotonic() + (patience.first_byte if patience.brief else patience.total)
    with open(open_own(lock), "w") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DataError(f"{lock.parent}: another process is still downloading {label}") from None
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def told(root: Path, label: str, needs: str) -> Iterator[None]:
    """Make one line of what the disk refuses. needs: the space that it takes, in words."""
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(root).free
            raise ResourceError(
                f"{root}: no space left: {label} needs {needs}, {free // 10**6} MB are free"
            ) from None
        raise DataError(
            f"{fault.filename or root}: {fault.strerror or fault}; choose another data.root"
        ) from None


def unpack(packed: Path, folder: Path, whole: Callable[[Path], bool], name: str) -> None:
    """Put a folder out of an archive in its place by a single rename, after `whole` has looked at it.

    name: of the two hidden folders beside it that a kill may leave, .NAME-fresh and .NAME-old.
    """
    fresh, old = (folder.with_name(f".{name}-{word}") for word in ("fresh", "old"))
    for left_by_a_kill in (fresh, old):
        if left_by_a_kill.is_dir():  # rmtree would wait for a pipe
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
    fresh.mkdir()  # fails where a link stands, which rmtree leaves alone
    with tarfile.open(packed) as tar:
        tar.extractall(fresh, filter="data")
    if not whole(fresh / folder.name):
        raise DataError(f"{packed}: does not hold {folder.name} with the right files")
    if folder.exists():
        folder.rename(old)
    (fresh / folder.name).rename(folder)
    shutil.rmtree(fresh)
    shutil.rmtree(old, ignore_errors=True)


def part_of(path: Path) -> Path:
    """Return where a file is written before it is whole."""
    return path.with_name(f".{path.name}.part")
