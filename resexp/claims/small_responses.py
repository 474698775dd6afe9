"""Small responses: do a trained residual net's branches do so little that one of them can be taken out?

He et al. 2015, Fig. 7: a residual net's layers answer with a smaller standard deviation than a plain net's.
Veit et al. 2016: one block of a trained residual net can be deleted and the error hardly rises; delete one of
a plain net and it guesses. Here a pair of twins is trained until both know the drawings, and then every block
that keeps the shape is taken out in turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resexp.analysis.statistics import Estimate, mean_estimate, paired_difference
from resexp.claims.finding import Answer, Finding, Measurement, Picture, Report, spelled
from resexp.claims.lesions import NUM_TESTED, STATISTICS, Patient, Statistics, examine
from resexp.claims.small_training import Progress, drawings, side_by_side, train
from resexp.report.figures.lines import legend
from resexp.report.figures.style import FONT_SIZE, INK, KIND_COLOURS, LINE, SOFT, dress, panel

KINDS = ("plain", "residual")
MODEL = {"depth": 14, "width": 16}
NUM_BLOCKS = (MODEL["depth"] - 2) // 2
OPTIM = {
    "steps": 500,
    "batch_size": 64,
    "lr": 0.1,
    "schedule": {"name": "cosine", "warmup_steps": 50},
}
ENOUGH = 0.8
"""Test accuracy both nets of a pair must pass before a lesion says anything."""
HARDLY = 0.10
"""A lesion hardly matters if it adds less than this to the error."""
RUIN = 0.5
"""A lesion is ruin if it goes more than this part of the way from the error before to guessing."""
Pairs = Mapping[int, Mapping[str, Patient]]
"""By seed and kind."""
MARKERS = "os^Dvp"


def claim(seeds: Sequence[int], report: Report) -> Finding:
    """Train a pair a seed and take it apart. About two minutes for three seeds."""
    images = drawings()

    def patient(kind: str, seed: int, progress: Progress) -> Patient:
        trained = train(images.train, MODEL | {"kind": kind}, OPTIM, seed=seed, progress=progress)
        return examine(trained.engine.net, images)

    cells = [(kind, seed) for seed in seeds for kind in KINDS]
    patients = side_by_side([partial(patient, *cell) for cell in cells], report)
    found = dict(zip(cells, patients, strict=True))
    pairs = {seed: {kind: found[kind, seed] for kind in KINDS} for seed in seeds}
    return _finding(pairs, 1 / images.test.num_classes)


def _finding(pairs: Pairs, chance: float) -> Finding:
    guessing = 1 - chance
    trained = [seed for seed, pair in pairs.items() if all(p.accuracy > ENOUGH for p in pair.values())]
    patients = {kind: {seed: pairs[seed][kind] for seed in trained} for kind in KINDS}
    response = paired_difference(
        *({s: _mean(p.response.values()) for s, p in patients[kind].items()} for kind in reversed(KINDS))
    )
    lesions: dict[Statistics, Lesions] = {way: _lesions(patients, way, guessing) for way in STATISTICS}
    parts = parts_of_claim(response, lesions)
    known = {kind: mean_estimate([pair[kind].accuracy for pair in pairs.values()]) for kind in KINDS}
    return Finding(
        name="small-responses",
        claim=(
            "The branches of a trained residual net do little: they answer more weakly than a plain net's "
            "layers, and any one of them can be taken out; take one out of a plain net and it guesses."
        ),
        source="He et al. 2015, Fig. 7; Veit et al. 2016",
        answer=answer(len(trained), parts),
        sentence=_sentence((len(trained), len(pairs)), parts, response, lesions, known),
        setup=(
            f"Twins of depth {MODEL['depth']} and width {MODEL['width']} with batch norm, on crayon drawings "
            f"of 16x16: {OPTIM['steps']} steps of {OPTIM['batch_size']}, learning rate {OPTIM['lr']}. Each "
            "block that keeps the shape is taken out in turn, the rest left as it is; the error is that on "
            f"{NUM_TESTED:,} test drawings, with batch norm's statistics as training left them (running) and "
            f"as the net without the block makes them (batch). A pair counts if both pass {ENOUGH:.0%}. "
            f"Hardly matters: less than {HARDLY:.0%} of the drawings. Ruin: more than {RUIN:.0%} of the way "
            f"to guessing. (Here a lesion takes one of {NUM_BLOCKS} blocks; Veit et al.'s net has 54.)"
        ),
        measurements=(
            *(Measurement.of(f"test accuracy, {kind}", known[kind], "share right") for kind in KINDS),
            *(
                Measurement.of(f"error added by a lesion, {kind}, {way} statistics", of.added[kind], "share")
                for way, of in lesions.items()
                for kind in KINDS
            ),
            *(
                Measurement.of(
                    f"way to guessing that a lesion goes, {kind}, {way} statistics", of.way[kind], "share"
                )
                for way, of in lesions.items()
                for kind in KINDS
            ),
            Measurement.of("std of R(x), residual minus plain, mean over blocks", response, "std"),
        ),
        pictures=_pictures(patients, guessing) if trained else (),
        details={
            "enough": ENOUGH,
            "parts": parts,
            "counted": trained,
            "pairs": {
                str(seed): {kind: patient._asdict() for kind, patient in pair.items()}
                for seed, pair in pairs.items()
            },
        },
    )


class Lesions(NamedTuple):
    """What lesions do under one kind of statistics, mean over the blocks of a net."""

    added: Mapping[str, Estimate]
    """to the error, by kind"""
    way: Mapping[str, Estimate]
    """from the error before to that of guessing, by kind"""


def _lesions(patients: Mapping[str, Mapping[int, Patient]], way: Statistics, guessing: float) -> Lesions:
    added, share = {}, {}
    for kind, of_kind in patients.items():
        rises = [
            (_mean(p.without[way].values()) - p.error[way], guessing - p.error[way]) for p in of_kind.values()
        ]
        added[kind] = mean_estimate([rise for rise, _ in rises])
        share[kind] = mean_estimate([rise / room for rise, room in rises])
    return Lesions(added, share)


def below(estimate: Estimate, limit: float) -> bool | None:
    """Whether the whole interval lies below the limit (True) or above it (False); None: neither, or none."""
    if estimate.interval is None or estimate.interval[0] <= limit <= estimate.interval[1]:
        return None
    return estimate.interval[1] < limit


def parts_of_claim(response: Estimate, lesions: Mapping[Statistics, Lesions]) -> dict[str, bool | None]:
    """Return what the claim says, in its parts, and whether each is so; None: not resolved."""
    parts = {"a residual net's responses are smaller": below(response, 0.0)}
    for way, of in lesions.items():
        parts[f"a lesion hardly matters to a residual net ({way} statistics)"] = below(
            of.added["residual"], HARDLY
        )
        spared = below(of.way["plain"], RUIN)
        parts[f"a lesion is ruin to a plain net ({way} statistics)"] = None if spared is None else not spared
    return parts


def answer(num_trained: int, parts: Mapping[str, bool | None]) -> Answer:
    """Say of all parts together; one that is so beside one that is not makes it a claim with conditions."""
    found = list(parts.values())
    if num_trained == 0:
        return "not trained enough to say"
    if True in found and False in found:
        return "holds only if"
    if None in found:
        return "not resolved"
    return "holds" if all(found) else "does not hold"


def _sentence(
    pairs: tuple[int, int],
    parts: Mapping[str, bool | None],
    response: Estimate,
    lesions: Mapping[Statistics, Lesions],
    known: Mapping[str, Estimate],
) -> str:
    trained, of_all = pairs
    accuracy = " and ".join(f"{kind} {spelled(known[kind], '.0f', scale=100)}%" for kind in KINDS)
    head = f"{trained} of {of_all} pairs passed {ENOUGH:.0%} test accuracy ({accuracy})"
    if trained == 0:
        return f"{head}: a lesion would say nothing of nets that know so little."
    text = [f"{head}."]
    for verdict, words in ((True, "So"), (False, "Not so"), (None, "Not resolved")):
        if of_these := [part for part, found in parts.items() if found is verdict]:
            text.append(f"{words}: {'; '.join(of_these)}.")
    for way, of in lesions.items():
        added = {kind: spelled(of.added[kind], ".0f", scale=100) for kind in KINDS}
        share = {kind: spelled(of.way[kind], ".0f", scale=100) for kind in KINDS}
        text.append(
            f"Without one block, {way} statistics: {added['residual']} more errors in 100 drawings for the "
            f"residual net and {added['plain']} for the plain one, {share['residual']}% and "
            f"{share['plain']}% of the way to guessing."
        )
    text.append(f"Std of the responses, residual minus plain: {spelled(response)}; n = {trained}.")
    return " ".join(text)


def _pictures(patients: Mapping[str, Mapping[int, Patient]], guessing: float) -> tuple[Picture, ...]:
    n = len(patients["plain"])
    some = next(iter(patients["plain"].values()))
    blocks = list(some.response)
    ways = {
        f"{way} statistics": {
            kind: (
                100 * _mean(p.error[way] for p in of_kind.values()),
                {b: [100 * p.without[way][b] for p in of_kind.values()] for b in some.without[way]},
            )
            for kind, of_kind in patients.items()
        }
        for way in STATISTICS
    }
    responses = {
        kind: {block: [p.response[block] for p in of_kind.values()] for block in blocks}
        for kind, of_kind in patients.items()
    }
    return (
        Picture(
            lesions_figure(blocks, ways, guessing=100 * guessing),
            f"Test error without one block, a dot a net (n = {n} a kind). Dashed: nothing taken out; dotted: "
            "guessing. A strided block cannot be taken out.",
            " ".join(
                f"{way}, {kind}: {error:.0f}% whole; "
                + ", ".join(f"{_mean(dots):.0f}% without {block}" for block, dots in without.items())
                + "."
                for way, of_way in ways.items()
                for kind, (error, without) in of_way.items()
            ),
        ),
        Picture(
            responses_figure(blocks, responses),
            f"How strongly each block answers: the standard deviation of R(x), after the norm, a dot a net "
            f"(n = {n} a kind).",
            " ".join(
                f"{kind}: " + ", ".join(f"{block} {_mean(dots):.2f}" for block, dots in of_kind.items()) + "."
                for kind, of_kind in responses.items()
            ),
        ),
    )


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def lesions_figure(
    blocks: Sequence[str],
    ways: Mapping[str, Mapping[str, tuple[float, Mapping[str, Sequence[float]]]]],
    *,
    guessing: float,
) -> Figure:
    """Draw the test error, in percent, of nets without one block; a panel for each way of measuring it.

    ways: by name, then by kind: the error of the whole net, and one error a net for each block taken out. A
    block that is not there cannot be taken out.
    """
    figure = Figure(figsize=(5.2, 2.4 * len(ways) + 0.4), layout="constrained")
    panels = figure.subplots(len(ways), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (way, kinds) in zip(panels, ways.items(), strict=True):
        dress(axes)
        axes.set_title(way, loc="left", fontsize=FONT_SIZE, color=INK, pad=3)
        for kind, (whole, without) in kinds.items():
            axes.axhline(whole, color=KIND_COLOURS[kind], linewidth=1.0, linestyle=(0, (4, 2)))
            _dots_a_block(axes, blocks, without, kind)
        axes.axhline(guessing, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
        for at, block in enumerate(blocks):
            if all(block not in without for _, without in kinds.values()):
                axes.axvspan(at - 0.4, at + 0.4, color=LINE, linewidth=0, alpha=0.5)
                axes.annotate(
                    "cannot be\nremoved", (at, 0.5), xycoords=axes.get_xaxis_transform(), ha="center",
                    va="center", rotation=90, fontsize=FONT_SIZE - 1, color=SOFT,
                )  # fmt: skip
        axes.set_ylim(0, 100)
        axes.set_ylabel("test error (%)")
        _block_ticks(axes, blocks)
    panels[-1].set_xlabel("block taken out", fontsize=FONT_SIZE, color=INK)
    legend(figure, panels[0])
    return figure


def responses_figure(blocks: Sequence[str], responses: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the standard deviation of each block's response, a dot a net, by kind."""
    figure, axes = panel(width=5.2, height=2.7)
    for kind, of_kind in responses.items():
        _dots_a_block(axes, blocks, of_kind, kind)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("std of R(x)")
    axes.set_xlabel("block")
    _block_ticks(axes, blocks)
    legend(figure, axes)
    return figure


def _dots_a_block(axes: Axes, blocks: Sequence[str], dots: Mapping[str, Sequence[float]], kind: str) -> None:
    """A dot a net at each block that has any, and a dash at their mean; the kinds side by side."""
    shift = -0.14 if kind == "plain" else 0.14
    for block, values in dots.items():
        at = blocks.index(block) + shift
        axes.plot(
            [at] * len(values), values, MARKERS[list(KIND_COLOURS).index(kind)], color=KIND_COLOURS[kind],
            markersize=4.5, markeredgewidth=0, alpha=0.75, label=kind if block == next(iter(dots)) else None,
        )  # fmt: skip
        mean = sum(values) / len(values)
        axes.plot([at - 0.12, at + 0.12], [mean, mean], color=KIND_COLOURS[kind], linewidth=1.8)


def _block_ticks(axes: Axes, blocks: Sequence[str]) -> None:
    axes.set_xticks(range(len(blocks)), [block.removeprefix("stage") for block in blocks])
    axes.set_xlim(-0.6, len(blocks) - 0.4)
    axes.grid(False, axis="x")
