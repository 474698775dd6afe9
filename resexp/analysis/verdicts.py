"""Arms side by side, in words: what the gradients did, which seeds failed, what differs and how surely."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from resexp.analysis.cells import STUCK_MARGIN, Cell, RunSummary, by_cell, label, name_of, short
from resexp.analysis.contrasts import Arms, Difference, differences
from resexp.analysis.gradient_ratio import Transport, transport
from resexp.analysis.statistics import MIN_SEEDS_FOR_A_WORD, Estimate


@dataclass(frozen=True)
class Verdict:
    """One sentence, and what it rests on.

    about: gradient (then `when` is 'step 0' or 'last probe' and `transport` holds the numbers), seeds (how
    many were not averaged, and why), arms, degradation, shortcuts. word: None where none may be said.
    """

    about: Literal["gradient", "seeds", "arms", "degradation", "shortcuts"]
    arm: str
    cell: Cell
    n: int
    word: str | None
    sentence: str
    when: str | None = None
    transport: Transport | None = None


@dataclass(frozen=True)
class Comparison:
    """What some runs say together; `to_json` gives comparison.json."""

    runs: tuple[RunSummary, ...]
    differences: tuple[Difference, ...]
    verdicts: tuple[Verdict, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types: full precision, None for what is undefined or beyond a float."""
        return {
            "runs": [_row(run, _RUN_KEYS) for run in self.runs],
            "differences": [_difference_row(difference) for difference in self.differences],
            "verdicts": [_verdict_row(verdict) for verdict in self.verdicts],
        }


def compare(runs: Sequence[RunSummary]) -> Comparison:
    """Compare the arms in every cell; the first arm to appear is what the others are set against.

    Raises ValueError for two runs of one arm, cell and seed.
    """
    cells = by_cell(runs)
    found = differences(cells)
    verdicts = [verdict for cell, arms in cells.items() for verdict in _on_each_arm(cell, arms)]
    verdicts += [_on(difference) for difference in found if _worth_a_sentence(difference)]
    return Comparison(tuple(runs), tuple(found), tuple(verdicts))


def _on_each_arm(cell: Cell, arms: Arms) -> Iterator[Verdict]:
    for arm, runs in arms.items():
        name = name_of(cell, runs)
        title = f"{arm}, {label(name)}"
        for when, values in (
            ("step 0", [run.transport_initial for run in runs]),
            ("last probe", [run.transport_final for run in runs]),
        ):
            found = transport(values, runs[0].depth - 2)
            if not found.n:
                continue
            sentence = f"{title}: gradient at {'the ' * (when != 'step 0')}{when}: {found.sentence}"
            yield Verdict("gradient", arm, name, found.n, found.word, sentence, when, found)
        fates = Counter(run.fate for run in runs if run.fate != "finished")
        if fates:
            counts = ", ".join(f"{count} of {len(runs)} {fate}" for fate, count in sorted(fates.items()))
            chance = f"stuck: no loss as low as ln {runs[0].num_classes} - {STUCK_MARGIN}"
            sentence = f"{title}: seeds {counts}; counted, not averaged{f' ({chance})' * ('stuck' in fates)}"
            yield Verdict("seeds", arm, name, len(runs), None, sentence)


_WORDS = {
    ("arms", "lower"): "{arm} ends lower than {reference}",
    ("arms", "higher"): "{arm} ends higher than {reference}",
    ("arms", "not resolved"): "no difference between {arm} and {reference} is resolved",
    ("degradation", "higher"): "degradation",
    ("degradation", "lower"): "no degradation: the deeper net trains better",
    ("degradation", "not resolved"): "no degradation is resolved",
}


def _worth_a_sentence(difference: Difference) -> bool:
    match difference.about:
        case "arms":
            return difference.tested
        case "degradation":
            return True
        case "shortcuts":
            return difference.obstacle is None


def _on(difference: Difference) -> Verdict:
    estimate = difference.estimate
    head = _WORDS.get((difference.about, difference.word or ""), "").format(**vars(difference))
    word: str | None = difference.word
    if difference.obstacle is not None:
        word, head = "not judged", f"degradation is not judged, for the deeper net: {difference.obstacle}"
    elif difference.about == "degradation" and word is not None:
        word = {"higher": "degradation", "lower": "no degradation"}.get(word, word)
    numbers = f"{difference.metric}, {difference.what}: {_amount(estimate)} after {difference.steps}"
    sentence = ": ".join(part for part in (label(difference.cell), head, numbers) if part)
    return Verdict(
        difference.about,
        difference.arm,
        difference.cell,
        estimate.n,
        word,
        f"{sentence}; {_support(difference)}",
    )


def _amount(estimate: Estimate) -> str:
    if estimate.mean is None:
        return "no numbers"
    if estimate.interval is None:
        return f"{estimate.mean:+.3g}"
    return f"{estimate.mean:+.3g} [{estimate.interval[0]:+.3g}, {estimate.interval[1]:+.3g}]"


def _support(difference: Difference) -> str:
    n = difference.estimate.n
    if n == 0:
        return "n = 0, no seed trained on both sides"
    if n == 1:
        return "n = 1, one seed, so no interval and no word"
    if not difference.tested:
        return f"n = {n}, an interval without a word"
    if n < MIN_SEEDS_FOR_A_WORD:
        return f"n = {n}, fewer than {MIN_SEEDS_FOR_A_WORD} seeds, so no word"
    return f"n = {n}, adjusted p = {difference.adjusted_p:.2g}"


# fmt: off
_RUN_KEYS = (
    "arm", "kind", "depth", "norm", "init", "seed", "parameters", "status", "fate", "steps",
    "final_loss", "loss_area", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    "gradient_first", "gradient_last", "transport_initial", "transport_final", "folder",
)
_DIFFERENCE_KEYS = ("about", "what", "arm", "reference", "metric", "adjusted_p", "word", "obstacle")
_VERDICT_KEYS = ("about", "arm", "when", "word", "n", "sentence")
# fmt: on


def _difference_row(difference: Difference) -> dict[str, Any]:
    estimate = difference.estimate
    return {
        **_row(difference, _DIFFERENCE_KEYS),
        "cell": _cell_row(difference.cell),
        **_row(estimate, ("n", "mean", "interval")),
        "p": estimate.p if difference.tested else None,
    }


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    numbers = None if verdict.transport is None else asdict(verdict.transport)
    return {
        **_row(verdict, _VERDICT_KEYS),
        "cell": _cell_row(verdict.cell),
        "transport": None if numbers is None else {key: _finite(value) for key, value in numbers.items()},
    }


def _row(value: object, keys: Sequence[str]) -> dict[str, Any]:
    return {key: _finite(getattr(value, key)) for key in keys}


def _cell_row(cell: Cell) -> dict[str, Any]:
    return {short(key): _finite(value) for key, value in cell}


def _finite(value: Any) -> Any:
    """Return JSON's own types; strict JSON has no word for infinity."""
    if isinstance(value, tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
