"""Evaluation: loss and accuracy of a net on a fixed set of images."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.data.batches import render, unaugmented
from resexp.data.dataset import Dataset

BATCH = 500


class Scores(NamedTuple):
    """Means over the images."""

    loss: float
    """cross-entropy in nats"""
    accuracy: float
    """share of images whose largest logit is the label's, in [0, 1]"""


@torch.inference_mode()
def evaluate(forward: Callable[[Tensor], Tensor], dataset: Dataset, indices: Tensor | None = None) -> Scores:
    """Return the scores on the images at `indices` (int64; default all), as they are, in batches of 500.

    The net must be in evaluation mode. One read-back, at the end.
    """
    device = dataset.images.device
    if indices is None:
        indices = torch.arange(len(dataset.labels))
    num = len(indices)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    for part in indices.split(BATCH):
        batch = render(dataset, unaugmented(part))
        logits = forward(batch.images).float()
        loss += F.cross_entropy(logits, batch.labels, reduction="sum").double()
        correct += (logits.argmax(1) == batch.labels).sum()
    return Scores(loss.item() / num, correct.item() / num)
