"""The Triton kernels as operations, in nets and in an engine, against float64, in Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed here (it comes with torch on Linux)")

LIMIT = 3e-5
"""Relative error (L2) of float32 sums over a few hundred pixels, through a few layers."""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """In a process of its own: whether Triton interprets is settled when it is imported."""
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent)))
    done = subprocess.run(
        [sys.executable, here / "harness" / "interpreted_kernels.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_values_gradients_and_running_statistics_agree_with_float64(found: dict[str, Any]) -> None:
    assert len(found["rows"]) == 10
    assert [row for row in found["rows"] if not row["error"] < LIMIT] == []


def test_the_same_input_gives_the_same_bits(found: dict[str, Any]) -> None:
    assert [row for row in found["rows"] if not row.get("same bits twice", True)] == []


def test_evaluation_leaves_the_running_statistics_alone(found: dict[str, Any]) -> None:
    assert [row["running statistics kept"] for row in found["rows"] if row["name"] == "evaluation"] == [True]


def test_what_is_no_number_stays_none(found: dict[str, Any]) -> None:
    assert found["nan"]


def test_a_batch_is_torchs_to_the_last_bit(found: dict[str, Any]) -> None:
    assert found["batches"] == [True] * 4


def test_an_engines_step_agrees_and_its_probes_get_torchs_operations(found: dict[str, Any]) -> None:
    steps = found["steps"]
    assert steps["loss"] < 1e-6
    assert steps["gradient_norm"] < 1e-4
    assert steps["probed"] == "Network"
