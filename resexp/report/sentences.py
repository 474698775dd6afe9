"""Sentences: a comparison's findings in short, each on top of the recorded words it rests on.

Nothing is judged here: every word comes from a verdict of comparison.json, and where that has none the
sentence only states the numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from resexp.analysis.cells import DEPTH, short
from resexp.analysis.statistics import MIN_SEEDS_FOR_A_WORD, mean_estimate
from resexp.config.imports import without_folder
from resexp.records.documents import RunRow, VerdictRow
from resexp.records.jsonl import Row
from resexp.report.formatting import first_upper, size

GRADIENT_VERBS = {"vanishing": "vanishes", "exploding": "explodes", "healthy": "is healthy"}
NO_WORD = {"one seed": "one seed may be called vanishing only below 10⁻⁴ and exploding only above 10⁴"}
AT_GUESSING = "still at guessing"
FATES = {
    "stuck": AT_GUESSING,
    "diverged": "diverged",
    "unfinished": "has not ended",
}
NORM_NAMES = {
    "none": "no normalisation",
    "batch": "batch norm",
    "group": "group norm",
    "layer": "layer norm",
}
INIT_NAMES = {
    "he": "He init",
    "xavier": "Xavier init",
    "default": "PyTorch's default init",
    "orthogonal": "orthogonal init",
    "delta_orthogonal": "delta-orthogonal init",
    "lsuv": "LSUV init",
}


class Headline(NamedTuple):
    """A sentence, and the recorded words it rests on, a line each."""

    sentence: str
    evidence: tuple[str, ...]


def cell_words(cell: Row) -> str:
    """Return what was varied in words, from short keys: 'depth 56, no normalisation'."""
    words = {"norm": NORM_NAMES, "init": INIT_NAMES}
    return ", ".join(
        words.get(key, {}).get(str(value), f"{key} {without_folder(str(value))}")
        for key, value in cell.items()
    )


def setting_words(name: Row) -> str:
    """Return a cell's name, by dotted keys, in words without its depth; the init goes with the norm."""
    named = {short(key): value for key, value in name.items() if key != DEPTH}
    if "norm" in named:
        named.pop("init", None)
    return cell_words(named)


def amount(ratio: float, text: Callable[[float], str] = size) -> str:
    """Return how much of a gradient arrives, as part of a sentence: '53%', '6.1 × 10⁻⁸', '15 times the size'.

    text: how a size is spelled that is no percentage.
    """
    if ratio >= 2:
        times = f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}" if ratio < 1e6 else text(ratio)
        return f"{times} times the size"
    return f"{100 * ratio:.0f}%" if ratio >= 0.01 else text(ratio)


def headlines(verdicts: Sequence[Row | VerdictRow], runs: Sequence[Row | RunRow]) -> Iterator[Headline]:
    """Yield what the verdicts of one cell say: the gradients, the outcome, what became of seeds.

    runs: the cell's lines of comparison.json; none for verdicts that span cells.
    """
    read, runs = [VerdictRow.read(verdict) for verdict in verdicts], [RunRow.read(run) for run in runs]
    of = {about: [verdict for verdict in read if verdict.about == about] for about in ABOUT}
    for arm in dict.fromkeys(verdict.arm for verdict in of["gradient"]):
        own = [verdict for verdict in of["gradient"] if verdict.arm == arm]
        yield Headline(_gradient(arm, own), tuple(_numbers(verdict) for verdict in own))
    for verdict in of["arms"]:
        yield Headline(_outcome(verdict, runs), (_statement(verdict),))
    for verdict in of["fates"]:
        if verdict.n == 1:
            continue  # said of each arm's one seed
        yield Headline(_trained(verdict, runs), (_statement(verdict),))
    for verdict in of["seeds"]:
        yield Headline(_fates(verdict, runs), (_statement(verdict),))
    for verdict in of["degradation"]:
        yield Headline(_degradation(verdict), (verdict.sentence,))
    for verdict in of["shortcuts"]:
        yield Headline("What the shortcuts save of it.", (verdict.sentence,))


ABOUT = ("arms", "fates", "seeds", "gradient", "degradation", "shortcuts")


def _outcome(verdict: VerdictRow, runs: Sequence[RunRow]) -> str:
    arm, reference = verdict.arm, next(iter(dict.fromkeys(run.arm for run in runs)), "the first arm")
    after = first_upper(_after(runs)) or "At the end"
    losses = f"{_loss(arm, runs)} for {arm}, {_loss(reference, runs)} for {reference}"
    match verdict.word:
        case "lower" | "higher" as word:
            said = f"{after} {arm} has a {word} training loss than {reference}: {losses}"
        case "not resolved":
            said = f"{after} no difference between {arm} and {reference} is resolved: training loss {losses}"
        case _:
            return f"{after} the training loss is {losses}{_few(verdict.n)}{_left_out(verdict)}."
    return f"{said} (n = {verdict.n}{_left_out(verdict)})."


def _trained(verdict: VerdictRow, runs: Sequence[RunRow]) -> str:
    """In how many seeds each arm trained, the arm named first that did so in more of them."""
    arms = {}
    for arm in dict.fromkeys(run.arm for run in runs):
        fates = [run.fate for run in runs if run.arm == arm and run.fate != "unfinished"]
        arms[arm] = (fates.count("finished"), len(fates))
    reference = next(iter(arms))
    pair = sorted([verdict.arm, reference], key=lambda arm: -arms[arm][0] / max(1, arms[arm][1]))
    (more, num), (fewer, of) = (arms[arm] for arm in pair)
    after = _after(runs) or "at the end"
    counts = f"{after} {_some(more, num)} {pair[0]} seeds have trained, {_some(fewer, of)} {pair[1]} ones"
    support = f"n = {verdict.n}{_left_out(verdict)}"
    match verdict.word:
        case "lower" | "higher":
            return f"{first_upper(counts)} (Fisher's exact test, {support})."
        case "not resolved":
            return f"{first_upper(counts)}; no difference is resolved ({support})."
    return f"{first_upper(counts)}{_few(verdict.n)}{_left_out(verdict)}."


def _some(count: int, num: int) -> str:
    """A count in words where it is all or none: 'all 5', 'none of 5', '3 of 5'."""
    return f"all {num}" if count == num > 0 else f"{count or 'none'} of {num}"


def _after(runs: Sequence[RunRow]) -> str:
    steps = {run.steps for run in runs if run.steps is not None}
    return f"after {next(iter(steps)):,} steps" if len(steps) == 1 else ""


def _left_out(verdict: VerdictRow) -> str:
    """How many seeds the numbers do not rest on; nothing where that was not recorded."""
    if verdict.left_out is None:
        return ""
    num = sum(one.num for one in verdict.left_out)
    return f", {num} left out" if num else ", none left out"


def _fates(verdict: VerdictRow, runs: Sequence[RunRow]) -> str:
    own = [run for run in runs if run.arm == verdict.arm]
    parts = []
    for fate, words in FATES.items():
        of_fate = [run for run in own if run.fate == fate]
        count = len(of_fate)
        if count:
            said = words
            if fate == "stuck":
                verb = "is" if count == 1 else "are"
                said = f"{verb} {words} {_after(of_fate)}".rstrip() + _course(of_fate)
            parts.append(f"{_of_seeds(count, len(own))} {said}")
    return f"{first_upper(verdict.arm)}: {'; '.join(parts) or 'not every seed trained'}."


def _of_seeds(count: int, num: int) -> str:
    if num == 1:
        return "its one seed"
    return f"all {num} seeds" if count == num else f"{count} of {num} seeds"


def _course(runs: Sequence[RunRow]) -> str:
    """Whether the losses at guessing still fall, where enough was recorded to say."""
    known = [run.falling for run in runs if run.falling is not None]
    if not known:
        return ""
    falling = sum(known)
    if falling in (0, len(known)):
        return ", and the loss is still falling" if falling else ", and the loss does not fall"
    return f", and the loss is still falling in {falling} of them"


def _gradient(arm: str, verdicts: Sequence[VerdictRow]) -> str:
    """What the gradient does in one arm, at step 0 and at the last probe."""
    name, words = first_upper(arm), [verdict.word or "not measured" for verdict in verdicts]
    # Held together by spaces that do not break.
    sizes = [f"T = {size(_ratio(verdict))}".replace(" ", "\u00a0") for verdict in verdicts]
    times = ["at step 0" if verdict.when == "step 0" else "at the last probe" for verdict in verdicts]
    if len(set(words)) == 1 and words[0] not in GRADIENT_VERBS:
        course = " and ".join(f"{amount} {time}" for amount, time in zip(sizes, times, strict=True))
        return f"{name}: {course}; {NO_WORD.get(words[0], words[0])}."
    parts = []
    for index, (word, amount, time) in enumerate(zip(words, sizes, times, strict=True)):
        if word not in GRADIENT_VERBS:
            parts.append(f"has {amount} {time} ({NO_WORD.get(word, word)})")
        else:
            verb = "still" if index and word == words[index - 1] else GRADIENT_VERBS[word]
            parts.append(f"{verb} {time} ({amount})")
    seed = " (one seed)" if {verdict.n for verdict in verdicts} == {1} else ""
    return f"{name}: the gradient {' and '.join(parts)}{seed}."


def _ratio(verdict: VerdictRow) -> float:
    """T; 0 where every seed underflowed, so that there is no mean of its logarithm."""
    ratio = verdict.transport.ratio if verdict.transport else None
    return 0.0 if ratio is None else float(ratio)


def _degradation(verdict: VerdictRow) -> str:
    arm = verdict.arm
    match verdict.word:
        case "degradation":
            return f"Degradation: the deeper {arm} net has the higher training loss."
        case "no degradation":
            return f"No degradation: the deeper {arm} net has the lower training loss."
        case "not resolved":
            return f"No degradation of {arm} is resolved."
        case "not judged":
            return f"Degradation of {arm} is not judged."
    return f"Whether {arm} degrades with depth gets no word{_few(verdict.n, ' with ')}."


def _loss(arm: str, runs: Sequence[RunRow]) -> str:
    """The mean over the seeds that ended, those at guessing included; where none did, what is known."""
    own = [run for run in runs if run.arm == arm]
    ended = [run for run in own if run.fate in ("finished", "stuck") and run.final_loss is not None]
    if ended:
        stuck = f" ({AT_GUESSING})" if all(run.fate == "stuck" for run in ended) else ""
        losses = [run.final_loss for run in ended if run.final_loss is not None]
        return f"{mean_estimate(losses).mean:.3f}{stuck}"
    known = [run.final_loss for run in own if run.final_loss is not None]
    fates = " or ".join(dict.fromkeys(run.fate for run in own))
    return f"{min(known):.3f} ({fates})" if known else f"not there ({fates or 'no run'})"


def _few(n: int, start: str = "; ") -> str:
    """Why there is no word; from five seeds on the recorded sentence below says it."""
    seeds = {0: "no seed ended on both sides", 1: "one seed"}.get(n, f"{n} seeds")
    if start != "; ":
        return f"{start}{seeds}"
    return f"; {seeds}, so no word" if n < MIN_SEEDS_FOR_A_WORD else f"; {seeds}, and no word"


def _numbers(verdict: VerdictRow) -> str:
    """A gradient's recorded numbers, under the heading that names arm and cell already."""
    found = verdict.transport
    if found is None or found.sentence is None:
        return verdict.sentence
    return f"{verdict.when}: {found.sentence}"


def _statement(verdict: VerdictRow) -> str:
    """The recorded sentence without the cell it is about: the heading names that."""
    return verdict.statement or verdict.sentence
