"""Several files replaced together: a kill leaves all old or, at the next start, all new."""

import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from resexp.errors import RunFolderError
from resexp.records.files import disk_errors, read_regular, sync_folder, write_atomic

READY = ".replacing"
REMOVED = "removed.json"
MAX_NAMES_BYTES = 1 << 20


def replace_together(folder: Path, contents: Mapping[str, bytes], removed: Iterable[str]) -> None:
    """Write files by their names in `folder` and remove others, whose lock the caller holds.

    All is written beside what is there first; one rename decides, and `complete` does the rest.
    """
    complete(folder)
    prepared = folder / f"{READY}.tmp"
    with disk_errors(folder, needed=sum(map(len, contents.values()))):
        shutil.rmtree(prepared, ignore_errors=True)
        prepared.mkdir()
        write_atomic(prepared / REMOVED, json.dumps(list(removed)).encode())
        for name, content in contents.items():
            (prepared / name).parent.mkdir(exist_ok=True)
            write_atomic(prepared / name, content)
        os.rename(prepared, folder / READY)
        sync_folder(folder)
    complete(folder)


def complete(folder: Path) -> None:
    """Bring a replacement to its end that was decided and then killed; without one, do nothing.

    The folder may be anybody's: nothing outside it is removed or replaced. Raises RunFolderError instead.
    """
    ready = folder / READY
    if not ready.is_dir() or ready.is_symlink():
        return
    with disk_errors(folder):
        removed, replaced = _removed(ready), _replaced(ready)
        for name in [*removed, *replaced]:
            _refuse_outside(folder, name)
        for name in removed:
            (folder / name).unlink(missing_ok=True)
        for name in replaced:
            os.replace(ready / name, folder / name)
            sync_folder((folder / name).parent)
        shutil.rmtree(ready)
        sync_folder(folder)


def _removed(ready: Path) -> list[str]:
    path = ready / REMOVED
    if not os.path.lexists(path):  # killed while what was done with was being swept up
        return []
    try:
        names = json.loads(read_regular(path, MAX_NAMES_BYTES))
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged, not JSON") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RunFolderError(f"{path}: damaged, not a list of names")
    return names


def _replaced(ready: Path) -> list[str]:
    names = []
    for path in sorted(ready.rglob("*")):
        kind = path.lstat().st_mode
        if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
            raise RunFolderError(f"{path}: not a regular file")
        if stat.S_ISREG(kind) and path != ready / REMOVED:
            names.append(str(path.relative_to(ready)))
    return names


def _refuse_outside(folder: Path, name: str) -> None:
    """Raise RunFolderError for a name that leads out of the folder, by itself or through a link."""
    parts = name.split("/")
    beside = not all(part.strip(".") and "\0" not in part for part in parts)
    if beside or any((folder / "/".join(parts[:n])).is_symlink() for n in range(1, len(parts))):
        raise RunFolderError(f"{folder / READY}: {name!r} leads out of the folder; remove {READY}")
