"""The final table: the record's numbers, every seed accounted for, the same in every form."""

import csv
import io
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import pytest
from rich.console import Console
from scipy import stats

from resexp.analysis.gradient_ratio import gradient_ratio
from resexp.records.documents import RunRow, VerdictRow
from resexp.records.run import scan
from resexp.report.comparison_data import Entry, read_comparison
from resexp.report.formatting import scientific
from resexp.report.table_files import to_csv, to_latex, to_markdown
from resexp.report.tables import FinalTable, comparison_table, final_table, run_rows, runs_table
from resexp.report.text_table import MAY_DROP, MOST_UNFOLDED, TextTable, text_table


def entry(arm: str = "plain", fate: str = "finished", seed: int = 0, **numbers: Any) -> Entry:
    """One run as comparison.json has it, without a folder."""
    row = {"arm": arm, "kind": arm, "depth": 20, "norm": "batch", "init": "he", "seed": seed, "fate": fate}
    known = {"final_loss": 1.0, "test_accuracy": 0.5, "gradient_first": 1.0, "gradient_last": 1.0}
    run = RunRow.read({**row, **known, "folder": "gone", "transport_initial": 1.0, **numbers})
    return Entry(run, Path("gone"), None, None, None, "gone")


def judged(*entries: Entry) -> list[VerdictRow]:
    """The verdict on the gradient at step 0 of an arm's only cell."""
    first = entries[0].run
    found = gradient_ratio([entry.run.transport_initial for entry in entries], first.depth - 2)
    cell = {"depth": first.depth, "norm": first.norm, "init": first.init}
    numbers = json.loads(json.dumps(asdict(found)))
    document = {"about": "gradient", "when": "step 0", "arm": first.arm, "cell": cell, "n": found.n}
    return [VerdictRow.read({**document, "word": found.word, "sentence": "", "transport": numbers})]


def only_row(*entries: Entry) -> tuple[FinalTable, dict[str, str]]:
    table = final_table(entries, judged(*entries))
    (texts,) = table.texts
    return table, dict(zip(table.names, texts, strict=True))


def shown(table: TextTable, width: int | None = None) -> str:
    console = Console(width=width or 240, file=io.StringIO(), color_system=None)
    console.print(table.fitted(width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_means_and_intervals_are_those_of_the_recorded_runs(comparison: Path) -> None:
    entries, verdicts = read_comparison(comparison)
    runs = json.loads((comparison / "comparison.json").read_text())["runs"]
    rows = [
        row
        for row in final_table(entries, verdicts).rows
        if row["arm"] == "residual" and row["norm"] == "batch"
    ]
    assert [row["depth"] for row in rows] == [8, 14]
    for row in rows:
        own = [r for r in runs if (r["arm"], r["depth"], r["norm"]) == ("residual", row["depth"], "batch")]
        assert row["seeds"] == len(own) == 2
        for key, most in (("final_loss", math.inf), ("test_accuracy", 1.0)):
            values = [run[key] for run in own]
            assert row[key] == pytest.approx(fmean(values))
            half = stats.t.ppf(0.975, 1) * stats.sem(values)
            assert row[f"{key}_low"] == pytest.approx(max(0.0, fmean(values) - half))
            assert row[f"{key}_high"] == pytest.approx(min(most, fmean(values) + half))
        assert row["transport"] == pytest.approx(geometric_mean([run["transport_initial"] for run in own]))
        assert row["gradient_first"] == pytest.approx(geometric_mean([run["gradient_first"] for run in own]))
        assert row["images_per_second"] > 0


def test_only_axes_that_vary_are_shown(comparison: Path) -> None:
    entries, _ = read_comparison(comparison)
    assert final_table(entries, []).names[:5] == ["arm", "depth", "norm", "init", "test accuracy"]
    batch = [entry for entry in entries if entry.run.norm == "batch"]
    assert final_table(batch, []).names[:3] == ["arm", "depth", "test accuracy"]


def test_a_stuck_seed_is_in_the_mean_and_a_diverged_one_is_counted() -> None:
    table, texts = only_row(
        entry(final_loss=1.0),
        entry(final_loss=2.3, fate="stuck", seed=1),
        entry(final_loss=None, fate="diverged", seed=2, test_accuracy=None),
    )
    assert texts["seeds"] == "3 (1 stuck, 1 diverged)"
    assert texts["final loss"].startswith("1.650 [")
    assert table.rows[0]["final_loss"] == pytest.approx(1.65)


def test_where_some_seeds_underflow_the_bound_alone_is_shown() -> None:
    _, texts = only_row(
        *(entry(transport_initial=0.0, seed=seed) for seed in range(4)), entry(transport_initial=2e-3, seed=4)
    )
    assert re.fullmatch(r"< \d\.\de-\d\d vanishing", texts["gradient reaching layer 1"])


def test_where_every_seed_is_stuck_their_range_stands_for_the_mean() -> None:
    stuck = [entry(final_loss=loss, fate="stuck", seed=seed) for seed, loss in enumerate((2.31, 2.29, 2.30))]
    table, texts = only_row(*stuck)
    assert texts["final loss"] == "2.290 to 2.310"
    assert table.rows[0]["final_loss"] is None
    assert only_row(stuck[0])[1]["final loss"] == "2.310"


def test_a_zero_is_a_number() -> None:
    _, texts = only_row(entry(test_accuracy=0.0), entry(seed=1, test_accuracy=0.5))
    assert next(text for text in texts.values() if "%" in text).startswith("25.0% [")
    _, texts = only_row(entry(test_accuracy=0.0))
    assert "0.0%" in texts.values()
    stuck = [entry(fate="stuck", seed=k, test_accuracy=k / 2) for k in range(2)]
    assert "0.0% to 50.0%" in only_row(*stuck)[1].values()


def test_underflow_is_called_by_its_name() -> None:
    _, texts = only_row(entry(gradient_first=0.0, gradient_last=3e-5, transport_initial=0.0))
    assert texts["weight gradient first / last"] == "underflow / 3.0e-5"
    assert texts["gradient reaching layer 1"] == "underflow vanishing"


def test_what_was_not_measured_is_a_dash() -> None:
    nothing = dict.fromkeys(("final_loss", "test_accuracy", "gradient_first", "gradient_last", "parameters"))
    _, texts = only_row(entry(fate="unfinished", transport_initial=None, **nothing))
    dashes = ("final loss", "test accuracy", "params", "gradient reaching layer 1", "images/s")
    assert {texts[name] for name in dashes} == {"–"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.94e-24, "3.9e-24"), (1.28e4, "1.3e4"), (0.334, "0.33"), (35.2, "35"), (0.0, "underflow")],
)
def test_sizes_are_short_and_keep_their_order(value: float, text: str) -> None:
    assert scientific(value) == text


def test_csv_keeps_every_digit(comparison: Path) -> None:
    table = final_table(*read_comparison(comparison))
    back = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(back) == len(table.rows) == 8
    for row, read in zip(table.rows, back, strict=True):
        assert list(row) == list(read)
        for key, value in row.items():
            assert (float(read[key]) if isinstance(value, float) else read[key] or None) == (
                value if isinstance(value, float) or value is None else str(value)
            )


HOSTILE = "a|b\n`<i>`_*[x](y)&%$#{}~^\\"


def test_names_cannot_break_out_of_markdown() -> None:
    lines = to_markdown(final_table([entry(arm=HOSTILE), entry(arm="residual")], [])).splitlines()
    assert len(lines) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert not re.search(r"(?<!\\)[<`*\[]", lines[2].replace("[1", ""))


def test_names_cannot_break_out_of_latex() -> None:
    text = to_latex(final_table([entry(arm=HOSTILE)], []))
    row = next(line for line in text.splitlines() if line.startswith("a|b "))
    bare = re.sub(r"\\(?:textbackslash|textasciitilde|textasciicircum)\{\}|\\[&%$#_{}]", "", row)
    assert not re.search(r"[%$#_{}~^]", bare)
    assert bare.count("&") == text.splitlines()[2].count("&")


def test_terminal_tables_show_names_as_they_are(comparison: Path) -> None:
    table = shown(comparison_table(comparison))
    assert table.count("residual") == 4
    assert "[bold]x[/bold]" in shown(text_table([{"name": "[bold]x[/bold]"}]))
    assert shown(text_table([])).strip() == ""


def test_runs_are_listed_with_their_scores(comparison: Path) -> None:
    runs = [run for run, fault in scan(comparison) if fault is None]
    rows = run_rows(runs)
    assert len(rows) == 16
    for run, row in zip(runs, rows, strict=True):
        assert run.result is not None
        assert row["test_accuracy"] == run.result.test_accuracy
        assert row["data"] == "folder tiny"
    text = shown(runs_table(runs))
    assert all(Path(row["folder"]).name in text.replace("\n", "") for row in rows)


def test_a_narrow_terminal_loses_no_word_but_speed_and_data(comparison: Path) -> None:
    runs = [run for run, fault in scan(comparison) if fault is None]
    for table in (comparison_table(comparison), runs_table(runs)):
        narrow = shown(table, 80)
        assert max(map(len, narrow.splitlines())) <= 80
        for name, *column in zip(table.names, *table.texts, strict=True):
            if name in MAY_DROP:
                continue
            for word in " ".join([name, *column]).split():
                assert word in narrow or len(word) > MOST_UNFOLDED
        assert all("…" not in line for line in narrow.splitlines())
        whole = shown(table, 400)
        assert "images/s" in whole
        assert len(whole.splitlines()) == 1 + len(table.texts)


def test_accuracy_stands_right_after_what_names_the_row(comparison: Path) -> None:
    names = comparison_table(comparison).names
    assert names[names.index("test accuracy") - 1] == "init"
    assert runs_table([]).names[:2] == ["arm", "test accuracy"]
