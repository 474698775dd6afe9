"""Activation: does sigmoid let the gradient vanish, and is ReLU, or the shortcut, the cure?

Two things are measured, and they are different things: the gradient's way through the untrained net (its
word: vanishing, exploding, healthy), and the loss after a few hundred steps. No norm anywhere, since batch
norm alone already keeps a plain net's gradient from vanishing; a plain sigmoid net with it stands at the end
of the list to show that.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import inf, isfinite, log
from typing import Any

import torch

from resexp.analysis.gradient_ratio import GradientWord, gradient_ratio
from resexp.claims.activation_figures import cells_figure
from resexp.claims.activation_nets import (
    MODELS,
    RELU_CURES,
    RESIDUAL_CURES,
    SQUASHING,
    NetName,
    NetResult,
    NetResults,
    Trials,
)
from resexp.claims.finding import (
    Asked,
    Finding,
    Measurement,
    OnProgress,
    Part,
    Picture,
    Premise,
    decided,
    judged,
    listed,
    measurement,
    some,
    spelled,
    story,
    too_few,
)
from resexp.claims.small_training import counted, drawings, in_threads, train_briefly
from resexp.data.batches import render, sample, unaugmented
from resexp.data.dataset import Dataset
from resexp.models.resnet import build
from resexp.probes.gradient_profile import gradient_profile
from resexp.records.schema import Profile
from resexp.records.summary import first_over_last
from resexp.report.formatting import first_upper, number

_DEPTH, _WIDTH = 20, 8
_PROBE = 64


LEARNED_PER_CLASS = 10
"""Drawings to be learned by heart: without norm, no net so deep learns much from all in so few steps.

As many of each class, so that who knows their shares alone has the loss of guessing."""
_RATES = (0.02, 0.2)
"""The same for all: each net is trained with every one on the first seed, with its best one on the rest."""
_OPTIM = {"steps": 160, "batch_size": 32, "schedule": {"name": "cosine", "warmup_steps": 16}}
LEARNED = 0.1
"""A net has learned something if its loss beats guessing, ln K, by this many nats."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Probe and train every net. About three minutes for five seeds."""
    images = first_of_each(drawings().train, LEARNED_PER_CLASS)
    guess_loss = log(images.num_classes)
    first, *rest = seeds

    def tried(model: Mapping[str, Any], progress: OnProgress) -> Trials:
        whole = len(_RATES) + len(rest)

        def final_loss(rate: float, seed: int, done: int) -> float:
            return train_briefly(
                images, {"depth": _DEPTH, "width": _WIDTH, **model}, _OPTIM | {"lr": rate}, seed=seed,
                progress=lambda part: progress((done + part) / whole),
            ).final_loss  # fmt: skip

        by_rate = {rate: final_loss(rate, first, done) for done, rate in enumerate(_RATES)}
        best = best_rate(by_rate)
        others = {seed: final_loss(best, seed, done) for done, seed in enumerate(rest, start=len(_RATES))}
        return Trials(by_rate, best, {first: by_rate[best], **others})

    trials = in_threads([partial(tried, model) for model in MODELS.values()], report)
    results: dict[NetName, NetResult] = {}
    details: dict[str, Any] = {}
    for (name, model), (by_rate, best, losses) in zip(MODELS.items(), trials, strict=True):
        ratios = [ratio(model, images, seed) for seed in seeds]
        results[name] = NetResult(
            gradient_ratio(ratios, _DEPTH - 2),
            {seed: counted(loss, guess_loss) for seed, loss in losses.items()},
            best,
            sum(not isfinite(loss) for loss in losses.values()),
        )
        details[str(name)] = {
            "ratio": dict(zip(map(str, seeds), ratios, strict=True)),
            "loss": {str(seed): _number(loss) for seed, loss in losses.items()},
            "loss_by_rate": {str(rate): _number(loss) for rate, loss in by_rate.items()},
            "rate": best,
            "word": results[name].gradient.word,
        }
    return _finding(results, details, guess_loss)


def first_of_each(images: Dataset, num: int) -> Dataset:
    """Return a data set of the first `num` images of each class alone."""
    classes = range(images.num_classes)
    chosen = torch.cat([(images.labels == label).nonzero()[:num, 0] for label in classes])
    return images._replace(images=images.images[chosen], labels=images.labels[chosen])


def ratio(model: Mapping[str, Any], images: Dataset, seed: int) -> float | None:
    """Return T of the untrained net: |dE/dx| at the stem's output over that at the last block's, float64."""
    net = (
        build(seed=seed, num_classes=images.num_classes, depth=_DEPTH, width=_WIDTH, **model).double().train()
    )
    probed = gradient_profile(net, render(images, unaugmented(sample(len(images.labels), _PROBE))))
    return first_over_last(Profile.read(probed).outputs)


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def best_rate(losses: Mapping[float, float]) -> float:
    """Return the rate with the smallest loss; a loss that is not a number is no smallest one."""
    return min(losses, key=lambda rate: losses[rate] if isfinite(losses[rate]) else inf)


def _vanishes(word: GradientWord) -> bool | None:
    return word == "vanishing" if word in ("vanishing", "healthy", "exploding") else None


def _healthy(word: GradientWord) -> bool | None:
    return word == "healthy" if word in ("vanishing", "healthy", "exploding") else None


def activation_settings(
    results: NetResults, guess_loss: float
) -> tuple[dict[str, list[Part]], Premise, dict[NetName, Part]]:
    """Return what is said of each cure, whether there is anything to cure, and which nets learn.

    The disease is a plain net that squashes and whose gradient vanishes. It is cured by what leaves the
    gradient healthy, not exploding either, and lets the net learn.
    """
    limit = guess_loss - LEARNED
    learns = decided(
        {name: Asked("the net learns", of.losses, "lower", limit, "nats") for name, of in results.items()}
    )
    ill = {}
    for activation, word in SQUASHING.items():
        gradient = results[NetName(activation, "plain")].gradient
        says = f"in a plain net with {word} the gradient vanishes"
        ill[activation] = Part(says, _vanishes(gradient.word), gradient.sentence)

    def cured(name: NetName) -> list[Part]:
        gradient = results[name].gradient
        healthy = Part("the gradient is healthy", _healthy(gradient.word), gradient.sentence)
        return [healthy, learns[name]]

    settings = {when: cured(NetName(activation, "plain")) for activation, when in RELU_CURES.items()}
    for activation, part in ill.items():
        if part.found:
            for kind, when in RESIDUAL_CURES.items():
                settings[when.format(SQUASHING[activation])] = [part, *cured(NetName(activation, kind))]
        else:
            settings[f"the activation is {SQUASHING[activation]}"] = [part]
    disease = Part(
        "a squashing activation lets a plain net's gradient vanish",
        some(part.found for part in ill.values()),
        "; ".join(f"{SQUASHING[activation]} {part.evidence}" for activation, part in ill.items()),
    )
    return settings, Premise(disease, "nothing to cure"), learns


def _sentence(results: NetResults, learns: Mapping[NetName, Part]) -> str:
    n = max(of.gradient.n for of in results.values())
    words = {name: of.gradient.word for name, of in results.items()}
    gradient = " ".join(
        f"{first_upper(word)}: {_grouped(name for name, its in words.items() if its == word)}."
        for word in dict.fromkeys(words.values())
    )
    told = {True: "have learned", False: "have not", None: "not resolved"}
    learned = "; ".join(
        f"{said}: {_grouped(names)}"
        for found, said in told.items()
        if (names := [name for name, part in learns.items() if part.found is found])
    )
    ill = [name for name, word in words.items() if word == "healthy" and learns[name].found is False]
    diverged = sum(of.diverged for of in results.values())
    return story(
        f"Gradient of the untrained net, {_DEPTH} layers, n = {n}. {gradient}",
        f"After {_OPTIM['steps']} steps, best learning rate of the list each: {learned}.",
        f"A healthy gradient, and no learning: {_grouped(ill)}." if ill else "",
        f"Diverged: {diverged} of {n * len(results)} trainings." if diverged else "",
        too_few(n),
    )


def _grouped(names: Iterable[NetName]) -> str:
    """Return `sigmoid, Xavier (plain / residual, post); ReLU, He (...)`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.activation, []).append(name.kind)
    return "; ".join(f"{activation} ({' / '.join(kinds)})" for activation, kinds in groups.items())


def _finding(results: NetResults, details: dict[str, Any], guess_loss: float) -> Finding:
    n = max(of.gradient.n for of in results.values())
    settings, premise, learns = activation_settings(results, guess_loss)
    return Finding(
        name="activation",
        claim=(
            "Squashing activations such as sigmoid shrink the gradient a little in every layer until it "
            "vanishes in a deep plain net. ReLU, or the residual design, cures that."
        ),
        source="article",
        answer=judged(settings, premise),
        sentence=_sentence(results, learns),
        setup=(
            f"Nets of depth {_DEPTH} and width {_WIDTH} without norm (one with), 16x16 crayon drawings. T is "
            "the size of dE/dx at the first block's input over that at the last block's output, before "
            f"training. Then each learns {LEARNED_PER_CLASS} drawings of every class by heart, "
            f"{_OPTIM['steps']} steps of {_OPTIM['batch_size']}; of the learning rates {listed(_RATES)} "
            f"the best on the first seed is used for all {n}. Loss: mean over the last tenth of the steps; "
            f"guessing has {number(guess_loss)}, which a net counts too that diverged or ended above it, "
            f"and {LEARNED} less counts as learning. A cure leaves the gradient healthy, not vanishing, not "
            "exploding, and lets the net learn. Post: the activation stands after the addition (He et al. "
            "2015); pre: in the branch alone (He et al. 2016)."
        ),
        measurements=(
            *(
                Measurement(f"T, {name}", of.gradient.ratio, of.interval, of.gradient.n, "first over last")
                for name, of in results.items()
            ),
            *(measurement(f"loss, {name}", of.losses, "nats") for name, of in results.items()),
        ),
        pictures=(
            Picture(
                cells_figure(results, guess_loss=guess_loss),
                f"Left: what is left of the gradient at the net's beginning; grey is where it counts as "
                f"vanished or exploded. Right: the training loss after {_OPTIM['steps']} steps; dotted is "
                f"guessing. Bars are 95% intervals, n = {n}.",
                " ".join(
                    f"{name}: {of.gradient.sentence}; loss {spelled(of.losses)}."
                    for name, of in results.items()
                ),
            ),
        ),
        details={"cells": details, "chance": guess_loss, "rates": list(_RATES)},
    )
