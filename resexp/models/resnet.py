"""The ResNet for small images: stem, three stages of blocks, head (He et al. 2015, section 4.2)."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resexp.config import ModelSection
from resexp.models.blocks import NORMS, Block, conv, make_activation
from resexp.models.init import initialize
from resexp.models.variants import BLOCK_CLASSES

NUM_STAGES = 3


def survival(block: int, num_blocks: int, last: float) -> float:
    """Return how likely this block, counted from 1, is kept: in a line down to `last` at the last one.

    Huang et al. 2016, equation 4.
    """
    return 1 - block / num_blocks * (1 - last)


class Network(nn.Module):
    """Images float32 [N, 3, H, W] to logits [N, num_classes]; H and W divisible by 4.

    `depth` counts the weighted layers: the stem's conv, the blocks' convs, the head. The shortcut's
    projections, where there are any, stand outside the count.
    """

    def __init__(self, model: ModelSection, num_classes: int) -> None:
        super().__init__()
        axes = model.model_dump(exclude={"depth", "width", "init", "block", "survival"})
        make = BLOCK_CLASSES[model.block]
        num_blocks = (model.depth - 2) // (NUM_STAGES * model.convs_per_block)
        post = model.order == "post"

        self.stem = nn.Sequential()
        self.stem.add_module("conv", conv(3, model.width, norm=model.norm))
        if post:
            self.stem.add_module("norm", NORMS[model.norm](model.width))
            self.stem.add_module("activation", make_activation(model.activation))

        channels = model.width
        for stage in range(NUM_STAGES):
            blocks = nn.Sequential()
            for i in range(num_blocks):
                transition = stage > 0 and i == 0
                widened = model.width * 2**stage * make.expansion
                axes["survival"] = survival(
                    stage * num_blocks + i + 1, NUM_STAGES * num_blocks, model.survival
                )
                blocks.append(make(channels, widened, stride=2 if transition else 1, **axes))
                channels = widened
            self.add_module(f"stage{stage + 1}", blocks)

        self.closing = nn.Sequential()
        if not post:
            self.closing.add_module("norm", NORMS[model.norm](channels))
            self.closing.add_module("activation", make_activation(model.activation))
        self.head = nn.Linear(channels, num_classes)

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """Yield (name, block) in depth order: `stage1.0`, `stage1.1`, ..."""
        for stage in range(1, NUM_STAGES + 1):
            for i, block in enumerate(getattr(self, f"stage{stage}")):
                yield f"stage{stage}.{i}", block

    @torch.no_grad()
    def keep(self, kept: Tensor) -> None:
        """Say which blocks the next training step keeps, 1 or 0 for each of `survivals`: float32."""
        flags = [block.kept for _, block in self.blocks() if block.survival < 1]
        torch._foreach_copy_(flags, list(kept.to(flags[0].device).unbind()))  # pyright: ignore[reportPrivateImportUsage]

    def survivals(self) -> list[float]:
        """Return how likely a training step keeps each block that it may leave out, in depth order."""
        return [block.survival for _, block in self.blocks() if block.survival < 1]

    def weighted_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Return the layers that `depth` counts, named, in depth order."""
        layers: list[tuple[str, Any]] = [("stem.conv", self.stem.conv)]
        for name, block in self.blocks():
            layers += [(f"{name}.conv{i}", layer) for i, (layer, _) in enumerate(block.layers(), start=1)]
        return [*layers, ("head", self.head)]

    @torch.no_grad()
    def begin(self) -> None:
        """Change the drawn weights as the blocks' own beginning asks."""
        blocks = [block for _, block in self.blocks()]
        for block in blocks:
            block.begin(len(blocks))
        if blocks[0].zero_head:
            self.head.weight.zero_()
            self.head.bias.zero_()

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy parameters and buffers in place from a `state_dict`. Raises KeyError for another net.

        `load_state_dict` would ask for the counters of batches that `batch_norm` leaves out.
        """
        for name, tensor in self.state_dict().items():
            tensor.copy_(tensors[name])

    def classify(self, x: Tensor) -> Tensor:
        """Logits from the last block's output [N, 4 * width, H / 4, W / 4]."""
        return self.head(self.closing(x).mean(dim=(2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for _, block in self.blocks():
            x = block(x)
        return self.classify(x)


def build(*, seed: int, num_classes: int, **model: Any) -> Network:
    """Return the net that the keys of the config's `model` section describe, with its initial weights.

    The weights depend on `seed` and on each parameter's name and shape alone, so a plain net and its
    residual twin begin bit-equal (with `shortcut: pad`). Raises pydantic's ValidationError for keys or
    values the schema does not allow.
    """
    section = ModelSection(**model)
    net = Network(section, num_classes)
    initialize(net, section.init, seed)
    net.begin()
    return net
