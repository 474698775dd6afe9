"""EMA: a running average of the weights, by which a net is evaluated where `optim.ema` is above 0."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from resexp.models.resnet import Network


class EMA:
    """Follows a net from a copy of it: average = decay * average + (1 - decay) * weight, after every step.

    Running statistics of batch norm are averaged like weights, so that they belong to one another.
    """

    def __init__(self, net: Network, decay: float) -> None:
        self.net = deepcopy(net)
        self._decay = decay
        self._followed = list(net.state_dict().values())

    @torch.no_grad()
    def follow(self) -> None:
        """Take in the weights after a step, in place."""
        torch._foreach_lerp_(list(self.state().values()), self._followed, 1 - self._decay)  # pyright: ignore[reportPrivateImportUsage]

    def state(self) -> Mapping[str, Tensor]:
        return self.net.state_dict()
