"""Number and text formatting: every way in which a number is spelled for people."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOTHING = "–"


def measured(measurement: Mapping[str, Any]) -> str:
    """Return mean, 95% interval and unit of one measurement: `0.31 [0.29, 0.33] of just copying`."""
    if measurement["mean"] is None:
        return "not measured"
    interval = measurement["interval"]
    bounds = "" if interval is None else f" [{number(interval[0])}, {number(interval[1])}]"
    unit = measurement["unit"]
    space = "" if unit.startswith("%") or not unit else " "
    return f"{number(measurement['mean'])}{bounds}{space}{unit}"


def number(value: float) -> str:
    """Return three digits, with a power of ten only where it helps: 0.0312, 1.3e-5, 12.5, 5200."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def power(value: float) -> str:
    """Return a power of ten in words that need no special font: 10⁻³; 0.1, 1 and 10 as they are."""
    exponent = round(math.log10(value))
    return f"{value:g}" if abs(exponent) <= 1 else "10" + str(exponent).translate(SUPERSCRIPTS)


def duration(seconds: float) -> str:
    """Return a length of time in two units at most: 40 s, 3 min, 2 h 5 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


def size(value: float) -> str:
    """Return a size as it is set in print, to the three digits of recorded words: 0.535, 35.2, 8.21 × 10⁻²³.

    An exact zero is an underflow.
    """
    if value == 0:
        return "underflow"
    if not math.isfinite(value):
        return not_finite(value)
    if 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def not_finite(value: float) -> str:
    """Return what is beyond a float, as a mean of losses on their way out, or no number at all."""
    return NOTHING if math.isnan(value) else "∞" if value > 0 else "-∞"


def first_upper(text: str) -> str:
    """Return the text as the beginning of a sentence; a setting such as `lr=0.1` stays as it is written."""
    first = text.split(" ", 1)[0]
    return text if "=" in first else text[:1].upper() + text[1:]


def enumerated(values: Iterable[Any], nothing: str = "not recorded") -> str:
    """Return the different values in order, as an enumeration."""
    texts = [str(value) for value in dict.fromkeys(values)]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]])) or nothing


def scientific(value: float) -> str:
    """Return a size with two digits; an exact zero is an underflow."""
    if value == 0:
        return "underflow"
    if not math.isfinite(value):
        return not_finite(value)
    if 0.01 <= abs(value) < 100:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def three_decimals(value: float) -> str:
    return f"{value:.3f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def thousands(value: float) -> str:
    return f"{value:,.0f}"


def or_nothing(text: Callable[[Any], str], value: Any) -> str:
    return NOTHING if value is None else text(value)
