"""The cache of decoded images, kept between starts."""

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray]

CACHE_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def cache_folder() -> Path:
    """Return $RESEXP_CACHE, or ~/.cache/resexp."""
    return Path(os.environ.get("RESEXP_CACHE") or "~/.cache/resexp").expanduser()


def cached(name: str, make: Callable[[], Arrays]) -> Arrays:
    """Return what `make` returned when it was first asked for `name`, which must say all that it depends on.

    A damaged file is made again (every array in it carries a CRC-32). Where nothing can be written, nothing
    is kept. Several processes may ask at once: each file appears whole or not at all.
    """
    path = cache_folder() / f"{name}.npz"
    with contextlib.suppress(*CACHE_DAMAGE), open(path, "rb") as file, np.load(file) as stored:
        return dict(stored)
    arrays = make()
    with contextlib.suppress(OSError):
        _write(path, arrays)
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
