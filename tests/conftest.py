"""Tiny data and configs that the tests share."""

import pytest
import torch

from resexp.config import Config
from resexp.data.datasets import dataset, fingerprint, statistics
from resexp.data.splits import Splits


def make_splits(num_train: int = 64, num_test: int = 32, num_classes: int = 4, seed: int = 0) -> Splits:
    """Images of noise whose brightness tells the class: enough to train on, made in a moment."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for num in (num_train, num_test):
        labels = torch.arange(num) % num_classes
        noise = torch.randint(0, 64, (num, 3, 32, 32), generator=generator)
        parts.append(((noise + 48 * labels[:, None, None, None]).to(torch.uint8), labels))
    names = tuple("abcdefgh"[:num_classes])
    normalisation = statistics(parts[0][0], "channel")
    train, test = (dataset(images, labels, names, normalisation) for images, labels in parts)
    return Splits(train, None, test, "folder", "folder tiny", fingerprint(*parts[0]), "")


@pytest.fixture(scope="session")
def splits() -> Splits:
    return make_splits()


def tiny_config(**changes: object) -> Config:
    """A net of depth 8 and width 4, a dozen steps; `changes` by dotted key with __ for the dot."""
    tree: dict[str, dict[str, object]] = {
        "data": {"name": "crayons"},
        "model": {"depth": 8, "width": 4},
        "optim": {"steps": 12, "batch_size": 8, "lr": 0.05, "schedule": {"name": "constant"}},
        "run": {"device": "cpu", "precision": "float32", "compile": False, "threads": 1},
        "record": {"every": 5, "eval_every": 6, "checkpoint_every": 4},
    }
    top = {}
    for key, value in changes.items():
        section, _, rest = key.partition("__")
        if rest:
            tree[section][rest] = value
        else:
            top[key] = value
    return Config.model_validate({**tree, **top})
