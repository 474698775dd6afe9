"""Mean-field theory: how large dE/dx should be at every depth of a net at initialisation.

Mean-field theory: wide layers, independent weights, zero biases, no padding; with batch norm, samples and
pixels that are uncorrelated. Forward it follows how a block's output is distributed, backward the energy N^2
of dE/dx. A conv with Var(w) = size / fan_in multiplies N^2 by `size`, an activation by E[phi'^2], and a norm
divides it by the variance that it divides by. In a plain net each layer then multiplies N^2 by

    no norm       size * E[phi'(z)^2], z of variance q, where q = size * E[phi(z)^2] stands still
    batch norm    chi = E[phi'(z)^2] / Var[phi(z)], z standard normal, whatever the init; never below 1
    layer norm    E[phi'(z)^2] / E[phi(z)^2], whatever the init

(Poole et al. 2016 and Schoenholz et al. 2017 without norm, Yang et al. 2019 for batch norm.) A residual block
adds the shortcut's energy to the branch's: with He init and no norm 1 + 1, so sqrt(2) in N; in pre-activation
order with batch norm 1 + chi^c / l, where l is the variance summed so far in units of one branch's. In post
order the activation stands on the shortcut's path too, and a channel that is open in one block tends to be
open in the next, so the energy is followed as a function of x, not as a mean only. A padded shortcut loses
the half of N^2 that arrives at the channels it does not fill.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from resexp.analysis.quadrature import (
    ACTIVATION_FUNCTIONS,
    MASS,
    NODES,
    ActivationFunction,
    Array,
    distribution,
    mean,
    moments,
    noisy,
)
from resexp.config.imports import is_import_path, without_folder

_NUM_STAGES = 3
PREDICTED_NORMS = ("none", "batch", "layer")
_IDENTITY = ACTIVATION_FUNCTIONS["identity"]


@dataclass(frozen=True)
class Prediction:
    """What theory expects of a net at initialisation, or why it expects nothing.

    factor: of N per weighted layer, T^(1 / (depth - 2)). ratio: T, N at the stem's output over N at the last
    block's output; None where no float holds it. profile: (layer, log10 of N over N at the last block's
    output), from the stem's output to 0 at the last; N does not jump where the map shrinks. reason: what the
    numbers rest on, or why there are none.
    """

    factor: float | None
    ratio: float | None
    profile: tuple[tuple[int, float], ...]
    reason: str


class _Channels(NamedTuple):
    """A share of the channels with one history: how their values are distributed over images and pixels."""

    share: float
    points: Array


class _Block(NamedTuple):
    """A block's forward pass: z is `shortcut` plus normal noise of that `spread`, `target` what comes out.

    origins: for each entry of `shortcut`, its place in `source`; None for channels nothing is handed on to.
    gains: of N^2 on all other ways, for each entry of `source`.
    """

    source: list[_Channels]
    shortcut: list[_Channels]
    origins: list[int | None]
    target: list[_Channels]
    spread: float
    gains: list[float]


class _Rules(NamedTuple):
    """The part of the model section that is the same for all blocks."""

    kind: str
    order: str
    shortcut: str
    norm: str
    init: str
    phi: ActivationFunction
    branch_scale: float
    shortcut_scale: float

    @property
    def after(self) -> ActivationFunction:
        """What stands behind the addition."""
        return self.phi if self.order == "post" else _IDENTITY


def predict(
    *,
    kind: str,
    depth: int,
    norm: str,
    activation: str,
    init: str,
    order: str = "post",
    convs_per_block: int = 2,
    width: int = 16,
    block: str = "basic",
    shortcut: str = "pad",
    branch_scale: float = 1.0,
    shortcut_scale: float = 1.0,
    learn_branch_scale: bool = False,
    survival: float = 1.0,
) -> Prediction:
    """Predict a net from the keys of the config's `model` section; `learn_branch_scale` changes nothing yet.

    Input channels are taken to have mean square 1, as normalised images have.
    """
    del learn_branch_scale
    if block != "basic":
        return _nothing(f"not derived for {block} blocks")
    if survival < 1:
        return _nothing("not derived for stochastic depth")
    if why := _not_derived(activation, init):
        return _nothing(why)
    if norm not in PREDICTED_NORMS:
        return _nothing(f"a {norm} norm averages over too few channels for the wide limit")
    rules = _Rules(
        kind, order, shortcut, norm, init, ACTIVATION_FUNCTIONS[activation], branch_scale, shortcut_scale
    )
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            logs = _backward(_forward(rules, depth, convs_per_block, width), rules)
    except ArithmeticError:
        return _nothing("no signal comes through, or more than a float holds")
    return Prediction(
        factor=10.0 ** (logs[0] / (depth - 2)),
        ratio=10.0 ** logs[0] if abs(logs[0]) < 300 else None,
        profile=tuple((1 + convs_per_block * k, log) for k, log in enumerate(logs)),
        reason="mean-field theory of wide nets",
    )


def layer_factor(*, norm: str, activation: str, init: str) -> float | None:
    """Return by how much one layer of an endless plain stage multiplies N; None where theory is silent.

    Where the signal stands still at once that is the factor of every layer. Where its size drifts it is far
    from any net that is trained: tanh with Xavier init comes near 1 like sqrt(1 - 1/l) at layer l, and SiLU
    and GELU with He init near sqrt(1/2) once the signal is small, where both are half the identity. `predict`
    follows the drift of a given depth.
    """
    if norm not in PREDICTED_NORMS or _not_derived(activation, init):
        return None
    phi, size = ACTIVATION_FUNCTIONS[activation], conv_size(init, 1, 1)
    if norm != "none":
        slope, square, variance = moments(phi, NODES)
        return math.sqrt(slope / (variance if norm == "batch" else square))
    q = 1.0
    for _ in range(2_000):
        # ReLU has no scale of its own: its q may fall for ever, and its slope does not care.
        q = max(1e-30, size * moments(phi, math.sqrt(q) * NODES).square)
    return math.sqrt(size * moments(phi, math.sqrt(q) * NODES).slope)


def _not_derived(activation: str, init: str) -> str | None:
    """Why nothing is known of this activation or init: the user's own, or one that is no fixed variance."""
    if is_import_path(activation):
        return f"not derived for the activation {without_folder(activation)}"
    if is_import_path(init) or init in ("delta_orthogonal", "lsuv"):
        return f"not derived for the init {without_folder(init)}"
    return None


def conv_size(init: str, channels_in: int, channels_out: int, kernel: int = 9) -> float:
    """Return Var(w) * fan_in of a conv whose kernel has that many places."""
    fan_in, fan_out = channels_in * kernel, channels_out * kernel
    match init:
        case "he":
            return 2.0
        case "default":
            return 1 / 3
        case "xavier":
            return 2 * fan_in / (fan_in + fan_out)
        case "orthogonal":
            # Rows [channels_out, fan_in] of length 1, or columns where there are more rows than columns.
            return min(1.0, fan_in / channels_out)
    raise ValueError(f"unknown init {init!r}")


def _nothing(reason: str) -> Prediction:
    return Prediction(None, None, (), f"no prediction: {reason}")


def _forward(rules: _Rules, depth: int, convs_per_block: int, width: int) -> list[_Block]:
    size = conv_size(rules.init, 3, width)
    spread = 1.0 if rules.order == "post" and rules.norm != "none" else math.sqrt(size)
    stem = rules.after.value(noisy(np.zeros_like(NODES), spread))
    signal, channels = [_Channels(1.0, distribution(stem))], width
    blocks: list[_Block] = []
    num_blocks = (depth - 2) // (_NUM_STAGES * convs_per_block)
    for index in range(_NUM_STAGES * num_blocks):
        strided = index > 0 and index % num_blocks == 0
        widened = channels * 2 if strided else channels
        sizes = [conv_size(rules.init, channels, widened)]
        sizes += [conv_size(rules.init, widened, widened)] * (convs_per_block - 1)
        blocks.append(_block(rules, signal, sizes, conv_size(rules.init, channels, widened, 1), strided))
        signal, channels = blocks[-1].target, widened
    return blocks


def _block(
    rules: _Rules, source: list[_Channels], sizes: list[float], projection: float, strided: bool
) -> _Block:
    variance, gains = _branch(rules, source, sizes)
    power = rules.branch_scale**2 * variance
    gains = [rules.branch_scale**2 * gain for gain in gains]
    nothing = np.zeros_like(NODES)
    shortcut: list[_Channels] = [_Channels(1.0, nothing)]
    origins: list[int | None] = [None]
    if rules.kind == "residual" and strided and rules.shortcut == "projection":
        # A conv of its own: its output is as good as noise beside the branch's.
        _, kept = _through(_IDENTITY, "none", source, rules.norm)
        normed = rules.order == "post" and rules.norm != "none"
        power += rules.shortcut_scale**2 * (1.0 if normed else projection * kept)
        gains = [gain + rules.shortcut_scale**2 * (1 / kept if normed else projection) for gain in gains]
    elif rules.kind == "residual":
        part = 0.5 if strided else 1.0
        shortcut = [_Channels(part * share, rules.shortcut_scale * points) for share, points in source]
        origins = [*range(len(source))]
        if strided:
            shortcut, origins = [*shortcut, _Channels(0.5, nothing)], [*origins, None]
    spread = math.sqrt(power)
    target = [
        _Channels(share, distribution(rules.after.value(noisy(points, spread)))) for share, points in shortcut
    ]
    return _Block(source, shortcut, origins, target, spread, gains)


def _branch(rules: _Rules, signal: list[_Channels], sizes: list[float]) -> tuple[float, list[float]]:
    """Return the variance of R(x), and by how much R multiplies N^2 for each entry of `signal`."""
    gains, variance = [1.0] * len(signal), 0.0
    for i, size in enumerate(sizes):
        bare = rules.order == "post" and i == 0
        phi, norm = (_IDENTITY, "none") if bare else (rules.phi, rules.norm)
        slopes, kept = _through(phi, norm, signal, rules.norm)
        variance = size * kept
        # Behind the first conv all channels are alike.
        slopes = slopes if i == 0 else slopes * len(gains)
        gains = [gain * slope * size for gain, slope in zip(gains, slopes, strict=True)]
        signal = [_Channels(1.0, math.sqrt(variance) * NODES)]
    if rules.order == "post" and rules.norm != "none":
        return 1.0, [gain / variance for gain in gains]
    return variance, gains


def _through(
    phi: ActivationFunction, norm: str, signal: list[_Channels], next_norm: str
) -> tuple[list[float], float]:
    """Pass norm and activation. Return the factor of N^2 for each entry, and the square a conv then sees.

    With batch norm that is the variance over the batch: a channel's mean is lost in the next norm.
    """
    total = sum(share * mean(points**2) for share, points in signal)
    divisors = {
        "none": [1.0] * len(signal),
        "batch": [mean(points**2) - mean(points) ** 2 for _, points in signal],
        "layer": [total] * len(signal),
    }[norm]
    found = [moments(phi, points / math.sqrt(d)) for (_, points), d in zip(signal, divisors, strict=True)]
    kept = sum(
        share * (m.variance if next_norm == "batch" else m.square)
        for (share, _), m in zip(signal, found, strict=True)
    )
    return [m.slope / divisor for m, divisor in zip(found, divisors, strict=True)], kept


def _backward(blocks: list[_Block], rules: _Rules) -> list[float]:
    """Return log10 of N at the stem's and each block's output, relative to the last."""
    energy = [np.ones_like(NODES) for _ in blocks[-1].target]
    logs = [0.0]
    for block in reversed(blocks):
        arriving = []
        for (_, points), (_, outputs), e in zip(block.shortcut, block.target, energy, strict=True):
            z = noisy(points, block.spread)
            arriving.append((rules.after.slope(z) ** 2 * np.interp(rules.after.value(z), outputs, e)) @ MASS)
        total = sum(share * mean(e) for (share, _), e in zip(block.shortcut, arriving, strict=True))
        energy = [np.full_like(NODES, gain * total) for gain in block.gains]
        for origin, (share, _), e in zip(block.origins, block.shortcut, arriving, strict=True):
            if origin is not None:
                kept = rules.shortcut_scale**2 * share / block.source[origin].share
                energy[origin] = energy[origin] + kept * e
        square = sum(share * mean(e) for (share, _), e in zip(block.source, energy, strict=True))
        logs.append(logs[-1] + np.log10(square) / 2)
        energy = [e / square for e in energy]  # or 10,000 layers would leave a float's range
    return [float(log) for log in reversed(logs)]
