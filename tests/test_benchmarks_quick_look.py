"""A seed counts as telling the quick look's story only where each part of it holds."""

import pytest

from benchmarks.quick_look import Outcome, count, parts

TOLD = {
    ("none", "plain"): Outcome(T=3e-8, lowest_loss=2.29, final_loss=2.304, test_loss=2.3, test_accuracy=0.1),
    ("none", "residual"): Outcome(0.4, 1.8, 1.9, 1.9, 0.25),
    ("batch", "plain"): Outcome(30.0, 1.5, 1.6, 1.7, 0.35),
    ("batch", "residual"): Outcome(11.0, 0.9, 1.1, 1.2, 0.6),
}


def told(**changes: dict[str, float]) -> dict[str, bool]:
    """The story of those four nets, some of them changed: keys like `none_plain`."""
    nets = {net: outcome._replace(**changes.get("_".join(net), {})) for net, outcome in TOLD.items()}
    return parts(nets, 0.3, num_classes=10, num_test=2_000)


def test_a_story_is_whole_when_all_of_it_is_told() -> None:
    assert all(told().values())


@pytest.mark.parametrize(
    ("net", "change", "part"),
    [
        ("none_plain", {"T": 2e-4}, "without norm, plain vanishes"),
        ("none_plain", {"lowest_loss": 2.25}, "and stays at guessing"),
        ("none_residual", {"final_loss": 2.01}, "its twin learns"),
        ("none_residual", {"test_accuracy": 0.13}, "its twin learns"),  # 13% of 2,000: 4.5 standard errors
        ("batch_residual", {"T": 5e-4}, "with batch norm nothing vanishes"),
        ("batch_plain", {"final_loss": 2.1}, "both learn"),
        ("batch_residual", {"final_loss": 1.7}, "the twin faster"),
    ],
)
def test_one_part_that_fails_is_missing_from_the_whole(net: str, change: dict, part: str) -> None:
    found = told(**{net: change})
    assert [name for name, holds in found.items() if not holds] == [part, "the whole story"]


def test_parts_are_counted_over_seeds() -> None:
    slower = {"batch_residual": {"final_loss": 1.7}}
    seeds = [{"seed": seed, "nets": {}, **told(**change)} for seed, change in enumerate(({}, {}, slower))]
    counts = count(seeds)
    assert counts["the twin faster"] == counts["the whole story"] == 2
    assert counts["both learn"] == 3
