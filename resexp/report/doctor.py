"""The doctor's table and words for the terminal."""

from resexp.records.doctor import DoctorDocument
from resexp.report.formatting import NOTHING, first_upper, or_nothing, percent, scientific
from resexp.report.text_table import TextTable

NAMES = ("layer", "what", "gives out", "gradient", "dead", "|g| / |w|")


def doctor_table(document: DoctorDocument) -> TextTable:
    """Return a line for each layer with weights, in the order in which they run."""
    rows = [
        [
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape[1:])) or NOTHING,
            or_nothing(scientific, layer.arriving),
            or_nothing(percent, layer.dead),
            or_nothing(scientific, layer.relative),
        ]
        for layer in document.layers
    ]
    return TextTable(NAMES, rows, NAMES[3:])


def doctor_notes(document: DoctorDocument) -> list[str]:
    """Return the verdict, what T stands between, what the shortcuts carry, and what was measured."""
    shape = ", ".join(map(str, document.input))
    lines = ["", f"{document.target}: {document.sentence}."]
    if document.first is not None and any(value is not None for value in document.values):
        lines.append(
            f"T: size of dE/dx at {document.first or 'the net'} over that at {document.last or 'the net'}, "
            f"with {document.layers_between} weighted layers between them."
        )
    shares = [one.shortcut_share for one in document.shortcuts if one.shortcut_share is not None]
    if document.shortcuts:
        carried = (
            f"; they carry {percent(min(shares))} to {percent(max(shares))} of what comes back"
            if shares
            else ""
        )
        lines.append(f"{len(document.shortcuts)} times an input is added to an output{carried}.")
    lines.append(
        first_upper(
            f"gradient: the last end's as 1. Dead: units that get none. {document.batch} inputs of {shape}, "
            f"{document.data}, training mode, float32, {document.seeds} "
            f"{'seed' if document.seeds == 1 else 'seeds'}."
        )
    )
    return lines
