"""The quick look: how long its training takes, and in how many seeds it tells the story.

    python -m benchmarks.quick_look [--rounds 3] [--data crayons] [--root DIR]
    python -m benchmarks.quick_look --processor [--rounds 3]
    python -m benchmarks.quick_look --story 10 [--data crayons] [--root DIR] [--threads 1]

In float32 by name. The first is `resexp compare plain residual` as it is, in a process of its own; its
record gives the seconds of training steps. Processor seconds are the whole command's (start, probes,
evaluations and page included) and say how much of the machine it had. The second, for a machine that is
never idle, takes the processor seconds of a few steps of each net on one thread, in turn with the ResNet-20
of benchmarks.throughput, by which machines can be compared. ATEN_CPU_CAPABILITY=avx2 with
ONEDNN_MAX_CPU_ISA=AVX2 keeps a newer CPU from using more than AVX2. The third trains the same nets for each
seed, without page and TensorBoard. The promises, on two cores with AVX2 and without bfloat16: all training
in at most 60 s, and in at least 9 of 10 seeds

- without norm the plain net's gradient vanishes (T below 1e-4) and no step's loss lies 0.05 below guessing,
  while its twin ends 0.3 nats below it on drawings (0.2 on real images; mean of the last 10% of steps) and
  five standard errors above guessing on test images;
- with batch norm neither net's gradient vanishes (T at least 1e-3), both learn as above, and the twin's
  training loss ends lower.
"""

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contender import config_of
from benchmarks.results import record, spread
from resexp.analysis.cells import STUCK_MARGIN
from resexp.config import Config, DataSection
from resexp.data.batches import render, sample, unaugmented
from resexp.data.splits import Splits, load
from resexp.experiments.plan import make_plan
from resexp.probes.gradient_profile import gradient_profile
from resexp.records.run import read_lines
from resexp.records.schema import Profile
from resexp.records.summary import first_over_last
from resexp.training.engine import prepared_engine
from resexp.training.execution import resolve
from resexp.training.loop import PROBE_IMAGES

AT_MOST_SECONDS = 60
LEARNED_BY = {"crayons": 0.3, "folder": 0.2, "cifar10": 0.2}
VANISHED, ARRIVED = 1e-4, 1e-3
STANDARD_ERRORS = 5
STEPS_TIMED = 5
AT_LEAST = 0.9


def compare(folder: Path, sets: Sequence[str]) -> Path:
    """Run the quick look below `folder`; return the comparison's folder."""
    words = [sys.executable, "-m", "resexp", "compare", "plain", "residual", "--runs-dir", str(folder)]
    words += ["--name", "quick", *(word for text in sets for word in ("--set", text))]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "quick"


def timed(folder: Path, sets: Sequence[str]) -> dict[str, float]:
    """Return the seconds of one quick look: of all training, of the whole command, and of the processor."""
    load, before, began = os.getloadavg()[0], _processor_seconds(), time.perf_counter()
    made = compare(folder, sets)
    rows = [row for timing in made.glob("*/timing.jsonl") for row in read_lines(timing)]
    return {
        "training_seconds": sum(row["seconds"] for row in rows),
        "command_seconds": time.perf_counter() - began,
        "command_processor_seconds": _processor_seconds() - before,
        "load_before": load,
    }


def _processor_seconds() -> float:
    """Return those of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor(rounds: int, data: Sequence[str]) -> dict[str, Any]:
    """Return the processor seconds of all training, and how many images of a ResNet-20 take as long."""
    one = [*data, "run.threads=1"]
    configs = {f"{c.model.norm} {c.model.kind}": c for c in looks(one, 1)}
    reference = config_of(20, run={"precision": "float32", "device": "cpu", "threads": 1, "compile": False})
    splits = load(configs["none plain"].data)
    engines = {
        name: prepared_engine(config, splits.train, resolve(config.run, num_images=0))
        for name, config in {**configs, "ResNet-20": reference}.items()
    }
    found: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.advance(2)
    for _ in range(rounds):
        for name, engine in engines.items():
            began = time.process_time()
            engine.advance(STEPS_TIMED)
            found[name].append((time.process_time() - began) / STEPS_TIMED)
    steps = next(iter(configs.values())).optim.steps
    whole = [steps * sum(found[name][k] for name in configs) for k in range(rounds)]
    of_image = [step / reference.optim.batch_size for step in found["ResNet-20"]]
    figures = {
        "processor_seconds_a_step": {name: spread(values) for name, values in found.items()},
        "training_processor_seconds": spread(whole),
        "in_images_of_resnet20": spread([a / b for a, b in zip(whole, of_image, strict=True)]),
    }
    for key in ("training_processor_seconds", "in_images_of_resnet20"):
        print(
            f"{key:26} {figures[key]['median']:8.1f}  [{figures[key]['low']:.1f}, {figures[key]['high']:.1f}]"
        )
    return figures


def looks(sets: Sequence[str], num_seeds: int) -> list[Config]:
    """Return the configs of the quick look."""
    plan = make_plan(
        ["plain", "residual"], runs_dir=Path(), config=None, sets=sets, vary={}, num_seeds=num_seeds
    )
    return [job.config for job in plan.jobs]


class Outcome(NamedTuple):
    """What one net did."""

    T: float
    """of the gradient at the last block's output, the part that reaches the stem's, before the first step"""
    lowest_loss: float
    """of all steps, nats"""
    final_loss: float
    """mean over the last 10% of steps, nats"""
    test_loss: float
    test_accuracy: float


def outcome(config: Config, splits: Splits) -> Outcome:
    """Train one net of the quick look."""
    engine = prepared_engine(config, splits.train, resolve(config.run, num_images=0))
    probed = render(engine.train, unaugmented(sample(len(splits.train.labels), PROBE_IMAGES)))
    ratio = first_over_last(Profile.read(gradient_profile(engine.copy_of_net(), probed)).outputs)
    losses = engine.advance(config.optim.steps).loss
    scores = engine.evaluate(splits.test)
    tail = max(1, len(losses) // 10)
    final = losses[-tail:].mean().item()
    return Outcome(ratio or 0.0, losses.min().item(), final, scores.loss, scores.accuracy)


def story(splits: Splits, sets: Sequence[str], num_seeds: int, learned_by: float) -> Iterator[dict[str, Any]]:
    """Yield for each seed what its four nets did, and which parts of the story that tells."""
    configs = looks(sets, num_seeds)
    for seed in range(num_seeds):
        nets = {(c.model.norm, c.model.kind): outcome(c, splits) for c in configs if c.seed == seed}
        figures = {" ".join(net): found._asdict() for net, found in nets.items()}
        told = parts(nets, learned_by, splits.train.num_classes, len(splits.test.labels))
        yield {"seed": seed, "nets": figures, **told}


def parts(
    nets: Mapping[tuple[str, str], Outcome], learned_by: float, num_classes: int, num_test: int
) -> dict[str, bool]:
    """Return which parts of the story these four nets tell, and whether all of them."""
    bare, bare_twin = nets["none", "plain"], nets["none", "residual"]
    normed, normed_twin = nets["batch", "plain"], nets["batch", "residual"]
    guessing, guessed = math.log(num_classes), 1 / num_classes
    better = guessed + STANDARD_ERRORS * math.sqrt(guessed * (1 - guessed) / num_test)

    def learns(net: Outcome) -> bool:
        return net.final_loss <= guessing - learned_by and net.test_accuracy >= better

    told = {
        "without norm, plain vanishes": bare.T < VANISHED,
        "and stays at guessing": bare.lowest_loss > guessing - STUCK_MARGIN and bare.test_accuracy < better,
        "its twin learns": learns(bare_twin),
        "with batch norm nothing vanishes": min(normed.T, normed_twin.T) >= ARRIVED,
        "both learn": learns(normed) and learns(normed_twin),
        "the twin faster": normed_twin.final_loss < normed.final_loss,
    }
    return {**told, "the whole story": all(told.values())}


def count(seeds: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return in how many seeds each part of the story was told."""
    parts = [key for key, value in seeds[0].items() if isinstance(value, bool)]
    return {part: sum(seed[part] for seed in seeds) for part in parts}


def line(seed: Mapping[str, Any]) -> str:
    nets = (
        f"{name} {net['final_loss']:.3f} {net['test_accuracy']:.1%} T {net['T']:.1e}"
        for name, net in seed["nets"].items()
    )
    return (
        f"seed {seed['seed']}: {'; '.join(nets)}{'' if seed['the whole story'] else '; not the whole story'}"
    )


def measure(place: Path, rounds: int, sets: Sequence[str]) -> dict[str, Any]:
    compare(place / "first", [*sets, "optim.steps=1"])  # draws or decodes the images, once
    found = [timed(place / str(round_), sets) for round_ in range(rounds)]
    figures = {key: spread([one[key] for one in found]) for key in found[0]}
    for key, figure in figures.items():
        print(f"{key:26} {figure['median']:6.1f}  [{figure['low']:.1f}, {figure['high']:.1f}]")
    return {"rounds": found, **figures}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="time a few steps by the processor's clock")
    parser.add_argument("--story", type=int, metavar="SEEDS", help="count the story in place of timing it")
    parser.add_argument("--data", default="crayons", choices=list(LEARNED_BY))
    parser.add_argument("--root", type=Path)
    parser.add_argument("--threads", type=int, help="default: all cores")
    options = parser.parse_args()
    sets = [f"data.name={options.data}", "run.precision=float32", "run.device=cpu"]
    sets += [f"data.root={options.root.resolve()}"] if options.root else []
    sets += [f"run.threads={options.threads}"] if options.threads else []
    if options.story:
        root = {"root": str(options.root)} if options.root else {}
        splits = load(DataSection.model_validate({"name": options.data, "augment": False, **root}))
        seeds = []
        for seed in story(splits, sets, options.story, LEARNED_BY[options.data]):
            seeds.append(seed)
            print(line(seed), flush=True)
        counts = count(seeds)
        for part, told in counts.items():
            print(f"{part:34} {told} of {len(seeds)}")
        figures: dict[str, Any] = {"seeds": seeds, "counts": counts}
        kept = counts["the whole story"] >= AT_LEAST * len(seeds)
    elif options.processor:
        figures = processor(options.rounds, sets)
        kept = figures["training_processor_seconds"]["median"] <= 2 * AT_MOST_SECONDS
    else:
        with tempfile.TemporaryDirectory() as place:
            figures = measure(Path(place), options.rounds, sets)
        kept = figures["training_seconds"]["median"] <= AT_MOST_SECONDS
    mode = "story" if options.story else "processor" if options.processor else "seconds"
    name = f"quick-look-{mode}-{options.data}"
    print(record(name, {"data": options.data, "precision": "float32", **figures}))
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
