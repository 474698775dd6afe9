"""The findings of a comparison as short sentences, each on top of the recorded sentence it rests on.

Nothing is judged here: every word comes from a verdict of comparison.json, and where that has none the
sentence only states the numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from resexp.findings.statistics import mean_estimate

Row = Mapping[str, Any]

GRADIENT = {
    "vanishing": "vanishes",
    "exploding": "explodes",
    "healthy": "stays healthy",
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
    """A sentence, and the recorded sentences it rests on."""

    sentence: str
    evidence: tuple[str, ...]


def cell_words(cell: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Return a cell in words, from those of its keys that are to be shown: 'depth 56, no normalisation'."""
    words = {"norm": NORMS, "init": INITS}
    parts = [words.get(key, {}).get(cell[key], f"{key} {cell[key]}") for key in shown if key in cell]
    return ", ".join(parts)


def headlines(verdicts: Sequence[Row], runs: Sequence[Row]) -> Iterator[Finding]:
    """Yield what the verdicts of one cell say, the outcome first and the gradients after it.

    runs: the cell's lines of comparison.json.
    """
    for verdict in verdicts:
        if verdict["about"] == "arms":
            yield Finding(_outcome(verdict, runs), (verdict["sentence"],))
    arms = dict.fromkeys(verdict["arm"] for verdict in verdicts if verdict["about"] == "gradient")
    for arm in arms:
        own = [verdict for verdict in verdicts if verdict["about"] == "gradient" and verdict["arm"] == arm]
        yield Finding(_gradient(arm, own), tuple(verdict["sentence"] for verdict in own))
    for verdict in verdicts:
        if verdict["about"] == "degradation":
            yield Finding(_degradation(verdict), (verdict["sentence"],))
        elif verdict["about"] not in ("arms", "gradient"):
            yield Finding(_first_upper(verdict["sentence"]), ())


def _outcome(verdict: Row, runs: Sequence[Row]) -> str:
    """The outcome between two arms, with the word if there is one."""
    arm, reference = verdict["arm"], verdict.get("reference") or _other(verdict["arm"], runs)
    losses = f"training loss {_losses(arm, runs)} for {arm}, {_losses(reference, runs)} for {reference}"
    match verdict.get("word"):
        case "lower" | "higher" as word:
            return f"{_first_upper(arm)} ends {word} than {reference}: {losses}."
        case "not resolved":
            return f"No difference between {arm} and {reference} is resolved: {losses}."
    return f"{_first_upper(losses)} ({_too_few(verdict['n'])})."


def _gradient(arm: str, verdicts: Sequence[Row]) -> str:
    """What the gradient does in one arm, at step 0 and at the last probe."""
    parts = []
    for verdict in verdicts:
        ratio = (verdict.get("transport") or {}).get("ratio")
        size = f"T = {ratio:.2g}" if ratio is not None else "underflow"
        word = verdict.get("word") or ""
        if word in GRADIENT:
            seeds = ", one seed" if verdict["n"] == 1 else ""
            parts.append(f"{GRADIENT[word]} at {_when(verdict)} ({size}{seeds})")
        else:
            parts.append(f"gets no word at {_when(verdict)} ({size}, {word})")
    return f"{_first_upper(arm)}: the gradient {', and '.join(parts)}."


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
    return f"Whether {arm} degrades with depth gets no word ({_too_few(verdict['n'])})."


def _when(verdict: Row) -> str:
    return "step 0" if verdict.get("when") == "step 0" else "the last probe"


def _losses(arm: str, runs: Sequence[Row]) -> str:
    own = [run for run in runs if run["arm"] == arm]
    kept = [run["final_loss"] for run in own if run["fate"] == "finished" and run["final_loss"] is not None]
    if kept:
        return f"{mean_estimate(kept).mean:.3f}"
    fates = list(dict.fromkeys(run["fate"] for run in own))
    known = [run["final_loss"] for run in own if run["final_loss"] is not None]
    return " ".join([*(f"{min(known):.3f}" for _ in known[:1]), f"({' or '.join(fates)})"])


def _other(arm: str, runs: Sequence[Row]) -> str:
    """The arm that the others are set against: the first one."""
    return next((run["arm"] for run in runs if run["arm"] != arm), arm)


def _too_few(n: int) -> str:
    seeds = {0: "no seed trained on both sides", 1: "one seed"}.get(n, f"{n} seeds")
    return f"{seeds}: too few for a word"


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
