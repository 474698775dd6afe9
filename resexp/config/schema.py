"""The config schema (pydantic): an experiment's words, its defaults, what is allowed."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from resexp._version import __version__
from resexp.config.yaml_nodes import CONTROL_CHARACTER, dump

DataName = Literal[
    "cifar10", "cifar100", "svhn", "mnist", "fashion_mnist", "crayons", "folder", "auto"
]  # fmt: skip
Normalize = Literal["channel", "pixel_mean"]
Pad = Literal["before", "after"]
Kind = Literal["plain", "residual"]
BlockName = Literal["basic", "bottleneck", "squeeze_excite", "highway", "fixup"]
Order = Literal["post", "pre"]
Shortcut = Literal["pad", "projection"]
Norm = Literal["batch", "none", "group", "layer"]
Activation = Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "identity"]
Init = Literal["he", "xavier", "default", "orthogonal", "delta_orthogonal", "lsuv"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Compile = Annotated[Literal["auto"] | bool, Field(description="auto, true or false")]
KernelSource = Literal["auto", "torch", "winograd", "triton"]
Probe = Literal["gradient_profile"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


AS_EVER: dict[str, Any] = {
    "data.pad": "before",
    "data.test": "test",
    "data.test_split": 0.0,
    "data.cutout": 0,
    "model.block": "basic",
    "optim.label_smoothing": 0.0,
    "optim.clip": 0.0,
    "run.kernels": "auto",
    "record.checkpoint_minutes": 10.0,
}
"""Keys younger than the first recorded runs, each with the value that does what was done without the key: a
digest leaves them out there, so that what was trained before keeps its name. What `auto` came to is in the
manifest, and runs that differ there are never taken for one another."""


class Section(BaseModel):
    """A frozen part of the config; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def broken_rule(text: str, *keys: str) -> PydanticCustomError:
    """Return the error of a rule between keys of one section; it is shown at the first one written."""
    return PydanticCustomError("broken_rule", "{text}", {"text": text, "keys": keys})


class DataSection(Section):
    """Which images, and how they reach the net."""

    name: DataName = "auto"
    """cifar10; cifar100; svhn; mnist; fashion_mnist; crayons (drawn on the fly); folder (of images); auto:
    CIFAR-10 if to be had, else crayons"""
    root: Annotated[str, Field(min_length=1)] = "data"
    """where the files of a data set lie, or the image folder: root/train/CLASS/*, root/test/CLASS/*"""
    validation: Annotated[int, Field(ge=0, le=10**7)] = 0
    """images split off the training set"""
    test: Annotated[str, Field(pattern=r"^[^./][^/]*$", max_length=100)] = "test"
    """the folder of test images in root, e.g. val"""
    test_split: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """share of each class of root/train that becomes the test images, where there is no folder of them; the
    same images whatever the seed"""
    normalize: Normalize = "channel"
    """channel: mean and deviation per channel; pixel_mean: the mean image subtracted (He et al. 2015)"""
    augment: bool = True
    """pad 4, random 32x32 crop, random horizontal flip; no flips for svhn and mnist, which are digits"""
    pad: Pad = "before"
    """normalising: before, the padding is black pixels; after, it is zeros (He et al. 2015)"""
    cutout: Annotated[int, Field(ge=0, le=64)] = 0
    """side in pixels of a square of zeros, at random in each training image (DeVries 2017); 0: none"""

    @model_validator(mode="after")
    def _root_is_one_line(self) -> Self:
        if CONTROL_CHARACTER.search(self.root):
            raise broken_rule("control character in a path", "root")
        return self

    @model_validator(mode="after")
    def _only_folders_have_test_folders(self) -> Self:
        for key in ("test", "test_split"):
            if self.name != "folder" and getattr(self, key) != type(self).model_fields[key].default:
                raise broken_rule(
                    f"goes with data.name folder; {self.name} has test images of its own",
                    key,
                    "name",
                )
        return self


def valid_depths(convs_per_block: int, near: int) -> tuple[int, int]:
    """Return the nearest depths below and above `near` that 3 * n * convs_per_block + 2 can give, n >= 1."""
    stride = 3 * convs_per_block
    num_blocks = max(1, (near - 2) // stride)
    return stride * num_blocks + 2, stride * (num_blocks + 1) + 2


BLOCK_NEEDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "bottleneck": {"convs_per_block": (3,)},
    "highway": {
        "kind": ("residual",),
        "branch_scale": (1.0,),
        "shortcut_scale": (1.0,),
        "learn_branch_scale": (False,),
    },
    "fixup": {
        "kind": ("residual",),
        "norm": ("none",),
        "order": ("post",),
        "init": ("he",),
        "convs_per_block": (2, 3),
        "branch_scale": (1.0,),
        "shortcut_scale": (1.0,),
        "learn_branch_scale": (False,),
    },
}
"""What a block of this name takes of the other keys."""


class ModelSection(Section):
    """The net. These keys are the keyword arguments of `resexp.models.resnet.build`."""

    kind: Kind = "residual"
    """plain: y = R(x); residual: y = R(x) + x"""
    depth: Annotated[int, Field(ge=5, le=10_000)] = 56
    """weighted layers: 3 * n * convs_per_block + 2"""
    width: Annotated[int, Field(ge=4, le=1024, multiple_of=4)] = 16
    """channels of stage 1, divisible by 4; the stages have w, 2w, 4w"""
    convs_per_block: Literal[1, 2, 3] = 2
    """convolutions in a block; 3 is the article's block, 2 is He's"""
    block: BlockName = "basic"
    """basic (He 2015); bottleneck: 1x1, 3x3, 1x1, four times the width (He 2015); squeeze_excite (Hu 2018);
    highway: gates (Srivastava 2015); fixup: no norm, a scaled beginning (Zhang 2019)"""
    order: Order = "post"
    """post: activation after the addition (He 2015); pre: full pre-activation (He 2016)"""
    shortcut: Shortcut = "pad"
    """where the shape changes: pad (option A, no parameters) or projection (option B)"""
    norm: Norm = "batch"
    """normalisation after each convolution"""
    activation: Activation = "relu"
    """the non-linearity; leaky_relu has slope 0.1"""
    init: Init = "he"
    """he: variance 2/fan_in; xavier: 2/(fan_in + fan_out); default: PyTorch's own; orthogonal: gain 1;
    delta_orthogonal: orthogonal at the kernel's centre, else 0 (Xiao 2018); lsuv: orthogonal, then scaled on
    training images until every layer gives variance 1 (Mishkin 2015)"""
    branch_scale: Finite = 1.0
    """multiplies R(x)"""
    shortcut_scale: Finite = 1.0
    """multiplies the shortcut (He 2016, eq. 8)"""
    learn_branch_scale: bool = False
    """branch_scale is a parameter; with branch_scale 0: SkipInit / ReZero"""

    @model_validator(mode="after")
    def _block_fits_the_net(self) -> Self:
        for key, allowed in BLOCK_NEEDS.get(self.block, {}).items():
            if (value := getattr(self, key)) not in allowed:
                words = " or ".join(map(str, allowed))
                raise broken_rule(f"block {self.block} goes with {key} {words}, not {value}", key, "block")
        return self

    @model_validator(mode="after")
    def _depth_fits_the_block(self) -> Self:
        if (self.depth - 2) % (3 * self.convs_per_block):
            below, above = valid_depths(self.convs_per_block, self.depth)
            raise broken_rule(
                f"depth {self.depth} does not fit blocks of {self.convs_per_block} convs; "
                f"allowed: 3 * n * {self.convs_per_block} + 2; the nearest are {below} and {above}",
                "depth",
                "convs_per_block",
            )
        return self


class MultistepSchedule(Section):
    """The rate falls by `factor` at each milestone."""

    name: Literal["multistep"] = "multistep"
    """steps down at milestones"""
    milestones: tuple[Count, ...] = (32000, 48000)
    """steps at which the rate falls; those beyond the last step are legal"""
    factor: Positive = 0.1
    """what the rate is multiplied by at a milestone"""
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    """steps before the full rate"""
    warmup_factor: NonNegative = 0.1
    """rate during warm-up, in units of lr: constant at it"""

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        for earlier, later in pairwise(self.milestones):
            if later <= earlier:
                raise broken_rule(f"{later} comes after {earlier}; allowed: rising steps", "milestones")
        return self


class SmoothSchedule(Section):
    """The rate rises linearly from `warmup_factor * lr`, then follows the named curve to the last step."""

    name: Literal["cosine", "linear", "constant"]
    """the curve; cosine and linear fall to 0"""
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    """steps before the full rate"""
    warmup_factor: NonNegative = 0.1
    """rate at step 0, in units of lr"""


Schedule = Annotated[MultistepSchedule | SmoothSchedule, Field(discriminator="name")]


class OptimSection(Section):
    """SGD, its rate and its length."""

    steps: Count = 64000
    """updates of the weights"""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 128
    """images per step"""
    lr: Positive = 0.1
    """learning rate after warm-up"""
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.9
    """share of the last update that is added to the next"""
    nesterov: bool = False
    """the gradient is taken where the momentum leads"""
    weight_decay: NonNegative = 1e-4
    """added to the gradient, in units of the weight"""
    clip: NonNegative = 0.0
    """largest norm of the whole gradient, scaled down to it before the update (Pascanu 2013); 0: none"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """share of the target spread over all classes alike (Szegedy 2015), in what is minimised alone; losses
    are recorded without it"""
    ema: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """decay of an average of the weights over the steps, by which the net is evaluated; 0: none"""
    schedule: Schedule = MultistepSchedule()
    """how the rate changes over the steps: multistep, cosine, linear or constant"""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise broken_rule("nesterov without momentum; allowed: momentum above 0", "nesterov", "momentum")
        return self


class RunSection(Section):
    """The machine. What is auto is resolved once and written to manifest.json with its reason."""

    device: Device = "auto"
    """auto: CUDA if there is one, else the CPU"""
    precision: Precision = "auto"
    """of the convolutions; parameters stay float32. tf32, float32 cut to 10 bits on a GPU, only by name"""
    compile: Compile = "auto"
    """auto weighs the compile time against the length of the whole planned run"""
    kernels: KernelSource = "auto"
    """whose convolutions and batch norms; winograd: this program's own, float32 on a CPU, not compiled;
    triton: its own, bfloat16 on a GPU, not compiled"""
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """CPU threads; part of the run's identity, since they change bits"""


class RecordSection(Section):
    """What is written down, and how often. None of it changes the weights by a bit."""

    gradient_norm: bool = True
    """the norm of every weighted layer's gradient at every step"""
    probes: tuple[Probe, ...] = ("gradient_profile",)
    """measurements between steps"""
    every: Count = 10
    """steps between rows of metrics.jsonl"""
    eval_every: Count = 1000
    """steps between evaluations; there is always one at the end"""
    checkpoint_every: Count = 1000
    """steps between checkpoints; there is always one at the end"""
    checkpoint_minutes: Positive = 10.0
    """minutes after which there is one in any case, once the step is finished"""


class Config(Section):
    """One experiment: everything that decides its result."""

    name: Annotated[str, Field(pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=100)] = "run"
    """the run's folder under --runs-dir; not part of the digest"""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """every stream of chance is derived from it by name"""
    data: DataSection = DataSection()
    """which images"""
    model: ModelSection = ModelSection()
    """which net"""
    optim: OptimSection = OptimSection()
    """how it learns"""
    run: RunSection = RunSection()
    """on what it runs"""
    record: RecordSection = RecordSection()
    """what is written down"""

    def tree(self) -> dict[str, Any]:
        """Return the config as JSON's types."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """Return 64 hex digits that name the experiment: SHA-256 over every key but `name`.

        A key of AS_EVER counts only where it changes what was ever done.
        """
        tree = {key: value for key, value in self.tree().items() if key != "name"}
        for key, value in AS_EVER.items():
            section, leaf = key.split(".")
            if tree[section][leaf] == value:
                del tree[section][leaf]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def write(config: Config) -> str:
    """Return the config, every key of it, as YAML that reads back equal."""
    return dump(config.tree())


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema by which an editor checks and completes a config; not to be changed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:resexp:config:{__version__}",
        **Config.model_json_schema(),
    }


def differing_keys(a: Config, b: Config) -> list[tuple[str, Any, Any]]:
    """Return (key, a's value, b's value) where two experiments differ; None for a key only the other has."""
    trees = [flat(config.tree()) for config in (a, b)]
    keys = dict.fromkeys([*trees[0], *trees[1]])
    pairs = [(key, trees[0].get(key), trees[1].get(key)) for key in keys if key != "name"]
    return [pair for pair in pairs if pair[1] != pair[2]]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tree of settings as one level: {"model.depth": 56, ...}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
