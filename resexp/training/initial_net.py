"""The initial net: drawn from the seed, and where the init asks for it scaled on training images."""

import torch

from resexp.config import Config
from resexp.data.batches import render, unaugmented
from resexp.data.dataset import Dataset
from resexp.models.init import unit_variance
from resexp.models.resnet import Network, build
from resexp.seeds import derive

LSUV_IMAGES = 128


def initial_net(config: Config, seed: int, train: Dataset) -> Network:
    """Return the net with its initial weights, on the CPU.

    With `lsuv` they depend on 128 training images too, which the seed chooses: the same for all arms.
    """
    net = build(seed=seed, num_classes=train.num_classes, **config.model.model_dump())
    if config.model.init == "lsuv":
        unit_variance(net, lsuv_images(seed, train))
    return net


def lsuv_images(seed: int, train: Dataset) -> torch.Tensor:
    """Return 128 training images (fewer where there are fewer) that the seed chooses, as a batch has them."""
    num = len(train.labels)
    stream = torch.Generator().manual_seed(derive(seed, "lsuv"))
    chosen = torch.randperm(num, generator=stream)[:LSUV_IMAGES]
    return render(train, unaugmented(chosen)).images.cpu()
