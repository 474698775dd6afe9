"""Schema of the records: a typed, frozen pydantic model for every JSON document and row that is written.

What a document must hold has no default; what younger or older versions leave out has one. Keys that are not
known here are kept, so that a document is written as it was read.
"""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

GRADIENT_PROFILE = "gradient_profile"


class Record(BaseModel):
    """One JSON object. Types are taken strictly: a number in quotes is none."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    def to_json(self) -> dict[str, Any]:
        """Return JSON's types, in the order of the fields, without what was never set."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def read(cls, document: object) -> Self:
        """Return the document's model. Raises ValueError, whose text is `wrong`'s first line."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ValueError(first_fault(cls, error)[0]) from error


def first_fault(model: type[Record], error: ValidationError) -> tuple[str, str]:
    """Return the dotted key that is missing or of another kind, and the name of its type.

    Of a section that is missing as a whole it is the first key that the section must hold.
    """
    keys: list[str] = []
    found: Any = model
    for step in error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]:
        if not _is_section(found) or step not in found.model_fields:
            break
        keys.append(str(step))
        found = _plain(found.model_fields[str(step)].annotation)
    while _is_section(found) and (needed := _first_needed(found)):
        keys.append(needed)
        found = _plain(found.model_fields[needed].annotation)
    return ".".join(keys), getattr(get_origin(found) or found, "__name__", str(found))


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Record)


def _first_needed(section: type[Record]) -> str | None:
    return next((key for key, field in section.model_fields.items() if field.is_required()), None)


def _plain(annotation: Any) -> Any:
    """The type without `or None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


class Images(Record):
    """What a run was trained on."""

    name: str
    label: str
    fingerprint: str
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    num_classes: int
    classes: list[str] | None = None
    num_test_in_train: int | None = None
    notes: list[str] | None = None


class RecordedExecution(Record):
    """How a run was executed; the fields of training.execution.Execution."""

    device: str
    precision: str
    mode: str
    threads: int
    reason: str
    devices: int = 1
    sync_batch_norm: bool = False
    kernels: str = "torch"


class Versions(Record):
    """What decides a run's bits."""

    resexp: str
    torch: str


class PluginRow(Record):
    """What of the user's own a run began with."""

    key: str
    path: str
    sha256: str
    """of its source"""


class Manifest(Record):
    """manifest.json of a run: what it needs to go on or be compared, and where it began."""

    kind: Literal["run"]
    config_digest: str
    plugins: list[PluginRow] = []
    data: Images
    execution: RecordedExecution
    versions: Versions
    python: str | None = None
    commit: str | None = None
    machine: dict[str, Any] | None = None
    layers: list[str]
    parameters: int
    created: str | None = None
    extended: list[dict[str, int]] | None = None
    """each time it went on to more steps than it was begun with: from, to"""

    def section(self, name: Literal["data", "execution", "versions"]) -> dict[str, Any]:
        """Return a section as it was written."""
        return getattr(self, name).to_json()


class LookRow(Record):
    """A look at a comparison that could give words, and what it spent of the 5%. ended: runs then over."""

    number: int
    seeds: int
    level: float
    ended: int


class ChoiceRow(Record):
    """The value at which an arm is compared.

    losses: validation losses by value, one a search seed, None where it diverged.
    """

    arm: str
    cell: dict[str, Any]
    value: str
    losses: dict[str, list[float | None]]


class BestOfRow(Record):
    """A search before a comparison: the key, its seeds, how many images were held back to choose by."""

    key: str
    seeds: list[int]
    validation: int
    choices: list[ChoiceRow]


class FolderManifest(Record):
    """manifest.json of what is no run: a comparison, a table of gradients, a claim."""

    kind: str | None = None
    question: str | None = None
    command: str | None = None
    seeds: list[int] | None = None
    versions: dict[str, str] | None = None
    runs: list[str] = []
    """of a comparison: the names of its runs' folders"""
    planned_looks: int | None = None
    looks: list[LookRow] = []
    best_of: BestOfRow | None = None


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
