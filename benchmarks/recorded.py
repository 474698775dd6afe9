"""A comparison of any size on disk, as if its runs had been trained: copies of ten real runs, numbers shaken.

Each run has all of its files, none of them shared: 2,000 steps, 200 recorded steps with the gradient norms of
every layer, 20 evaluations, 12 probes.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resexp.config import Config, write
from resexp.data.splits import Splits, load
from resexp.records.run import Run
from resexp.training.loop import run

DEPTHS = (8, 14, 20, 32, 56)
ARMS = ("plain", "residual")
NUM_SEEDS = 10
SMALLEST = len(ARMS) * len(DEPTHS) * NUM_SEEDS
"""Runs at one learning rate; more runs are more learning rates."""
STEPS, EVERY, EVAL_EVERY = 2_000, 10, 100
STEPS_MADE = 20
PROBED = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
CHANCE = random.Random(0)


def config_of(arm: str, depth: int, rate: int, seed: int) -> Config:
    return Config.model_validate(
        {
            "name": f"{arm}-d{depth}-r{rate}-s{seed}",
            "seed": seed,
            "data": {"name": "crayons", "augment": False},
            "model": {"kind": arm, "depth": depth, "width": 4},
            "optim": {
                "steps": STEPS,
                "batch_size": 16,
                "lr": round(0.01 * (1 + rate), 3),
                "schedule": {"name": "constant"},
            },
            "run": {"device": "cpu", "precision": "float32", "compile": False, "threads": 1},
            "record": {"every": EVERY, "eval_every": EVAL_EVERY},
        }
    )


def write_comparison(folder: Path, num_runs: int, models: Path) -> list[tuple[str, Path]]:
    """Write the runs of a comparison into `folder`; return each one's arm and folder.

    num_runs: a multiple of 100. models: where the real runs are, or are made if they are not there.
    """
    templates, runs = dict(_templates(models)), []
    for rate in range(num_runs // SMALLEST):
        for arm in ARMS:
            for depth in DEPTHS:
                for seed in range(NUM_SEEDS):
                    config = config_of(arm, depth, rate, seed)
                    _write(folder / config.name, config, templates[arm, depth])
                    runs.append((arm, folder / config.name))
    return runs


def _templates(folder: Path) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """Train a net of each kind and depth for some steps, and stretch its record to the full length."""
    splits: Splits = load(config_of("plain", 8, 0, 0).data)
    for arm in ARMS:
        for depth in DEPTHS:
            whole = config_of(arm, depth, 0, 0).model_dump()
            whole["optim"] |= {"steps": STEPS_MADE}
            whole["record"] |= {"every": 1, "eval_every": STEPS_MADE}
            place = folder / f"{arm}-{depth}"
            if not (place / "result.json").exists():
                run(Config.model_validate(whole), place, splits)
            yield (arm, depth), _stretched(Run(place))


def _stretched(made: Run) -> dict[str, Any]:
    steps, evaluations = made.rows("step"), made.rows("evaluation")
    metrics = []
    for step in range(0, STEPS + 1, EVERY):
        if step < STEPS:
            metrics.append({**steps[step // EVERY % len(steps)].to_json(), "step": step})
        if step % EVAL_EVERY == 0 and step:
            metrics.append({**evaluations[-1].to_json(), "step": step})
    profile = [
        {**made.profile[k % len(made.profile)].to_json(), "step": step} for k, step in enumerate(PROBED)
    ]
    result = made.result.to_json() if made.result else {}
    points = [STEPS * (k + 0.5) / 200 for k in range(200)]
    curve = {"step": points, "loss": [2.3 - 0.5 * k / 200 for k in range(200)]}
    return {
        "manifest": made.manifest.to_json(),
        "metrics": "".join(json.dumps(row) + "\n" for row in metrics),
        "profile": "".join(json.dumps(row) + "\n" for row in profile),
        "timing": "".join(
            json.dumps({**made.timing[0].to_json(), "step": step}) + "\n" for step in (*PROBED[1:],)
        ),
        "result": {**result, "steps": STEPS, "curve": curve},
    }


def _write(folder: Path, config: Config, template: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(write(config))
    manifest = {**template["manifest"], "config_digest": config.digest()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for name in ("metrics", "profile", "timing"):
        (folder / f"{name}.jsonl").write_text(template[name])
    result = dict(template["result"])
    for key in ("final_loss", "loss_area", "train_loss", "test_loss"):
        result[key] = 1.8 + CHANCE.gauss(0, 0.02)
    for key in ("train_accuracy", "test_accuracy"):
        result[key] = 0.4 + CHANCE.gauss(0, 0.01)
    (folder / "result.json").write_text(json.dumps(result, indent=1))
