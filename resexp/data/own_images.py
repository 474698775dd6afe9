"""Images of the user's own: what a function of theirs returns, checked and taken as raw images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexp.config.imports import a_kind, blamed, load_callable, name_in
from resexp.config.yaml_nodes import one_line
from resexp.data.dataset import Raw
from resexp.errors import DataError, ResexpError, UsageError

SHAPE = (3, 32, 32)


def load(text: str, root: str) -> Raw:
    """Return the images that NAME(root) of an import path gives: train_images, train_labels, test_images,
    test_labels and classes, as Raw has them; label, if it has one.

    Raises UsageError for what it returns that is none of that, DataError (exit 3) for an OSError of its own.
    """
    read, what = load_callable(text), f"data.name {text}"
    try:
        with blamed(f"{what}: it"):
            found = read(root)
    except ResexpError as error:
        if isinstance(error.__cause__, OSError):
            raise DataError(*error.lines) from error
        raise
    lacking = [name for name in Raw._fields[:5] if not hasattr(found, name)]
    if lacking:
        raise UsageError(
            f"{what}: gives {a_kind(found)} without {', '.join(lacking)}; allowed: an object with "
            f"{', '.join(Raw._fields[:5])}"
        )
    classes = _classes(found.classes, what)
    num = len(classes)
    train = _labelled(found.train_images, found.train_labels, num, what, "train")
    test = _labelled(found.test_images, found.test_labels, num, what, "test")
    label = one_line(str(getattr(found, "label", name_in(text))))
    return Raw(*train, *test, classes, label)


def _classes(classes: Any, what: str) -> tuple[str, ...]:
    named = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    if not named or len(classes) < 2:
        raise UsageError(f"{what}: classes is {a_kind(classes)}; allowed: a list of two names or more")
    return tuple(one_line(name) for name in classes)


def _labelled(
    images: Any, labels: Any, num_classes: int, what: str, part: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with blamed(f"{what}: numpy.asarray of {part}_images and {part}_labels"):
        images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != SHAPE or not len(images):
        raise UsageError(
            f"{what}: {part}_images is {images.dtype} {list(images.shape)}; allowed: uint8 [N, 3, 32, 32]"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise UsageError(
            f"{what}: {part}_labels is {labels.dtype} {list(labels.shape)}; allowed: whole numbers, one for "
            f"each of {len(images)} images"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UsageError(
            f"{what}: {part}_labels go from {labels.min()} to {labels.max()}; allowed: indices into classes, "
            f"0 to {num_classes - 1}"
        )
    return np.array(images, order="C"), labels.astype(np.int64)
