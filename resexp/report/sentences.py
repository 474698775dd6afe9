"""The findings of a comparison as short sentences, each on top of the recorded words it rests on.

Nothing is judged here: every word comes from a verdict of comparison.json, and where that has none the
sentence only states the numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from resexp.analysis.statistics import mean_estimate
from resexp.report.formatting import first_upper, size

Row = Mapping[str, Any]
GRADIENT = {"vanishing": "vanishes", "exploding": "explodes", "healthy": "is healthy"}
NO_WORD = {"one seed": "too close to 1 for a word from one seed"}
FATES = {
    "stuck": "never left guessing",
    "diverged": "diverged",
    "unfinished": "has not ended",
}
NORMS = {
    "none": "no normalisation",
    "batch": "batch norm",
    "group": "group norm",
    "layer": "layer norm",
}
INITS = {
    "he": "He init",
    "xavier": "Xavier init",
    "default": "PyTorch's default init",
    "orthogonal": "orthogonal init",
}


class Finding(NamedTuple):
    """A sentence, and the recorded words it rests on, a line each."""

    sentence: str
    evidence: tuple[str, ...]


def cell_words(cell: Row) -> str:
    """Return what was varied in words, from short keys: 'depth 56, no normalisation'."""
    words = {"norm": NORMS, "init": INITS}
    return ", ".join(words.get(key, {}).get(str(value), f"{key} {value}") for key, value in cell.items())


def headlines(verdicts: Sequence[Row], runs: Sequence[Row]) -> Iterator[Finding]:
    """Yield what the verdicts of one cell say: the outcome, what became of seeds, then the gradients.

    runs: the cell's lines of comparison.json; none for verdicts that span cells.
    """
    of = {about: [verdict for verdict in verdicts if verdict["about"] == about] for about in ABOUT}
    for verdict in of["arms"]:
        yield Finding(_outcome(verdict, runs), (_bare(verdict),))
    for verdict in of["seeds"]:
        yield Finding(_fates(verdict, runs), (_bare(verdict),))
    for arm in dict.fromkeys(verdict["arm"] for verdict in of["gradient"]):
        own = [verdict for verdict in of["gradient"] if verdict["arm"] == arm]
        yield Finding(_gradient(arm, own), tuple(_numbers(verdict) for verdict in own))
    for verdict in of["degradation"]:
        yield Finding(_degradation(verdict), (verdict["sentence"],))
    for verdict in of["shortcuts"]:
        yield Finding("What the shortcuts save of it.", (verdict["sentence"],))


ABOUT = ("arms", "seeds", "gradient", "degradation", "shortcuts")


def _outcome(verdict: Row, runs: Sequence[Row]) -> str:
    arm, reference = verdict["arm"], next(iter(dict.fromkeys(run["arm"] for run in runs)), "the first arm")
    steps = {run["steps"] for run in runs if run.get("steps") is not None}
    after = f"After {next(iter(steps)):,} steps" if len(steps) == 1 else "At the end"
    losses = f"{_loss(arm, runs)} for {arm}, {_loss(reference, runs)} for {reference}"
    match verdict.get("word"):
        case "lower" | "higher" as word:
            return f"{after} {arm} has a {word} training loss than {reference}: {losses}."
        case "not resolved":
            return f"{after} no difference between {arm} and {reference} is resolved: training loss {losses}."
    return f"{after} the training loss is {losses}{_few(verdict['n'])}."


def _fates(verdict: Row, runs: Sequence[Row]) -> str:
    own = [run for run in runs if run["arm"] == verdict["arm"]]
    parts = []
    for fate, words in FATES.items():
        count = sum(run["fate"] == fate for run in own)
        if count:
            parts.append(f"{'all' if count == len(own) > 1 else count} of {len(own)} seeds {words}")
    named = "; ".join(parts).replace("1 of 1 seeds", "its one seed").replace("all of", "all")
    return f"{first_upper(verdict['arm'])}: {named or 'not every seed trained'}."


def _gradient(arm: str, verdicts: Sequence[Row]) -> str:
    """What the gradient does in one arm, at step 0 and at the last probe."""
    name, words = first_upper(arm), [verdict.get("word") or "not measured" for verdict in verdicts]
    # Held together by spaces that do not break.
    sizes = [f"T = {size(_ratio(verdict))}".replace(" ", "\u00a0") for verdict in verdicts]
    times = ["at step 0" if verdict.get("when") == "step 0" else "at the last probe" for verdict in verdicts]
    if len(set(words)) == 1 and words[0] not in GRADIENT:
        course = " and ".join(f"{amount} {time}" for amount, time in zip(sizes, times, strict=True))
        return f"{name}: {course}; {NO_WORD.get(words[0], words[0])}."
    parts = []
    for index, (word, amount, time) in enumerate(zip(words, sizes, times, strict=True)):
        if word not in GRADIENT:
            parts.append(f"has {amount} {time} ({NO_WORD.get(word, word)})")
        else:
            verb = "still" if index and word == words[index - 1] else GRADIENT[word]
            parts.append(f"{verb} {time} ({amount})")
    seed = " (one seed)" if {verdict["n"] for verdict in verdicts} == {1} else ""
    return f"{name}: the gradient {' and '.join(parts)}{seed}."


def _ratio(verdict: Row) -> float:
    """T; 0 where every seed underflowed, so that there is no mean of its logarithm."""
    ratio = (verdict.get("transport") or {}).get("ratio")
    return 0.0 if ratio is None else float(ratio)


def _degradation(verdict: Row) -> str:
    arm = verdict["arm"]
    match verdict.get("word"):
        case "degradation":
            return f"Degradation: the deeper {arm} net has the higher training loss."
        case "no degradation":
            return f"No degradation: the deeper {arm} net has the lower training loss."
        case "not resolved":
            return f"No degradation of {arm} is resolved."
        case "not judged":
            return f"Degradation of {arm} is not judged."
    return f"Whether {arm} degrades with depth gets no word{_few(verdict['n'], ' with ')}."


def _loss(arm: str, runs: Sequence[Row]) -> str:
    """The mean over the seeds that trained; where none did, the number and what became of them."""
    own = [run for run in runs if run["arm"] == arm]
    kept = [run["final_loss"] for run in own if run["fate"] == "finished" and run["final_loss"] is not None]
    if kept:
        return f"{mean_estimate(kept).mean:.3f}"
    known = [run["final_loss"] for run in own if run.get("final_loss") is not None]
    fates = " or ".join(dict.fromkeys(run["fate"] for run in own))
    return f"{min(known):.3f} ({fates})" if known else f"not there ({fates or 'no run'})"


def _few(n: int, start: str = "; ") -> str:
    """Why there is no word."""
    seeds = {0: "no seed trained on both sides", 1: "one seed"}.get(n, f"{n} seeds")
    return f"{start}{seeds}" if start != "; " else f"; {seeds}, so no word"


def _numbers(verdict: Row) -> str:
    """A gradient's recorded numbers, under the heading that names arm and cell already."""
    found = verdict.get("transport") or {}
    return f"{verdict.get('when')}: {found['sentence']}" if "sentence" in found else verdict["sentence"]


def _bare(verdict: Row) -> str:
    """The recorded sentence without the cell it begins with: the heading names that."""
    named = ", ".join(f"{key} {value}" for key, value in (verdict.get("cell") or {}).items())
    sentence = verdict["sentence"].removeprefix(f"{verdict['arm']}, ")
    return sentence.removeprefix(f"{named}: ")
