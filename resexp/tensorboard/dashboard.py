"""TensorBoard's dashboard besides the curves: a layout, words on how to read it, settings.

All of it goes into the run's own event file: a run is one line in every list. Groups of tags are listed in
the order of their names, capitals first, so Accuracy and Loss stand above the many charts of single layers.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard.summary import custom_scalars, hparams, text

from resexp.analysis.gradient_ratio import slope
from resexp.config import Config
from resexp.config.imports import without_folder
from resexp.config.yaml_nodes import without_commands
from resexp.records.schema import ProfileRow
from resexp.records.summary import first_over_last

LAYOUT = {
    "Loss": {
        "training: each recorded step's own batch, nats": ["Multiline", [r"Loss/train$"]],
        "test images, nats": ["Multiline", [r"Loss/test$"]],
    },
    "Accuracy": {
        "test images": ["Multiline", [r"Accuracy/test$"]],
        "training images, evaluation mode": ["Multiline", [r"Accuracy/train_evaluated$"]],
    },
    "First over last": {
        "log10 of T: dE/dx, stem over last block": ["Multiline", [r"gradient/log10_first_over_last"]],
        "log10 of weight gradients, first conv over last conv": [
            "Multiline",
            [r"gradient/log10_weights_first_over_last"],
        ],
    },
    "Slope": {"decades of dE/dx per layer, inside the stages": ["Multiline", [r"gradient/slope"]]},
    "The layers": {
        "log10 of the norm of the weight gradients, mean of each stage": [
            "Multiline",
            [r"gradient/log10_norm\..*"],
        ],
        "norm of every layer's weight gradient (log scale)": ["Multiline", [r"gradient_norm/.*"]],
    },
}
"""Custom scalars: category, chart, kind of chart, regular expressions of its tags."""
HPARAM_SETTINGS = ("kind", "depth", "norm", "activation", "init", "order")
"""Of the model; TensorBoard shows every one as a column, so only what runs usually differ in."""
HPARAM_METRICS = ("Loss/train", "Loss/test", "Accuracy/test", "gradient/log10_first_over_last")
HOW_TO_READ = Path(__file__).with_name("how_to_read.md").read_text("utf-8")


def opening(config: Config, data: str, *, explained: bool = True) -> list[Summary]:
    """Return what is shown from the start: layout, settings and, where `explained`, how to read all of it."""
    named = {key: getattr(config.model, key) for key in HPARAM_SETTINGS}
    named |= {key: without_folder(word) for key, word in named.items() if isinstance(word, str)}
    optim = config.optim
    settings = {
        **named,
        "seed": config.seed,
        "data": without_commands(data),
        "lr": optim.lr,
        "steps": optim.steps,
    }
    experiment, start, _ = hparams(settings, dict.fromkeys(HPARAM_METRICS, 0.0))
    words = [text("how_to_read", HOW_TO_READ)] if explained else []
    return [custom_scalars(LAYOUT), *words, experiment, start]


def closing() -> list[Summary]:
    """Return the mark of a run that reached its last step."""
    return [hparams({}, {})[2]]


def profile_scalars(row: ProfileRow) -> dict[str, float]:
    """Return the numbers that a row of profile.jsonl boils down to."""
    outputs = row.outputs
    scalars = {"gradient/underflow": outputs[0].zeros / outputs[0].count}
    transport, steepness = first_over_last(outputs), slope(outputs)
    if transport:  # an exact zero has no logarithm
        scalars["gradient/log10_first_over_last"] = math.log10(transport)
    if steepness is not None:
        scalars["gradient/slope"] = steepness
    return scalars


def norms_by_stage(layers: Sequence[str], norms: Sequence[float]) -> dict[str, float]:
    """Return log10 of the layers' norms, the mean over each stage, stem and head; none where one is 0."""
    stages: dict[str, list[float]] = {}
    for layer, norm in zip(layers, norms, strict=False):
        stages.setdefault(layer.partition(".")[0], []).append(norm)
    return {
        f"gradient/log10_norm.{stage}": math.fsum(map(math.log10, own)) / len(own)
        for stage, own in stages.items()
        if all(norm > 0 for norm in own)
    }
