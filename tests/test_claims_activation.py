"""Activation: the gradient's ratio against autograd, the rate that is taken, and what the words add up to."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from resexp.analysis.gradient_ratio import GradientWord, gradient_ratio
from resexp.claims import activation
from resexp.claims.activation import _DEPTH, _PROBE, _WIDTH, activation_settings, best_rate, first_of_each
from resexp.claims.activation_nets import MODELS, SQUASHING, NetName, NetResult
from resexp.claims.finding import judged
from resexp.claims.small_training import counted, drawings
from resexp.data.batches import sample
from resexp.models.resnet import build

GUESS = math.log(10)


def test_ratio_is_that_of_the_gradients_autograd_keeps():
    images = drawings().train
    model = MODELS[NetName("sigmoid, Xavier", "residual, pre")]
    chosen = sample(len(images.labels), _PROBE)
    x = (images.images[chosen].float() - images.mean) / images.std
    net = build(seed=3, num_classes=10, depth=_DEPTH, width=_WIDTH, **model).double()
    outputs = [net.stem(x.double())]
    for _, block in net.blocks():
        outputs.append(block(outputs[-1]))
    loss = F.cross_entropy(net.classify(outputs[-1]), images.labels[chosen])
    first, last = torch.autograd.grad(loss, [outputs[0], outputs[-1]])
    assert activation.ratio(model, images, 3) == pytest.approx(float(first.norm() / last.norm()), rel=1e-9)


def test_best_rate_is_no_diverged_one():
    assert best_rate({0.01: 2.2, 0.05: 2.0, 0.25: math.nan}) == 0.05
    assert best_rate({0.01: math.inf, 0.05: math.nan, 0.25: 2.3}) == 0.25


LEARNED, GUESSING = (dict(enumerate(x + 0.001 * i for i in range(5))) for x in (1.0, GUESS))


def results(**changes: tuple[GradientWord, Mapping[int, float]]) -> dict[NetName, NetResult]:
    """Results as if the article were right in all, but for these: word and losses by `ACTIVATION_KIND`."""
    found = {}
    for name in MODELS:
        ill = name.activation in SQUASHING and name.kind == "plain"
        word, losses = changes.get(SHORT_NAMES.get(name, ""), ("vanishing" if ill else "healthy", LEARNED))
        ratio = gradient_ratio([1.0, 1.1], 18)
        found[name] = NetResult(replace(ratio, word=word), losses, 0.02, 0)
    return found


SHORT_NAMES = {
    NetName("sigmoid, Xavier", "plain"): "sigmoid",
    NetName("tanh, Xavier", "plain"): "tanh",
    NetName("sigmoid, Xavier", "residual, post"): "sigmoid_post",
    NetName("ReLU, He", "plain"): "relu_he",
}


def answer(**changes: tuple[GradientWord, Mapping[int, float]]) -> str:
    settings, premise, _ = activation_settings(results(**changes), GUESS)
    return judged(settings, premise).text


def test_a_cure_leaves_a_healthy_gradient_and_lets_the_net_learn():
    assert answer() == "holds"
    failures: list[tuple[GradientWord, Mapping[int, float]]] = [
        ("exploding", LEARNED),
        ("vanishing", LEARNED),
        ("healthy", GUESSING),
    ]
    for failed in failures:
        text = answer(relu_he=failed)
        assert text.startswith("holds only if the cure is ReLU with PyTorch's own initial weights")
        assert "He's" not in text


def test_without_a_disease_there_is_nothing_to_cure():
    healthy: tuple[GradientWord, Mapping[int, float]] = ("healthy", LEARNED)
    assert answer(sigmoid=healthy, tanh=healthy) == "nothing to cure"
    open_: tuple[GradientWord, Mapping[int, float]] = ("not enough seeds to say", LEARNED)
    assert answer(sigmoid=open_, tanh=healthy) == "not resolved"
    # Where one of the two does not vanish, the claim is about the other alone.
    text = answer(tanh=healthy)
    assert text.startswith("holds only if")
    assert "tanh" not in text


def test_what_is_not_resolved_is_told_and_not_taken_for_a_failure():
    text = answer(relu_he=("one seed", LEARNED), sigmoid_post=("vanishing", LEARNED))
    assert text.endswith("or perhaps the cure is ReLU with He's initial weights (not resolved)")
    assert answer(relu_he=("one seed", LEARNED)) == "not resolved"


def test_a_diverged_net_counts_as_guessing():
    assert counted(math.nan, 2.3) == counted(math.inf, 2.3) == counted(1e9, 2.3) == 2.3
    assert counted(1.5, 2.3) == 1.5


def test_learned_drawings_are_as_many_of_each_class():
    few = first_of_each(drawings().train, 7)
    assert torch.equal(few.labels.bincount(), torch.full((10,), 7))
    assert few.images.shape[0] == 70


def test_every_net_is_probed_and_trained(monkeypatch: pytest.MonkeyPatch):
    images = drawings()
    few = first_of_each(images.train, 7)
    monkeypatch.setattr(activation, "drawings", lambda: images._replace(train=few))
    monkeypatch.setattr(activation, "_OPTIM", {"steps": 1, "batch_size": 8})
    monkeypatch.setattr(activation, "_RATES", (0.01, 0.1))
    monkeypatch.setattr(activation, "_DEPTH", 8)
    monkeypatch.setattr(activation, "_WIDTH", 4)
    done: list[float] = []
    finding = activation.claim([0], done.append)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert set(finding.details["cells"]) == set(map(str, MODELS))
    for cell in finding.details["cells"].values():
        assert cell["loss"]["0"] == min(cell["loss_by_rate"].values())
