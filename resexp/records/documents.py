"""Documents of findings: comparison.json and gradients.json."""

from typing import Any

from resexp.records.record import Record


class RunRow(Record):
    """A run in comparison.json."""

    arm: str
    kind: str
    depth: int
    norm: str
    init: str
    seed: int
    fate: str
    folder: str
    parameters: int | None = None
    falling: bool | None = None
    steps: int | None = None
    final_loss: float | None = None
    test_accuracy: float | None = None
    gradient_first: float | None = None
    gradient_last: float | None = None
    transport_initial: float | None = None
    transport_final: float | None = None


class LeftOutRow(Record):
    """How many seeds a verdict does not rest on."""

    num: int


class RatioRow(Record):
    """T over the seeds, as a verdict on the gradient rests on it."""

    ratio: float | None = None
    interval: list[float | None] | None = None
    underflows: int = 0
    sentence: str | None = None


class VerdictRow(Record):
    """A verdict in comparison.json. statement: the sentence without whom it is about, in newer records."""

    about: str
    sentence: str
    statement: str | None = None
    arm: str = ""
    when: str | None = None
    word: str | None = None
    n: int = 0
    left_out: list[LeftOutRow] | None = None
    cell: dict[str, Any] | None = None
    transport: RatioRow | None = None


class ComparisonDocument(Record):
    """comparison.json."""

    runs: list[RunRow]
    verdicts: list[VerdictRow]


class PointRow(Record):
    """One output in gradients.json: log10 of the size of dE/dx, the last block's as 1, over the seeds."""

    layer: int
    log10: float | None
    log10_low: float | None
    log10_high: float | None
    underflows: int
    predicted: float | None


class GradientRow(Record):
    """A kind of net in gradients.json: its settings, and what the gradient does in it."""

    kind: str
    depth: int
    norm: str
    seeds: list[int]
    ratio: float | None
    factor: float | None
    interval: list[float | None] | None
    verdict: str
    depth_passed: int | None
    underflows: int
    below_float32: bool
    predicted: float | None
    predicted_by: str
    profile: list[PointRow]

    def setting(self, key: str) -> Any:
        """One of the model's settings."""
        return getattr(self, key)


class Label(Record):
    """What the images are called."""

    label: str


class GradientsDocument(Record):
    """gradients.json."""

    data: Label
    images: int
    precision: str
    rows: list[GradientRow]
