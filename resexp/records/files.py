"""Files of a run folder: names that stay inside, writes that are whole or not there."""

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resexp.errors import ResourceError, RunFolderError, UsageError

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXHAUSTED = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


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
    # A name of its own: two processes may write one page, and neither may take the other's half.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path, needed=len(content)):
        try:
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
    write_atomic(path, json_bytes(value))


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return a JSON document as it stands in a file."""
    return (strict_json(value, indent=1) + "\n").encode()


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return what is in a file of somebody else's. Raises RunFolderError for all that is no plain file.

    A symbolic link could lead anywhere, a pipe might never end.
    """
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise RunFolderError(f"{path}: not a regular file")
            if found.st_size > max_bytes:
                raise RunFolderError(f"{path}: has {found.st_size:,} bytes, allowed are {max_bytes:,}")
            return file.read(max_bytes)
