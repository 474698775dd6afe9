"""The schema of doctor.json: what `resexp doctor` found in somebody's net at initialisation."""

from resexp.records.schema import Record


class DoctorLayer(Record):
    """A layer with weights, each time it runs; numbers over the seeds.

    arriving: size of dE/dx at its output in units of T's last end, geometric mean; 0 where a seed
    underflowed,
    None where one is not finite. dead: share of units that get no gradient from any image. relative: |g| /
    |w|
    of the mean loss, weight_rms likewise.
    """

    name: str
    kind: str
    shape: list[int]
    arriving: float | None
    dead: float | None
    weight_rms: float | None
    relative: float | None


class DoctorShortcut(Record):
    """Where a module adds its input to its output; the shares of what comes back there, means over seeds."""

    name: str
    kind: str
    shortcut_share: float | None
    branch_share: float | None


class DoctorDocument(Record):
    """doctor.json. values: T a seed; first, last: its two ends; layers_between: weighted layers on that
    way.
    """

    kind: str
    target: str
    input: list[int]
    batch: int
    seeds: int
    data: str
    first: str | None
    last: str | None
    layers_between: int
    values: list[float | None]
    word: str
    sentence: str
    layers: list[DoctorLayer]
    shortcuts: list[DoctorShortcut]
