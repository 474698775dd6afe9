"""Stochastic depth: which blocks a training step keeps, a pure function of the seed and the step."""

import torch
from torch import Tensor

from resexp.seeds import derive


def draw_kept(seed: int, step: int, *, survivals: Tensor) -> Tensor:
    """Return 1 for each block that this step keeps, 0 for the others: float32 [num_blocks].

    survivals: how likely each block is kept that may be left out at all, float32 [num_blocks]. Blocks are
    drawn independently, once for all images of a batch (Huang et al. 2016, section 3), from a stream of their
    own: batches are what they are without.
    """
    stream = torch.Generator().manual_seed(derive(seed, "depth", step))
    return (torch.rand(len(survivals), generator=stream) < survivals).float()
