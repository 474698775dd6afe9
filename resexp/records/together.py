"""Several files replaced together: a kill leaves all old or, at the next start, all new."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from resexp.records.files import disk_errors, sync_folder, write_atomic

READY = ".replacing"
REMOVED = "removed.json"


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
    """Bring a replacement to its end that was decided and then killed; without one, do nothing."""
    ready = folder / READY
    if not ready.is_dir() or ready.is_symlink():
        return
    with disk_errors(folder):
        for name in json.loads((ready / REMOVED).read_bytes()):
            (folder / name).unlink(missing_ok=True)
        for path in sorted(ready.rglob("*")):
            if path.is_file() and path.name != REMOVED:
                target = folder / path.relative_to(ready)
                os.replace(path, target)
                sync_folder(target.parent)
        shutil.rmtree(ready)
        sync_folder(folder)
