"""Verdicts: arms side by side in words, what the gradients did, which seeds failed, what differs."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from resexp.analysis.cells import STUCK_MARGIN, Arms, CellKey, RunSummary, by_cell, label, name_of, short
from resexp.analysis.contrasts import Difference, differences
from resexp.analysis.gradient_ratio import GradientRatio, gradient_ratio
from resexp.analysis.looks import Look
from resexp.analysis.samples import LeftOut
from resexp.analysis.statistics import ERROR_RATE, MIN_SEEDS_FOR_A_WORD, SEEDS_TO_SEE_IT, UNSEEN_SHARE


@dataclass(frozen=True)
class Verdict:
    """One sentence, and what it rests on.

    title: whom it is about, arm and cell in words, or ''. statement: what is said of it, behind the title.
    about: gradient (then `when` is 'step 0' or 'last probe' and `transport` holds the numbers), seeds (how
    many did not train, and why), arms, fates (in how many seeds each arm trained), degradation, shortcuts.
    word: None where none may be said. left_out: of arms, fates, degradation and shortcuts.
    """

    about: Literal["gradient", "seeds", "arms", "fates", "degradation", "shortcuts"]
    arm: str
    cell: CellKey
    n: int
    word: str | None
    title: str
    statement: str
    when: str | None = None
    transport: GradientRatio | None = None
    left_out: tuple[LeftOut, ...] | None = None

    @property
    def sentence(self) -> str:
        return ": ".join(filter(None, (self.title, self.statement)))


@dataclass(frozen=True)
class Comparison:
    """What some runs say together; `to_json` gives comparison.json."""

    runs: tuple[RunSummary, ...]
    differences: tuple[Difference, ...]
    verdicts: tuple[Verdict, ...]
    look: Look | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types: full precision, None for what is undefined or beyond a float."""
        return {
            "runs": [_row(run, _RUN_KEYS) for run in self.runs],
            "differences": [_difference_row(difference) for difference in self.differences],
            "verdicts": [_verdict_row(verdict) for verdict in self.verdicts],
            **({} if self.look is None else {"look": self.look._asdict()}),
        }


def compare_runs(runs: Sequence[RunSummary], look: Look | None = None) -> Comparison:
    """Compare the arms in every cell; the first arm to appear is what the others are set against.

    look: which of a growing comparison's looks this is; None: the only one, at 5%. Raises ValueError for two
    runs of one arm, cell and seed.
    """
    cells = by_cell(runs)
    found = differences(cells, ERROR_RATE if look is None else look.level)
    verdicts = [verdict for cell, arms in cells.items() for verdict in _on_each_arm(cell, arms)]
    verdicts += [_on(difference) for difference in found if _worth_a_sentence(difference)]
    return Comparison(tuple(runs), tuple(found), tuple(verdicts), look)


def _on_each_arm(cell: CellKey, arms: Arms) -> Iterator[Verdict]:
    for arm, runs in arms.items():
        name = name_of(cell, runs)
        title = f"{arm}, {label(name)}"
        for when, values in (
            ("step 0", [run.transport_initial for run in runs]),
            ("last probe", [run.transport_final for run in runs]),
        ):
            found = gradient_ratio(values, runs[0].depth - 2)
            if not found.n:
                continue
            out = f", left out: {missing} not measured" if (missing := len(runs) - found.n) else ""
            said = f"gradient at {'the ' * (when != 'step 0')}{when}: {found.sentence}{out}"
            yield Verdict("gradient", arm, name, found.n, found.word, title, said, when, found)
        if any(run.fate != "finished" for run in runs):
            yield Verdict("seeds", arm, name, len(runs), None, title, _fates(runs))


def _fates(runs: Sequence[RunSummary]) -> str:
    """How many seeds did not train, and what that does to the means."""
    counts = Counter(run.fate for run in runs if run.fate != "finished")
    steps = sorted({run.steps for run in runs if run.fate == "stuck"})
    texts = {"stuck": f"still at guessing after {' or '.join(map(str, steps))} steps{_course(runs)}"}
    parts = [f"{count} of {len(runs)} {texts.get(fate, fate)}" for fate, count in sorted(counts.items())]
    out = counts["diverged"] + counts["unfinished"]
    left = f"{out} left out of every mean" if out else "none left out of a mean"
    guess = f"; guessing: no loss as low as {runs[0].guess_words} - {STUCK_MARGIN}" * ("stuck" in counts)
    return f"seeds {', '.join(parts)}; {left}{guess}"


def _course(runs: Sequence[RunSummary]) -> str:
    """Whether the losses of those at guessing still fall."""
    known = [run.falling for run in runs if run.falling is not None]
    if not known:
        return ""
    falling = sum(known)
    if falling in (0, len(known)):
        return f" (loss {'falling' if falling else 'not falling'})"
    return f" (loss falling in {falling} of them)"


_WORDS = {
    ("arms", "lower"): "{arm} ends lower than {reference}",
    ("arms", "higher"): "{arm} ends higher than {reference}",
    ("arms", "not resolved"): "no difference between {arm} and {reference} is resolved",
    ("fates", "lower"): "{arm} trains in fewer seeds than {reference}",
    ("fates", "higher"): "{arm} trains in more seeds than {reference}",
    ("fates", "not resolved"): "no difference in how many seeds of {arm} and {reference} train is resolved",
    ("degradation", "higher"): "degradation",
    ("degradation", "lower"): "no degradation: the deeper net trains better",
    ("degradation", "not resolved"): "no degradation is resolved",
}


def _worth_a_sentence(difference: Difference) -> bool:
    match difference.about:
        case "arms":
            return difference.tested
        case "fates" | "degradation":
            return True
        case "shortcuts":
            return difference.obstacle is None


def _on(difference: Difference) -> Verdict:
    head = _WORDS.get((difference.about, difference.word or ""), "").format(**vars(difference))
    word: str | None = difference.word
    if difference.about == "degradation":
        word = {"higher": "degradation", "lower": "no degradation"}.get(word or "", word)
        if difference.obstacle is not None:
            word, head = "not judged", f"degradation is not judged, for the deeper net: {difference.obstacle}"
    elif difference.obstacle is not None:
        head = f"no word on a mean: {difference.obstacle}"
    numbers = f"{difference.metric}, {difference.what}: {_amount(difference)} after {difference.steps}"
    said = ": ".join(filter(None, (head, numbers)))
    return Verdict(
        difference.about,
        difference.arm,
        difference.cell,
        difference.estimate.n,
        word,
        label(difference.cell),
        f"{said}; {_support(difference)}, {_left_out(difference)}{_doubt(difference)}",
        left_out=difference.left_out,
    )


def _amount(difference: Difference) -> str:
    if difference.counts is not None:
        trained, num, reference_trained, reference_num = difference.counts
        return f"{trained} of {num} seeds against {reference_trained} of {reference_num}"
    estimate = difference.estimate
    if estimate.mean is None:
        return "no numbers"
    if estimate.interval is None:
        return f"{estimate.mean:+.3g}"
    return f"{estimate.mean:+.3g} [{estimate.interval[0]:+.3g}, {estimate.interval[1]:+.3g}]"


def _support(difference: Difference) -> str:
    n, level = difference.estimate.n, difference.level
    if n == 0:
        return "n = 0, no seed ended on both sides"
    if n == 1:
        return "n = 1, one seed, so no interval and no word"
    if not difference.tested or difference.obstacle is not None:
        return f"n = {n}, an interval without a word"
    if n < MIN_SEEDS_FOR_A_WORD:
        return f"n = {n}, fewer than {MIN_SEEDS_FOR_A_WORD} seeds, so no word"
    if not level:
        return f"n = {n}, an interval without a word: earlier looks have spent the 5%"
    if difference.adjusted_p is None:
        return f"n = {n}, no split of those that trained could give a word"
    of = "" if level == ERROR_RATE else f" (a word below {level:.2g})"
    found = f"n = {n}, adjusted p = {difference.adjusted_p:.2g}{of}"
    if difference.about == "fates":
        return f"{found} by Fisher's exact test"
    if difference.word is None:
        unseen = f"if {UNSEEN_SHARE:.0%} of the better side's seeds got stuck unseen, it would turn around"
        return f"{found}, but {unseen}: no word below {SEEDS_TO_SEE_IT} seeds"
    return f"{found} by a t test, which takes {_taken(difference)} for normal"


def _taken(difference: Difference) -> str:
    return "the differences" if difference.about == "arms" else "the losses"


def _left_out(difference: Difference) -> str:
    found = ", ".join(f"{one.num} {one.arm} {one.reason}" for one in difference.left_out)
    return f"left out: {found}" if found else "none left out"


def _doubt(difference: Difference) -> str:
    """A warning where one seed makes the spread: the interval then says more of it than of the others."""
    if difference.odd is None or not difference.tested:
        return ""
    return f"; the spread is mostly the doing of seed {difference.odd}, so look at every seed"


# fmt: off
_RUN_KEYS = (
    "arm", "kind", "depth", "norm", "init", "seed", "parameters", "status", "fate", "falling", "steps",
    "final_loss", "loss_area", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    "gradient_first", "gradient_last", "transport_initial", "transport_final", "folder",
)
_DIFFERENCE_KEYS = (
    "about", "what", "arm", "reference", "metric", "adjusted_p", "word", "obstacle",
    "odd", "turns", "counts", "level",
)
_VERDICT_KEYS = ("about", "arm", "when", "word", "n", "sentence", "statement")
# fmt: on


def _difference_row(difference: Difference) -> dict[str, Any]:
    estimate = difference.estimate
    return {
        **_row(difference, _DIFFERENCE_KEYS),
        "left_out": _left_out_rows(difference.left_out),
        "cell": _cell_row(difference.cell),
        **_row(estimate, ("n", "mean", "interval")),
        "p": estimate.p if difference.tested else None,
    }


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    numbers = None if verdict.transport is None else asdict(verdict.transport)
    return {
        **_row(verdict, _VERDICT_KEYS),
        "left_out": _left_out_rows(verdict.left_out),
        "cell": _cell_row(verdict.cell),
        "transport": None if numbers is None else {key: _finite(value) for key, value in numbers.items()},
    }


def _left_out_rows(left_out: Sequence[LeftOut] | None) -> list[dict[str, Any]] | None:
    return None if left_out is None else [one._asdict() for one in left_out]


def _row(value: object, keys: Sequence[str]) -> dict[str, Any]:
    return {key: _finite(getattr(value, key)) for key in keys}


def _cell_row(cell: CellKey) -> dict[str, Any]:
    return {short(key): _finite(value) for key, value in cell}


def _finite(value: Any) -> Any:
    """Return JSON's own types; strict JSON has no word for infinity."""
    if isinstance(value, tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
