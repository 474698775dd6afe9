"""Shard k of n: the part of a comparison's runs that one task of a job array trains."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from resexp.errors import UsageError
from resexp.experiments.plan import Job

MOST_SHARDS = 10_000


class Shard(NamedTuple):
    """Every `of`-th run, from the `number`-th on: together the shards make each run once."""

    number: int
    """1 to `of`"""
    of: int

    def jobs(self, in_turn: Sequence[Job]) -> list[Job]:
        """Return the shard's own of all jobs of the plan."""
        return list(in_turn[self.number - 1 :: self.of])

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Return what `--shard 3/8` means. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text, flags=re.ASCII)
    if found is not None:
        number, count = map(int, found.groups())
        if 1 <= number <= count <= MOST_SHARDS:
            return Shard(number, count)
    raise UsageError(
        f"compare --shard {text}: write K/N, the K-th of N parts, 1 <= K <= N <= {MOST_SHARDS}, e.g. 3/8"
    )
