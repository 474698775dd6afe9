"""Gradients at initialisation, over a grid of nets. No training: seconds instead of hours."""

import hashlib
import itertools
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from resexp._version import __version__
from resexp.analysis.gradient_ratio import gradient_ratio, slope, slope_of
from resexp.analysis.mean_field import predict
from resexp.analysis.statistics import mean_estimate
from resexp.config import Config
from resexp.config.load import load
from resexp.data.batches import Batch, render, sample, unaugmented
from resexp.data.splits import Splits
from resexp.data.splits import load as load_data
from resexp.errors import UsageError
from resexp.experiments.plan import FULL_LOOK, QUICK_LOOK_INIT, require_said_once
from resexp.probes.gradient_profile import gradient_profile
from resexp.records.files import child, write_atomic, write_json
from resexp.records.lock import locked
from resexp.records.manifest import FolderManifest
from resexp.records.preflight import admit_kind
from resexp.records.schema import OutputRow, Profile
from resexp.report.figures.gradient_grid import grid_figure
from resexp.report.figures.png import to_png
from resexp.report.figures.style import attempt_drawing
from resexp.report.progress import Display, Fraction
from resexp.training.execution import usable_cores
from resexp.training.initial_net import initial_net

NUM_IMAGES = 32
"""The first 32 of the probe batch: float64 convolutions are slow on a CPU, and at depth 56 the spread over
seeds (a factor of 1.4 in T) is far above what more images change (a few percent)."""
DEFAULT_KINDS = ["plain", "residual"]
DEFAULT_DEPTHS = ["8", "20", "56"]
VARY_FASTEST = ("model.depth", "model.kind")
MEASURE = "N: L2 norm of dE/dx, per image, at an output. T: N at the stem's output over N at the last block's"
SMALLEST_FLOAT32 = 2.0**-149


def grid(config: str | None, sets: Sequence[str], vary: Mapping[str, Sequence[str]]) -> list[Config]:
    """Return one config a kind of net, twins beside each other.

    `vary` maps keys such as model.norm to their values, as text. Both kinds unless one is named; without
    `config` also the depths 8, 20, 56, and the quick look's pairs of norm and init, unless one is named.
    Raises UsageError for what does not fit together.
    """
    require_said_once(sets, vary)
    for key in vary:
        if not key.startswith("model."):
            raise UsageError(f"gradients --vary {key}: nothing is trained here; allowed are model.KEY")
    base = FULL_LOOK if config is None else None
    said = {text.partition("=")[0] for text in sets} | set(vary)
    axes = dict(vary)
    if base is not None and not said & {"model.norm", "model.init"}:
        axes["model.norm"] = [*QUICK_LOOK_INIT]
    if base is not None and "model.depth" not in said:
        axes["model.depth"] = DEFAULT_DEPTHS
    if "model.kind" not in said:
        axes["model.kind"] = DEFAULT_KINDS
    keys = sorted(axes, key=lambda key: VARY_FASTEST.index(key) if key in VARY_FASTEST else -1)
    cells = []
    for values in itertools.product(*(axes[key] for key in keys)):
        texts = [*sets, *(f"{key}={value}" for key, value in zip(keys, values, strict=True))]
        made = load(config, texts, base)
        if base is not None and "model.init" not in said:
            made = load(config, [*texts, f"model.init={QUICK_LOOK_INIT.get(made.model.norm, 'he')}"], base)
        cells.append(made)
    return cells


def measure_gradients(
    cells: Sequence[Config],
    num_seeds: int,
    splits: Splits,
    *,
    num_images: int = NUM_IMAGES,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Return gradients.json: every cell measured with seeds counted up from its own, in float64 on the CPU.

    `progress` is told the part that is done, by work. Needs subnormal numbers: not inside `DenormalsFlushed`.
    """
    indices = sample(len(splits.train.labels), num_images)
    batch = render(splits.train.to("cpu"), unaugmented(indices))
    jobs = [(config, seed) for config in cells for seed in range(config.seed, config.seed + num_seeds)]
    # The deepest first, so that no core is left alone with them at the end.
    order = sorted(range(len(jobs)), key=lambda i: -jobs[i][0].model.depth)
    work = sum(config.model.depth for config, _ in jobs)
    profiles: dict[int, Profile] = {}
    done = 0.0
    for i, profile in zip(order, profiles_at_init([jobs[i] for i in order], splits, batch), strict=True):
        profiles[i] = profile
        done += jobs[i][0].model.depth / work
        progress(min(done, 1.0))
    rows = [
        _row(config, [profiles[c * num_seeds + s] for s in range(num_seeds)])
        for c, config in enumerate(cells)
    ]
    return {
        "kind": "gradients",
        "data": {"name": splits.name, "label": splits.label, "fingerprint": splits.fingerprint},
        "images": len(indices),
        "precision": "float64",
        "measure": MEASURE,
        "rows": rows,
    }


def run_gradients(
    cells: Sequence[Config],
    num_seeds: int,
    *,
    runs_dir: Path,
    name: str | None = None,
    command: Sequence[str] = (),
    show: Display,
) -> Path:
    """Measure the cells and return the folder with gradients.json, gradients.png and manifest.json.

    The folder is `name` under `runs_dir`, by default gradients-HASH8, the same for the same question.
    """
    if any(config.data != cells[0].data for config in cells):
        raise UsageError("gradients: data is not an axis, one set of images serves all nets of a table")
    splits = load_data(cells[0].data, lambda done: show.update("images, % read", Fraction(done)))
    show.say(f"data: {splits.described}")
    question = _hash8(cells, num_seeds, splits)
    folder = child(runs_dir, name or f"gradients-{question}")
    with locked(folder):
        admit_kind(folder, "gradients", question)
        document = measure_gradients(
            cells, num_seeds, splits, progress=lambda done: show.update("gradients", Fraction(done))
        )
        manifest = FolderManifest(
            kind="gradients",
            question=question,
            command=shlex.join(command),
            versions={"resexp": __version__},
        )
        write_json(folder / "manifest.json", manifest.to_json())
        write_json(folder / "gradients.json", document)
        picture = folder / "gradients.png"
        if png := attempt_drawing(lambda: to_png(grid_figure(document)), str(picture), show.say):
            write_atomic(picture, png)
    return folder


def _hash8(cells: Sequence[Config], num_seeds: int, splits: Splits) -> str:
    words = [__version__, str(num_seeds), splits.fingerprint, *(config.digest() for config in cells)]
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:8]


def profiles_at_init(jobs: Sequence[tuple[Config, int]], splits: Splits, batch: Batch) -> Iterator[Profile]:
    """Yield the gradient profile of each (config, seed), in float64 on the CPU, on the batch's images.

    One thread each: float64 convolutions gain nothing from a second one.
    """

    def measure(job: tuple[Config, int]) -> Profile:
        config, seed = job
        net = initial_net(config, seed, splits.train)
        return Profile.read(gradient_profile(net.double().train(), batch))

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(usable_cores(), initializer=torch.set_num_threads, initargs=(1,)) as executor:
            yield from executor.map(measure, jobs)
    finally:
        torch.set_num_threads(threads)


def _row(config: Config, profiles: Sequence[Profile]) -> dict[str, Any]:
    """One kind of net, judged over its seeds. Numbers that underflowed are 0, what is undefined is None."""
    model = config.model.model_dump()
    layers = config.model.depth - 2
    ends = [(profile.outputs[0], profile.outputs[-1]) for profile in profiles]
    values = [_quotient(first.norm, last.norm) for first, last in ends]
    found = gradient_ratio(values, layers)
    predicted = predict(**model)
    slopes = [slope(profile.outputs) for profile in profiles]
    within = mean_estimate([value for value in slopes if value is not None])
    return {
        **model,
        "seeds": [config.seed + i for i in range(len(profiles))],
        "layers": layers,
        "values": values,
        "ratio": found.ratio,
        "ratio_interval": _finite(found.interval),
        "factor": found.factor,
        "interval": _finite(found.factor_interval),
        "verdict": found.word,
        "sentence": found.sentence,
        "depth_passed": found.depth,
        "underflows": found.underflows,
        "below_float32": all(first.rms is not None and first.rms < SMALLEST_FLOAT32 for first, _ in ends),
        "predicted": predicted.factor,
        "predicted_ratio": predicted.ratio,
        "predicted_by": predicted.reason,
        "stage_factor": None if within.mean is None else 10**within.mean,
        "stage_interval": None if within.interval is None else [10**bound for bound in within.interval],
        "stage_predicted": _stage_predicted(profiles[0].outputs, dict(predicted.profile))
        if config.model.kind == "plain"
        else None,
        "profile": _profile(profiles, dict(predicted.profile)),
    }


def _profile(profiles: Sequence[Profile], predicted: Mapping[int, float]) -> list[dict[str, Any]]:
    """Per output: log10 of N over N at the last block's, mean and range over the seeds that have one."""
    points = []
    for k, output in enumerate(profiles[0].outputs):
        values = [_quotient(p.outputs[k].norm, p.outputs[-1].norm) for p in profiles]
        logs = [math.log10(value) for value in values if value]
        points.append(
            {
                "name": output.name,
                "stage": output.stage,
                "layer": output.layer,
                "log10": math.fsum(logs) / len(logs) if logs else None,
                "log10_low": min(logs, default=None),
                "log10_high": max(logs, default=None),
                "underflows": sum(value == 0 for value in values),
                "predicted": predicted.get(output.layer),
            }
        )
    return points


def _stage_predicted(outputs: Sequence[OutputRow], profile: Mapping[int, float]) -> float | None:
    """The factor of a layer inside the stages by theory, taken from its profile as from a measured one."""
    if not profile:
        return None
    found = slope_of([(output.stage, output.layer, profile[output.layer]) for output in outputs])
    return None if found is None else 10**found


def _quotient(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _finite(bounds: tuple[float, float] | None) -> list[float | None] | None:
    """The bounds for strict JSON: None for one that lies beyond a float."""
    return None if bounds is None else [bound if math.isfinite(bound) else None for bound in bounds]
