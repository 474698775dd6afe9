"""A claim's finding and its answer: named parts, one rule for what they add up to, one way to say numbers.

A claim is true or not in *settings*: what a claim says must hold in every one, or it holds only in some.
In a setting it stands if each of its parts does. A part is so, not so, or not resolved, and what is not
resolved is never read as either.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from matplotlib.figure import Figure

from resexp.analysis.statistics import (
    MIN_SEEDS_FOR_A_WORD,
    DifferenceWord,
    Estimate,
    difference_word,
    holm,
    mean_estimate,
    paired_difference,
)
from resexp.records.claim import AnswerWord
from resexp.report.formatting import number

Unmet = Literal["not trained enough to say", "nothing to cure"]
"""What is said where the claim's premise is not met."""
BySeed = Mapping[int, float]
"""One number a seed."""
Key = TypeVar("Key", bound=Hashable)
Differences = dict[Key, tuple[Estimate, DifferenceWord | None]]
"""Paired differences and their words, by what was compared; None where seeds are too few for a word."""


@dataclass(frozen=True)
class Measurement:
    """One number of a claim over seeds: mean, 95% t interval (None with one seed), n, unit."""

    what: str
    mean: float | None
    interval: tuple[float, float] | None
    n: int
    unit: str

    @classmethod
    def of(cls, what: str, estimate: Estimate, unit: str) -> "Measurement":
        return cls(what, estimate.mean, estimate.interval, estimate.n, unit)


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and what it shows, in words, for those who cannot see it."""

    figure: Figure
    caption: str
    description: str


@dataclass(frozen=True)
class Part:
    """One thing that a claim says, and whether it is so; None: not resolved."""

    says: str
    found: bool | None
    evidence: str
    """the numbers, in words"""


class Asked(NamedTuple):
    """A part before it is tested: that these values lie lower (or higher) than others, or than a limit."""

    says: str
    values: BySeed
    must_be: Literal["lower", "higher"]
    than: BySeed | float
    """a number a seed to be paired with, or a limit fixed beforehand"""
    unit: str = ""


class Premise(NamedTuple):
    """What must be so before the claim can be tried at all."""

    part: Part
    otherwise: Unmet


@dataclass(frozen=True)
class Answer:
    """What the parts add up to."""

    word: AnswerWord
    condition: str | None
    """after `holds only if`: the settings in which it holds"""
    premise: Part | None
    settings: Mapping[str, Sequence[Part]]

    @property
    def text(self) -> str:
        """The word and its condition: `holds only if the shape stays`."""
        return self.word if self.condition is None else f"{self.word} {self.condition}"


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured, and what that says of it; every sentence is computed from the numbers."""

    name: str
    claim: str
    source: str
    """article, or the paper the claim is from"""
    answer: Answer
    sentence: str
    """the answer spelled out, with its numbers and n"""
    setup: str
    """what was done, in a few plain sentences"""
    measurements: tuple[Measurement, ...]
    pictures: tuple[Picture, ...]
    details: dict[str, Any]
    """JSON's types: everything measured, per seed"""


OnProgress = Callable[[float], None]
"""Told how much of the claim's work is done, in [0, 1]."""
Claim = Callable[[Sequence[int], OnProgress], Finding]
"""An experiment over these seeds. Writes no files."""


def every(found: Iterable[bool | None]) -> bool | None:
    """Whether all are so: one that is not decides it, else one that is open leaves it open."""
    found = list(found)
    return False if False in found else None if None in found else True


def some(found: Iterable[bool | None]) -> bool | None:
    """Whether any is so: one that is decides it, else one that is open leaves it open."""
    found = list(found)
    return True if True in found else None if None in found else False


def judged(settings: Mapping[str, Sequence[Part]], premise: Premise | None = None) -> Answer:
    """Return what the parts add up to. This is the one rule by which every claim is answered.

    settings: the parts by setting, each named as it is said after `holds only if`; "" where there is but one.
    """
    given = premise.part if premise else None
    if premise and premise.part.found is not True:
        unmet = "not resolved" if premise.part.found is None else premise.otherwise
        return Answer(unmet, None, given, settings)
    stands: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for name, parts in settings.items():
        stands[every(part.found for part in parts)].append(name)
    if stands[True] and stands[False]:
        perhaps = f", or perhaps {listed(stands[None], 'or')} (not resolved)" if stands[None] else ""
        return Answer("holds only if", listed(stands[True], "or") + perhaps, given, settings)
    if stands[None]:
        return Answer("not resolved", None, given, settings)
    return Answer("holds" if stands[True] else "does not hold", None, given, settings)


def decided(asked: Mapping[Key, Asked]) -> dict[Key, Part]:
    """Test a claim's parts by paired t tests, Holm-corrected over all of them."""
    found = paired_differences({key: (part.values, _reference(part)) for key, part in asked.items()})
    return {key: Part(part.says, _found(found[key][1], part), evidence(part)) for key, part in asked.items()}


def _reference(part: Asked) -> BySeed:
    return dict.fromkeys(part.values, part.than) if isinstance(part.than, float | int) else part.than


def _found(word: DifferenceWord | None, part: Asked) -> bool | None:
    return None if word in (None, "not resolved") else word == part.must_be


def evidence(part: Asked) -> str:
    """Return the numbers that a part was tested on: `0.31 [0.29, 0.33] against 0.4 [0.38, 0.42], n = 5`."""
    if isinstance(part.than, float | int):
        other, n = f"limit {number(part.than)}", len(part.values)
    else:
        other, n = f"against {spelled(part.than)}", len(part.values.keys() & part.than.keys())
    space = "" if part.unit.startswith("%") or not part.unit else " "
    return f"{spelled(part.values)}{space}{part.unit}, {other}, n = {n}"


def measurement(what: str, values: BySeed | Sequence[float], unit: str) -> Measurement:
    """Return the mean over seeds with its t interval."""
    return Measurement.of(what, _estimate(values), unit)


def paired_differences(pairs: Mapping[Key, tuple[BySeed, BySeed]]) -> Differences[Key]:
    """Return, for each (value, reference), the paired difference and its word.

    Holm-corrected over all that have seeds enough for a word: the others take no slot.
    """
    estimates = {key: paired_difference(value, reference) for key, (value, reference) in pairs.items()}
    p_values = {key: e.p for key, e in estimates.items() if e.p is not None and e.n >= MIN_SEEDS_FOR_A_WORD}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {key: (e, difference_word(e, adjusted.get(key))) for key, e in estimates.items()}


def geometric_mean(values: Sequence[float]) -> float:
    """Return it; 0 where a value is."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if all(values) else 0.0


Values = Estimate | BySeed | Sequence[float]


def _estimate(values: Values) -> Estimate:
    if isinstance(values, Estimate):
        return values
    return mean_estimate(list(values.values()) if isinstance(values, Mapping) else values)


def mean_text(values: Values) -> str:
    """Return the mean alone, for a sentence whose intervals stand in the table beside it."""
    mean = _estimate(values).mean
    return "not measured" if mean is None else number(mean)


def spelled(values: Values) -> str:
    """Return `0.44 [0.3, 0.58]`: the mean and its interval, without brackets where there is none."""
    estimate = _estimate(values)
    if estimate.interval is None:
        return mean_text(estimate)
    low, high = map(number, estimate.interval)
    return f"{mean_text(estimate)} [{low}, {high}]"


def too_few(n: int) -> str:
    """Return the sentence for parts that n seeds cannot carry; none where they can."""
    if n >= MIN_SEEDS_FOR_A_WORD:
        return ""
    return f"{n} {'seed is' if n == 1 else 'seeds are'} too few for a word: it takes {MIN_SEEDS_FOR_A_WORD}."


def story(*sentences: str) -> str:
    """Return the sentences that say something, one after the other."""
    return " ".join(filter(None, sentences))


def listed(words: Iterable[object], last: str = "and") -> str:
    """Return `a, b and c`."""
    *head, end = map(str, words)
    return f"{', '.join(head)} {last} {end}" if head else end
