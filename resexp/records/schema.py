"""The schema of a run's record: the rows of its JSON Lines files, and its result."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from resexp.records.record import Record

GRADIENT_PROFILE = "gradient_profile"


class StepRow(Record):
    """A step in metrics.jsonl. Gradient norms by weighted layer; the extremes are since the row before."""

    kind: Literal["step"]
    step: int
    loss: float
    """nats, of the step's batch"""
    lr: float
    gradient_norm: list[float] = []
    gradient_norm_min: list[float] = []
    gradient_norm_max: list[float] = []


class EvaluationRow(Record):
    """An evaluation in metrics.jsonl. Losses in nats, None where not finite; accuracies in [0, 1]."""

    kind: Literal["evaluation"]
    step: int
    train_loss: float | None
    train_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None
    test_accuracy: float

    def scores(self) -> Iterator[tuple[str, str, float]]:
        """Yield what is known as (images, quantity, value): ('train', 'loss', 2.3)."""
        for images in ("train", "validation", "test"):
            for quantity in ("loss", "accuracy"):
                if (value := getattr(self, f"{images}_{quantity}")) is not None:
                    yield images, quantity, value


class FaultRow(Record):
    """The last row of metrics.jsonl where something stopped being finite."""

    kind: Literal["fault"]
    step: int
    lr: float
    layer: str | None
    what: str


MetricsRow = Annotated[StepRow | EvaluationRow | FaultRow, Field(discriminator="kind")]


class OutputRow(Record):
    """dE/dx at one output, the stem's or a block's, as the gradient profile has it; None where undefined."""

    name: str
    stage: int
    layer: int
    norm: float | None
    rms: float | None
    zeros: int
    subnormals: int = 0
    count: int
    response_std: float | None = None
    shortcut_share: float | None = None
    branch_share: float | None = None
    shortcut_transmission: float | None = None
    branch_transmission: float | None = None
    cosine: float | None = None
    reach: float | None = None


class LayerRow(Record):
    """One weight's gradient."""

    name: str
    rms: float | None
    relative: float | None
    zeros: int


class Profile(Record):
    """What the gradient profile measures, by output and by layer, the stem first."""

    loss: float | None = None
    outputs: list[OutputRow]
    layers: list[LayerRow] = []

    def arriving(self) -> dict[float, float]:
        """Return the size of dE/dx at each output by layer, the last output's as 1; empty without that."""
        last = self.outputs[-1].norm
        if not last:
            return {}
        return {out.layer: out.norm / last for out in self.outputs if out.norm is not None}


class ProbeRow(Record):
    """A row of profile.jsonl of whatever probe; those of the gradient profile do not name it."""

    step: int
    probe: str = GRADIENT_PROFILE

    def numbers(self) -> dict[str, float]:
        """Return what a probe measured that is one finite number, by its key."""
        return {
            key: float(value)
            for key, value in (self.model_extra or {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }


class ProfileRow(Profile):
    """A row of profile.jsonl: the gradient profile at a step."""

    step: int

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types, the step first."""
        return {"step": self.step, **super().to_json()}


def probe_row(document: Mapping[str, Any]) -> ProfileRow | ProbeRow:
    """Return a row of profile.jsonl, by the probe it names. Raises pydantic's ValidationError."""
    return (ProbeRow if "probe" in document else ProfileRow).model_validate(document)


class TimingRow(Record):
    """A row of timing.jsonl: a span of steps."""

    step: int
    seconds: float
    images_per_second: float


class GradientEnd(Record):
    """A layer's gradient norm."""

    layer: str
    norm: float


class GradientEnds(Record):
    """The weight gradient of the first and the last convolution at step 0."""

    first: GradientEnd
    last: GradientEnd


class FirstOverLast(Record):
    """T at step 0 and at the last probe; None where it was not measured."""

    initial: float | None = None
    final: float | None = None


class LossCurve(Record):
    """Training loss in nats by step, thinned."""

    step: list[float] = []
    loss: list[float] = []


class RunResult(Record):
    """result.json: a run's summary. Losses in nats, accuracies in [0, 1], None where there is none."""

    status: str
    steps: int
    final_loss: float | None
    loss_area: float | None
    train_loss: float | None = None
    train_accuracy: float | None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None
    gradient: GradientEnds | None
    transport: FirstOverLast
    curve: LossCurve
    fault: FaultRow | None = None
