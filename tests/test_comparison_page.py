"""The page of a comparison: complete, self-contained, and not to be brought down by one bad folder."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import numpy as np
import pytest

from resexp.errors import RunFolderError
from resexp.report import comparison_page as report_module
from resexp.report.comparison_data import cells, read_comparison
from resexp.report.comparison_page import write_report
from resexp.report.figures.lines import line
from resexp.report.findings import findings
from resexp.report.formatting import size
from resexp.report.panels import smoothed
from resexp.report.sentences import cell_words


class Page(HTMLParser):
    """A page as its text, its tags with their attributes, and the text of some tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {
            "h2": [],
            "h3": [],
            "figcaption": [],
            "th": [],
            "code": [],
            "pre": [],
        }
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._open):
            return
        self.text += data
        for tag in set(self._open) & self.texts.keys():
            self.texts[tag][-1] += data


@pytest.fixture
def folder(comparison: Path, tmp_path: Path) -> Path:
    """A copy of the comparison that a test may spoil."""
    return Path(shutil.copytree(comparison, tmp_path / "comparison"))


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


def pictures_of(folder: Path) -> list[str]:
    return re.findall(r"<svg.*?</svg>", (folder / "report.html").read_text(), re.DOTALL)


def document_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "comparison.json").read_text())


def keep_runs(folder: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Leave some runs out of comparison.json."""
    document = document_of(folder)
    document["runs"] = [row for row in document["runs"] if keep(row)]
    (folder / "comparison.json").write_text(json.dumps(document))


def test_the_page_is_one_small_file_that_loads_nothing(comparison: Path) -> None:
    html = (comparison / "report.html").read_text()
    assert len(html.encode()) < 2_000_000
    assert "://" not in html
    assert "@import" not in html
    for tag, attributes in Page(html).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:image/png;base64,")), (tag, target[:80])


def test_the_page_is_built_again_from_the_record_and_without_torch(folder: Path) -> None:
    names = ("report.html", "table.csv", "table.md", "table.tex")
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()
    script = (
        "import sys; from pathlib import Path; from resexp.report.comparison_page import write_report; "
        f"print(write_report(Path({str(folder)!r}))); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"  # nothing that could not be read
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_the_findings_come_first_and_with_their_recorded_numbers(comparison: Path) -> None:
    page = page_of(comparison)
    assert page.texts["h2"][0] == "What was found"
    for verdict in document_of(comparison)["verdicts"]:
        found = verdict["transport"]
        numbers = found["sentence"] if found else verdict["sentence"].split(": ")[-1]
        assert numbers in page.text


def test_both_arms_are_in_every_plot_of_curves(comparison: Path) -> None:
    plots = [svg for svg in pictures_of(comparison) if "Size of dE/dx" in svg or "against step" in svg]
    # For each of four cells loss, error and the gradient by layer.
    assert len(plots) == 12
    for svg in plots:
        assert "var(--plain)" in svg
        assert "var(--residual)" in svg


def test_every_figure_names_its_data_and_seeds_and_has_a_text_alternative(comparison: Path) -> None:
    page = page_of(comparison)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    blocks = [attributes for attributes in pictures if attributes.get("class") in ("plain", "residual")]
    assert len(blocks) == 2, "drawings of the idea, which show no data"
    assert len(page.texts["figcaption"]) == len(pictures) - len(blocks) > 12
    for caption in page.texts["figcaption"]:
        assert "folder tiny" in caption
        assert re.search(r"n = [12–]+ seeds|of 2 seeds|one seed|seeds: plain \d, residual \d", caption)
    for attributes in pictures:
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"] or "") > 30


def test_no_two_pictures_share_an_id_and_every_reference_is_met(comparison: Path) -> None:
    html = (comparison / "report.html").read_text()
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', html)) == set(names)


def test_without_javascript_the_frames_show_step_0_and_hide_the_others(comparison: Path) -> None:
    frames = [svg for svg in pictures_of(comparison) if "data-step" in svg]
    assert len(frames) == 4
    for svg in frames:
        shown = dict(re.findall(r'data-step="(\d+)"( display="none")?', svg))
        assert shown.pop("0") == ""
        assert set(shown) == {"1", "2", "5", "10", "12"}
        assert set(shown.values()) == {' display="none"'}


def test_what_differed_between_the_arms_is_told_and_nothing_else(comparison: Path) -> None:
    page = page_of(comparison)
    keys = [name for name in page.texts["th"] if re.fullmatch(r"\w+\.\w+", name)]
    assert keys == ["model.kind"]
    assert "Varied in all arms: depth, norm and init." in page.text


def test_how_to_run_it_again_is_the_recorded_command(comparison: Path) -> None:
    assert page_of(comparison).texts["pre"] == ["resexp compare plain residual"]


def test_one_seed_is_called_one_seed_and_has_no_band(folder: Path) -> None:
    assert any("opacity: 0.18" in svg for svg in pictures_of(folder))
    keep_runs(folder, lambda row: row["seed"] == 0 and row["depth"] == 8)
    write_report(folder)
    assert not any("opacity: 0.18" in svg for svg in pictures_of(folder))
    for caption in page_of(folder).texts["figcaption"]:
        assert "one seed" in caption
        assert "band" not in caption


def test_seeds_are_counted_for_each_arm(folder: Path) -> None:
    keep_runs(folder, lambda row: row["seed"] == (row["arm"] == "plain"))
    write_report(folder)
    assert "8 runs, one seed each: depth 8 and 14" in page_of(folder).text


def test_a_layer_that_was_not_finite_at_one_step_is_left_blank_there(folder: Path) -> None:
    keep_runs(folder, lambda row: row["seed"] == 0 and row["depth"] == 8)
    path = folder / "plain-d8-none-s0" / "profile.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["outputs"][1]["norm"] = None
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = len(pictures_of(folder))
    write_report(folder)
    assert len(pictures_of(folder)) < before  # one depth of two
    assert "What could not be read" not in page_of(folder).texts["h2"]


def test_any_value_of_an_axis_has_words() -> None:
    assert cell_words({"norm": "none", "milestones": [1, 2]}) == "no normalisation, milestones [1, 2]"


def test_names_are_escaped(folder: Path) -> None:
    keep_runs(folder, lambda row: row["depth"] == 8 and row["norm"] == "batch")
    document = document_of(folder)
    name = '<script>alert("x")</script>|_$&'
    for row in [*document["runs"], *document["verdicts"]]:
        if row["arm"] == "plain":
            row["arm"] = name
    (folder / "comparison.json").write_text(json.dumps(document))
    for path in folder.glob("*/manifest.json"):
        path.write_text(path.read_text().replace("folder tiny", "folder <img src=x onerror=alert(1)>"))
    (folder / "manifest.json").write_text(json.dumps({"command": "resexp <b>"}))
    write_report(folder)
    page = page_of(folder)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in page.tags}
    assert name in page.text
    assert "<img" in page.text
    assert page.texts["pre"] == ["resexp <b>"]


def _lines(text: str) -> Callable[[Path], Any]:
    return lambda run: [(run / name).write_text(text) for name in ("metrics.jsonl", "profile.jsonl")]


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "gone": lambda run: shutil.rmtree(run),
    "no manifest": lambda run: (run / "manifest.json").unlink(),
    "manifest cut": lambda run: (run / "manifest.json").write_text('{"kind": "ru'),
    "manifest of something else": lambda run: (run / "manifest.json").write_text(
        '{"kind": "run", "data": 3}'
    ),
    "config of another schema": lambda run: (run / "config.yaml").write_text("model: {kind: vgg}\n"),
    "result no object": lambda run: (run / "result.json").write_text("[1]"),
    "result of another shape": lambda run: (run / "result.json").write_text('{"curve": {"step": [1]}}'),
    "records no JSON": _lines("\x00\xff not json\n"),
    "records no objects": _lines("[1]\n"),
    "records of another shape": _lines('{"kind": "evaluation", "step": 0}\n'),
    "records a folder": lambda run: ((run / "profile.jsonl").unlink(), (run / "profile.jsonl").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_named_and_hides_no_other(folder: Path, damage: str) -> None:
    keep_runs(folder, lambda row: row["depth"] == 8 and row["norm"] == "batch")
    DAMAGE[damage](folder / "plain-d8-batch-s0")
    unread = write_report(folder)
    assert "plain-d8-batch-s0" in " ".join(unread)
    page = page_of(folder)
    assert page.texts["h2"][-1] == "What could not be read"
    assert "plain-d8-batch-s0" in page.text
    # First screen: both blocks, gradient. Then loss, error, gradient, two heat maps, responses: what is left
    # of the arm is drawn beside the other.
    assert len(pictures_of(folder)) == 3 + 6
    assert "seeds: plain 1, residual 2" in page.text
    assert (folder / "table.md").read_text().count("| plain |") == 1


def test_a_comparison_with_nothing_left_but_its_numbers_still_has_a_page(folder: Path) -> None:
    for path in folder.glob("*-s*"):
        shutil.rmtree(path)
    write_report(folder)
    page = page_of(folder)
    assert "Depth 14, batch norm, He init" in page.texts["h3"]
    assert all("against depth" in svg for svg in pictures_of(folder))
    assert (folder / "table.md").read_text().count("| plain |") == 4


@pytest.mark.parametrize("content", [None, "", "[]", '{"runs": 3}', '{"runs": [{}], "verdicts": []}'])
def test_what_is_no_comparison_is_refused_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(RunFolderError) as error:
        write_report(tmp_path)
    assert len(error.value.lines) == 1
    assert str(tmp_path / "comparison.json") in error.value.lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        [] if content is None else ["comparison.json"]
    )


def test_cells_beyond_the_size_of_a_page_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "MAX_SIZE", 100_000)
    write_report(folder)
    page = page_of(folder)
    assert 0 < len(pictures_of(folder)) < 20
    assert "Not drawn" in page.texts["h2"]
    assert "depth 14, batch norm, He init" in page.text


def test_a_line_is_the_mean_and_range_of_its_seeds() -> None:
    first: dict[float, float] = {0: 1.0, 5: 4.0, 10: 2.0}
    second: dict[float, float] = {0: 3.0, 5: 1.0, 11: 7.0}
    found = line("plain", "plain", [first, second])
    assert found is not None
    assert found.n == 2
    assert found.x.tolist() == [0, 5]
    assert found.middle.tolist() == [fmean([1, 3]), fmean([4, 1])]
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1], [3, 4])


def test_a_geometric_line_is_not_lifted_by_its_largest_seed_and_shows_underflow() -> None:
    found = line("plain", "plain", [{1: 1e-20, 2: 0.0}, {1: 1e-10, 2: 1.0}], geometric=True)
    assert found is not None
    assert found.middle[0] == pytest.approx(geometric_mean([1e-20, 1e-10]))
    assert (found.middle[1], found.low[1], found.high[1]) == (0, 0, 1)


def test_seeds_without_a_common_step_give_no_line() -> None:
    assert line("plain", "plain", [{1: 1.0}, {2: 1.0}]) is None
    assert line("plain", "plain", []) is None


@pytest.mark.parametrize("num_points", [3, 60, 200])
def test_smoothing_leaves_a_straight_curve_where_it_is(num_points: int) -> None:
    curve = {float(step): 7 - 0.25 * step for step in range(num_points)}
    smooth = smoothed(curve)
    assert set(smooth) <= set(curve)
    error = [abs(value - curve[step]) for step, value in smooth.items()]
    # A window of an even number of points has no middle one: it may be off by half a step.
    assert max(error) <= 0.25 / 2 + 1e-12
    assert np.std(list(smoothed({step: step % 2 for step in range(200)}).values())) < 0.01


def test_sizes_read_as_numbers_are_set() -> None:
    sizes = (0.0, 0.334, 35.2, 412.0, 8.24e-23, 1.5e4)
    assert [size(value) for value in sizes] == [
        "underflow",
        "0.334",
        "35.2",
        "412",
        "8.24 × 10⁻²³",
        "1.5 × 10⁴",
    ]


def test_a_sentence_and_the_words_folded_below_it_round_alike(comparison: Path) -> None:
    """What a sentence says of T stands among the numbers of its evidence."""
    checked = 0
    for _, said in findings(cells(read_comparison(comparison)[0]), read_comparison(comparison)[1]):
        for one in said:
            powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
            numbers = re.findall(r"T\s=\s([0-9.]+)(?:\s×\s10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", one.sentence)
            for mantissa, power in numbers:
                value = float(f"{mantissa}e{power.translate(powers) or 0}")
                assert f"T = {value:.3g}" in " ".join(one.evidence)
                checked += 1
    assert checked


def test_a_columns_word_is_explained_under_the_pointer(comparison: Path) -> None:
    page = (comparison / "report.html").read_text()
    explained = re.findall(r'<th scope="col"[^>]* title="[^"]+">([^<]+)</th>', page)
    assert set(explained) == {"arm", "seeds", "final loss", "gradient reaching layer 1"}
