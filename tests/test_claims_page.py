"""The claims' record, table and page, made from findings as an experiment hands them back."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from resexp.analysis.statistics import MIN_SEEDS_FOR_A_WORD
from resexp.claims.finding import (
    Answer,
    Finding,
    Measurement,
    Part,
    Picture,
    mean_text,
    paired_differences,
)
from resexp.claims.registry import CLAIMS, NUM_SEEDS, chosen
from resexp.claims.runner import write_finding
from resexp.errors import UsageError
from resexp.records.claim import AnswerWord
from resexp.records.run import read_json
from resexp.report.claims_page import SIGNS, write_page
from resexp.report.figures.style import panel
from resexp.report.formatting import measured, number
from resexp.report.terminal import claims_table


def finding(name: str, word: AnswerWord = "holds", **changes: object) -> Finding:
    drawn, axes = panel()
    axes.plot([0, 1], [1, 2])
    content: dict[str, object] = {
        "name": name,
        "claim": f"What is claimed of {name} & <more>.",
        "source": "article",
        "answer": Answer(
            word,
            "it rains" if word == "holds only if" else None,
            Part("it can be tried", True, "5 of 5"),
            {"it rains": [Part("there are drops", True, "0.3 <b>")], "": [Part("dry", None, "0.4")]},
        ),
        "sentence": f"Said of {name}: 0.3 < 0.4.",
        "setup": "Nothing was done.",
        "measurements": (
            Measurement("an error", 0.31, (0.3, 0.32), 5, "of copying"),
            Measurement("a count", 0.4537, None, 0, "% (exact)"),
        ),
        "pictures": (Picture(drawn, f"Caption of {name}.", f"Description of {name}."),),
        "details": {"errors": {"0": [0.1, None]}},
    }
    return Finding(**{**content, **changes})  # type: ignore[arg-type]


def printed(document: dict[str, Any], width: int) -> str:
    stream = StringIO()
    Console(file=stream, width=width).print(claims_table([document]))
    return stream.getvalue()


def test_a_finding_is_written_whole_and_reads_back(tmp_path: Path) -> None:
    document = write_finding(tmp_path, finding("paths"))
    assert json.loads(json.dumps(document)) == read_json(tmp_path / "finding.json")
    assert (tmp_path / document["pictures"][0]["file"]).read_text().startswith("<svg")
    with pytest.raises(ValueError, match="JSON"):
        write_finding(tmp_path, finding("paths", details={"x": float("nan")}))


def test_the_page_shows_what_lies_there_in_the_catalogues_order(tmp_path: Path) -> None:
    for name in ("paths", "identity"):
        (tmp_path / name).mkdir()
        write_finding(tmp_path / name, finding(name))
    html = write_page(tmp_path, list(CLAIMS)).read_text()
    assert html.index('id="identity"') < html.index('id="paths"')
    assert html.count('id="') >= 2
    assert 'href="#paths"' in html
    assert 'id="squiggle"' not in html
    assert "What is claimed of paths &amp; &lt;more&gt;." in html
    assert "Said of paths: 0.3 &lt; 0.4." in html
    assert 'aria-label="Description of paths."' in html
    assert "0.31 [0.3, 0.32] of copying" in html
    # The parts, with where each was asked, and what is not resolved called that.
    assert '<th scope="row">there are drops</th><td data-label="Where">it rains</td>' in html
    assert '<th scope="row">dry</th><td data-label="Where">everywhere</td>' in html
    assert "0.3 &lt;b&gt;" in html
    # The record is enough: the page again is the same page.
    assert write_page(tmp_path, list(CLAIMS)).read_text() == html


@pytest.mark.parametrize("word", SIGNS)
def test_every_answer_is_said_in_words_with_its_condition(word: AnswerWord, tmp_path: Path) -> None:
    (tmp_path / "paths").mkdir()
    document = write_finding(tmp_path / "paths", finding("paths", word))
    answer = "holds only if it rains" if word == "holds only if" else word
    assert f"{answer[0].upper()}{answer[1:]}" in write_page(tmp_path, ["paths"]).read_text().replace(
        "\xa0", " "
    )
    assert answer in printed(document, width=100)


def test_the_table_names_claim_measurement_interval_n_and_answer(tmp_path: Path) -> None:
    document = write_finding(tmp_path, finding("paths", "does not hold"))
    text = printed(document, width=200)
    for part in (
        "paths",
        "an error: 0.31 [0.3, 0.32] of copying, n = 5",
        "a count: 0.454% (exact)",
        "does not hold",
    ):
        assert part in text
    assert "n = 0" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.03123, "0.0312"),
        (1.3e-5, "1.3e-5"),
        (12.49, "12.5"),
        (5200, "5200"),
        (-2.5e-9, "-2.5e-9"),
        (1e7, "1e7"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
    assert float(text) == pytest.approx(value, rel=5e-3)
    assert mean_text([value]) == text
    assert measured({"mean": value, "interval": None, "unit": "of x"}) == f"{text} of x"


def test_an_unknown_claim_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"'sqiggle'.*allowed: squiggle, identity.*did you mean squiggle"):
        chosen(["highway", "sqiggle"])
    assert chosen(["paths", "squiggle", "paths"]) == ["squiggle", "paths"]
    assert chosen([]) == list(CLAIMS)


def test_every_claim_has_seeds_enough_for_a_word() -> None:
    assert NUM_SEEDS >= MIN_SEEDS_FOR_A_WORD


def test_words_need_five_pairs_and_are_corrected_for_their_number() -> None:
    low, high = {s: 1.0 + 0.01 * s for s in range(5)}, {s: 2.0 + 0.02 * s for s in range(5)}
    found = paired_differences({"a": (low, high), "b": (high, low), "c": (low, low)})
    assert [word for _, word in found.values()] == ["lower", "higher", "not resolved"]
    few = paired_differences({"a": ({s: low[s] for s in range(4)}, high)})
    assert few["a"][1] is None
    assert few["a"][0].mean == pytest.approx(-1.015)
    # Alone this difference deserves its word; among twenty it does not.
    noisy = {s: 1.0 + (0.02, 0.1, 0.05, 0.12, 0.06)[s] for s in range(5)}
    level = dict.fromkeys(range(5), 1.0)
    assert paired_differences({0: (noisy, level)})[0][1] == "higher"
    many = paired_differences(dict.fromkeys(range(20), (noisy, level)))
    assert {word for _, word in many.values()} == {"not resolved"}
