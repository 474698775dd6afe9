"""The gradient profile of nets too deep for the memory: the same bits, and no more kept in a deeper net."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

from resexp.data.batches import Batch
from resexp.models.resnet import build
from resexp.probes.gradient_profile import gradient_profile
from resexp.probes.sizes import Measured

MODULE = import_module("resexp.probes.gradient_profile")
NETS = (
    {"kind": "plain", "norm": "batch"},
    {"kind": "residual", "norm": "batch"},
    {"kind": "residual", "norm": "none", "order": "pre"},
    {"kind": "residual", "block": "squeeze_excite", "shortcut": "projection"},
    {"kind": "residual", "block": "fixup", "norm": "none"},
)


def profile_of(depth: int = 14, **model: object) -> Measured:
    net = build(seed=3, num_classes=4, depth=depth, width=4, **model)
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return gradient_profile(net.train(), Batch(images, torch.arange(3)))


class Kept:
    """A tensor that a graph keeps for its backward pass; the class knows how many bytes there are of them."""

    now = most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output with its graph would keep itself
        Kept.now += tensor.nbytes
        Kept.most = max(Kept.now, Kept.most)

    def __del__(self) -> None:
        Kept.now -= self.tensor.nbytes


def most_kept(depth: int) -> int:
    Kept.now = Kept.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        profile_of(depth, kind="residual", norm="batch")
    return Kept.most


@pytest.mark.parametrize("model", NETS, ids=lambda model: "-".join(map(str, model.values())))
@pytest.mark.parametrize("kept", [0, 20_000])  # of 27,648 bytes that the blocks' outputs have
def test_blocks_folded_again_change_no_bit(kept: int, model: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = profile_of(**model)
    monkeypatch.setattr(MODULE, "GRAPH_BYTES", kept)
    assert profile_of(**model) == whole


def test_beyond_the_limit_a_deeper_net_keeps_no_more_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = most_kept(62)
    assert whole > 4 * most_kept(14)
    monkeypatch.setattr(MODULE, "GRAPH_BYTES", 0)
    assert most_kept(62) == most_kept(14) < whole / 4
