"""Checkpoints are checked before they are believed, and the last sound one is always there."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Sound
from harness.damaging import fallen_back, flip_bits, flip_digest, truncate

from resexp.errors import RunFolderError
from resexp.training.checkpoint import DamagedError, newest, read, save, saved


def state(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    tensors = {"stem.conv.weight": torch.randn(4, 3, 3, 3, generator=generator)}
    return {"step": step, "net": tensors, "momentum": {}, "journal": {"losses": [0.5] * step}}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pair(step: int, kind: str = "step") -> set[str]:
    return {f"{kind}-{step:010d}.pt", f"{kind}-{step:010d}.sha256"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (4, 8):
        save(tmp_path / "checkpoints", state(step))
    return tmp_path / "checkpoints"


def assert_falls_back(folder: Path) -> None:
    assert not fallen_back(folder)


def test_what_is_saved_is_what_is_read(folder: Path) -> None:
    found, damaged = newest(folder)
    assert found is not None
    assert not damaged
    assert found["step"] == 8
    assert torch.equal(found["net"]["stem.conv.weight"], state(8)["net"]["stem.conv.weight"])


def test_a_thousand_flipped_bits_are_all_found_and_the_checkpoint_before_is_used(
    folder: Path, sound: Sound
) -> None:
    sound("flipped bits of a checkpoint", flip_bits(folder, 1_000, seed=0))


def test_each_flipped_bit_of_a_digest_is_found(folder: Path, sound: Sound) -> None:
    sound("flipped bits of a checkpoint's digest, all there are", flip_digest(folder))


def test_a_hundred_truncations_are_all_found(folder: Path, sound: Sound) -> None:
    sound("checkpoints cut short", truncate(folder, 100, seed=1))


def test_a_missing_digest_is_damage(folder: Path) -> None:
    saved(folder)[-1].with_suffix(".sha256").unlink()
    assert_falls_back(folder)


def with_digest(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())


class Bomb:
    """A pickle that does something when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_checkpoint_never_runs_code(folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save({**state(8), "net": Bomb()}, buffer)
    with_digest(saved(folder)[-1], buffer.getvalue())
    with pytest.raises(DamagedError, match="not a checkpoint"):
        read(saved(folder)[-1])
    assert_falls_back(folder)


@pytest.mark.parametrize(
    "content", [{}, [1], {**state(8), "step": 9}, {"step": 8}], ids=["{}", "list", "step", "part"]
)
def test_what_is_no_checkpoint_of_a_run_is_refused_whatever_its_digest(content: Any, folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with_digest(saved(folder)[-1], buffer.getvalue())
    assert_falls_back(folder)
    with_digest(saved(folder)[-1], b"not a zip")
    assert_falls_back(folder)


def test_a_run_with_no_sound_checkpoint_left_is_not_begun_again_by_itself(folder: Path) -> None:
    for path in saved(folder):
        path.write_bytes(b"")
    with pytest.raises(RunFolderError, match="no sound checkpoint is left; delete that folder"):
        newest(folder)
    assert newest(folder.parent / "none yet") == (None, [])


def test_the_last_two_are_kept(folder: Path) -> None:
    save(folder, state(12))
    assert names(folder) == pair(8) | pair(12)


def test_a_future_that_was_given_up_is_deleted_and_never_what_was_just_saved(folder: Path) -> None:
    for step in (12, 16):
        save(folder, state(step))
    for path in saved(folder):
        path.write_bytes(b"")
    save(folder, state(6))
    save(folder, state(7))
    assert names(folder) == pair(6) | pair(7)
    found, damaged = newest(folder)
    assert found is not None
    assert found["step"] == 7
    assert not damaged


def test_what_a_kill_left_half_written_is_swept_up(folder: Path) -> None:
    (folder / ".step-0000000009.pt.tmp").write_text("half")
    (folder / "step-0000000003.sha256").write_text("left over")
    (folder / "notes.txt").write_text("mine")
    save(folder, state(12))
    assert names(folder) == pair(8) | pair(12) | {"notes.txt"}


def test_the_best_is_kept_beside_the_last_two(folder: Path) -> None:
    for step in (8, 10):
        save(folder, state(step), "best")
    save(folder, state(12))
    assert names(folder) == pair(8) | pair(12) | pair(10, "best")


def test_a_run_folder_that_vanished_does_not_come_back_in_part(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="No such file"):
        save(tmp_path / "gone" / "checkpoints", state(4))
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_not_written_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match="symbolic link"):
        save(tmp_path / "checkpoints", state(4))
    assert not list((tmp_path / "elsewhere").iterdir())
