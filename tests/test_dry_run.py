"""What a comparison would do: counted from what is on disk, and nothing touched."""

import json
from pathlib import Path
from typing import Any

import pytest

from resexp.cli import app
from resexp.config import Config
from resexp.experiments.dry_run import Cost, forecast, seconds
from resexp.experiments.plan import Plan, make_plan

TINY = ["optim.steps=6", "optim.batch_size=8", "model.width=4", "data.name=crayons", "model.norm=batch"]


def tiny_plan(runs: Path, seeds: int = 2, extra: tuple[str, ...] = ()) -> Plan:
    return make_plan(
        ["plain", "residual"],
        runs_dir=runs,
        config=None,
        sets=[*TINY, *extra],
        vary={"model.depth": ["8", "14"]},
        num_seeds=seeds,
    )


def config(steps: int, **record: Any) -> Config:
    return Config.model_validate({"optim": {"steps": steps}, "record": record, "data": {"validation": 100}})


def test_the_seconds_are_those_of_steps_probes_and_evaluations() -> None:
    made = config(steps=30, eval_every=10)
    assert seconds(made, 0, Cost(step=1, probe=0, evaluated_image=0)) == 30
    assert seconds(made, 12, Cost(step=1, probe=0, evaluated_image=0)) == 18
    probed = {0, 1, 2, 5, 10, 20, 30}
    assert seconds(made, 0, Cost(step=0, probe=1, evaluated_image=0)) == len(probed)
    images = 2_000 + 10_000 + 100
    assert seconds(made, 0, Cost(step=0, probe=0, evaluated_image=1)) == 3 * images


def test_cells_are_arms_times_axes_and_the_sums_are_theirs(tmp_path: Path) -> None:
    document = forecast(tiny_plan(tmp_path / "runs"))
    assert [(cell["arm"], cell["model.depth"]) for cell in document["cells"]] == [
        ("plain", 8),
        ("plain", 14),
        ("residual", 8),
        ("residual", 14),
    ]
    assert all(cell["runs"] == 2 and cell["steps"] == 12 for cell in document["cells"])
    assert (document["runs"], document["steps"], document["there_already"]) == (8, 48, 0)
    assert document["seconds"] == pytest.approx(sum(cell["seconds"] for cell in document["cells"]))
    assert document["seconds"] > 0
    assert not (tmp_path / "runs").exists()


def test_what_is_there_already_takes_no_steps(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    plan = tiny_plan(runs, seeds=1)
    words = [word for text in TINY for word in ("--set", text)]
    app(["compare", "plain", "--depth", "8", *words, "--runs-dir", str(runs)], standalone_mode=False)
    document = forecast(plan)
    assert {(cell["arm"], cell["model.depth"]): cell["steps"] for cell in document["cells"]} == {
        ("plain", 8): 0,
        ("plain", 14): 6,
        ("residual", 8): 6,
        ("residual", 14): 6,
    }
    assert document["there_already"] == 1
    (plan.jobs[1].folder / "checkpoints").mkdir(parents=True)
    (plan.jobs[1].folder / "checkpoints" / "step-0000000004.pt").touch()
    assert forecast(plan)["steps"] == 2 + 6 + 6


def test_the_command_prints_the_plan_and_leaves_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for text in TINY for word in ("--set", text)]
    words += ["--depth", "8", "--runs-dir", str(tmp_path / "runs"), "--dry-run"]
    app(["compare", "plain", "residual", *words], standalone_mode=False)
    assert "2 runs, 0 of them there already; 12 steps left" in capsys.readouterr().out
    app(["compare", "plain", "residual", *words, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["steps"] == 12
    app(["compare", "plain", "residual", *words, "--until", "resolved"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "40 runs, 0 of them there already; 240 steps left" in said
    assert "--until resolved looks at 5, 10, 20 seeds and ends once every cell's arms are told apart" in said
    assert not (tmp_path / "runs").exists()
