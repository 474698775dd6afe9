"""Small responses: do a trained residual net's branches do so little that one of them can be taken out?

He et al. 2015, Fig. 7: a residual net's layers answer with a smaller standard deviation than a plain net's.
Veit et al. 2016: one block of a trained residual net can be deleted and the error hardly rises; delete one of
a plain net and it guesses. Here a pair of twins is trained until both know the drawings, and then every block
that keeps the shape is taken out in turn.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

from resexp.claims.finding import (
    Asked,
    BySeed,
    Finding,
    OnProgress,
    Part,
    Picture,
    Premise,
    decided,
    judged,
    mean_text,
    measurement,
    spelled,
    story,
    too_few,
)
from resexp.claims.lesions import NUM_TESTED, STATISTICS, Patient, Statistics, examine
from resexp.claims.small_responses_figures import lesions_figure, responses_figure
from resexp.claims.small_training import drawings, in_threads, train_briefly
from resexp.report.formatting import number

_KINDS = ("plain", "residual")
MODEL = {"depth": 14, "width": 16}
_NUM_BLOCKS = (MODEL["depth"] - 2) // 2
_OPTIM = {
    "steps": 500,
    "batch_size": 64,
    "lr": 0.1,
    "schedule": {"name": "cosine", "warmup_steps": 50},
}
ENOUGH = 80
"""Percent right of the test drawings that both nets of a pair must pass before a lesion says anything."""
HARDLY = 10
"""A lesion hardly matters if it adds less than this many errors in 100."""
RUIN = 50
"""A lesion is ruin if it goes more than this many percent of the way from the error before to guessing."""
STATISTICS_WHEN: dict[Statistics, str] = {
    "running": "batch norm keeps the statistics of training",
    "batch": "batch norm's statistics are those of the net without the block",
}
"""How the two ways of measuring are said after `holds only if`."""
TwinsBySeed = Mapping[int, Mapping[str, Patient]]
"""By seed and kind."""


def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
    """Train a pair a seed and take it apart. About two minutes for three seeds."""
    images = drawings()

    def patient(kind: str, seed: int, progress: OnProgress) -> Patient:
        trained = train_briefly(images.train, MODEL | {"kind": kind}, _OPTIM, seed=seed, progress=progress)
        return examine(trained.engine.net, images)

    cells = [(kind, seed) for seed in seeds for kind in _KINDS]
    patients = in_threads([partial(patient, *cell) for cell in cells], report)
    found = dict(zip(cells, patients, strict=True))
    pairs = {seed: {kind: found[kind, seed] for kind in _KINDS} for seed in seeds}
    return _finding(pairs, 1 / images.test.num_classes)


class Lesions(NamedTuple):
    """What taking out one block does to the nets of one kind, with one kind of statistics: a number a net."""

    worst: BySeed
    """errors in 100 that the worst block adds"""
    mildest: BySeed
    """percent of the way to guessing that the least harmful block goes"""
    mean: BySeed
    """errors in 100 that a block adds, mean over the blocks"""


LESION_UNITS = {"worst": "errors in 100", "mildest": "% of the way", "mean": "errors in 100"}
LESION_WORDS = {
    "worst": "added by the worst lesion",
    "mildest": "way to guessing that the mildest lesion goes",
    "mean": "added by a lesion, mean over the blocks",
}
Patients = Mapping[str, Mapping[int, Patient]]
"""By kind and seed."""
AllLesions = Mapping[Statistics, Mapping[str, Lesions]]
"""By statistics and kind."""


def _finding(pairs: TwinsBySeed, guess_accuracy: float) -> Finding:
    guessing = 1 - guess_accuracy
    trained = [seed for seed, pair in pairs.items() if all(100 * p.accuracy > ENOUGH for p in pair.values())]
    patients = {kind: {seed: pairs[seed][kind] for seed in trained} for kind in _KINDS}
    response = {
        kind: {s: fmean(p.response.values()) for s, p in of_kind.items()}
        for kind, of_kind in patients.items()
    }
    lesions: AllLesions = {
        way: {kind: lesions_of(patients[kind], way, guessing) for kind in _KINDS} for way in STATISTICS
    }
    known = {kind: {s: 100 * pair[kind].accuracy for s, pair in pairs.items()} for kind in _KINDS}
    settings, premise = small_responses_settings(known, response, lesions)
    return Finding(
        name="small-responses",
        claim=(
            "The branches of a trained residual net do little: its layers answer more weakly than a plain "
            "net's, and any one block can be taken out; take any one out of a plain net and it guesses."
        ),
        source="He et al. 2015, Fig. 7; Veit et al. 2016",
        answer=judged(settings, premise),
        sentence=_sentence(known, response, lesions),
        setup=(
            f"Twins of depth {MODEL['depth']} and width {MODEL['width']} with batch norm, on crayon drawings "
            f"of 16x16: {_OPTIM['steps']} steps of {_OPTIM['batch_size']}, learning rate {_OPTIM['lr']}. "
            "Each block that keeps the shape is taken out in turn, the rest left alone; the error is that on "
            f"{NUM_TESTED:,} test drawings, with batch norm's statistics as training left them (running) and "
            f"as the net without the block makes them (batch). A pair counts if both pass {ENOUGH}%. Any one "
            f"can be taken out: the worst adds less than {HARDLY} errors in 100. Any one is ruin: the "
            f"mildest goes over {RUIN}% of the way to guessing. (Here a lesion takes one of {_NUM_BLOCKS} "
            "blocks; Veit et al.'s net has 54.) A layer's answer: its standard deviation after batch norm, "
            "before the ReLU or the addition, mean over all 3x3 layers."
        ),
        measurements=(
            *(measurement(f"test accuracy, {kind}", known[kind], "%") for kind in _KINDS),
            *(
                measurement(f"{LESION_WORDS[key]}, {kind}, {way} statistics", getattr(of, key), unit)
                for key, unit in LESION_UNITS.items()
                for way, of_way in lesions.items()
                for kind, of in of_way.items()
            ),
            *(measurement(f"std of the 3x3 layers' answers, {kind}", response[kind], "") for kind in _KINDS),
        ),
        pictures=_pictures(patients, guessing) if trained else (),
        details={
            "enough": ENOUGH / 100,
            "counted": trained,
            "pairs": {
                str(seed): {kind: patient._asdict() for kind, patient in pair.items()}
                for seed, pair in pairs.items()
            },
        },
    )


def lesions_of(patients: Mapping[int, Patient], way: Statistics, guessing: float) -> Lesions:
    """Return what lesions do to these nets. guessing: its error, in [0, 1]."""
    rises = {s: [e - p.error[way] for e in p.without[way].values()] for s, p in patients.items()}
    room = {s: guessing - p.error[way] for s, p in patients.items()}
    return Lesions(
        worst={s: 100 * max(each) for s, each in rises.items()},
        mildest={s: 100 * min(each) / room[s] for s, each in rises.items()},
        mean={s: 100 * fmean(each) for s, each in rises.items()},
    )


def small_responses_settings(
    known: Mapping[str, BySeed], response: Mapping[str, BySeed], lesions: AllLesions
) -> tuple[dict[str, list[Part]], Premise]:
    """Return what the claim says, part by part, for both statistics, and whether the nets know enough.

    known: test accuracy of all pairs, percent; response, lesions: of those that passed.
    """
    asked: dict[tuple[str, str], Asked] = {}
    says = "a residual net's layers answer more weakly than a plain net's"
    asked["", "response"] = Asked(says, response["residual"], "lower", response["plain"], "std")
    for way, of in lesions.items():
        spared, ruined = of["residual"].worst, of["plain"].mildest
        says = "any one block of the residual net can be taken out (the worst)"
        asked[way, "residual"] = Asked(says, spared, "lower", HARDLY, "errors in 100")
        says = "take any one out of the plain net and it guesses (the mildest)"
        asked[way, "plain"] = Asked(says, ruined, "higher", RUIN, "% of the way to guessing")
    found = decided(asked)
    passed, of_all = len(response["residual"]), len(known["residual"])
    premise = Part(
        f"both nets of a pair pass {ENOUGH}% test accuracy", passed > 0, f"{passed} of {of_all} pairs"
    )
    return {
        STATISTICS_WHEN[way]: [found["", "response"], found[way, "residual"], found[way, "plain"]]
        for way in lesions
    }, Premise(premise, "not trained enough to say")


def _sentence(known: Mapping[str, BySeed], response: Mapping[str, BySeed], lesions: AllLesions) -> str:
    n = len(response["residual"])
    accuracy = " and ".join(f"{kind} {spelled(known[kind])}%" for kind in _KINDS)
    head = f"{n} of {len(known['residual'])} pairs passed {ENOUGH}% test accuracy ({accuracy})"
    if n == 0:
        return f"{head}: a lesion would say nothing of nets that know so little."
    return story(
        f"{head}.",
        *(
            f"Without one block, {way} statistics: the worst adds {spelled(of['residual'].worst)} errors in "
            f"100 to the residual net's, {spelled(of['plain'].worst)} to the plain net's; the mildest goes "
            f"{spelled(of['residual'].mildest)}% and {spelled(of['plain'].mildest)}% of the way to guessing."
            for way, of in lesions.items()
        ),
        f"Std of the layers' answers: residual {spelled(response['residual'])}, plain "
        f"{spelled(response['plain'])}; n = {n}.",
        too_few(n),
    )


def _pictures(patients: Mapping[str, Mapping[int, Patient]], guessing: float) -> tuple[Picture, ...]:
    n = len(patients["plain"])
    some = next(iter(patients["plain"].values()))
    layers = list(some.response)
    ways = {
        f"{way} statistics": {
            kind: (
                100 * fmean(p.error[way] for p in of_kind.values()),
                {b: [100 * p.without[way][b] for p in of_kind.values()] for b in some.without[way]},
            )
            for kind, of_kind in patients.items()
        }
        for way in STATISTICS
    }
    responses = {
        kind: {layer: [p.response[layer] for p in of_kind.values()] for layer in layers}
        for kind, of_kind in patients.items()
    }
    return (
        Picture(
            lesions_figure(some.blocks, ways, guessing=100 * guessing),
            f"Test error without one block, a dot a net (n = {n} a kind). Dashed: nothing taken out; dotted: "
            "guessing. A strided block cannot be taken out.",
            " ".join(
                f"{way}, {kind}: {number(error)}% whole; "
                + ", ".join(f"{mean_text(dots)}% without {block}" for block, dots in without.items())
                + "."
                for way, of_way in ways.items()
                for kind, (error, without) in of_way.items()
            ),
        ),
        Picture(
            responses_figure(layers, responses),
            "How strongly each 3x3 layer answers: the standard deviation after batch norm, before the ReLU "
            f"or the addition, a dot a net (n = {n} a kind).",
            " ".join(
                f"{kind}: " + ", ".join(f"{layer} {mean_text(dots)}" for layer, dots in of_kind.items()) + "."
                for kind, of_kind in responses.items()
            ),
        ),
    )
