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
from resexp.analysis.verdicts import Comparison, Verdict, compare_runs
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
    plain, residual = noisy(1.8, seed=1), noisy(1.5, seed=2)
    first, *others = arms(plain, residual)
    runs = [first, *(others[i] for i in np.random.default_rng(0).permutation(len(others)))]
    (found,) = judged(compare_runs(runs))
    expected = stats.ttest_rel(residual, plain)
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.estimate.p == pytest.approx(expected.pvalue)
    assert (found.what, found.word, found.estimate.n) == ("residual - plain", "lower", 5)


def test_only_the_primary_metric_is_tested_and_the_others_get_intervals():
    found = compare_runs(arms(noisy(1.8), noisy(1.6, seed=2))).to_json()["differences"]
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
    found = compare_runs(runs)
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
    cells = compare_runs(runs).to_json()["differences"]
    assert [row["cell"]["optim.lr"] for row in cells if row["metric"] == "final_loss"] == [0.1, 0.2]
    assert set(cells[0]["cell"]) == {"depth", "norm", "init", "optim.lr"}


def test_two_runs_of_one_arm_cell_and_seed_are_refused():
    with pytest.raises(ValueError, match="same seed"):
        compare_runs([run("plain", 0, 1.5), run("plain", 0, 1.6)])


def test_every_arm_is_set_against_the_first():
    runs = [run(arm, seed, 1.5, kind="plain") for arm in ("b", "a", "c") for seed in range(2)]
    assert [d.what for d in judged(compare_runs(runs))] == ["a - b", "c - b"]


@pytest.mark.parametrize(
    ("num_seeds", "phrase"),
    [(1, "one seed, so no interval and no word"), (3, "fewer than 5 seeds, so no word"), (5, "adjusted p")],
)
def test_few_seeds_say_so(num_seeds, phrase):
    comparison = compare_runs(arms(noisy(1.8, num_seeds), noisy(1.5, num_seeds, seed=1)))
    (found,), (said,) = judged(comparison), verdicts(comparison, "arms")
    assert (found.word is None) == (num_seeds < 5)
    assert (found.estimate.interval is None) == (num_seeds == 1)
    assert phrase in said.sentence
    assert f"n = {num_seeds}" in said.sentence
    assert "150 steps" in said.sentence


def test_equal_arms_are_not_called_equal_but_not_resolved():
    (found,) = verdicts(compare_runs(arms(noisy(1.8, seed=1), noisy(1.8, seed=2))), "arms")
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


def test_who_knows_the_shares_of_unequal_classes_alone_is_still_at_guessing():
    """Shares so unequal that they are worth more than the margin."""
    shares = [0.19, 0.14, 0.12, 0.10, 0.10, 0.09, 0.08, 0.07, 0.06, 0.05]
    known = float(stats.entropy(shares))
    assert known < GUESS - 0.05
    summary = run("plain", 0, known, label_entropy=known, curve=((0.0, 2.4), (1.0, known)))
    assert (summary.fate, replace(summary, label_entropy=None).fate) == ("stuck", "finished")
    assert replace(summary, curve=((0.0, known - 0.06),)).fate == "finished"


def test_a_stuck_seed_has_a_loss_and_stays_in_the_test():
    plain, residual = [*noisy(1.6, 8), GUESS, GUESS], noisy(1.7, 10, seed=1)
    (found,) = judged(compare_runs(arms(plain, residual)))
    expected = stats.ttest_rel(residual, plain)
    assert found.estimate.n == 10
    assert found.estimate.mean == pytest.approx(np.mean(residual) - np.mean(plain))
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.left_out == ()


def failed_seeds() -> list[RunSummary]:
    return [
        run("plain", 5, None, status="diverged"),
        run("residual", 5, 1.5),
        run("plain", 6, GUESS),
        run("residual", 6, 1.5),
        run("plain", 7, 1.8),
        run("residual", 7, None, status="running"),
        run("plain", 8, 1.8),
    ]


def test_every_seed_is_in_the_numbers_or_counted_among_those_left_out():
    comparison = compare_runs([*arms(noisy(1.8), noisy(1.5, seed=1)), *failed_seeds()])
    (found,), (said,) = judged(comparison), verdicts(comparison, "arms")
    assert found.estimate.n == 6
    assert found.left_out == (
        ("residual", "unfinished", 1),
        ("plain", "diverged", 1),
        ("plain", "without a twin", 1),
    )
    assert "n = 6" in said.sentence
    assert "left out: 1 residual unfinished, 1 plain diverged, 1 plain without a twin" in said.sentence
    of_plain, of_residual = verdicts(comparison, "seeds")
    assert "1 of 9 diverged, 1 of 9 still at guessing after 150 steps" in of_plain.sentence
    assert "1 left out of every mean" in of_plain.sentence
    assert "1 of 8 unfinished; 1 left out of every mean" in of_residual.sentence
    assert of_plain.n == 9


def test_a_diverged_seed_takes_the_word_from_the_mean_and_an_unfinished_one_does_not():
    sound = arms(noisy(1.8, 10), noisy(1.5, 10, seed=1))
    (clear,) = judged(compare_runs([*sound, run("plain", 10, None, status="running")]))
    assert (clear.word, clear.obstacle) == ("lower", None)
    comparison = compare_runs([*sound, run("plain", 10, None, status="diverged"), run("residual", 10, 1.5)])
    (found,), (said,) = judged(comparison), verdicts(comparison, "arms")
    assert (found.word, found.adjusted_p) == (None, None)
    assert found.estimate.n == 10
    assert "no word on a mean: 1 seed of plain diverged" in said.sentence


def of_fates(comparison: Comparison) -> list[Difference]:
    return [d for d in comparison.differences if d.about == "fates"]


@pytest.mark.parametrize("failed", [{"loss": GUESS}, {"loss": None, "status": "diverged"}])
def test_how_many_seeds_trained_is_tested_exactly_and_belongs_to_the_family(failed):
    runs = [run("plain", seed, **failed) for seed in range(5)]
    comparison = compare_runs([*runs, *[run("residual", seed, 1.6 + seed / 100) for seed in range(5)]])
    (found,), (said,) = of_fates(comparison), verdicts(comparison, "fates")
    assert found.estimate.p == pytest.approx(stats.fisher_exact([[5, 0], [0, 5]])[1])
    assert found.estimate.p == pytest.approx(2 / 252)
    family = [d.estimate.p or 0.0 for d in comparison.differences if d.in_family()]
    assert len(family) == (2 if failed["loss"] else 1)
    assert found.adjusted_p == pytest.approx(holm(family)[-1])
    assert (found.word, said.word) == ("higher", "higher")
    assert "residual trains in more seeds than plain" in said.sentence
    assert "5 of 5 seeds against 0 of 5 after 150 steps" in said.sentence


def test_where_all_seeds_trained_or_none_did_nothing_is_tested_about_fates():
    trained = compare_runs(arms(noisy(1.8), noisy(1.6, seed=1)))
    assert of_fates(trained) == []
    (found,) = of_fates(compare_runs(arms([GUESS] * 5, [GUESS + 0.001 * k for k in range(5)])))
    assert (found.estimate.p, found.in_family(), found.word) == (1.0, False, None)


def test_fewer_than_five_seeds_get_no_word_about_fates():
    (found,) = of_fates(compare_runs(arms([GUESS] * 4, noisy(1.6, 4))))
    assert found.estimate.p is not None
    assert found.estimate.p < 0.05
    assert (found.word, found.adjusted_p) == (None, None)


def test_cells_that_can_have_no_word_take_no_share_of_the_error_rate():
    large = arms(noisy(1.8, 10), noisy(1.5, 10, seed=1))
    small = [r for depth in (8, 14, 20) for r in arms(noisy(1.8, 3), noisy(1.5, 3, seed=1), depth=depth)]
    alone, *_ = judged(compare_runs(large))
    for beside in judged(compare_runs([*large, *[replace(r, kind="residual") for r in small]])):
        deep = dict(beside.cell)["model.depth"] == 56
        assert beside.adjusted_p == (pytest.approx(alone.estimate.p) if deep else None)


@pytest.mark.parametrize(("num_seeds", "word"), [(5, None), (8, None), (9, "lower"), (20, "lower")])
def test_below_nine_seeds_a_word_must_stand_if_a_third_of_the_better_arm_got_stuck_unseen(num_seeds, word):
    """0.7 * 1.6 + 0.3 * ln 10 = 1.81 is above 1.7."""
    comparison = compare_runs(arms(noisy(1.7, num_seeds), noisy(1.6, num_seeds, seed=1)))
    (found,), (said,) = judged(comparison), verdicts(comparison, "arms")
    assert found.adjusted_p is not None
    assert found.adjusted_p < 0.05
    assert (found.word, found.turns) == (word, True)
    assert ("no word below 9 seeds" in said.sentence) == (word is None)


def test_five_seeds_suffice_where_no_stuck_seed_could_turn_the_word():
    """0.7 * 1.6 + 0.3 * ln 10 = 1.81 is below 1.9."""
    (found,) = judged(compare_runs(arms(noisy(1.9), noisy(1.6, seed=1))))
    assert (found.word, found.turns) == ("lower", False)


def test_a_spread_that_one_seed_makes_is_said_beside_the_word():
    plain, residual = noisy(1.8, 12), noisy(1.5, 12, seed=1)
    (calm,) = verdicts(compare_runs(arms(plain, residual)), "arms")
    assert "takes the differences for normal" in calm.sentence
    assert "doing of seed" not in calm.sentence
    plain[7] += 0.6
    (said,) = verdicts(compare_runs(arms(plain, residual)), "arms")
    assert "the spread is mostly the doing of seed 7" in said.sentence


def test_every_sentence_says_how_many_seeds_it_rests_on_and_how_many_it_leaves_out():
    failed = [replace(r, depth=20) for r in failed_seeds()]
    found = [*compare_runs([*degrading(0.3), *failed]).verdicts, *compare_runs(degrading(0.3)).verdicts]
    about = {verdict.about for verdict in found}
    assert about == {"gradient", "seeds", "arms", "fates", "degradation", "shortcuts"}
    for verdict in found:
        if verdict.about == "seeds":
            assert f" of {verdict.n} " in verdict.sentence
        else:
            assert f"n = {verdict.n}" in verdict.sentence
        if verdict.about != "gradient":
            assert "left out" in verdict.sentence


@pytest.mark.parametrize(("course", "falling"), [("flat", False), ("falling", True), ("short", None)])
def test_a_loss_at_guessing_that_still_falls_is_told_apart_from_one_that_does_not(course, falling):
    noise = np.random.default_rng(3).normal(0, 0.003, 40)
    steps = np.arange(40) * 4.0
    losses = GUESS + noise + np.where(steps < 20, 0.2, 0.0)  # coming down to guessing is not yet learning
    if course == "falling":
        losses -= steps * 1e-4
    points = list(zip(steps.tolist(), losses.tolist(), strict=True))
    points = points[-7:] if course == "short" else points
    runs = [run("plain", seed, GUESS, curve=tuple(points)) for seed in range(3)]
    assert [one.falling for one in runs] == [falling] * 3
    (said,) = verdicts(compare_runs(runs), "seeds")
    words = {False: "(loss not falling)", True: "(loss falling)", None: "150 steps; none"}[falling]
    assert words in said.sentence
    assert compare_runs(runs).to_json()["runs"][0]["falling"] == falling


def test_a_run_that_trained_is_not_asked_whether_it_falls():
    assert run("plain", 0, 1.5, curve=tuple((float(k), 2.3 - k / 10) for k in range(20))).falling is None


def test_gradient_words_for_step_0_and_the_last_probe_apart():
    runs = [
        run("plain", seed, 2.0, transport_initial=1e4 * (1 + seed / 9), transport_final=0.5 + seed / 9)
        for seed in range(5)
    ]
    first, last = verdicts(compare_runs(runs), "gradient")
    assert (first.when, first.word, last.when, last.word) == ("step 0", "exploding", "last probe", "healthy")
    assert first.transport is not None
    assert first.transport.layers == 54
    assert first.transport.ratio == pytest.approx(stats.gmean([1e4 * (1 + seed / 9) for seed in range(5)]))


def test_a_stuck_net_still_has_a_gradient_to_judge():
    runs = [run("plain", seed, GUESS, transport_initial=0.0) for seed in range(5)]
    (first, _) = verdicts(compare_runs(runs), "gradient")
    assert first.word == "vanishing"
    assert "exact zero" in first.sentence


def degrading(cost: float, **deep: Any) -> list[RunSummary]:
    """Plain loses `cost` from depth 20 to 56, residual nothing."""
    return [
        *arms(noisy(1.5, seed=1), noisy(1.4, seed=2), depth=20),
        *arms(noisy(1.5 + cost, seed=3), noisy(1.4, seed=4), **deep),
    ]


def test_degradation_is_deep_against_shallow_plain_by_welch():
    comparison = compare_runs(degrading(0.3))
    (found,), (said,) = judged(comparison, "degradation"), verdicts(comparison, "degradation")
    expected = stats.ttest_ind(noisy(1.8, seed=3), noisy(1.5, seed=1), equal_var=False)
    assert found.metric == "train_loss"
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert said.word == "degradation"
    assert "after 150 steps" in said.sentence


def test_what_shortcuts_save_is_the_difference_of_differences_without_a_word():
    comparison = compare_runs(degrading(0.3))
    (found,) = [d for d in comparison.differences if d.about == "shortcuts"]
    deep = np.subtract(noisy(1.8, seed=3), noisy(1.4, seed=4))
    shallow = np.subtract(noisy(1.5, seed=1), noisy(1.4, seed=2))
    assert found.estimate.mean == pytest.approx(deep.mean() - shallow.mean())
    expected = stats.ttest_ind(deep, shallow, equal_var=False)
    assert found.estimate.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert (found.tested, found.word) == (False, None)


def test_only_the_shallowest_and_the_deepest_net_are_asked_about_degradation():
    middle = arms(noisy(9.0), noisy(9.0), depth=32)
    (found,) = verdicts(compare_runs([*middle, *degrading(0.3)]), "degradation")
    assert "depth 56 - depth 20" in found.sentence


@pytest.mark.parametrize(
    ("cost", "deep", "reason"),
    [
        (0.75, {}, "is not below ln 10 - 0.1"),
        (0.3, {"transport_initial": 1e-20}, "vanishes at step 0"),
        (0.3, {"transport_final": 0.0}, "vanishes at the last probe"),
        (0.3, {"status": "diverged"}, "no seed learned"),
        (0.3, {"transport_final": 1e-4}, "vanishes at the last probe"),
    ],
)
def test_degradation_is_not_judged_where_it_would_be_something_else(cost, deep, reason):
    comparison = compare_runs(degrading(cost, **deep))
    (found,) = verdicts(comparison, "degradation")
    assert found.word == "not judged"
    assert reason in found.sentence
    assert not judged(comparison, "degradation")


def with_ratios(runs: list[RunSummary], ratios: list[float]) -> list[RunSummary]:
    """The same runs, the deep plain ones with these T at the last probe, seed by seed."""
    return [
        replace(r, transport_final=ratios[r.seed]) if (r.arm, r.depth) == ("plain", 56) else r for r in runs
    ]


@pytest.mark.parametrize(
    ("ratios", "reason"),
    [
        ([1e-9, 1e-9, 1e-9, 1e-9, 0.5], "vanishes at the last probe in 4 of 5 seeds"),
        ([0.4, 0.5, 0.6, 0.5, 0.0], "vanishes at the last probe in 1 of 5 seeds"),
        ([0.003, 10.0, 0.003, 10.0, 0.003], "5 seeds are not enough to say"),
    ],
)
def test_where_some_seeds_vanish_or_may_it_is_not_called_degradation(ratios, reason):
    (found,) = verdicts(compare_runs(with_ratios(degrading(0.3), ratios)), "degradation")
    assert found.word == "not judged"
    assert reason in found.sentence


def test_a_deep_net_of_which_seeds_get_stuck_is_not_praised():
    """40% at guessing, the rest a little better than the shallow net: worse by 0.22 on average."""
    shallow = [run("plain", seed, loss, depth=20) for seed, loss in enumerate(noisy(1.66, 20))]
    losses = [GUESS] * 8 + noisy(1.6, 12, seed=1)
    deep = [run("plain", seed, loss) for seed, loss in enumerate(losses)]
    (found,) = verdicts(compare_runs([*shallow, *deep]), "degradation")
    assert found.word == "degradation"
    assert "n = 20" in found.sentence


def test_a_deeper_net_that_trains_better_does_not_degrade():
    (found,) = verdicts(compare_runs(degrading(-0.5)), "degradation")
    assert found.word == "no degradation"


def test_residual_nets_alone_are_never_asked_about_degradation():
    runs = [summary for summary in degrading(0.3) if summary.arm == "residual"]
    assert verdicts(compare_runs(runs), "degradation") == []


def test_json_is_strict_and_holds_what_is_promised():
    runs = [
        *degrading(0.3),
        run("plain", 9, None, status="diverged", final_loss=math.nan, loss_area=math.inf),
    ]
    document = json.loads(json.dumps(compare_runs(runs).to_json(), allow_nan=False))
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
    assert compare_runs([]).to_json() == {"runs": [], "differences": [], "verdicts": []}
    assert compare_runs([run("plain", 0, 1.5)]).differences == ()
