"""What is split off, what normalises, and what names the data."""

import numpy as np
import pytest
import torch

from resexp.config import DataSection
from resexp.data.dataset import Raw, fingerprint, statistics
from resexp.data.splits import split
from resexp.errors import DataError


def raw(num: int = 60) -> Raw:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (num, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 3, num)
    return Raw(images, labels, images[:10] // 2, labels[:10], ("a", "b", "c"), "noise")


def section(**changes: object) -> DataSection:
    return DataSection.model_validate({"name": "folder", **changes})


def test_validation_and_training_images_part_the_whole() -> None:
    whole = raw()
    parts = split(whole, section(validation=15), name="folder")
    assert parts.validation is not None
    images = torch.cat([parts.train.images, parts.validation.images])
    assert len(parts.validation.images) == 15
    assert sorted(row.numpy().tobytes() for row in images) == sorted(
        row.tobytes() for row in whole.train_images
    )
    again = split(whole, section(validation=15), name="folder")
    assert again.validation is not None
    assert torch.equal(again.validation.images, parts.validation.images)


def test_all_but_one_image_may_be_split_off_and_no_more() -> None:
    split(raw(), section(validation=59), name="folder")
    with pytest.raises(DataError, match=r"data\.validation is 60"):
        split(raw(), section(validation=60), name="folder")


def test_normalisation_comes_from_the_training_images_alone() -> None:
    parts = split(raw(), section(validation=15), name="folder")
    values = parts.train.images.double().transpose(0, 1).reshape(3, -1)
    for part in (parts.train, parts.validation, parts.test):
        assert part is not None
        torch.testing.assert_close(part.mean.flatten().double(), values.mean(1), atol=1e-4, rtol=0)
        torch.testing.assert_close(
            part.std.flatten().double(), values.std(1, correction=0), atol=1e-4, rtol=0
        )


def test_pixel_mean_is_the_mean_image() -> None:
    images = torch.from_numpy(raw().train_images)
    mean, std = statistics(images, "pixel_mean")
    torch.testing.assert_close(mean.double(), images.double().mean(0), atol=1e-4, rtol=0)
    assert (std == 255).all()


def test_black_images_normalise_to_finite_numbers() -> None:
    _, std = statistics(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "channel")
    assert (std > 0).all()


def test_fingerprint_changes_with_any_pixel_and_any_label() -> None:
    images, labels = torch.from_numpy(raw().train_images), torch.from_numpy(raw().train_labels)
    first = fingerprint(images, labels)
    assert fingerprint(images.clone(), labels.clone()) == first
    other = images.clone()
    other[59, 2, 31, 31] ^= 1
    assert fingerprint(other, labels) != first
    shifted = labels.clone()
    shifted[0] = (shifted[0] + 1) % 3
    assert fingerprint(images, shifted) != first


def test_fingerprint_of_the_splits_changes_with_each_part() -> None:
    whole = raw()
    darker = whole._replace(test_images=whole.test_images // 2)
    prints = [
        split(whole, section(), name="folder").fingerprint,
        split(whole, section(validation=5), name="folder").fingerprint,
        split(whole, section(normalize="pixel_mean"), name="folder").fingerprint,
        split(darker, section(), name="folder").fingerprint,
    ]
    assert len(set(prints)) == 4
    assert split(whole, section(), name="folder").fingerprint == prints[0]
