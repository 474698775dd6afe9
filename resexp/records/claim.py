"""The schema of a claim's finding.json: what `resexp claims` writes and what its page takes from a folder."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resexp.errors import RunFolderError
from resexp.records.files import read_regular

AnswerWord = Literal[
    "holds", "holds only if", "does not hold", "not resolved", "not trained enough to say", "nothing to cure"
]
MAX_FINDING_BYTES = 64 << 20
"""Of a finding.json. The longest there is has a quarter of a megabyte."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class PartRow(_Row):
    """One thing that the answer rests on."""

    setting: str | None
    """where it was asked, as it is said after `holds only if`; None for what must be so before all else"""
    says: str
    found: bool | None
    """None: not resolved"""
    evidence: str


class MeasurementRow(_Row):
    """One number over seeds; n is 0 where it is exact."""

    what: str
    mean: float | None
    interval: tuple[float, float] | None
    n: Annotated[int, Field(ge=0)]
    unit: str


class PictureRow(_Row):
    """A picture beside finding.json."""

    file: Annotated[str, Field(pattern=r"^picture[0-9]{1,3}\.svg$")]
    caption: str
    description: str


class ClaimDocument(_Row):
    """One finding.json."""

    name: str
    claim: str
    source: str
    word: AnswerWord
    condition: str | None
    answer: str
    """word and condition"""
    sentence: str
    setup: str
    parts: tuple[PartRow, ...]
    measurements: tuple[MeasurementRow, ...]
    pictures: tuple[PictureRow, ...]
    details: dict[str, Any]


def read_claim(folder: Path) -> ClaimDocument:
    """Return the finding in the folder, which bears the claim's name.

    Raises RunFolderError, in one line, where it is missing, damaged, or another claim's or version's.
    """
    path = folder / "finding.json"
    try:
        document = ClaimDocument.model_validate_json(read_regular(path, MAX_FINDING_BYTES), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunFolderError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}") from error
    if document.name != folder.name:
        raise RunFolderError(f"{path}: is of another claim than its folder")
    return document
