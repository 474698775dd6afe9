"""The registry of claims: each is one file here, imported when it is run, and torch with it."""

from collections.abc import Sequence
from importlib import import_module

from resexp.claims.finding import Claim, Finding, OnProgress
from resexp.config.messages import closest
from resexp.errors import UsageError


def later(module: str) -> Claim:
    """Return `claim` of resexp/claims/MODULE.py as a function that imports the module when it is called."""

    def claim(seeds: Sequence[int], report: OnProgress) -> Finding:
        return import_module(f"resexp.claims.{module}").claim(seeds, report)

    return claim


def chosen(names: Sequence[str]) -> list[str]:
    """Return these claims' names, each once, all of them if none is named; in the order of the catalogue.

    Raises UsageError for a name that is no claim's.
    """
    for name in names:
        if name not in CLAIMS:
            near = closest(name, CLAIMS, 0.6)
            meant = f"; did you mean {near}" if near else ""
            raise UsageError(f"claims: {name!r} is none; allowed: {', '.join(CLAIMS)}{meant}")
    return [name for name in CLAIMS if not names or name in names]


CLAIMS: dict[str, Claim] = {
    "squiggle": later("squiggle"),
    "identity": later("identity"),
    "three-convs": later("three_convs"),
    "activation": later("activation"),
    "highway": later("highway"),
    "small-responses": later("small_responses"),
    "paths": later("paths"),
    "shattering": later("shattering"),
}
NUM_SEEDS = 5
"""How many seeds a claim takes unless told otherwise: the fewest that carry a word."""
