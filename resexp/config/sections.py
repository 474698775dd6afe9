"""The sections of a config (pydantic): every key, its default, what is allowed alone and beside others."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resexp.config.imports import is_import_path, name_in
from resexp.config.needs import BLOCK_NEEDS, SURVIVAL_NEEDS
from resexp.config.words import (
    Activation,
    BlockName,
    Compile,
    Count,
    DataName,
    Device,
    Finite,
    Init,
    KernelSource,
    Kind,
    NonNegative,
    Norm,
    Normalize,
    OptimizerName,
    Order,
    Pad,
    Positive,
    Precision,
    Probe,
    Section,
    Shortcut,
    broken_rule,
)
from resexp.config.yaml_nodes import CONTROL_CHARACTER


class DataSection(Section):
    """Which images, and how they reach the net."""

    name: DataName = "auto"
    """cifar10; cifar100; svhn; mnist, fashion_mnist (grey in three channels, stretched to 32x32); crayons
    (drawn on the fly); folder (of images); auto: CIFAR-10 if to be had, else crayons"""
    root: Annotated[str, Field(min_length=1)] = "data"
    """where the data set lies, as torchvision lays it out, or the image folder: root/train/CLASS/*,
    root/test/CLASS/*"""
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
    """pad 4, random 32x32 crop, random horizontal flip (none of svhn and mnist: of a digit it makes
    another)"""
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
    highway: y = R(x) T(x) + x (1 - T(x)) (Srivastava 2015); fixup: no norm, a scaled beginning
    (Zhang 2019)"""
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
    survival: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    """stochastic depth: how likely a step keeps the last block's R(x), falling in a line from 1 at the net's
    input (Huang 2016); 1: every block always"""

    @model_validator(mode="after")
    def _block_fits_the_net(self) -> Self:
        for key, allowed in BLOCK_NEEDS.get(self.block, {}).items():
            if (value := getattr(self, key)) not in allowed:
                words = " or ".join(map(str, allowed))
                raise broken_rule(f"block {self.block} goes with {key} {words}, not {value}", key, "block")
        return self

    @model_validator(mode="after")
    def _only_branches_are_left_out(self) -> Self:
        for key, allowed in SURVIVAL_NEEDS.items():
            if self.survival < 1 and (value := getattr(self, key)) not in allowed:
                words = " or ".join(allowed)
                raise broken_rule(
                    f"survival {self.survival:g} goes with {key} {words}, not {value}", "survival", key
                )
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
    """The optimizer, its rate and its length."""

    name: OptimizerName = "sgd"
    """sgd; adam, adamw: with torch's own betas and eps"""
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
    """added to the gradient, in units of the weight; adamw takes it off the weight, times the rate"""
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

    @model_validator(mode="after")
    def _only_sgd_has_momentum(self) -> Self:
        for key in ("momentum", "nesterov"):
            default = type(self).model_fields[key].default
            if self.name != "sgd" and getattr(self, key) != default:
                raise broken_rule(f"goes with optim.name sgd; with {self.name} leave it out", key, "name")
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
    pictures: bool = True
    """the gradient profile drawn for TensorBoard whenever it is measured, about a tenth of a second each"""
    every: Count = 10
    """steps between rows of metrics.jsonl"""
    eval_every: Count = 1000
    """steps between evaluations; there is always one at the end"""
    checkpoint_every: Count = 1000
    """steps between checkpoints; there is always one at the end"""
    checkpoint_minutes: Positive = 10.0
    """minutes after which there is one in any case, once the step is finished"""

    @model_validator(mode="after")
    def _probes_have_names_of_their_own(self) -> Self:
        names = [name_in(probe) for probe in self.probes]
        for probe, name in zip(self.probes, names, strict=True):
            if is_import_path(probe) and (names.count(name) > 1 or name == "gradient_profile"):
                raise broken_rule(f"{name} is the name of another probe, too; rename one", "probes")
        return self
