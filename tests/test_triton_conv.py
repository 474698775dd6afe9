"""The Triton convolutions against float64 `conv2d`, in Triton's interpreter, without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed here (it comes with torch on Linux)")

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """In a process of its own: whether Triton interprets is settled when it is imported."""
    script = Path(__file__).parent / "harness" / "interpreted_conv.py"
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("product", ["output", "input", "weight"])
def test_every_product_agrees_with_float64(rows: list[Row], product: str) -> None:
    mine = [row for row in rows if row["product"] == product]
    assert len(mine) >= 3 * 6
    assert [row for row in mine if not row["error"] < 1e-6] == []


def test_the_same_input_gives_the_same_bits(rows: list[Row]) -> None:
    assert [row for row in rows if not row["same bits twice"]] == []


def test_results_lie_channels_last(rows: list[Row]) -> None:
    assert [row for row in rows if not row["channels last"]] == []
