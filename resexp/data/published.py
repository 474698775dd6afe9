"""Data sets as their authors publish them: loaded, fetched, checked by the sums that torchvision knows."""

import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from resexp.data.dataset import Raw
from resexp.data.download import PATIENT, NoMirrorError, OnReceived, Patience, download, silent
from resexp.data.on_disk import alone, part_of, right, told
from resexp.errors import DataError


class Source(NamedTuple):
    """A file as it is given out."""

    path: str
    """where it goes in the root"""
    urls: tuple[str, ...]
    md5: str
    num_bytes: int


class WrongFile(NamedTuple):
    """A file that is not as it must be."""

    path: Path
    why: str
    missing: bool = False


class PublishedSet(ABC):
    """One data set. word: what data.name calls it."""

    word: str
    label: str
    needs: str
    """the space that it takes, in words"""
    sources: tuple[Source, ...]

    def root(self, root: Path) -> Path:
        """Return data.root, for one that is the data set's own folder in it."""
        return root

    @abstractmethod
    def folder(self, root: Path) -> Path:
        """Return where the files lie that are read."""

    @abstractmethod
    def faults(self, root: Path) -> list[WrongFile]:
        """Return what is wrong with the files that are read."""

    def lacking(self, root: Path) -> list[Source]:
        """Return the sources that must be downloaded before what is wrong can be put right."""
        return [source for source in self.sources if not right(root / source.path, source.md5)]

    @abstractmethod
    def install(self, root: Path) -> None:
        """Make files without a fault of the sources, which are there and right."""

    @abstractmethod
    def read(self, root: Path) -> Raw:
        """Return the images. Raises RuntimeError or OSError where `faults` says why."""

    @abstractmethod
    def checked(self, root: Path) -> str:
        """Say how far files without a fault have been checked."""

    def repair(self, root: Path) -> str:
        """Return the command that puts it under `root`."""
        command = f"resexp data fetch {self.word}"
        return command if root == Path("data") else f"{command} --root {shlex.quote(str(root))}"


def load(published: PublishedSet, root: Path, *, patience: Patience = PATIENT) -> Raw:
    """Return the images, downloading what is missing.

    What is there but damaged raises DataError with the file and the repair: nothing of the user's is
    replaced unasked.
    """
    root = published.root(root)
    try:
        return published.read(root)
    except (RuntimeError, OSError):  # torchvision says that something is wrong, not what
        faults = published.faults(root)
        if any(not fault.missing for fault in faults):
            raise _wrong(published, root, faults) from None
        if faults:
            fetch_published(published, root, patience=patience)
    return published.read(root)  # without a fault by now: another process was fetching it


def verify_published(published: PublishedSet, root: Path) -> str:
    """Return a line that says all is right under `root`, or raise DataError with each file that is not."""
    root = published.root(root)
    faults = published.faults(root)
    if len(faults) >= len(published.sources) and all(fault.missing for fault in faults):
        raise DataError(
            f"{published.folder(root)}: {published.label} is not there; `{published.repair(root)}` gets it"
        )
    if faults:
        raise _wrong(published, root, faults)
    return f"{published.folder(root)}: {published.label}, {published.checked(root)}"


def fetch_published(
    published: PublishedSet, root: Path, *, patience: Patience = PATIENT, progress: OnReceived = silent
) -> str:
    """Put it under `root`, replacing what is damaged, and return a line that says where it is.

    A source is taken from `root` if it is there and right, else from the first address that gives it. One
    process at a time does so, the others wait and find it there. Raises DataError with every address tried
    and what to do by hand.
    """
    root = published.root(root)
    with told(root, published.label, published.needs):
        root.mkdir(parents=True, exist_ok=True)
        with alone(root / f".{published.word}.lock", published.label, patience):
            if published.faults(root):
                _download(published, root, patience, progress)
                published.install(root)
                if faults := published.faults(root):
                    raise _wrong(published, root, faults)
    return f"{published.folder(root)}: {published.label} is there and whole"


def _wrong(published: PublishedSet, root: Path, faults: Sequence[WrongFile]) -> DataError:
    return DataError(
        *(f"{fault.path}: {fault.why}; `{published.repair(root)}` repairs it" for fault in faults)
    )


def _download(published: PublishedSet, root: Path, patience: Patience, progress: OnReceived) -> None:
    lacking = published.lacking(root)
    whole, before = sum(source.num_bytes for source in lacking), 0
    for k, source in enumerate(lacking):
        path = root / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)

        def one(received: int, expected: int | None, before: int = before) -> None:
            progress(before + received, whole)

        try:
            download(
                source.urls,
                part,
                md5=source.md5,
                num_bytes=source.num_bytes,
                patience=patience,
                progress=one,
            )
        except NoMirrorError as refused:
            part.unlink(missing_ok=True)
            raise DataError(
                f"{published.label} could not be downloaded:",
                *(f"  {url}: {why}" for url, why in refused.reasons),
                f"  by hand: put {_named(lacking[k:])} into {path.parent.resolve()} and call "
                f"`{published.repair(root)}`; or take `--data crayons`",
            ) from None
        os.replace(part, path)
        before += source.num_bytes


def _named(sources: Sequence[Source]) -> str:
    return ", ".join(
        f"{Path(source.path).name} ({source.num_bytes:,} bytes, MD5 {source.md5})" for source in sources
    )
