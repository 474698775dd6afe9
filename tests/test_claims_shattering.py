"""Shattering's instruments against numpy, finite differences and the variance they are meant to have."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from resexp.claims import shattering
from resexp.claims.finding import judged

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


def correlations(**deep: float) -> shattering.Correlations:
    """As the paper has it, but for these at the deepest: five seeds, 0.5 at the shallowest."""
    names = {"plain": 0.0, "residual": 0.3, "one_conv": 0.3, "small_branch": 0.3, "bare": 0.0} | deep
    arms = [
        shattering._PLAIN,
        shattering._RESIDUAL,
        shattering.ONE_CONV,
        shattering.SMALL_BRANCH,
        shattering.BARE,
    ]
    first, *_, deepest = shattering.DEPTHS
    return {
        arm: {d: {s: at + 0.01 * s for s in range(5)} for d, at in ((first, 0.5), (deepest, value))}
        for arm, value in zip(arms, names.values(), strict=True)
    }


def answer(**deep: float) -> str:
    return judged(shattering.shattering_settings(correlations(**deep))).text


def test_the_claims_words_decide_what_must_be_so():
    assert answer() == "holds"
    # 1/sqrt(7) of 0.5 is 0.19: what keeps much less falls faster than that.
    assert answer(residual=0.05).startswith("holds only if both have batch norm and the blocks one conv")
    assert answer(bare=0.8).startswith("holds only if both nets have batch norm")
    assert "no norm" not in answer(bare=0.8)
    assert answer(plain=0.5, bare=0.5) == "does not hold"


def test_what_is_not_resolved_is_no_denial():
    assert answer(plain=0.08, residual=0.0, one_conv=0.08, small_branch=0.08, bare=0.08) == "not resolved"


def test_finding_is_computed_for_few_seeds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shattering, "DEPTHS", (8, 14))
    monkeypatch.setattr(shattering, "NETS_PER_SEED", 1)
    monkeypatch.setattr(shattering, "_WIDTH", 4)
    done: list[float] = []
    finding = shattering.claim([0], done.append)
    assert finding.answer.word == "not resolved"
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert len(finding.details["correlation"]) == len(shattering._ARMS)
