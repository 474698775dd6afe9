"""How a claim's sentences spell numbers."""

from collections.abc import Iterable

from resexp.findings.statistics import Estimate


def spelled(estimate: Estimate, form: str = ".2f", *, scale: float = 1.0) -> str:
    """Return `0.44 [0.30, 0.58]`: the mean and its interval, without brackets where there is none.

    scale multiplies all three: 100 for percent.
    """
    if estimate.mean is None:
        return "not measured"
    mean = format(scale * estimate.mean, form)
    if estimate.interval is None:
        return mean
    low, high = (format(scale * bound, form) for bound in estimate.interval)
    return f"{mean} [{low}, {high}]"


def listed(words: Iterable[object]) -> str:
    """Return `a, b and c`."""
    *head, last = map(str, words)
    return f"{', '.join(head)} and {last}" if head else last
