"""The schema of doctor.json: what `resexp doctor` found in somebody's net."""

from resexp.records.record import Record


class DoctorLayer(Record):
    """A layer with weights, each time it runs; numbers over the seeds.

    arriving: size of dE/dx at its output in units of T's last end, geometric mean; 0 where a seed
    underflowed, None where one is not finite. dead: share of units that get no gradient from any image.
    relative: |g| / |w| of the mean loss, weight_rms likewise.
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


class DoctorReading(Record):
    """One measurement. loss: the mean over the seeds. values: T a seed."""

    loss: float | None = None
    values: list[float | None]
    word: str
    sentence: str
    layers: list[DoctorLayer]
    shortcuts: list[DoctorShortcut]


class DoctorAfter(DoctorReading):
    """The measurement after so many steps of SGD at this rate, on the same inputs as before."""

    steps: int
    lr: float


class DoctorDocument(DoctorReading):
    """doctor.json: the measurement at initialisation, and what was measured.

    first, last: T's two ends; layers_between: weighted layers on that way.
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
    after: DoctorAfter | None = None

    @property
    def readings(self) -> list[DoctorReading]:
        """The measurements in order."""
        return [self] if self.after is None else [self, self.after]
