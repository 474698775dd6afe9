"""Predicted factors against random nets in numpy, differentiated by hand: another way to the same numbers."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from resexp.analysis.mean_field import layer_factor, predict

Array = NDArray[np.float64]
Backward = Callable[[Array], Array]

SIZES = {"he": 2.0, "default": 1 / 3, "orthogonal": 1.0}
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda z: z * (z > 0),
    "leaky_relu": lambda z: np.where(z > 0, z, z / 10),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": lambda z: z * (1 + special.erf(z / math.sqrt(2))) / 2,
}


class RandomNet:
    """1x1 convs on [channels, places] of normal noise, in three stages, differentiated by a tape."""

    def __init__(self, *, norm: str, activation: str, size: float | None, seed: int) -> None:
        """size: Var(w) times the channels that come in; None: Xavier's, by those that come in and go out."""
        self.norm, self.phi, self.size = norm, FUNCTIONS[activation], size
        self.rng = np.random.default_rng(seed)

    def conv(
        self, x: Array, channels: int, stride: int = 1, seen: int | None = None
    ) -> tuple[Array, Backward]:
        """seen: the channels that come in, where fewer are meant than there are."""
        coming = seen or len(x)
        size = 2 * coming / (coming + channels) if self.size is None else self.size
        weight = self.rng.normal(0, math.sqrt(size / len(x)), (channels, len(x)))

        def backward(g: Array) -> Array:
            back = np.zeros_like(x)
            back[:, ::stride] = weight.T @ g
            return back

        return weight @ x[:, ::stride], backward

    def normalise(self, x: Array) -> tuple[Array, Backward]:
        if self.norm == "none":
            return x, lambda g: g
        axis = 1 if self.norm == "batch" else 0
        deviation = x.std(axis=axis, keepdims=True)
        y = (x - x.mean(axis=axis, keepdims=True)) / deviation

        def backward(g: Array) -> Array:
            along = y * (g * y).mean(axis=axis, keepdims=True)
            return (g - g.mean(axis=axis, keepdims=True) - along) / deviation

        return y, backward

    def activate(self, x: Array) -> tuple[Array, Backward]:
        h = 1e-6
        slope = (self.phi(x + h) - self.phi(x - h)) / (2 * h)
        return self.phi(x), lambda g: g * slope

    def chain(self, x: Array, *layers: Callable[[Array], tuple[Array, Backward]]) -> tuple[Array, Backward]:
        backwards = []
        for layer in layers:
            x, backward = layer(x)
            backwards.append(backward)

        def back(g: Array) -> Array:
            for backward in reversed(backwards):
                g = backward(g)
            return g

        return x, back

    def block(
        self,
        x: Array,
        channels: int,
        stride: int,
        convs: int,
        *,
        residual: bool,
        post: bool,
        scales: tuple[float, float],
    ) -> tuple[Array, Backward]:
        layers = []
        for i in range(convs):
            conv = partial(self.conv, channels=channels, stride=1 if i else stride)
            layers += [conv, self.normalise, self.activate] if post else [self.normalise, self.activate, conv]
        response, through_branch = self.chain(x, *(layers[:-1] if post else layers))
        shortcut = np.zeros_like(response)
        if residual:
            shortcut[: len(x)] = x[:, ::stride]
        of_shortcut, of_branch = scales
        z = of_shortcut * shortcut + of_branch * response
        y, after = self.activate(z) if post else (z, lambda g: g)

        def backward(g: Array) -> Array:
            g = after(g)
            back = of_branch * through_branch(g)
            if residual:
                back[:, ::stride] += of_shortcut * g[: len(x)]
            return back

        return y, backward

    def profile(
        self,
        num_blocks: int,
        convs: int,
        *,
        residual: bool,
        post: bool,
        scales: tuple[float, float],
        width: int,
    ) -> list[float]:
        """Return log10 N at the stem's and every block's output, relative to the last."""
        x = self.rng.normal(size=(width, 4096))
        stem = [lambda z: self.conv(z, width, seen=3), *([self.normalise, self.activate] if post else [])]
        x, _ = self.chain(x, *stem)
        backwards = []
        for stage in range(3):
            for i in range(num_blocks):
                stride = 4 if stage and not i else 1
                x, backward = self.block(
                    x, width * 2**stage, stride, convs, residual=residual, post=post, scales=scales
                )
                backwards.append(backward)
        g = self.rng.normal(size=x.shape)
        norms = [float(np.linalg.norm(g))]
        for backward in reversed(backwards):
            g = backward(g)
            norms.append(float(np.linalg.norm(g)))
        return [math.log10(norm / norms[0]) for norm in reversed(norms)]


TABLE = [
    ("none", "sigmoid", "default", 0.141),
    ("none", "sigmoid", "xavier", 0.236),
    ("none", "sigmoid", "he", 0.318),
    ("none", "tanh", "default", 0.577),
    ("none", "relu", "default", 0.408),
    ("none", "relu", "xavier", 0.707),
    ("none", "relu", "he", 1.0),
    ("batch", "sigmoid", "default", 1.017),
    ("batch", "tanh", "default", 1.085),
    ("batch", "relu", "default", 1.2112),
    ("batch", "silu", "default", 1.101),
    ("batch", "gelu", "default", 1.148),
    ("batch", "leaky_relu", "default", 1.158),
    ("layer", "relu", "default", 1.0),
    ("layer", "sigmoid", "default", 0.391),
]


@pytest.mark.parametrize(("norm", "activation", "init", "expected"), TABLE)
def test_factor_of_a_layer_is_the_known_one_and_that_of_a_wide_random_net(norm, activation, init, expected):
    factor = layer_factor(norm=norm, activation=activation, init=init)
    assert factor == pytest.approx(expected, abs=1e-3)
    # Xavier's is 2 / (fan_in + fan_out), so 1 / fan_in where a layer is as wide as the one before.
    size = {"xavier": 1.0, **SIZES}[init]
    measured = [
        _deep_factor(RandomNet(norm=norm, activation=activation, size=size, seed=s)) for s in range(8)
    ]
    assert np.mean(measured) == pytest.approx(expected, rel=0.03)


def _deep_factor(net: RandomNet, width: int = 200, num_layers: int = 8) -> float:
    """Return the factor of a plain net's layers, its first two left out: they still know the input."""
    x, backwards = net.rng.normal(size=(width, width)), []
    for _ in range(num_layers):
        x, backward = net.chain(x, partial(net.conv, channels=width), net.normalise, net.activate)
        backwards.append(backward)
    g = net.rng.normal(size=x.shape)
    before = np.linalg.norm(g)
    for backward in reversed(backwards[2:]):
        g = backward(g)
    return float(np.linalg.norm(g) / before) ** (1 / (num_layers - 2))


def test_batch_norm_of_relu_is_sqrt_pi_over_pi_minus_1():
    factor = layer_factor(norm="batch", activation="relu", init="he")
    assert factor == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), rel=1e-6)


@pytest.mark.parametrize("activation", sorted(FUNCTIONS))
def test_no_plain_net_vanishes_under_batch_norm(activation):
    factor = layer_factor(norm="batch", activation=activation, init="default")
    assert factor is not None
    assert factor > 1.01


@pytest.mark.parametrize("depth", [20, 56])
def test_tanh_with_xavier_shrinks_like_the_product_of_sqrt_1_minus_1_over_l(depth):
    product = math.prod(math.sqrt(1 - 1 / layer) for layer in range(2, depth + 1)) ** (1 / (depth - 2))
    predicted = predict(kind="plain", depth=depth, norm="none", activation="tanh", init="xavier").factor
    # The product is where the signal's size ends up; how it starts, and two stages, are worth a little.
    assert predicted == pytest.approx(product, abs=0.015)


NETS = [
    ("plain", "post", "none", "relu", "default", 2),
    ("plain", "post", "batch", "tanh", "he", 2),
    ("plain", "pre", "batch", "relu", "he", 3),
    ("plain", "post", "none", "tanh", "xavier", 2),
    ("plain", "post", "none", "tanh", "xavier", 1),
    ("plain", "post", "none", "gelu", "he", 2),
    ("plain", "post", "none", "silu", "he", 2),
    ("residual", "pre", "none", "silu", "he", 2),
    ("residual", "post", "none", "relu", "he", 2),
    ("residual", "post", "none", "relu", "default", 1),
    ("residual", "post", "none", "sigmoid", "orthogonal", 2),
    ("residual", "post", "batch", "relu", "he", 2),
    ("residual", "post", "layer", "gelu", "he", 2),
    ("residual", "pre", "none", "relu", "he", 2),
    ("residual", "pre", "none", "sigmoid", "default", 2),
    ("residual", "pre", "batch", "relu", "he", 2),
    ("residual", "pre", "batch", "relu", "he", 3),
    ("residual", "pre", "layer", "tanh", "he", 2),
]


@pytest.mark.parametrize(("kind", "order", "norm", "activation", "init", "convs"), NETS)
def test_profile_of_a_whole_net_is_that_of_wide_random_nets(kind, order, norm, activation, init, convs):
    _assert_predicted(kind, order, norm, activation, init, convs, scales=(1.0, 1.0))


@pytest.mark.parametrize(
    ("order", "norm"), [("post", "none"), ("post", "batch"), ("pre", "none"), ("pre", "batch")]
)
def test_scaled_branch_and_shortcut_do_what_is_predicted(order, norm):
    _assert_predicted("residual", order, norm, "relu", "he", 2, scales=(0.7, 0.5))


def _assert_predicted(
    kind: str, order: str, norm: str, activation: str, init: str, convs: int, *, scales: tuple[float, float]
) -> None:
    # A signal that drifts is as large as its channels make it: 96 of them leave T 2-fold off over 12 layers
    # (n = 4), 256 of them 10%.
    num_blocks, width = 2, 256 if (kind, norm, init) == ("plain", "none", "he") else 96
    depth = 3 * num_blocks * convs + 2
    prediction = predict(
        kind=kind,
        depth=depth,
        norm=norm,
        activation=activation,
        init=init,
        order=order,
        convs_per_block=convs,
        width=width,
        shortcut_scale=scales[0],
        branch_scale=scales[1],
    )
    net = RandomNet(norm=norm, activation=activation, size=SIZES.get(init), seed=0)
    measured = net.profile(
        num_blocks, convs, residual=kind == "residual", post=order == "post", scales=scales, width=width
    )
    layers, predicted = zip(*prediction.profile, strict=True)
    assert layers == tuple(range(1, depth, convs))
    # 0.08 decades are 20% of T, over 6 to 18 layers.
    np.testing.assert_allclose(predicted, measured, atol=0.08)
    assert prediction.ratio == pytest.approx(10 ** predicted[0])
    assert prediction.factor == pytest.approx(10 ** (predicted[0] / (depth - 2)))


@pytest.mark.parametrize("block", [1, 4, 16])
def test_mean_square_grows_by_chi_squared_over_l_in_a_preactivation_block(block):
    """l: the variance summed so far, in units of one branch's."""
    chi = math.pi / (math.pi - 1)
    net = RandomNet(norm="batch", activation="relu", size=2.0, seed=block)
    branch_variance = 1 - 1 / math.pi  # 2 Var[relu(z)]
    x = net.rng.normal(0, math.sqrt(block * branch_variance), (400, 2000))
    _, backward = net.block(x, 400, 1, 2, residual=True, post=False, scales=(1.0, 1.0))
    g = net.rng.normal(size=x.shape)
    grown = float(np.sum(backward(g) ** 2) / np.sum(g**2)) - 1
    assert grown == pytest.approx(chi**2 / block, rel=0.06)


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "plain", "norm": "group", "activation": "relu", "init": "he"},
        {"kind": "residual", "norm": "group", "activation": "silu", "init": "he"},
        {"kind": "plain", "norm": "batch", "activation": "relu", "init": "he", "branch_scale": 0.0},
    ],
)
def test_where_theory_is_silent_no_number_is_made_up(model):
    prediction = predict(depth=20, **model)
    assert prediction.reason.startswith("no prediction: ")
    assert (prediction.factor, prediction.ratio, prediction.profile) == (None, None, ())


def test_a_layer_and_its_net_are_silent_together():
    assert layer_factor(norm="group", activation="relu", init="he") is None
    assert predict(kind="plain", depth=20, norm="group", activation="relu", init="he").factor is None


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_where_the_signal_drifts_a_net_follows_it_and_its_last_layers_come_to_the_limit(activation):
    """Of a small signal both functions are half the identity, so He init leaves sqrt(2 / 4)."""
    limit = layer_factor(norm="none", activation=activation, init="he")
    assert limit == pytest.approx(math.sqrt(0.5), abs=1e-3)
    factors = [
        predict(kind="plain", depth=depth, norm="none", activation=activation, init="he").factor or 0.0
        for depth in (8, 20, 56, 200)
    ]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] > 0.8
    assert factors[-1] == pytest.approx(limit, rel=0.02)


def test_a_ratio_that_no_float_holds_is_none_while_its_profile_stays():
    prediction = predict(kind="plain", depth=602, norm="none", activation="sigmoid", init="default")
    assert prediction.ratio is None
    assert prediction.profile[0][1] == pytest.approx(600 * math.log10(0.1414), rel=0.01)


# T of real nets of width 16 on real images, measured by hand: depth, order, norm, activation, init, T.
MEASURED = [
    (56, "post", "none", "relu", "default", 0.45),
    (20, "post", "none", "relu", "he", 14),
    (56, "post", "none", "relu", "he", 1e4),
    (56, "post", "none", "sigmoid", "xavier", 2e-18),
    (20, "post", "batch", "relu", "he", 9.6),
    (56, "post", "batch", "relu", "he", 39),
]


@pytest.mark.parametrize(("depth", "order", "norm", "activation", "init", "measured"), MEASURED)
def test_residual_nets_on_images_come_within_a_third(depth, order, norm, activation, init, measured):
    model = {"kind": "residual", "order": order, "norm": norm, "activation": activation, "init": init}
    assert predict(depth=depth, **model).ratio == pytest.approx(measured, rel=1 / 3)
