"""A comparison says what its runs support, and no more."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from resexp.analysis.cells import RunSummary, settings_of
from resexp.analysis.contrasts import METRICS, Difference
from resexp.analysis.statistics import holm
from resexp.analysis.verdicts import Comparison, Verdict, compare
from resexp.config import Config


def run(arm: str, seed: int, loss: float | None, **changes: Any) -> RunSummary:
    """A finished run of depth 56 with that loss everywhere."""
    summary = RunSummary(
        arm=arm,
        kind=arm,
        depth=56,
        norm="batch",
        init="he",
        seed=seed,
        status="finished",
        num_classes=10,
        steps=150,
        final_loss=loss,
        loss_area=loss,
        train_loss=loss,
        test_loss=loss,
        test_accuracy=0.3,
        transport_initial=1.0 + seed / 10,
        transport_final=2.0 + seed / 10,
        folder=f"{arm}-s{seed}",
    )
    return replace(summary, **changes)


def noisy(mean: float, num_seeds: int = 5, seed: int = 0, spread: float = 0.02) -> list[float]:
    return np.random.default_rng(seed).normal(mean, spread, num_seeds).tolist()


def arms(plain: list[float], residual: list[float], **changes: Any) -> list[RunSummary]:
    return [
        run(arm, seed, loss, **changes)
        for arm, losses in (("plain", plain), ("residual", residual))
        for seed, loss in enumerate(losses)
    ]


def judged(comparison: Comparison, about: str = "arms") -> list[Difference]:
    return [d for d in comparison.differences if d.tested and d.about == about]


def verdicts(comparison: Comparison, about: str) -> list[Verdict]:
    return [verdict for verdict in comparison.verdicts if verdict.about == about]


def test_difference_is_residual_minus_plain_paired_by_seed():
    plain, residual = noisy(1.8, seed=1), noisy(1.6, seed=2)
    first, *others = arms(plain, residual)
    runs = [first, *(others[i] for i in np.random.default_rng(0).permutation(len(others)))]
    (found,) = judged(compare(runs))
    expected = stats.ttest_rel(residual, plain)
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.estimate.p == pytest.approx(expected.pvalue)
    assert (found.what, found.word, found.estimate.n) == ("residual - plain", "lower", 5)


def test_only_the_primary_metric_is_tested_and_the_others_get_intervals():
    found = compare(arms(noisy(1.8), noisy(1.6, seed=2))).to_json()["differences"]
    assert [row["metric"] for row in found] == list(METRICS)
    for row in found[1:]:
        assert (row["p"], row["adjusted_p"], row["word"]) == (None, None, None)
    assert all(row["interval"] is not None for row in found if row["metric"] != "train_accuracy")


def test_cells_are_what_varies_within_an_arm_and_holm_runs_over_them():
    runs = [
        summary
        for depth in (20, 56)
        for norm in ("none", "batch")
        for summary in arms(
            noisy(1.8, seed=depth), noisy(1.78, seed=depth + len(norm)), depth=depth, norm=norm
        )
    ]
    found = compare(runs)
    cells = judged(found)
    assert [dict(d.cell)["model.depth"] for d in cells] == [20, 20, 56, 56]
    assert [dict(d.cell)["model.norm"] for d in cells] == ["none", "batch", "none", "batch"]
    family = [d for d in found.differences if d.tested]
    assert len(family) == 6  # four cells, and degradation with either norm
    assert [d.adjusted_p for d in family] == pytest.approx(holm([d.estimate.p or 0.0 for d in family]))


def test_any_key_of_the_config_can_make_a_cell_and_the_seed_cannot():
    runs = []
    for rate in (0.1, 0.2):
        for arm in ("plain", "residual"):
            for seed in range(2):
                tree = Config().model_dump(mode="json") | {"seed": seed, "name": f"{arm}-{seed}"}
                tree["optim"] = tree["optim"] | {"lr": rate}
                tree["model"] = tree["model"] | {"kind": arm}
                runs.append(run(arm, seed, 1.5, settings=settings_of(tree)))
    cells = compare(runs).to_json()["differences"]
    assert [row["cell"]["optim.lr"] for row in cells if row["metric"] == "final_loss"] == [0.1, 0.2]
    assert set(cells[0]["cell"]) == {"depth", "norm", "init", "optim.lr"}


def test_two_runs_of_one_arm_cell_and_seed_are_refused():
    with pytest.raises(ValueError, match="same seed"):
        compare([run("plain", 0, 1.5), run("plain", 0, 1.6)])


def test_every_arm_is_set_against_the_first():
    runs = [run(arm, seed, 1.5, kind="plain") for arm in ("b", "a", "c") for seed in range(2)]
    assert [d.what for d in judged(compare(runs))] == ["a - b", "c - b"]


@pytest.mark.parametrize(
    ("num_seeds", "phrase"),
    [(1, "one seed, so no interval and no word"), (3, "fewer than 5 seeds, so no word"), (5, "adjusted p")],
)
def test_few_seeds_say_so(num_seeds, phrase):
    comparison = compare(arms(noisy(1.8, num_seeds), noisy(1.6, num_seeds, seed=1)))
    (found,), (said,) = judged(comparison), verdicts(comparison, "arms")
    assert (found.word is None) == (num_seeds < 5)
    assert (found.estimate.interval is None) == (num_seeds == 1)
    assert phrase in said.sentence
    assert f"n = {num_seeds}" in said.sentence
    assert "150 steps" in said.sentence


def test_equal_arms_are_not_called_equal_but_not_resolved():
    (found,) = verdicts(compare(arms(noisy(1.8, seed=1), noisy(1.8, seed=2))), "arms")
    assert found.word == "not resolved"


GUESS = math.log(10)


@pytest.mark.parametrize(
    ("curve", "final", "fate"),
    [
        ([2.6, 2.31, 2.30], 2.303, "stuck"),
        ([], 2.26, "stuck"),
        ([], 2.25, "finished"),
        ([2.6, 2.2, 2.31], 2.31, "finished"),
        ([3.0, 8.0], 8.0, "stuck"),
    ],
)
def test_stuck_is_never_being_better_than_a_guess(curve, final, fate):
    summary = run("plain", 0, final, curve=tuple(enumerate(map(float, curve))))
    assert summary.fate == fate


def test_diverged_and_stuck_seeds_are_counted_and_never_averaged():
    sound = arms(noisy(1.8), noisy(1.6, seed=1))
    failed = [
        run("plain", 5, None, status="diverged"),
        run("residual", 5, 1.5),
        run("plain", 6, GUESS),
        run("residual", 6, 1.5),
        run("plain", 7, 1.8),
        run("residual", 7, None, status="running"),
    ]
    comparison = compare([*sound, *failed])
    assert judged(comparison) == judged(compare(sound))
    of_plain, of_residual = verdicts(comparison, "seeds")
    assert "1 of 8 diverged, 1 of 8 stuck" in of_plain.sentence
    assert "1 of 8 unfinished" in of_residual.sentence
    assert of_plain.n == 8


def test_where_no_seed_trained_there_is_no_number():
    comparison = compare(arms([GUESS] * 5, noisy(1.6)))
    (found,), (said,) = judged(comparison), verdicts(comparison, "arms")
    assert (found.estimate.n, found.estimate.mean, found.word) == (0, None, None)
    assert "n = 0" in said.sentence


def test_gradient_words_for_step_0_and_the_last_probe_apart():
    runs = [
        run("plain", seed, 2.0, transport_initial=1e4 * (1 + seed / 9), transport_final=0.5 + seed / 9)
        for seed in range(5)
    ]
    first, last = verdicts(compare(runs), "gradient")
    assert (first.when, first.word, last.when, last.word) == ("step 0", "exploding", "last probe", "healthy")
    assert first.transport is not None
    assert first.transport.layers == 54
    assert first.transport.ratio == pytest.approx(stats.gmean([1e4 * (1 + seed / 9) for seed in range(5)]))


def test_a_stuck_net_still_has_a_gradient_to_judge():
    runs = [run("plain", seed, GUESS, transport_initial=0.0) for seed in range(5)]
    (first, _) = verdicts(compare(runs), "gradient")
    assert first.word == "vanishing"
    assert "underflow" in first.sentence


def degrading(cost: float, **deep: Any) -> list[RunSummary]:
    """Plain loses `cost` from depth 20 to 56, residual nothing."""
    return [
        *arms(noisy(1.5, seed=1), noisy(1.4, seed=2), depth=20),
        *arms(noisy(1.5 + cost, seed=3), noisy(1.4, seed=4), **deep),
    ]


def test_degradation_is_deep_against_shallow_plain_by_welch():
    comparison = compare(degrading(0.3))
    (found,), (said,) = judged(comparison, "degradation"), verdicts(comparison, "degradation")
    expected = stats.ttest_ind(noisy(1.8, seed=3), noisy(1.5, seed=1), equal_var=False)
    assert found.metric == "train_loss"
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert said.word == "degradation"
    assert "after 150 steps" in said.sentence


def test_what_shortcuts_save_is_the_difference_of_differences_without_a_word():
    comparison = compare(degrading(0.3))
    (found,) = [d for d in comparison.differences if d.about == "shortcuts"]
    deep = np.subtract(noisy(1.8, seed=3), noisy(1.4, seed=4))
    shallow = np.subtract(noisy(1.5, seed=1), noisy(1.4, seed=2))
    assert found.estimate.mean == pytest.approx(deep.mean() - shallow.mean())
    expected = stats.ttest_ind(deep, shallow, equal_var=False)
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert (found.tested, found.word) == (False, None)


def test_only_the_shallowest_and_the_deepest_net_are_asked_about_degradation():
    middle = arms(noisy(9.0), noisy(9.0), depth=32)
    (found,) = verdicts(compare([*middle, *degrading(0.3)]), "degradation")
    assert "depth 56 - depth 20" in found.sentence


@pytest.mark.parametrize(
    ("cost", "deep", "reason"),
    [
        (0.75, {}, "is not below ln 10 - 0.1"),
        (0.3, {"transport_initial": 1e-20}, "vanishes at step 0"),
        (0.3, {"transport_final": 0.0}, "vanishes at the last probe"),
        (0.3, {"status": "diverged"}, "no seed learned"),
    ],
)
def test_degradation_is_not_judged_where_it_would_be_something_else(cost, deep, reason):
    comparison = compare(degrading(cost, **deep))
    (found,) = verdicts(comparison, "degradation")
    assert found.word == "not judged"
    assert reason in found.sentence
    assert not judged(comparison, "degradation")


def test_a_deeper_net_that_trains_better_does_not_degrade():
    (found,) = verdicts(compare(degrading(-0.3)), "degradation")
    assert found.word == "no degradation"


def test_residual_nets_alone_are_never_asked_about_degradation():
    runs = [summary for summary in degrading(0.3) if summary.arm == "residual"]
    assert verdicts(compare(runs), "degradation") == []


def test_json_is_strict_and_holds_what_is_promised():
    runs = [
        *degrading(0.3),
        run("plain", 9, None, status="diverged", final_loss=math.nan, loss_area=math.inf),
    ]
    document = json.loads(json.dumps(compare(runs).to_json(), allow_nan=False))
    assert set(document) == {"runs", "differences", "verdicts"}
    promised = (
        "arm kind depth norm init seed parameters final_loss test_accuracy gradient_first gradient_last"
    )
    assert {*promised.split(), "status", "folder"} <= set(document["runs"][0])
    assert document["runs"][-1]["final_loss"] is None
    assert document["runs"][0]["final_loss"] == runs[0].final_loss
    assert {"cell", "metric", "n", "mean", "interval", "p", "adjusted_p", "word"} <= set(
        document["differences"][0]
    )
    assert all(row["sentence"] and row["n"] >= 0 for row in document["verdicts"])


def test_nothing_to_compare_says_nothing():
    assert compare([]).to_json() == {"runs": [], "differences": [], "verdicts": []}
    assert compare([run("plain", 0, 1.5)]).differences == ()
