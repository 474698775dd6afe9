"""The notebook of the docs, run from its first cell to its last by a kernel of its own."""

import base64
import copy
import io
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
QUICKLY = {
    "steps = 200": "steps = 2",
    "depth=[8, 20, 32]": "depth=[8]",
    '{"optim.steps": steps}': '{"optim.steps": steps, "model.width": 4, "model.depth": 8}',
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    written = nbformat.read(NOTEBOOK, as_version=4)
    notebook = copy.deepcopy(written)
    for cell in notebook.cells:
        for said, instead in QUICKLY.items():
            cell.source = cell.source.replace(said, instead)
    assert notebook.cells != written.cells
    folder = tmp_path_factory.mktemp("notebook")
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute(env=environment)


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    return [
        output.data[kind]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if kind in output.get("data", {})
    ]


def test_every_cell_runs_and_shows_what_it_promises(ran: nbformat.NotebookNode) -> None:
    pictures = outputs(ran, "image/png")
    assert len(pictures) == 3
    for picture in pictures:
        width, height = Image.open(io.BytesIO(base64.b64decode(picture))).size
        assert width > 300 < height
    pages = [page for page in outputs(ran, "text/html") if page.startswith("<iframe")]
    assert len(pages) == 1
    assert "What was found" in pages[0]
    tables = [page for page in outputs(ran, "text/html") if "<table" in page and "dataframe" in page]
    assert len(tables) == 3


def test_progress_moves_in_place(ran: nbformat.NotebookNode) -> None:
    """By a widget, where a plain output would grow by a line every few seconds."""
    assert outputs(ran, "application/vnd.jupyter.widget-view+json")


def test_what_is_committed_shows_what_its_code_gives() -> None:
    """Outputs are there, in order, without an error and without a path of the machine that made them."""
    written = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in written.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert len(outputs(written, "image/png")) == 3
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert "/home/" not in NOTEBOOK.read_text()
    assert "/tmp/" not in NOTEBOOK.read_text()
