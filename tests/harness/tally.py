"""What came of breaking something on purpose, again and again."""

from typing import NamedTuple


class Tally(NamedTuple):
    """How often something was broken, and what was then wrong."""

    broken: int
    faults: list[str]

    def line(self, what: str) -> str:
        return f"{self.broken:6,d}  {what}: {len(self.faults)} mismatches"
