"""compare --best-of: each arm at its own best value, without a word made by the search."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from harness.commands import resexp as command
from harness.commands import write_images

import resexp
from benchmarks.best_of_error_rates import CURVES, EDGE, RISKS, lowest, own_best, words
from resexp.analysis.best_of import choose
from resexp.errors import UsageError
from resexp.experiments.best_of import FAR

TINY: dict[str, Any] = {
    "optim.steps": 2,
    "optim.batch_size": 8,
    "optim.schedule.warmup_steps": 0,
    "model.width": 4,
    "model.norm": "batch",
    "record.probes": [],
    "run.threads": 1,
}


def losses(**arms: Mapping[str, list[float]]) -> dict[str, Mapping[str, list[float]]]:
    return arms


def test_arms_whose_best_values_clearly_differ_get_their_own() -> None:
    found = losses(
        a={"1": [1.0, 1.1, 1.05], "2": [2.0, 2.1, 2.04], "3": [2.6, 2.7, 2.66]},
        b={"1": [2.6, 2.7, 2.66], "2": [2.0, 2.1, 2.04], "3": [1.0, 1.1, 1.05]},
    )
    assert choose(found) == {"a": "1", "b": "3"}


def test_a_best_that_is_so_by_chance_is_not_followed() -> None:
    found = losses(
        a={"1": [1.0, 1.3, 1.1], "2": [1.1, 1.2, 1.2]},
        b={"1": [1.3, 1.0, 1.2], "2": [1.0, 1.1, 1.2]},
    )
    assert lowest(found) == {"a": "1", "b": "2"}
    assert choose(found) == {"a": "2", "b": "2"}


def test_the_gain_is_held_against_students_t_by_hand() -> None:
    """Two arms, two values, three seeds: four degrees of freedom, 1% over two tests, t = 4.604 one-sided."""
    noise = {"a": [0.02, -0.02, 0.0], "b": [-0.01, 0.02, -0.01]}
    left = sum(2 * (x / 2) ** 2 for own in noise.values() for x in own)
    error = math.sqrt(left / 4 * 2 / 3)
    for factor, expected in ((0.98, "2"), (1.02, "1")):
        gain = factor * 4.6041 * error
        found = losses(
            a={"1": [1.0 + x for x in noise["a"]], "2": [1.0 + gain] * 3},
            b={"1": [5.0 + x for x in noise["b"]], "2": [1.0] * 3},
        )
        assert choose(found) == {"a": expected, "b": "2"}


@pytest.mark.parametrize("chooser", [choose, lowest])
def test_one_arm_takes_its_lowest_mean(chooser: Any) -> None:
    assert chooser(losses(a={"1": [2.0, 2.1], "2": [1.0, 1.2], "3": [1.5, 1.6]})) == {"a": "2"}


def test_a_value_at_which_some_seeds_diverged_is_none_for_any_arm() -> None:
    """Else chance would set two equal arms at two values."""
    away = math.inf
    found = losses(
        a={"1": [1.0, 1.0, away], "2": [2.0, 2.0, 2.0]}, b={"1": [1.0, 1.0, 1.0], "2": [2.0, 2.0, 2.0]}
    )
    assert choose(found) == {"a": "2", "b": "2"}
    assert lowest(found) == {"a": "2", "b": "1"}


@pytest.mark.parametrize("risk", RISKS)
def test_equal_arms_whose_best_value_diverges_by_chance_are_rarely_told_apart(risk: float) -> None:
    same = {"a": EDGE, "b": EDGE}
    assert words(choose, same, search=3, seeds=5, comparisons=300, risk=risk) <= 31


def test_a_value_at_which_a_seed_diverged_loses() -> None:
    away = math.inf
    both = {"1": [0.1, away], "2": [2.0, 2.1]}
    assert choose(losses(a=both, b=both)) == {"a": "2", "b": "2"}
    apart = losses(a={"1": [1.0, 1.0], "2": [away, away]}, b={"1": [away, away], "2": [1.0, 1.0]})
    assert choose(apart) == {"a": "1", "b": "2"}
    assert choose(losses(a={"1": [away], "2": [away]}, b={"1": [1.0], "2": [2.0]})) == {"a": "1", "b": "1"}


@pytest.mark.parametrize("curve", CURVES)
def test_arms_that_are_the_same_are_rarely_told_apart(curve: str) -> None:
    """64 in 1,000 are promised; of 300, more than 31 come by chance once in 1,000 at 6.4%."""
    same = {"a": CURVES[curve], "b": CURVES[curve]}
    assert words(choose, same, search=3, seeds=10, comparisons=300) <= 31


def test_the_lowest_mean_alone_would_tell_them_apart_too_often() -> None:
    same = {"a": CURVES["bowl"], "b": CURVES["bowl"]}
    assert words(lowest, same, search=3, seeds=10, comparisons=300) > 31


def test_best_values_that_differ_are_found() -> None:
    assert own_best(choose, search=5, comparisons=100) > 70


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("best")


@pytest.fixture(scope="module", autouse=True)
def images(root: Path) -> Iterator[None]:
    """Images that are evaluated in a moment, for all comparisons here."""
    TINY["data.root"] = str(write_images(root / "images"))
    yield
    del TINY["data.root"]


@pytest.fixture(scope="module")
def searched(root: Path) -> Any:
    return resexp.compare(
        "plain", "residual",
        best_of={"optim.lr": [1e-3, 0.1, 1e9]},
        best_of_seeds=2,
        sets=TINY,
        depth=[8, 14],
        data="folder",
        seeds=2,
        name="c",
        runs_dir=root,
    )  # fmt: skip


def test_the_choice_is_that_of_the_search_runs_own_records(searched: Any) -> None:
    found = json.loads((searched.folder / "manifest.json").read_text())["best_of"]
    recorded: dict[tuple[str, int], dict[str, list[float]]] = {}
    for run in resexp.runs(searched.folder / "search"):
        assert run.config.seed >= FAR
        assert run.config.data.validation == found["validation"] == 6
        loss = run.result.validation_loss if run.result and run.status == "finished" else None
        own = recorded.setdefault((run.config.model.kind, run.config.model.depth), {})
        own.setdefault(json.dumps(run.config.optim.lr), []).append(math.inf if loss is None else loss)
    for depth in (8, 14):
        expected = choose({arm: own for (arm, at), own in sorted(recorded.items()) if at == depth})
        chosen = {row["arm"]: row["value"] for row in found["choices"] if row["cell"] == {"depth": depth}}
        assert chosen == expected
        assert "1000000000.0" not in chosen.values()
    for row in found["choices"]:
        for value, seeds in row["losses"].items():
            known = [x for x in seeds if x is not None]
            own = [x for x in recorded[row["arm"], row["cell"]["depth"]][value] if math.isfinite(x)]
            assert fmean(known or [0]) == pytest.approx(fmean(own or [0]))


def test_the_comparison_is_at_the_chosen_values_on_seeds_and_images_of_its_own(searched: Any) -> None:
    found = json.loads((searched.folder / "manifest.json").read_text())["best_of"]
    chosen = {(row["arm"], row["cell"]["depth"]): row["value"] for row in found["choices"]}
    assert len(searched.runs) == 8
    for run in searched.runs:
        assert json.dumps(run.config.optim.lr) == chosen[run.config.model.kind, run.config.model.depth]
        assert run.config.seed in (0, 1)
        assert run.config.data.validation == 6  # a tenth of 64


def test_arms_at_different_values_share_a_cell(searched: Any) -> None:
    """Whatever was chosen, a cell is a depth, and every difference has both arms."""
    differences = json.loads((searched.folder / "comparison.json").read_text())["differences"]
    own = [row for row in differences if row["about"] == "arms" and row["metric"] == "final_loss"]
    assert [row["cell"]["depth"] for row in own] == [8, 14]
    assert all("lr" not in json.dumps(row["cell"]) for row in own)


def test_the_page_and_the_terminal_say_what_was_tried_and_chosen(searched: Any) -> None:
    page = (searched.folder / "report.html").read_text()
    assert "What was tried before" in page
    assert "validation loss (nats)" in page
    assert searched.sentences[0].startswith("optim.lr was chosen before, of 0.001, 0.1 and 1000000000.0")
    assert any(line.startswith("depth 8: plain ") for line in searched.sentences)
    assert [name for name in searched.figures() if name.startswith("search optim.lr depth 8")]


def test_the_same_call_again_trains_nothing(searched: Any, root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("metrics.jsonl")}
    choice = json.loads((searched.folder / "manifest.json").read_text())["best_of"]
    again = resexp.compare(
        "plain", "residual", best_of={"optim.lr": [1e-3, 0.1, 1e9]}, best_of_seeds=2, sets=TINY,
        depth=[8, 14], data="folder", seeds=2, name="c", runs_dir=root,
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in root.rglob("metrics.jsonl")} == before
    assert json.loads((again.folder / "manifest.json").read_text())["best_of"] == choice


def test_a_comparison_stopped_after_its_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> Any:
        return resexp.compare(
            "plain", "residual", best_of={"optim.lr": [0.01, 0.1]}, best_of_seeds=2, sets=TINY, depth=8,
            data="folder", runs_dir=tmp_path,
        )  # fmt: skip

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("resexp.experiments.until.run_plan", stopped)
        with pytest.raises(KeyboardInterrupt):
            call()
    searched = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    assert len(searched) == 8
    found = call()
    assert len(found.runs) == 2
    assert {path: path.stat().st_mtime_ns for path in searched} == searched


def test_a_dry_run_counts_the_search(root: Path) -> None:
    sets = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    asked = [
        "plain",
        "residual",
        "--best-of",
        "optim.lr=0.01,0.1",
        "--depth",
        "8",
        "--data",
        "folder",
        *sets,
    ]
    ended = command("compare", *asked, "--seeds", "5", "--dry-run", "--json", folder=root)
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout[ended.stdout.index("{") : ended.stdout.rindex("}") + 1])
    assert document["runs"] == 2 * 2 * 3 + 2 * 5


@pytest.mark.parametrize(
    ("best_of", "more", "said"),
    [
        ({"optim.lr": [0.1]}, {}, "two values or more"),
        ({"seed": [1, 2]}, {}, "choose a key of the net"),
        ({"run.threads": [1, 2]}, {}, "choose a key of the net"),
        ({"optim.lr": [0.1, 0.2]}, {"vary": {"optim.lr": [0.3, 0.4]}}, "--vary or --arms names it"),
        ({"optim.lr": [0.1, 0.2], "optim.momentum": [0.0, 0.9]}, {}, "name one key"),
        ({"optim.lr": [0.1, -1]}, {}, "optim.lr"),
        ({"optim.lr": [0.1, 0.2]}, {"vary": {"data.validation": [0, 50]}}, "data.validation values above 0"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_said_in_one_line(
    best_of: dict[str, list[Any]], more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as told:
        resexp.compare("plain", "residual", best_of=best_of, data="crayons", runs_dir=tmp_path, **more)
    assert len(told.value.lines) == 1
    assert said in told.value.lines[0]


def test_noise_of_the_simulation_is_what_it_says() -> None:
    from benchmarks.best_of_error_rates import NOISE, SEED_PART, draw

    drawn = draw(np.random.default_rng(0), {"a": CURVES["flat"], "b": CURVES["flat"]}, 4000)
    first, second = (np.array(drawn[arm]["0.01"]) for arm in ("a", "b"))
    assert np.std(first - second) == pytest.approx(NOISE * math.sqrt(2), rel=0.05)
    assert np.std(first) == pytest.approx(math.hypot(NOISE, SEED_PART), rel=0.05)
