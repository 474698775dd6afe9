"""TensorBoard's dashboard besides the curves: a layout, words on how to read it, settings, pictures.

All of it goes into the run's own event file: a run is one line in every list. Groups of tags are listed in
the order of their names, capitals first, so Accuracy and Loss stand above the many charts of single layers.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard.summary import custom_scalars, hparams, image, text

from resexp.analysis.gradient_ratio import slope
from resexp.config import Config
from resexp.config.yaml_nodes import without_commands
from resexp.records.schema import ProfileRow
from resexp.records.summary import first_over_last
from resexp.report.figures.gradient_grid import heat_figure, step_figure
from resexp.report.figures.png import to_pixels

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
        "T: dE/dx, stem over last block (use the log scale)": ["Multiline", [r"gradient/first_over_last"]],
        "weight gradients, first conv over last conv": ["Multiline", [r"gradient/weights_first_over_last"]],
    },
    "Slope": {"decades of dE/dx per layer, inside the stages": ["Multiline", [r"gradient/slope"]]},
    "The layers": {"norm of every layer's weight gradient (log scale)": ["Multiline", [r"gradient_norm/.*"]]},
}
"""Custom scalars: category, chart, kind of chart, regular expressions of its tags."""
HPARAM_SETTINGS = ("kind", "depth", "norm", "activation", "init", "order")
"""Of the model; TensorBoard shows every one as a column, so only what runs usually differ in."""
HPARAM_METRICS = ("Loss/train", "Loss/test", "Accuracy/test", "gradient/first_over_last")
HOW_TO_READ = """
**Where to look.** *Custom scalars* has the questions in order: loss, accuracy, first over last, slope, the
layers. *Images* has the profile: TensorBoard draws no curve against the layer, so those are pictures, with a
slider for the step. *HParams* compares runs by their settings.

| tag | what it is |
|---|---|
| `Loss/train` | mean cross-entropy of that step's batch, nats; guessing among K classes is ln K |
| `Loss/train_evaluated`, `Accuracy/train_evaluated` | a fixed sample of training images, evaluation mode |
| `Loss/test`, `Accuracy/test` | all test images, evaluation mode |
| `gradient/first_over_last` | **T**: size of dE/dx at the stem's output over that at the last block's |
| `gradient/slope` | decades per weighted layer towards the input; below 0 the gradient shrinks on its way |
| `gradient/underflow` | share of exact zeros in dE/dx at the stem's output: below what float32 holds |
| `gradient/total` | L2 norm of all weighted layers' gradients together |
| `gradient/weights_first_over_last` | first conv's weight gradient over the last's. No verdict rests on it |
| `gradient_norm/NNN.layer` | L2 norm of one layer's weight gradient; unlike layers do not compare |

**T below 0.001 is vanishing, above 1000 exploding**, between 0.1 and 10 healthy. In between it depends on the
depth and on the spread over seeds: the report says it. Judge step 0 and the last probe apart: with batch norm
a plain net *explodes* at step 0 and settles within a few steps.

**profile/size** draws dE/dx against the layer, with the last block's output as 1, so the left end is T. Below
it, for a residual net: the share of the gradient entering each block that came through the shortcut and
through the branch. Shares sum to 1 and may be negative. Triangles at the foot are exact zeros: underflow.

**profile/heat_map**, drawn when training ends, has a column for each probed step. The colours span 10^-6 to
10^6 in every run, so runs may be held side by side; what is smaller or larger has the colour of the end.
Black is underflow.
"""


def opening(config: Config, data: str) -> list[Summary]:
    """Return what is shown from the start: layout, words, settings."""
    named = {key: getattr(config.model, key) for key in HPARAM_SETTINGS}
    optim = config.optim
    settings = {
        **named,
        "seed": config.seed,
        "data": without_commands(data),
        "lr": optim.lr,
        "steps": optim.steps,
    }
    experiment, start, _ = hparams(settings, dict.fromkeys(HPARAM_METRICS, 0.0))
    return [custom_scalars(LAYOUT), text("how_to_read", HOW_TO_READ), experiment, start]


def closing() -> list[Summary]:
    """Return the mark of a run that reached its last step."""
    return [hparams({}, {})[2]]


def profile_scalars(row: ProfileRow) -> dict[str, float]:
    """Return the numbers that a row of profile.jsonl boils down to."""
    outputs = row.outputs
    scalars = {"gradient/underflow": outputs[0].zeros / outputs[0].count}
    transport, steepness = first_over_last(outputs), slope(outputs)
    if transport is not None:
        scalars["gradient/first_over_last"] = transport
    if steepness is not None:
        scalars["gradient/slope"] = steepness
    return scalars


def size_picture(row: ProfileRow, config: Config, data: str) -> Summary:
    """Return the picture of one row of profile.jsonl."""
    title = f"{_title(config)}, step {row.step:,}\n{data}"
    return _picture("profile/size", step_figure(row, kind=config.model.kind, title=title))


def heat_picture(rows: Sequence[ProfileRow], config: Config, data: str) -> Summary:
    """Return the picture of all rows of profile.jsonl."""
    return _picture("profile/heat_map", heat_figure(rows, title=f"{_title(config)}\n{data}"))


def _title(config: Config) -> str:
    """TensorBoard itself says which run it is."""
    return f"{config.model.kind}, depth {config.model.depth}"


def _picture(tag: str, figure: Figure) -> Summary:
    return image(tag, to_pixels(figure), dataformats="HWC")
