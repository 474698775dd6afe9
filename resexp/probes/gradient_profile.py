"""The gradient profile: how large dE/dx is at every block's output, and which way it came there.

The net is folded block by block, as the chain rule is written: forward through `branch`, `join` and `after`
with each block's input cut from the graph, then backward through one block at a time. One forward and one
backward pass in all, no hooks; in nets too deep for the memory the deeper blocks keep their input alone and
are folded again on the way back, which changes no bit. E is the *sum* of the images' cross-entropies, so that
dE/dx at an image is that image's own gradient (with batch norm the images of a batch see each other: then it
is how the whole batch's E answers to that image).

Run it where subnormal numbers are not flushed to zero (`torch.set_flush_denormal(False)`), or they are
counted
as exact zeros. Either way a zero here is underflow.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.data.batches import Batch
from resexp.models.blocks import Block
from resexp.models.resnet import Network
from resexp.probes.sizes import SPLIT, Measured, finite, parted, size_at_output, size_of_weight

GRAPH_BYTES = 2**28
"""Of block outputs behind which all that backward needs is kept: five to ten times as much. A ResNet-110 of
width 16 stays below it with 128 images in float32; a ResNet-1202 would have 2.7 GiB and keep 15."""


class Folded(NamedTuple):
    """One block's part of the forward pass: a graph of its own, from copies of the input to the output."""

    weights: Sequence[Tensor]
    """of the convs, in depth order"""
    into_shortcut: Tensor
    into_branch: Tensor
    response: Tensor
    """R(x), before it is scaled"""
    output: Tensor


class Flow(NamedTuple):
    """dE/dx on both sides of a block, and the two parts the inner side is the sum of."""

    out: Tensor
    """at the block's output"""
    through_shortcut: Tensor | None
    """shortcut_scale S^T g_z, with g_z behind what stands after the addition; None for a plain block"""
    through_branch: Tensor
    """branch_scale J^T g_z"""
    at_input: Tensor
    """their sum: dE/dx at the block's input"""


def fold(block: Block, x: Tensor) -> Folded:
    """Pass x through the block. The shortcut and the branch get a copy each, so that their gradients part."""
    into_shortcut, into_branch = x.detach().requires_grad_(), x.detach().requires_grad_()
    response = block.branch(into_branch)
    output = block.after(block.join(into_shortcut, response))
    weights = [block.get_parameter(f"conv{i}.weight") for i in range(1, block.num_convs + 1)]
    return Folded(weights, into_shortcut, into_branch, response, output)


def unfold(folded: Folded, g_out: Tensor) -> tuple[Flow, list[Tensor]]:
    """Pull dE/dx at the output back to the input; return with it the gradients of `weights`."""
    sources = [folded.into_shortcut, folded.into_branch, *folded.weights]
    g_shortcut, g_branch, *of_weights = pull_back(folded.output, g_out, sources)
    g_in = g_branch if g_shortcut is None else g_shortcut + g_branch
    return Flow(g_out, g_shortcut, g_branch, g_in), of_weights


def pull_back(output: Tensor, g_out: Tensor, sources: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of sum(g_out * output), None for a source that the output does not depend on.

    `grad_outputs` says the same, bit for bit, and imports torch's symbolic shapes first: half a second.
    """
    return torch.autograd.grad((output * g_out).sum(), sources, allow_unused=True)


@contextmanager
def exact_products() -> Iterator[None]:
    """Multiply float32 as float32 on a GPU, whatever the run's own precision."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        matmul.allow_tf32 = before


@exact_products()
def gradient_profile(net: Network, batch: Batch) -> Measured:
    """Return a row of profile.jsonl without its `step`: `loss`, `outputs`, `layers`.

    net: a copy of its own, in training mode, in the precision to measure in (its running statistics are
    moved). batch: images [N, 3, H, W], normalised. What is undefined is None: shares of a gradient that is
    zero, whatever belongs to a shortcut in a plain net, whatever is not finite.
    """
    layers = net.weighted_layers()
    first, head = layers[0][1].weight, layers[-1][1].weight
    # Channels last: the same sums in an order that a CPU's convolutions like better.
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = batch.images.to(dtype=first.dtype, memory_format=torch.channels_last)
    stem = net.stem(images)
    x, kept = stem, 0
    blocks: list[tuple[Block, Tensor, Folded | None]] = []
    for _, block in net.blocks():
        folded = fold(block, x)
        kept += folded.output.nbytes
        blocks.append((block, x.detach(), folded if kept <= GRAPH_BYTES else None))
        x = folded.output.detach()
    last = x.requires_grad_()
    loss = F.cross_entropy(net.classify(last), batch.labels, reduction="sum")

    g, of_head = torch.autograd.grad(loss, [last, head])
    outputs, gradients = [], [of_head]
    while blocks:
        block, x, folded = blocks.pop()
        folded = folded or fold(block, x)
        flow, of_weights = unfold(folded, g)
        outputs.append(
            size_at_output(flow.out, len(images)) | _response(folded.response) | _split(flow, folded)
        )
        gradients = [*of_weights, *gradients]
        g = flow.at_input
    outputs.append(size_at_output(g, len(images)) | dict.fromkeys(("response_std", *SPLIT)))
    gradients = [*pull_back(stem, g, [first]), *gradients]

    names = [("stem", 1, 1)]
    for k, (name, block) in enumerate(net.blocks(), start=1):
        names.append((name, int(name[len("stage")]), 1 + k * block.num_convs))
    return {
        "loss": finite(loss.item() / len(images)),
        "outputs": [
            {"name": name, "stage": stage, "layer": layer} | output
            for (name, stage, layer), output in zip(names, reversed(outputs), strict=True)
        ],
        "layers": [
            {"name": name} | size_of_weight(gradient, layer.weight, len(images))
            for gradient, (name, layer) in zip(gradients, layers, strict=True)
        ],
    }


def _split(flow: Flow, folded: Folded) -> Measured:
    """Say how g_in = g_s + g_b came about. reach: the part of the input that the shortcut reads."""
    found = parted(flow.out, flow.through_shortcut, flow.through_branch, flow.at_input)
    if flow.through_shortcut is None:
        return found | {"reach": None}
    return found | {"reach": folded.output[0, 0].numel() / folded.into_shortcut[0, 0].numel()}


def _response(r: Tensor) -> Measured:
    """He et al. 2015, Fig. 7: after the norm, before the non-linearity or the addition."""
    return {"response_std": finite(float(r.detach().double().std(correction=0)))}
