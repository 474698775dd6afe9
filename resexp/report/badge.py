"""The badge of a verified run: a small SVG, and the line of Markdown with digests that a README can carry."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from resexp.errors import UsageError
from resexp.records.files import disk_errors, ensure, read_regular, write_atomic

MARK = b"<!-- a badge of resexp verify -->"
MAX_BADGE_BYTES = 10_000
HOLDS, FAILS, NAMED = "#2e7d32", "#b3261e", "#444444"
SHOWN_DIGITS = 12
LETTER_WIDTH, BESIDE = 6.6, 8.0
"""Pixels at 11 px: a letter's mean width, and the space beside each text. textLength fits what differs."""


def badge(holds: bool, config_digest: str, title: str) -> str:
    """Return the SVG: green and `verified`, or red and `not what it says`, with the config's digest."""
    left, right = "resexp", f"{'verified' if holds else 'not what it says'} {config_digest[:8]}"
    widths = [LETTER_WIDTH * len(text) + 2 * BESIDE for text in (left, right)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sum(widths):.0f}" height="20" role="img">',
        MARK.decode(),
        f"<title>{escape(title)}</title>",
    ]
    at = 0.0
    for text, width, colour in zip((left, right), widths, (NAMED, HOLDS if holds else FAILS), strict=True):
        parts += [
            f'<rect x="{at:.1f}" width="{width:.1f}" height="20" fill="{colour}"/>',
            f'<text x="{at + BESIDE:.1f}" y="14" textLength="{width - 2 * BESIDE:.1f}" fill="#ffffff" '
            f'font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">{escape(text)}</text>',
        ]
        at += width
    return "\n".join([*parts, "</svg>\n"])


def write_badge(path: Path, svg: str) -> bool:
    """Write the badge; return whether it took the place of one. Raises UsageError for any other file."""
    there = path.exists() or path.is_symlink()
    if there and MARK not in read_regular(path, MAX_BADGE_BYTES):
        raise UsageError(
            f"--badge {path}: is there already and no badge, so it stays as it is; name another file"
        )
    with disk_errors(path):
        ensure(path.parent)
    write_atomic(path, svg.encode())
    return there


def digest_line(digests: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """Return what identifies a run, in Markdown: the beginnings of its digests, and what it was made with."""
    named = [f"{name} `{digest[:SHOWN_DIGITS]}`" for name, digest in digests.items()]
    return f"{', '.join(named)} ({', '.join(f'{name} {version}' for name, version in versions.items())})"
