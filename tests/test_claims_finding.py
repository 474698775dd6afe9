"""The one rule by which claims are answered, against all that what is open could turn out to be."""

import itertools
import random

import numpy as np
import pytest

from resexp.claims.finding import (
    Asked,
    Part,
    Premise,
    decided,
    every,
    evidence,
    judged,
    listed,
    measurement,
    some,
    spelled,
    story,
    too_few,
)
from resexp.report.formatting import measured

FOUND = (True, False, None)


def parts(found: tuple[bool | None, ...]) -> list[Part]:
    return [Part(f"part {i}", each, "") for i, each in enumerate(found)]


def word_of(settings: list[tuple[bool, ...]]) -> str:
    """The answer where nothing is open."""
    stands = {all(found) for found in settings}
    return "holds only if" if len(stands) == 2 else "holds" if stands == {True} else "does not hold"


def test_an_answer_is_what_every_outcome_of_the_open_parts_would_give() -> None:
    """And not resolved where they would give different ones: silence is never read as an answer."""
    rng = random.Random(0)
    cells = list(itertools.product(FOUND, repeat=2))
    for settings in [*itertools.product(cells, repeat=2), *(rng.choices(cells, k=4) for _ in range(200))]:
        outcomes = itertools.product(
            *(itertools.product(*([(each,), (True, False)][each is None] for each in s)) for s in settings)
        )
        words = {word_of(list(outcome)) for outcome in outcomes}
        answer = judged({f"setting {i}": parts(found) for i, found in enumerate(settings)})
        assert answer.word == (words.pop() if len(words) == 1 else "not resolved"), settings


def test_a_condition_names_where_it_holds_and_what_is_open_and_nothing_else() -> None:
    answer = judged(
        {"it rains": parts((True,)), "it snows": parts((True, False)), "it hails": parts((None,))}
    )
    assert answer.text == "holds only if it rains, or perhaps it hails (not resolved)"
    assert judged({"it rains": parts((True,)), "it snows": parts((False,))}).text == "holds only if it rains"
    assert judged({"": parts((True, True))}).text == "holds"


def test_without_its_premise_a_claim_is_not_tried() -> None:
    settings = {"": parts((True,))}
    for found, word in ((True, "holds"), (False, "nothing to cure"), (None, "not resolved")):
        assert judged(settings, Premise(Part("ill", found, ""), "nothing to cure")).word == word


def test_every_and_some_agree_with_all_and_any_whatever_the_open_ones_are() -> None:
    for n in range(1, 4):
        for found in itertools.product(FOUND, repeat=n):
            outcomes = list(itertools.product(*([(each,), (True, False)][each is None] for each in found)))
            for rule, plain in ((every, all), (some, any)):
                answers = {plain(outcome) for outcome in outcomes}
                assert rule(found) == (answers.pop() if len(answers) == 1 else None)


LOW = dict(enumerate((1.0, 1.1, 0.9, 1.05, 0.95)))


def test_a_part_is_so_on_one_side_not_so_on_the_other_and_open_between() -> None:
    asked = {
        "below": Asked("", LOW, "lower", 2.0),
        "above": Asked("", LOW, "higher", 2.0),
        "at": Asked("", LOW, "lower", 1.0),
        "paired": Asked("", LOW, "lower", {seed: value + 1 for seed, value in LOW.items()}),
        "few": Asked("", {0: 1.0, 1: 1.1}, "lower", 2.0),
    }
    found = {key: part.found for key, part in decided(asked).items()}
    assert found == {"below": True, "above": False, "at": None, "paired": True, "few": None}


def test_parts_are_corrected_for_their_number() -> None:
    """Of families of ten parts that are all true at the limit, about one in twenty gets any word."""
    rng = np.random.default_rng(0)
    families = 200
    any_word = 0
    for _ in range(families):
        draws = rng.normal(size=(10, 5))
        asked = {i: Asked("", dict(enumerate(row)), "lower", 0.0) for i, row in enumerate(draws.tolist())}
        any_word += any(part.found is not None for part in decided(asked).values())
    assert any_word / families < 0.1


def test_a_part_with_too_few_seeds_takes_no_slot() -> None:
    few = {f"few {i}": Asked("", {0: 1.0, 1: 1.1}, "lower", 0.5) for i in range(20)}
    barely = Asked("", dict(enumerate((-1.0, -1.0, 0.1, -0.9, -0.6))), "lower", 0.0)
    assert decided({**few, "barely": barely})["barely"].found is True
    assert decided({str(i): barely for i in range(20)})["0"].found is None


def test_a_number_is_rounded_alike_in_a_sentence_and_in_the_table() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = dict(enumerate((rng.normal(size=5) * 10.0 ** rng.integers(-4, 4)).tolist()))
        in_table = measured(vars(measurement("", values, "of x")))
        assert spelled(values) + " of x" == in_table
        assert evidence(Asked("", values, "lower", 0.535, "of x")).startswith(
            f"{in_table}, limit 0.535, n = 5"
        )


def test_sentences_are_joined_and_the_empty_ones_left_out() -> None:
    assert story("One.", "", too_few(5), "Two.") == "One. Two."
    assert too_few(1) == "1 seed is too few for a word: it takes 5."
    assert listed(["a", "b", "c"]) == "a, b and c"
    with pytest.raises(ValueError, match="unpack"):
        listed([])
