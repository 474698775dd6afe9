"""The doctor's table and words for the terminal."""

from resexp.records.doctor import DoctorDocument
from resexp.report.formatting import NOTHING, or_nothing, percent, scientific, three_decimals
from resexp.report.text_table import TextTable

NAMES = ("layer", "what", "gives out", "gradient")
LAST = ("dead", "|g| / |w|")


def doctor_table(document: DoctorDocument) -> TextTable:
    """Return a line for each layer with weights, in the order in which they run."""
    after = document.after
    then = [] if after is None else [f"after {after.steps}"]
    rows = []
    for k, layer in enumerate(document.layers):
        trained = [] if after is None else [or_nothing(scientific, after.layers[k].arriving)]
        rows.append(
            [
                layer.name,
                layer.kind,
                "x".join(map(str, layer.shape[1:])) or NOTHING,
                or_nothing(scientific, layer.arriving),
                *trained,
                or_nothing(percent, layer.dead),
                or_nothing(scientific, layer.relative),
            ]
        )
    return TextTable((*NAMES, *then, *LAST), rows, (NAMES[-1], *then, *LAST))


def doctor_notes(document: DoctorDocument) -> list[str]:
    """Return the verdicts, what T stands between, what the shortcuts carry, and what was measured."""
    shape = ", ".join(map(str, document.input))
    seeds = "1 seed" if document.seeds == 1 else f"{document.seeds} seeds"
    lines = ["", f"{document.target}: {document.sentence}."]
    if (after := document.after) is not None:
        losses = [or_nothing(three_decimals, reading.loss) for reading in document.readings]
        steps = "a step" if after.steps == 1 else f"{after.steps:,} steps"
        lines.append(
            f"After {steps} of SGD at {after.lr:g}: {after.sentence}; "
            f"the loss went from {losses[0]} to {losses[1]}."
        )
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
        "Gradient: the last end's as 1. Dead: units that get none. "
        f"{document.batch} inputs of {shape}, {document.data}, training mode, float32, {seeds}."
    )
    return lines
