"""Shattering's instruments against numpy, finite differences and the variance they are meant to have."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from resexp.analysis.statistics import Word
from resexp.claims import shattering

X = torch.linspace(-2, 2, 64, dtype=torch.float64)


def test_neighbour_correlation_is_numpys_autocovariance():
    g = torch.from_numpy(np.random.default_rng(0).normal(size=100)).cumsum(0)
    centred = g.numpy() - g.numpy().mean()
    expected = np.correlate(centred, centred, "full")[100] / np.correlate(centred, centred)[0]
    assert shattering.neighbour_correlation(g) == pytest.approx(expected, rel=1e-12)


def test_white_noise_does_not_resemble_its_neighbour_and_a_ramp_does():
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=10_000))
    assert abs(shattering.neighbour_correlation(noise)) < 0.05
    assert shattering.neighbour_correlation(torch.linspace(0, 1, 10_000)) > 0.99
    assert shattering.neighbour_correlation(torch.zeros(9)) == 1.0


def test_gradient_is_the_slope_of_the_net_at_each_point():
    net = shattering.net(0, 8, {"kind": "residual", "norm": "none"})

    def logit(x: torch.Tensor) -> torch.Tensor:
        images = torch.stack([x, torch.ones_like(x), torch.zeros_like(x)], 1)[:, :, None, None]
        return net(images)[:, 0].detach()

    # A ReLU net is made of straight pieces: away from their corners the quotient is exact.
    slope = (logit(X + 1e-7) - logit(X - 1e-7)) / 2e-7
    torch.testing.assert_close(shattering.gradient(net, X), slope, rtol=1e-5, atol=1e-5)


def test_kernels_seen_through_one_pixel_have_hes_variance():
    net = shattering.net(0, 20, {"kind": "plain", "norm": "none"})
    for name, layer in net.weighted_layers()[1:-1]:
        weight = layer.weight.detach()
        centre = weight[:, :, 1, 1]
        expected = 2 / centre.shape[1]
        assert float(centre.square().mean()) == pytest.approx(expected, rel=0.35), name
        x = torch.randn(2, centre.shape[1], 1, 1, dtype=torch.float64)
        seen = F.conv2d(x, centre[:, :, None, None])
        torch.testing.assert_close(F.conv2d(x, weight, padding=1), seen)


def test_a_word_needs_every_depth():
    words: dict[tuple[str, int], Word | None] = {
        (arm, d): "not resolved" for arm in shattering.RIVALS for d in shattering.DEPTHS
    }
    assert shattering.answer(words) == "does not hold"
    for d in shattering.DEPTHS:
        words[shattering.ONE_CONV, d] = "higher"
    assert shattering.answer(words) == "holds only if"
    assert shattering.resisting(words) == [shattering.ONE_CONV]
    assert shattering.answer(words | {(shattering.RESIDUAL, 8): None}) == "not resolved"


def test_finding_is_computed_for_few_seeds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shattering, "DEPTHS", (8, 14))
    monkeypatch.setattr(shattering, "NETS_PER_SEED", 1)
    monkeypatch.setattr(shattering, "WIDTH", 4)
    done: list[float] = []
    finding = shattering.claim([0], done.append)
    assert finding.answer == "not resolved"
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert len(finding.details["correlation"]) == len(shattering.ARMS)
