"""Panels of one cell of a comparison: all arms in one plot, each picture with its words."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from resexp.report.comparison_data import Cell, Curve, Curves, Entry, read_curves
from resexp.report.figures.curves import FEWEST_FOR_A_COURSE, error_panel, loss_panel, number_panel
from resexp.report.figures.gradient_curves import decade_span, frames_panel, heat_panel, responses_panel
from resexp.report.figures.hover import HoverGrid, HoverLines, hover_lines
from resexp.report.figures.lines import Line, line
from resexp.report.figures.page_picture import PagePicture, picture_of
from resexp.report.formatting import size
from resexp.report.sentences import AT_GUESSING, FATES

Colours = Mapping[str, str]
MAX_POINTS = 120
"""Of a line in a frame: a net of a thousand layers needs no more."""


@dataclass(frozen=True)
class CellPictures:
    """frames shows the profile at steps[0] until a slider asks for another of steps."""

    training: list[PagePicture]
    frames: list[PagePicture]
    steps: list[int]
    heat: list[PagePicture]
    responses: list[PagePicture]
    unread: list[str]

    @property
    def size(self) -> int:
        """In characters."""
        return sum(len(picture.html) for picture in self.all)

    @property
    def all(self) -> list[PagePicture]:
        return [*self.training, *self.frames, *self.heat, *self.responses]


def cell_pictures(cell: Cell, words: str, data: str, colours: Colours) -> CellPictures:
    """Draw one cell. words: what it is called; data: what was trained on; both are said at each figure."""
    read: list[tuple[Entry, Curves]] = []
    unread: list[str] = []
    for entry in cell.entries:
        curves = read_curves(entry)
        if isinstance(curves, str):
            unread.append(curves)
        else:
            read.append((entry, curves))
    about = " · ".join(filter(None, (words, data)))
    steps, frames = _frames(read, about, colours)
    return CellPictures(
        training=[*_training(read, about, colours), *_probed(read, about, colours)],
        frames=frames,
        steps=steps,
        heat=list(_heat(read, steps, about)),
        responses=list(_responses(read, about, colours)),
        unread=unread,
    )


def lines_of(
    read: Sequence[tuple[Entry, Curves]], pick: Callable[[Curves], Curve], *, geometric: bool = False
) -> list[Line]:
    """Return one line with a band for each arm, and one thin line for each seed that must not be averaged.

    Those are the seeds that diverged or have not ended, as long as there are others in their arm. Seeds still
    at guessing are in the mean, as they are in every other one.
    """
    lines: list[Line | None] = []
    for arm in dict.fromkeys(entry.run.arm for entry, _ in read):
        own = [(entry.run.fate, pick(curves)) for entry, curves in read if entry.run.arm == arm]
        ended = [curve for fate, curve in own if fate in ("finished", "stuck")]
        averaged = ended or [curve for _, curve in own]
        lines.append(line(arm, _label(arm, [fate for fate, _ in own]), averaged, geometric=geometric))
        for fate in ("diverged", "unfinished") if ended else ():
            apart = [curve for own_fate, curve in own if own_fate == fate]
            for index, curve in enumerate(apart):
                label = f"{arm}: {len(apart)} of {len(own)} {FATES[fate]}" if index == 0 else "_hidden"
                lines.append(line(arm, label, [curve], geometric=geometric, singly=True))
    return [found for found in lines if found is not None]


def _label(arm: str, fates: Sequence[str]) -> str:
    """The arm, and what became of it where no seed trained, or of how many of those that ended."""
    stuck, ended = fates.count("stuck"), fates.count("stuck") + fates.count("finished")
    if not ended:
        return f"{arm} ({FATES[fates[0]]})"
    if not stuck:
        return arm
    return f"{arm} ({f'{stuck} of {ended} ' if stuck < ended else ''}{AT_GUESSING})"


def smoothed(curve: Curve) -> Curve:
    """Return the curve as means over a twentieth of its points: the noise of single batches hides the course.

    Each mean stands at the middle of its window, so that nothing is moved in time.
    """
    width = len(curve) // 20
    if width < 2:
        return curve
    x, y = np.array(list(curve)), np.array(list(curve.values()), dtype=np.float64)
    means = np.convolve(y, np.ones(width) / width, mode="valid")
    middles = x[(width - 1) // 2 :][: len(means)]
    return dict(zip(middles.tolist(), means.tolist(), strict=True))


def seeds_words(lines: Sequence[Line]) -> str:
    """Return how many seeds stand behind the lines: 'one seed', 'n = 5 seeds an arm'."""
    counts = {line.arm: line.n for line in lines if not line.singly}
    if set(counts.values()) <= {1}:
        return "one seed"
    if len(set(counts.values())) == 1:
        return f"n = {next(iter(counts.values()))} seeds an arm; the band spans them"
    return "seeds: " + ", ".join(f"{arm} {n}" for arm, n in counts.items()) + "; the band spans them"


def _training(read: Sequence[tuple[Entry, Curves]], about: str, colours: Colours) -> Iterator[PagePicture]:
    images = next((entry.began.data for entry, _ in read if entry.began), None)
    if images is None:
        return
    training = lines_of(read, lambda curves: smoothed(curves.loss))
    if training:
        test = lines_of(read, lambda curves: curves.test_loss)
        picture = loss_panel(training, _unnamed(test), colours, guess_loss=images.guess_loss)
        text = f"Loss against step. {_course(training, 'training loss')} {_course(test, 'test loss')}"
        hover = _hover(training, test)
        means = any(smoothed(curves.loss) is not curves.loss for _, curves in read)
        note = f"{about} · {seeds_words(training)}.{' Training loss as running means.' * means}"
        yield picture_of(
            picture, f"loss {about}", description=f"{about}. {text}", title="Loss.", note=note, hover=hover
        )
    test = lines_of(read, lambda curves: curves.test_error)
    if test:
        training = lines_of(read, lambda curves: curves.train_error)
        picture = error_panel(
            training, _unnamed(test), colours, guess_error=100 * (1 - images.guess_accuracy)
        )
        courses = f"{_course(training, 'training error')} {_course(test, 'test error')}"
        text = f"Error against step, in percent. {courses}"
        evaluated = max(len(line.x) for line in test)
        hover = _hover(training, test, "%") if evaluated >= FEWEST_FOR_A_COURSE else None
        last = "" if hover else f" At step {test[0].x[-1]:g}, the last evaluation."
        note = f"{about} · {seeds_words(test)}.{last}"
        yield picture_of(
            picture, f"error {about}", description=f"{about}. {text}", title="Error.", note=note, hover=hover
        )


def _probed(read: Sequence[tuple[Entry, Curves]], about: str, colours: Colours) -> Iterator[PagePicture]:
    """A picture of each number that probes without pictures of their own measured."""
    for name in dict.fromkeys(name for _, curves in read for name in curves.probed):
        lines = lines_of(read, lambda curves, name=name: curves.probed.get(name, {}))
        if lines:
            text = f"{name} against step. {_course(lines, name)}"
            hover = hover_lines("step", lines)
            yield picture_of(
                number_panel(lines, colours, name),
                f"{name} {about}",
                description=f"{about}. {text}",
                title=f"{name}.",
                note=f"{about} · {seeds_words(lines)}.",
                hover=hover,
            )


def _frames(
    read: Sequence[tuple[Entry, Curves]], about: str, colours: Colours
) -> tuple[list[int], list[PagePicture]]:
    measured = [(entry, curves) for entry, curves in read if curves.transport]
    steps = sorted(set.union(*(set(curves.transport) for _, curves in measured))) if measured else []
    frames = {step: [_thinned(line) for line in _profile(measured, step)] for step in steps}
    frames = {step: lines for step, lines in frames.items() if lines}
    if not frames:
        return [], []
    first = next(iter(frames))
    ends = "; ".join(f"{line.label} {line.middle[0]:.2g}" for line in frames[first])
    text = (
        f"Size of dE/dx against layer, in units of the last block's, at step {first}. "
        f"At the stem: {ends}. The slider shows the other probed steps."
    )
    caption = f"{about} · {seeds_words(frames[first])}."
    shown = [one for step, lines in frames.items() for one in hover_lines("layer", lines, step=step).lines]
    picture = picture_of(
        frames_panel(frames, colours),
        f"gradient {about}",
        description=f"{about}. {text}",
        title="Gradient by layer.",
        note=caption,
        hover=HoverLines("layer", shown),
    )
    return list(frames), [picture]


def _heat(read: Sequence[tuple[Entry, Curves]], steps: Sequence[int], about: str) -> Iterator[PagePicture]:
    grids: dict[str, tuple[Line, list[int], np.ndarray, np.ndarray]] = {}
    for arm in dict.fromkeys(entry.run.arm for entry, _ in read):
        own = [(entry, curves) for entry, curves in read if entry.run.arm == arm]
        columns = {step: found[0] for step in steps if (found := _profile(own, step))}
        if columns:
            # A layer that was not finite at some step has no size there, and stays blank.
            layers = np.unique(np.concatenate([column.x for column in columns.values()]))
            sizes = np.full((len(layers), len(columns)), np.nan)
            for k, column in enumerate(columns.values()):
                sizes[np.searchsorted(layers, column.x), k] = column.middle
            with np.errstate(divide="ignore"):
                grids[arm] = next(iter(columns.values())), list(columns), layers, np.log10(sizes)
    span = decade_span([grid for *_, grid in grids.values()])
    for arm, (first, probed, layers, grid) in grids.items():
        picture = heat_panel(layers, probed, grid, span=span)
        texts = [
            [size(10**value) if not math.isnan(value) else "not finite" for value in row] for row in grid
        ]
        hover = HoverGrid(arm, layers.tolist(), probed, texts)
        text = (
            f"{arm}: size of dE/dx by layer and step, in units of the last block's. At the stem "
            f"{first.middle[0]:.2g} at step {probed[0]}, {10 ** grid[0, -1]:.2g} at step {probed[-1]}."
        )
        seeds = "one seed" if first.n == 1 else f"geometric mean of {first.n} seeds"
        yield picture_of(
            picture,
            f"gradient over training {arm} {about}",
            description=f"{about}. {text}",
            title=f"{arm}.",
            note=f"{about} · {seeds}.",
            hover=hover,
        )


def _responses(read: Sequence[tuple[Entry, Curves]], about: str, colours: Colours) -> Iterator[PagePicture]:
    lines = [_thinned(line) for line in lines_of(read, lambda curves: curves.responses)]
    if lines:
        text = "Standard deviation of each block's response R(x) at the last probe. " + "; ".join(
            f"{line.label}: mean {line.middle.mean():.3g}" for line in lines
        )
        picture = responses_panel(lines, colours)
        hover = hover_lines("layer", lines)
        note = f"{about} · {seeds_words(lines)}."
        yield picture_of(
            picture,
            f"responses {about}",
            description=f"{about}. {text}.",
            title="Responses.",
            note=note,
            hover=hover,
        )


def _hover(training: Sequence[Line], test: Sequence[Line], unit: str = "") -> HoverLines:
    """The numbers of both kinds of course, by the step."""
    parts = [("training", training), ("test", test)]
    found = [
        hover_lines("step", lines, names=[f"{line.label}, {what}" for line in lines], unit=unit)
        for what, lines in parts
    ]
    return HoverLines("step", [line for part in found for line in part.lines])


def _profile(read: Sequence[tuple[Entry, Curves]], step: int) -> list[Line]:
    """One line an arm, of all seeds that were probed then: like T, whether they learned or not."""
    arms: dict[str, list[Curve]] = {}
    for entry, curves in read:
        arms.setdefault(entry.run.arm, []).append(curves.transport.get(step, {}))
    lines = (line(arm, arm, profiles, geometric=True) for arm, profiles in arms.items())
    return [found for found in lines if found is not None]


def _thinned(line: Line) -> Line:
    every = math.ceil(len(line.x) / MAX_POINTS)
    kept = sorted({*range(0, len(line.x), every), len(line.x) - 1})
    return replace(line, x=line.x[kept], middle=line.middle[kept], low=line.low[kept], high=line.high[kept])


def _unnamed(lines: Sequence[Line]) -> list[Line]:
    """The same lines, left out of the legend: their arm stands there already."""
    return [replace(one, label="_hidden") for one in lines]


def _course(lines: Sequence[Line], what: str) -> str:
    ends = ((line, *(f"{line.middle[end]:.3g} at step {line.x[end]:g}" for end in (0, -1))) for line in lines)
    return " ".join(
        f"{line.label}: {what} {first}, {last}."
        for line, first, last in ends
        if not line.label.startswith("_")
    )
