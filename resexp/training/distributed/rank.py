"""Rank and world size: torchrun tells each process by its environment."""

import os
from typing import NamedTuple


class Rank(NamedTuple):
    """One process of a training that may have several, each with a device of its own."""

    rank: int = 0
    """in [0, size); rank 0 alone writes"""
    size: int = 1
    local_rank: int = 0
    """the rank among those on this machine"""
    local_size: int = 1
    """ranks on this machine"""


ONE_RANK = Rank()
STORE = "RESEXP_RANKS_MEET_IN"
"""The environment's word for the file in which ranks of one machine meet; without it torchrun has a host."""


def this_rank() -> Rank:
    """Return this process's place, ALONE where no torchrun has started it."""
    words = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    found = [os.environ.get(word, "") for word in words]
    return Rank(*map(int, found)) if all(word.isdecimal() for word in found) else ONE_RANK
