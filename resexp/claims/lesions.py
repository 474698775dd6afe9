"""Lesions: a trained net without one of its blocks, and what is left of what it knew.

A plain and a residual net are without a block in the same way: it passes on its input. (In the residual net
that is the shortcut alone: the input comes from a ReLU, so the ReLU after the addition does nothing to it.)
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from resexp.claims.small_training import Drawings
from resexp.data.batches import render, sample, unaugmented
from resexp.models.resnet import Network
from resexp.training.evaluation import evaluate

NUM_TESTED = 1_000
PROBE = 128
Statistics = Literal["running", "batch"]
STATISTICS: tuple[Statistics, ...] = ("running", "batch")
"""Batch norm with what training collected, or with what the lesioned net now sees: the first can only know
the net as it was."""


class Patient(NamedTuple):
    """One trained net, before and after."""

    accuracy: float
    error: Mapping[Statistics, float]
    """on the tested drawings, in [0, 1], nothing taken out"""
    without: Mapping[Statistics, Mapping[str, float]]
    """the error without each block that can be taken out"""
    blocks: tuple[str, ...]
    """all of them, in depth order"""
    response: Mapping[str, float]
    """standard deviation of each 3x3 layer's answer, in depth order"""


def examine(net: Network, images: Drawings) -> Patient:
    """Measure a trained net, whole and without each removable block in turn. Nothing in it is changed."""
    # The same drawings for all, in an order of chance: statistics of a batch must be of all classes.
    tested = sample(len(images.test.labels), NUM_TESTED)

    def error(net: Network, statistics: Statistics) -> float:
        return 1 - evaluate(deepcopy(net).train(statistics == "batch"), images.test, tested).accuracy

    lesioned = {name: without(net, name) for name in removable(net)}
    batch = render(images.train, unaugmented(sample(len(images.train.labels), PROBE)))
    return Patient(
        accuracy=evaluate(deepcopy(net).eval(), images.test).accuracy,
        error={way: error(net, way) for way in STATISTICS},
        without={way: {name: error(left, way) for name, left in lesioned.items()} for way in STATISTICS},
        blocks=tuple(name for name, _ in net.blocks()),
        response=responses(net, batch.images),
    )


@torch.no_grad()
def responses(net: Network, images: Tensor) -> dict[str, float]:
    """Return the standard deviation of what each 3x3 layer answers to images [N, 3, H, W], by its name.

    He et al. 2015, Fig. 7: after batch norm, with the statistics of these images, and before the ReLU or the
    addition. For nets in `post` order.
    """
    net = deepcopy(net).train()
    norms = [
        net.stem.get_submodule("norm"),
        *(norm for _, block in net.blocks() for _, norm in block.layers()),
    ]
    names = [name for name, _ in net.weighted_layers()[:-1]]
    found: dict[str, float] = {}
    for name, norm in zip(names, norms, strict=True):
        norm.register_forward_hook(partial(_note, found, name))
    net(images)
    return found


def _note(found: dict[str, float], name: str, _: nn.Module, __: object, answer: Tensor) -> None:
    found[name] = float(answer.double().std(correction=0))


def removable(net: Network) -> list[str]:
    """Return the names of the blocks that keep the shape; without another the net does not fit together."""
    return [name for name, block in net.blocks() if block.same_shape]


def without(net: Network, name: str) -> Network:
    """Return a copy of the net in which this block passes on its input."""
    lesioned = deepcopy(net)
    stage, index = name.split(".")
    getattr(lesioned, stage)[int(index)] = nn.Identity()
    return lesioned
