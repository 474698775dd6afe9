"""The first screen says what the record carries, and no more."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from resexp.analysis.gradient_ratio import gradient_ratio
from resexp.records.documents import RatioRow, VerdictRow
from resexp.report.comparison_data import cells, read_comparison
from resexp.report.first_screen import UNDECIDED, FirstScreen, _amount, _title, first_screen

WORDS = ("vanishing", "exploding", "healthy", "not enough seeds to say", "one seed", "not measured", None)


def screen_of(comparison: Path) -> FirstScreen:
    entries, verdicts = read_comparison(comparison)
    found = first_screen(cells(entries), verdicts, "folder tiny")
    assert found is not None
    return found


@pytest.mark.parametrize(("plain", "residual"), [*itertools.product(WORDS, WORDS)])
def test_a_title_names_a_net_as_losing_its_gradient_only_where_the_record_does(
    plain: str | None, residual: str | None
) -> None:
    title = _title((plain, residual))
    lost = "lost" in title
    without, with_ = "ithout" in title, "ith + x" in title.replace("ithout + x", "")
    assert lost <= ((without <= (plain == "vanishing")) and (with_ <= (residual == "vanishing")))
    assert ("explodes" in title) <= ("exploding" in (plain, residual))
    assert ("arrives" in title) == ((plain, residual) == ("healthy", "healthy"))
    if "vanishing" not in (plain, residual) and "exploding" not in (plain, residual):
        assert title == UNDECIDED or "arrives" in title


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.41], "41%"),
        ([28.0], "28 times the size"),
        ([3.2e-8], "3.2 × 10⁻⁸"),
        ([0.0, 0.0], "less than the numbers can hold"),
    ],
)
def test_an_amount_is_the_recorded_ratio(values: list[float], said: str) -> None:
    assert _amount(verdict(values)) == said


def test_of_gates_that_weigh_x_no_screen_speaks(comparison: Path) -> None:
    entries, verdicts = read_comparison(comparison)
    gated = []
    for entry in entries:
        assert entry.config is not None
        if entry.run.kind == "residual":
            model = entry.config.model.model_copy(update={"block": "highway"})
            entry = replace(entry, config=entry.config.model_copy(update={"model": model}))
        gated.append(entry)
    assert first_screen(cells(gated), verdicts, "folder tiny") is None


def test_where_some_seeds_underflowed_only_the_bound_is_said() -> None:
    found = gradient_ratio([0.0, 1e-30, 1e-31, 1e-29], 18)
    assert found.interval is not None
    amount = _amount(verdict([0.0, 1e-30, 1e-31, 1e-29]))
    assert amount is not None
    assert amount.startswith("less than ")
    assert amount.endswith("(95% bound)")
    mantissa = f"{found.interval[1]:.2e}".split("e")[0]
    assert mantissa in amount


def verdict(values: list[float]) -> VerdictRow:
    """As comparison.json has it."""
    found = gradient_ratio(values, 18)
    interval: list[float | None] | None = None if found.interval is None else [*found.interval]
    numbers = RatioRow(ratio=found.ratio, interval=interval, underflows=found.underflows)
    return VerdictRow(about="gradient", sentence=found.sentence, word=found.word, transport=numbers)


def test_it_stands_on_one_cell_of_the_deepest_nets_and_counts_their_seeds(comparison: Path) -> None:
    screen = screen_of(comparison)
    entries, _ = read_comparison(comparison)
    deepest = max(entry.run.depth for entry in entries)
    assert f"depth {deepest}" in screen.kicker
    assert len(screen.columns) == len({entry.run.norm for entry in entries})
    for kind, outcomes in screen.rows:
        for norm, outcome in zip(("none", "batch"), outcomes, strict=True):
            own = [e.run for e in entries if (e.run.kind, e.run.norm, e.run.depth) == (kind, norm, deepest)]
            mean = sum(run.test_accuracy or 0.0 for run in own) / len(own)
            assert outcome.accuracy == pytest.approx(mean)
            assert outcome.learned == f"{sum(run.fate == 'finished' for run in own)} of {len(own)} learned"


def test_two_arms_of_one_kind_have_no_such_screen(comparison: Path) -> None:
    entries, verdicts = read_comparison(comparison)
    plain = [entry for entry in entries if entry.run.kind == "plain"]
    assert first_screen(cells(plain), verdicts, "folder tiny") is None
