"""`resexp.doctor`: the gradient in a net of one's own."""

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from resexp.api.result import data_frame, framed
from resexp.config.imports import load_callable
from resexp.errors import UsageError
from resexp.experiments.diagnosis import Examination, Given, diagnose
from resexp.experiments.doctor_inputs import Noise
from resexp.records.doctor import DoctorDocument
from resexp.report import html
from resexp.report.doctor import doctor_notes, doctor_table
from resexp.report.figures.doctor_profile import doctor_figure
from resexp.report.figures.notebook import Figure, shown
from resexp.report.figures.svg import to_svg
from resexp.report.progress import Fraction, display
from resexp.report.terminal import as_text

if TYPE_CHECKING:
    import pandas


class Diagnosis:
    """What was measured. document: as `resexp doctor` writes it into doctor.json."""

    def __init__(self, document: DoctorDocument) -> None:
        self.document = document

    @property
    def word(self) -> str:
        """vanishing, exploding, healthy, not enough seeds to say, or not measured."""
        return self.document.word

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row a layer with weights, each time it runs; `after`: its gradient after the steps."""
        after = self.document.after
        rows = [layer.to_json() for layer in self.document.layers]
        if after is not None:
            rows = [{**row, "after": layer.arriving} for row, layer in zip(rows, after.layers, strict=True)]
        return data_frame(rows)

    def figure(self) -> Figure:
        """Return the size of dE/dx by layer."""
        return shown(doctor_figure(self.document))

    def __repr__(self) -> str:
        return "\n".join([as_text(doctor_table(self.document)), *doctor_notes(self.document)])

    def _repr_html_(self) -> str:
        table = doctor_table(self.document)
        picture = to_svg(doctor_figure(self.document), "The size of dE/dx at every layer with weights.")
        found = html.section(
            self.document.target,
            *(html.paragraph(note) for note in doctor_notes(self.document) if note),
            html.figure(picture, "Size of dE/dx at the output of each layer with weights"),
            html.table(table.names, table.texts, numbers=table.numbers),
        )
        return framed(html.page(f"Doctor: {self.document.target}", [found]))


def doctor(
    net: nn.Module | Callable[[], nn.Module] | str,
    batch: Tensor | tuple[Tensor, Tensor] | None = None,
    *,
    input: tuple[int, ...] = (3, 32, 32),
    num: int = 32,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    classes: int | None = None,
    seeds: int | None = None,
    train: int = 0,
    lr: float = 0.01,
) -> Diagnosis:
    """Measure the gradient of the loss at the output of every layer of a net that runs, as `resexp doctor`.

    net: a module, which is copied and stays as it is; or what makes one, called for each of `seeds` (default
    5), also as "module:name". batch: inputs float [B, ...] and labels int64 [B], or inputs alone, whose
    labels are then drawn; without it `num` inputs of the shape `input`, normal noise. loss: of output and
    labels, the mean over the inputs; default cross-entropy. train: steps of SGD at `lr` before a second
    measurement, on this batch or other noise. Raises UsageError in one line for what keeps it from that.
    """
    module = net if isinstance(net, nn.Module) else None
    if module is not None and seeds not in (None, 1):
        raise UsageError("doctor: a net that is there has one seed; give what makes it, e.g. lambda: Net()")
    make = load_callable(net) if isinstance(net, str) else net
    given, what = _shown(batch, num, input)
    case = Examination(
        name=net if isinstance(net, str) else _name(net),
        make=make if module is None else lambda: deepcopy(module),
        given=given,
        what=what,
        loss=loss,
        classes=classes,
        seeds=1 if module is not None else seeds or 5,
        train=train,
        lr=lr,
    )
    with display() as show:
        return Diagnosis(diagnose(case, lambda done: show.update("nets measured", Fraction(done))))


def _shown(
    batch: Tensor | tuple[Tensor, Tensor] | None, num: int, shape: tuple[int, ...]
) -> tuple[Callable[[int, int], Given], str]:
    if batch is None:
        noise = Noise(num, shape)
        return noise, noise.what
    if isinstance(batch, Tensor):
        alone = Given(batch)
        return lambda seed, step: alone, "a batch of one's own, labels drawn at random"
    inputs, labels = batch
    if len(inputs) != len(labels):
        raise UsageError(f"doctor: {len(inputs)} inputs, but {len(labels)} labels")
    both = Given(inputs, labels)
    return lambda seed, step: both, "a batch of one's own"


def _name(net: nn.Module | Callable[[], nn.Module]) -> str:
    name = type(net).__name__ if isinstance(net, nn.Module) else getattr(net, "__name__", type(net).__name__)
    return name if name.isidentifier() else "the net"
