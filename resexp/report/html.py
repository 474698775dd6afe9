"""HTML of one page that needs nothing else: no network, no fonts, no framework. Text is escaped.

The frame is one column of prose; what is wide (galleries, tables) may leave it. It follows the reader's light
or dark setting, folds for a phone, and prints.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape as _escape

STYLE = """
:root { color-scheme: light dark; --paper: #fdfcf8; --ink: #1d1c1a; --soft: #5f5b53; --line: #ddd8cc;
  --card: #f6f3ea; --plain: #c24f00; --residual: #0072b2; --third: #007d5c; --fourth: #a8527f;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", "URW Palladio L", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #17181a; --ink: #ebe7df; --soft: #a9a59c;
  --line: #3b3b3a; --card: #202224; --plain: #ff9350; --residual: #63b8f0; --third: #3fc79b;
  --fourth: #e79bc4; } }
*, ::before, ::after { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; padding: 4.5rem 0 6rem; font: 1.125rem/1.6 var(--serif); }
header, section, footer { display: grid; align-items: start;
  grid-template-columns: [wide-start] minmax(1rem, 1fr) [text-start] minmax(0, 42rem) [text-end]
  minmax(1rem, 1fr) [wide-end]; }
header > *, section > *, footer > * { grid-column: text; margin: 0 0 1.1rem; min-width: 0; }
section > .wide { grid-column: wide; justify-self: center; width: min(100% - 2rem, 66rem); }
section { padding-top: 3.25rem; }
h1 { font-size: clamp(2rem, 6vw, 3rem); line-height: 1.12; font-weight: 600; letter-spacing: -0.015em;
  text-wrap: balance; }
h2 { font-size: 1.5rem; line-height: 1.25; font-weight: 600; text-wrap: balance; }
h3 { font: 600 0.95rem/1.4 var(--sans); margin-top: 1.4rem; }
h1, h2, h3, p, dd, figcaption { overflow-wrap: anywhere; }
.kicker { font: 600 0.8rem/1.4 var(--sans); letter-spacing: 0.09em; text-transform: uppercase;
  color: var(--soft); margin-bottom: 0.7rem; }
.lead { font-size: 1.25rem; line-height: 1.5; color: var(--soft); }
.finding { font-size: 1.3rem; line-height: 1.45; padding-left: 1.1rem; border-left: 3px solid var(--ink); }
.finding small { display: block; margin-top: 0.15rem; font: 0.875rem/1.5 var(--sans); color: var(--soft); }
.note, figcaption, caption { font: 0.875rem/1.5 var(--sans); color: var(--soft); }
a { color: var(--residual); }
.gallery { display: grid; gap: 2.25rem 2.5rem; margin-bottom: 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.gallery > * { min-width: 0; max-width: 32rem; justify-self: center; width: 100%; }
figure { margin: 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; color: var(--ink); }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: var(--sans); }
figcaption { margin-top: 0.5rem; }
figcaption b { color: var(--ink); }
.swatch { white-space: nowrap; font-weight: 600; }
.swatch::before { content: ""; display: inline-block; width: 1.3em; height: 0; margin-right: 0.4em;
  vertical-align: 0.25em; border-top: 3px solid currentColor; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font: 0.86rem/1.4 var(--sans);
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.6rem; }
th, td { padding: 0.45rem 0.5rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
thead th { color: var(--soft); font-size: 0.8rem; vertical-align: bottom; border-bottom-color: var(--ink); }
.number { text-align: right; white-space: nowrap; }
.number span { display: block; color: var(--soft); font-size: 0.92em; }
thead th, .number .words { white-space: normal; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: 0.3rem 1.4rem;
  font: 0.95rem/1.5 var(--sans); }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
pre, code { font: 0.9rem/1.55 var(--mono); }
pre { padding: 0.9rem 1.1rem; background: var(--card); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.slider { position: sticky; top: 0; z-index: 1; display: flex; align-items: center; gap: 1.1rem;
  padding: 0.6rem 0; background: var(--paper); border-block: 1px solid var(--line);
  font: 600 0.95rem/1.3 var(--sans); }
.slider output { min-width: 7.5em; font-variant-numeric: tabular-nums; }
.slider input { flex: 1; min-width: 0; height: 2rem; accent-color: var(--ink); }
html:not(.js) .slider { display: none; }
@media (max-width: 46rem) {
  body { padding-top: 2.5rem; font-size: 1.0625rem; }
  .finding { font-size: 1.15rem; }
  .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stack, .stack caption, .stack tbody, .stack tr { display: block; overflow-wrap: anywhere; }
  .stack tr { padding: 0.8rem 0; border-bottom: 1px solid var(--line); }
  .stack { font-size: 0.95rem; }
  .stack td, .stack th { display: block; padding: 0.12rem 0; border: 0; text-align: right; }
  .stack th { text-align: left; }
  .stack tbody th { font-size: 1.05rem; }
  .number { white-space: normal; } .number span { display: inline; }
  .stack td::before { content: attr(data-label); float: left; margin-right: 1.2rem; color: var(--soft); }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 0.6rem; } }
@media print {
  body { padding: 0; font-size: 10.5pt; } section { padding-top: 1.6rem; }
  h2, h3 { break-after: avoid; } tr, .finding, pre { break-inside: avoid; } .slider input { display: none; }
  .gallery { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.2rem; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the browser may load: nothing that is not in the page."""
SCRIPT = """
document.documentElement.classList.add("js");
for (const slider of document.querySelectorAll(".slider")) {
  const input = slider.querySelector("input"), section = slider.closest("section");
  const steps = slider.dataset.steps.split(" ").map(Number);
  const show = () => {
    const now = steps[input.value], words = "step " + now.toLocaleString("en");
    for (const chart of section.querySelectorAll("svg")) {
      const frames = [...chart.querySelectorAll("[data-step]")];
      const shown = Math.max(...frames.map(frame => +frame.dataset.step).filter(step => step <= now));
      for (const frame of frames)
        frame.setAttribute("display", +frame.dataset.step === shown ? "inline" : "none");
    }
    for (const place of section.querySelectorAll("[data-now]")) place.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("input", show);
  show();
}
"""


def escape(text: object) -> str:
    """Return text for HTML, between tags or in a quoted attribute."""
    return _escape(str(text), quote=True)


def page(title: str, parts: Iterable[str], *, script: str = "") -> str:
    """Return a whole page. parts: HTML, each a header, section or footer. script: JavaScript, run last."""
    body = "\n".join(parts)
    code = f"<script>{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"{code}</body>\n</html>\n"
    )


def header(kicker: str, title: str, lead: str) -> str:
    """Return the top of the page, from plain text."""
    return (
        f'<header>\n<p class="kicker">{escape(kicker)}</p>\n<h1>{escape(title)}</h1>\n'
        f'<p class="lead">{escape(lead)}</p>\n</header>'
    )


def section(heading: str, *parts: str) -> str:
    """Return a section with a heading (plain text) over parts (HTML)."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(filter(None, parts)) + "\n</section>"


def footer(text: str) -> str:
    """Return the foot of the page, from plain text."""
    return f'<footer>\n<p class="note">{escape(text)}</p>\n</footer>'


def paragraph(text: str, *, kind: str = "") -> str:
    """Return a paragraph of plain text. kind: a class of the style sheet, e.g. note."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def subheading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"


def finding(sentence: str, *details: str) -> str:
    """Return a sentence that is an answer, with its small print, a line each."""
    small = "".join(f"<small>{escape(detail)}</small>" for detail in details if detail)
    return f'<p class="finding">{escape(sentence)}{small}</p>'


def figure(picture: str, title: str, caption: str = "") -> str:
    """Return a figure. picture: HTML (an inline SVG that carries its own text alternative)."""
    return (
        f"<figure>\n{picture}\n<figcaption><b>{escape(title)}</b> {escape(caption)}</figcaption>\n</figure>"
    )


def gallery(figures: Iterable[str]) -> str:
    """Return figures side by side where there is room, below each other where there is none."""
    return '<div class="gallery wide">\n' + "\n".join(figures) + "\n</div>"


def slider(steps: Sequence[int], label: str) -> str:
    """Return a slider over steps, for a script; without one it is not shown."""
    data = " ".join(map(str, steps))
    return (
        f'<div class="slider" data-steps="{data}"><output data-now>step {steps[0]}</output>'
        f'<input type="range" min="0" max="{len(steps) - 1}" value="0" aria-label="{escape(label)}"></div>'
    )


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Sequence[str] = (),
    wide: bool = False,
) -> str:
    """Return a table whose first column heads the rows; on a phone each row becomes a small list.

    numbers: the columns that are set to the right.
    """
    number = [' class="number"' if name in numbers else "" for name in columns]
    head = "".join(f'<th scope="col"{n}>{escape(c)}</th>' for c, n in zip(columns, number, strict=True))
    lines = []
    for first, *rest in rows:
        cells = "".join(
            f'<td data-label="{escape(name)}"{n}>{_number_first(value)}</td>'
            for name, value, n in zip(columns[1:], rest, number[1:], strict=True)
        )
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    title = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return (
        f'<div class="scroll{" wide" if wide else ""}">\n<table class="stack">\n{title}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>\n</div>"
    )


def _number_first(value: object) -> str:
    """Escape a cell's text; the interval or the words behind a number go below it."""
    text = re.sub(r" (\[[^\]]*\])$", r" <span>\1</span>", escape(value))
    return re.sub(r"^(\S*\d\S*) ([a-z][a-z ]*)$", r"\1 <span class='words'>\2</span>", text)


def definitions(pairs: Iterable[tuple[str, object]]) -> str:
    """Return a list of terms and what each is, from plain text."""
    return "<dl>\n" + "\n".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in pairs) + "\n</dl>"


def code(text: str) -> str:
    """Return text as it would be typed."""
    return f"<pre>{escape(text)}</pre>"


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
