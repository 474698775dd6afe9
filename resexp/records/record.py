"""A record: the typed, frozen model of a JSON document or row, and what is said of one that does not fit.

What a document must hold has no default; what younger or older versions leave out has one. Keys that are not
known here are kept, so that a document is written as it was read.
"""

from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError


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
