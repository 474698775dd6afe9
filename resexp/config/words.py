"""The words and numbers that a config's keys take, and what a section of keys is."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from resexp.config.imports import FORM, PATTERN

ImportPath = Annotated[str, Field(pattern=PATTERN, max_length=1000, json_schema_extra={"format": FORM})]
"""Something of the user's own in a key's place; such a key stands in PLUGIN_KEYS, too."""
PublishedName = Literal["cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"]
PUBLISHED: tuple[PublishedName, ...] = get_args(PublishedName)
"""Data sets of others that `resexp data fetch` gets."""
DataName = PublishedName | Literal["crayons", "folder", "auto"] | ImportPath
Normalize = Literal["channel", "pixel_mean"]
Pad = Literal["before", "after"]
Kind = Literal["plain", "residual"]
BlockName = Literal["basic", "bottleneck", "squeeze_excite", "highway", "fixup"]
Order = Literal["post", "pre"]
Shortcut = Literal["pad", "projection"]
Norm = Literal["batch", "none", "group", "layer"]
Activation = Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "identity"] | ImportPath
Init = Literal["he", "xavier", "default", "orthogonal", "delta_orthogonal", "lsuv"] | ImportPath
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Compile = Annotated[Literal["auto"] | bool, Field(description="auto, true or false")]
KernelSource = Literal["auto", "torch", "winograd", "triton"]
Probe = Literal["gradient_profile"] | ImportPath
OptimizerName = Literal["sgd", "adam", "adamw"] | ImportPath

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Section(BaseModel):
    """A frozen part of the config; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def broken_rule(text: str, *keys: str) -> PydanticCustomError:
    """Return the error of a rule between keys of one section; it is shown at the first one written."""
    return PydanticCustomError("broken_rule", "{text}", {"text": text, "keys": keys})
