"""Activation: the gradient's ratio against autograd, the rate that is taken, and what the words add up to."""

import math
from collections.abc import Iterable

import pytest
import torch
from torch.nn import functional as F

from resexp.analysis.gradient_ratio import Word
from resexp.claims import activation
from resexp.claims.activation import CONTROL, DEPTH, MODELS, PROBE, WIDTH, answer, best_rate, cures
from resexp.claims.small_training import drawings
from resexp.data.batches import sample
from resexp.models.resnet import build


def test_ratio_is_that_of_the_gradients_autograd_keeps():
    images = drawings().train
    model = MODELS["sigmoid, Xavier: residual, pre"]
    chosen = sample(len(images.labels), PROBE)
    x = (images.images[chosen].float() - images.mean) / images.std
    net = build(seed=3, num_classes=10, depth=DEPTH, width=WIDTH, **model).double()
    outputs = [net.stem(x.double())]
    for _, block in net.blocks():
        outputs.append(block(outputs[-1]))
    loss = F.cross_entropy(net.classify(outputs[-1]), images.labels[chosen])
    first, last = torch.autograd.grad(loss, [outputs[0], outputs[-1]])
    assert activation.ratio(model, images, 3) == pytest.approx(float(first.norm() / last.norm()), rel=1e-9)


def test_best_rate_is_no_diverged_one():
    assert best_rate({0.01: 2.2, 0.05: 2.0, 0.25: math.nan}) == 0.05
    assert best_rate({0.01: math.inf, 0.05: math.nan, 0.25: 2.3}) == 0.25


def words(*, vanishing: Iterable[str] = (), healthy: Iterable[str] = ()) -> dict[str, Word]:
    """The words if the article were right in all, but for these nets."""
    found: dict[str, Word] = dict.fromkeys(MODELS, "healthy")
    for name in ("sigmoid, Xavier: plain", "tanh, Xavier: plain", *vanishing):
        found[name] = "vanishing"
    for name in healthy:
        found[name] = "healthy"
    return found


def test_answer_is_the_articles_only_if_every_cure_works():
    remedies = list(cures(words()))
    assert CONTROL not in remedies
    assert answer(words()) == "holds"
    assert answer(words(vanishing=["ReLU, PyTorch's init: plain"])) == "holds only if"
    assert answer(words(healthy=["tanh, Xavier: plain"])) == "holds only if"
    assert answer(words(vanishing=remedies)) == "does not hold"
    assert answer(words(healthy=["sigmoid, Xavier: plain", "tanh, Xavier: plain"])) == "does not hold"
    unsaid: dict[str, Word] = dict.fromkeys(MODELS, "one seed")
    assert answer(unsaid) == "not resolved"


def test_every_net_is_probed_and_trained(monkeypatch: pytest.MonkeyPatch):
    images = drawings()
    few = images.train._replace(images=images.train.images[:64], labels=images.train.labels[:64])
    monkeypatch.setattr(activation, "drawings", lambda: images._replace(train=few))
    monkeypatch.setattr(activation, "OPTIM", {"steps": 1, "batch_size": 8})
    monkeypatch.setattr(activation, "RATES", (0.01, 0.1))
    monkeypatch.setattr(activation, "DEPTH", 8)
    monkeypatch.setattr(activation, "WIDTH", 4)
    done: list[float] = []
    finding = activation.claim([0], done.append)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert set(finding.details["cells"]) == set(MODELS)
    for cell in finding.details["cells"].values():
        assert cell["loss"]["0"] == min(cell["loss_by_rate"].values())
