"""Doctor: a question about anybody's net, and the folder of its answer."""

import hashlib
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from resexp._version import __version__
from resexp.config import DataSection
from resexp.config.imports import load_callable
from resexp.data.dataset import OnDecoded
from resexp.data.splits import load as load_data
from resexp.experiments.diagnosis import Examination, diagnose
from resexp.experiments.doctor_inputs import Noise, Pictures
from resexp.records.doctor import DoctorDocument
from resexp.records.files import child, write_atomic, write_json
from resexp.records.lock import locked
from resexp.records.manifest import FolderManifest
from resexp.records.preflight import admit_kind
from resexp.report.figures.doctor_profile import doctor_figure
from resexp.report.figures.png import to_png
from resexp.report.figures.style import attempt_drawing
from resexp.report.progress import Display, Fraction


class Question(NamedTuple):
    """What is asked. target, loss: MODULE:NAME or FILE.py:NAME. input: shape of one input. data: whose images
    are shown, None for noise. train: SGD steps before a second measurement.
    """

    target: str
    input: tuple[int, ...]
    batch: int = 32
    classes: int | None = None
    loss: str | None = None
    seeds: int = 5
    data: DataSection | None = None
    train: int = 0
    lr: float = 0.01


def case_of(question: Question, progress: OnDecoded = lambda _: None) -> Examination:
    """Return the case that is asked about, its images read."""
    shown = Noise(question.batch, question.input)
    if question.data is not None:
        shown = Pictures(question.batch, question.input, load_data(question.data, progress))
    return Examination(
        name=question.target,
        make=load_callable(question.target),
        given=shown,
        what=shown.what,
        loss=None if question.loss is None else load_callable(question.loss),
        classes=question.classes,
        seeds=question.seeds,
        train=question.train,
        lr=question.lr,
    )


def run_doctor(
    question: Question, *, runs_dir: Path, name: str | None, command: Sequence[str], show: Display
) -> tuple[Path, DoctorDocument]:
    """Diagnose, and return the folder with doctor.json, doctor.png and manifest.json, and what is in it."""
    asked = hashlib.sha256(repr((question, __version__)).encode()).hexdigest()[:8]
    case = case_of(question, lambda done: show.update("images, % read", Fraction(done)))
    document = diagnose(case, lambda done: show.update("nets measured", Fraction(done)))
    return write_doctor(
        document, asked, runs_dir=runs_dir, name=name, command=command, say=show.say
    ), document


def write_doctor(
    document: DoctorDocument,
    asked: str,
    *,
    runs_dir: Path,
    name: str | None,
    command: Sequence[str],
    say: Callable[[str], None],
) -> Path:
    """Write the folder of a diagnosis. asked: eight digits of what was asked, its name by default."""
    folder = child(runs_dir, name or f"doctor-{asked}")
    with locked(folder):
        admit_kind(folder, "doctor", asked)
        manifest = FolderManifest(
            kind="doctor", question=asked, command=shlex.join(command), versions={"resexp": __version__}
        )
        write_json(folder / "manifest.json", manifest.to_json())
        write_json(folder / "doctor.json", document.to_json())
        picture = folder / "doctor.png"
        if png := attempt_drawing(lambda: to_png(doctor_figure(document)), str(picture), say):
            write_atomic(picture, png)
    return folder
