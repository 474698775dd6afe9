"""The data sets that others published, by the words of data.name: read, fetched, checked."""

from pathlib import Path

from resexp.data import cifar10, published
from resexp.data.cifar100 import Cifar100
from resexp.data.dataset import Raw
from resexp.data.download import PATIENT, OnReceived, Patience, silent
from resexp.data.mnist import FashionMnist, Mnist
from resexp.data.published import PublishedSet
from resexp.data.svhn import Svhn

BY_WORD: dict[str, PublishedSet] = {one.word: one for one in (Cifar100(), Svhn(), Mnist(), FashionMnist())}


def title_of(word: str) -> str:
    """Return what a data set is called in titles."""
    return "CIFAR-10" if word == "cifar10" else BY_WORD[word].label


def load(word: str, root: Path) -> Raw:
    """Return the images, downloading what is missing. Raises DataError for what is there but damaged."""
    return cifar10.load(root) if word == "cifar10" else published.load(BY_WORD[word], root)


def fetch_named(word: str, root: Path, *, patience: Patience = PATIENT, progress: OnReceived = silent) -> str:
    """Put a data set under `root`, replacing what is damaged, and return a line that says where it is."""
    if word == "cifar10":
        return cifar10.fetch_cifar10(root, patience=patience, progress=progress)
    return published.fetch_published(BY_WORD[word], root, patience=patience, progress=progress)


def verify_named(word: str, root: Path) -> str:
    """Return a line that says all is right under `root`, or raise DataError with each file that is not."""
    return (
        cifar10.verify_cifar10(root) if word == "cifar10" else published.verify_published(BY_WORD[word], root)
    )
