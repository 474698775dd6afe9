"""Files that grow: cut back to what was marked, and never written past a surprise."""

import hashlib
import json
from pathlib import Path

import pytest

from resexp.errors import RunFolderError
from resexp.records.jsonl import EMPTY, JsonlWriter
from resexp.records.run import read_lines


def test_a_resumed_file_ends_where_its_mark_says(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonlWriter(path, EMPTY) as lines:
        lines.row({"step": 0})
        mark = lines.sync()
        lines.row({"step": 1})
    assert mark == {"length": 12, "sha256": hashlib.sha256(b'{"step": 0}\n').hexdigest()}
    with JsonlWriter(path, mark) as lines:
        lines.row({"step": 2})
        assert lines.sync()["length"] == 24
    assert [row["step"] for row in read_lines(path)] == [0, 2]


def test_a_row_is_there_at_once(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl", EMPTY) as lines:
        lines.row({"a": 1})
        assert read_lines(tmp_path / "a.jsonl") == [{"a": 1}]


def test_without_a_mark_a_file_goes_on_behind_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert read_lines(path) == [{"a": 1}]
    with JsonlWriter(path) as lines:
        lines.row({"a": 3})
    assert read_lines(path) == [{"a": 1}, {"a": 3}]


@pytest.mark.parametrize("content", ['{"a": 1', '{"a": 2}\n', ""])
def test_a_file_that_no_longer_holds_what_was_marked_is_refused_and_left_alone(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    with JsonlWriter(path, EMPTY) as lines:
        lines.row({"a": 1})
        mark = lines.sync()
    path.write_text(content)
    with pytest.raises(RunFolderError, match="altered"):
        JsonlWriter(path, mark)
    assert path.read_text() == content


def test_a_file_that_vanished_or_was_replaced_stops_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with JsonlWriter(path, EMPTY) as lines:
        path.unlink()
        with pytest.raises(RunFolderError, match="vanished or replaced"):
            lines.row({"a": 1})
        path.write_text("somebody else's\n")
        with pytest.raises(RunFolderError, match="vanished or replaced"):
            lines.sync()
    assert path.read_text() == "somebody else's\n"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "target")
    with pytest.raises(RunFolderError, match="symbolic link"):
        JsonlWriter(tmp_path / "a.jsonl", EMPTY)
    assert (tmp_path / "target").read_text() == "mine"


@pytest.mark.parametrize("content", [b"5\n", b"{\n", b"[" * 100_000 + b"\n", b"\xff\n", b"\n"])
def test_a_damaged_line_is_said_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(RunFolderError, match="damaged") as caught:
        read_lines(tmp_path / "a.jsonl")
    assert len(caught.value.lines) == 1


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl", EMPTY) as lines:
        with pytest.raises(ValueError, match="JSON compliant"):
            lines.row({"a": float("nan")})
        lines.row({"a": 0.1})
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"a": 0.1}
