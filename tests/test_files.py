"""A run folder: names that stay inside, one writer, writes that are whole or not there."""

import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resexp.errors import InUseError, ResourceError, RunFolderError, UsageError
from resexp.records import together
from resexp.records.files import child, disk_errors, read_regular, strict_json, write_atomic
from resexp.records.lock import is_locked, locked

HOLD = (
    "import sys; from pathlib import Path; from resexp.records.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)
TRY = (
    "import sys; from pathlib import Path; from resexp.records.lock import locked, is_locked\n"
    "from resexp.errors import InUseError\n"
    "if sys.argv[2] == 'ask': sys.exit(int(is_locked(Path(sys.argv[1]))))\n"
    "try:\n with locked(Path(sys.argv[1])): pass\n"
    "except InUseError as error: print(error); sys.exit(7)"
)


def in_another_process(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", TRY, str(folder), what], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a b", "ä", "a\n", "a" * 101, "../a", "a\0"])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="allowed"):
        child(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "..a", "-", "A.b_c-1", "a" * 100])
def test_any_other_name_is_a_folder_right_below(name: str, tmp_path: Path) -> None:
    assert child(tmp_path, name).resolve().parent == tmp_path.resolve()


def test_a_folder_has_one_writer_and_the_other_is_told_its_pid(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        other = in_another_process(folder, "lock")
        assert other.returncode == 7
        assert f"process {os.getpid()};" in other.stdout
        assert in_another_process(folder, "ask").returncode == 1
    assert in_another_process(folder, "ask").returncode == 0
    assert in_another_process(folder, "lock").returncode == 0


def test_the_holder_itself_may_ask_and_ask_again_without_giving_the_lock_up(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(InUseError, match="this very one"), locked(tmp_path):
            pass
        assert in_another_process(tmp_path, "lock").returncode == 7
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_a_lock_goes_with_its_process_however_that_dies(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        holder.kill()
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_forked_child_does_not_hold_what_its_parent_holds(tmp_path: Path) -> None:
    with locked(tmp_path):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if is_locked(tmp_path) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert in_another_process(tmp_path, "lock").returncode == 7


def test_nothing_is_written_through_a_symbolic_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "lock").symlink_to(target)
    with pytest.raises(RunFolderError, match="symbolic link"), locked(run):
        pass
    (run / ".a.json.tmp").symlink_to(target)
    (run / "a.json").symlink_to(target)
    write_atomic(run / "a.json", b"new")
    assert target.read_text() == "mine"
    assert (run / "a.json").read_text() == "new"
    (tmp_path / "last").symlink_to(run)
    with pytest.raises(RunFolderError, match="symbolic link"), locked(tmp_path / "last"):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "a/../../mine", "/HERE/mine", "link/mine", "a\0"])
def test_a_strangers_replacement_removes_nothing_outside_its_folder(name: str, tmp_path: Path) -> None:
    """Whoever goes on with a folder of somebody else's lets what was prepared in it come to its end."""
    run = prepared(tmp_path, ["kept", name.replace("/HERE", str(tmp_path))])
    with pytest.raises(RunFolderError, match="leads out of the folder") as refused:
        together.complete(run)
    assert str(refused.value).isprintable()
    assert (tmp_path / "mine").read_text() == "mine"
    assert (run / "kept").exists()


def test_a_strangers_replacement_replaces_nothing_outside_its_folder(tmp_path: Path) -> None:
    run = prepared(tmp_path, ["kept"])
    (run / together.READY / "link").mkdir()
    (run / together.READY / "link" / "mine").write_text("theirs")
    with pytest.raises(RunFolderError, match="leads out of the folder"):
        together.complete(run)
    (run / "link").unlink()
    (run / together.READY / "link" / "mine").unlink()
    (run / together.READY / "link" / "mine").symlink_to(tmp_path / "mine")
    with pytest.raises(RunFolderError, match="not a regular file"):
        together.complete(run)
    assert (tmp_path / "mine").read_text() == "mine"
    assert (run / "kept").exists()


def prepared(place: Path, removed: list[str]) -> Path:
    """A run with a replacement that was decided, and beside it a file of one's own to which a link leads."""
    (place / "mine").write_text("mine")
    run = place / "run"
    (run / together.READY).mkdir(parents=True)
    (run / together.READY / together.REMOVED).write_text(json.dumps(removed))
    (run / "kept").write_text("kept")
    (run / "link").symlink_to(place)
    return run


@pytest.mark.parametrize("content", ["", "{", "3", "{}", "[3]", "[" * 100_000])
def test_a_damaged_replacement_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / together.READY).mkdir()
    (tmp_path / together.READY / together.REMOVED).write_text(content)
    with pytest.raises(RunFolderError, match=r"removed\.json: damaged, not"):
        together.complete(tmp_path)


def test_a_replacement_whose_last_sweep_was_killed_is_done(tmp_path: Path) -> None:
    together.replace_together(tmp_path, {"a": b"new"}, removed=[])
    (tmp_path / together.READY).mkdir()
    together.complete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("place", ["file", "file/below", "lock-is-a-folder"])
def test_a_place_that_cannot_be_a_folder_is_said(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "lock-is-a-folder" / "lock").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=place), locked(tmp_path / place):
        pass


def test_a_lock_file_that_is_a_pipe_does_not_make_anyone_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert not is_locked(tmp_path)


def test_a_folder_one_may_not_write_in_is_said() -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from resexp.records.lock import locked; from resexp.errors import RunFolderError\n"
        "if os.getuid() == 0: os.setuid(65534)  # root may write everywhere\n"
        "try:\n with locked(Path(sys.argv[1]) / 'run'): pass\n"
        "except RunFolderError as error: print(error)"
    )
    for mode in (0o555, 0o444, 0o000):
        with tempfile.TemporaryDirectory() as place:
            Path(place).chmod(mode)
            done = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True)
            Path(place).chmod(0o777)
            assert done.stdout == f"{place}/run: Permission denied\n", done.stderr


def test_a_write_that_the_disk_refuses_leaves_the_old_file_and_says_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            ResourceError, match=r"a\.json: File too large; 5,000 bytes are needed, [\d,]+ are free"
        ):
            write_atomic(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, ResourceError),
        (errno.EDQUOT, ResourceError),
        (errno.EMFILE, ResourceError),
        (errno.EROFS, RunFolderError),
        (errno.EIO, RunFolderError),
    ],
)
def test_what_the_disk_refuses_is_one_line(number: int, error: type, tmp_path: Path) -> None:
    with pytest.raises(error) as caught, disk_errors(tmp_path / "gone" / "file"):
        raise OSError(number, os.strerror(number))
    assert len(caught.value.lines) == 1
    assert os.strerror(number) in caught.value.lines[0]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_literal_that_is_not_json(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        strict_json({"a": [number]})


def test_writers_of_one_file_never_meet_under_one_name(tmp_path: Path) -> None:
    contents = [bytes([65 + i]) * 10_000 for i in range(4)]

    def write(content: bytes) -> None:
        for _ in range(25):
            write_atomic(tmp_path / "page.html", content)
            assert (tmp_path / "page.html").read_bytes() in contents

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write, content) for content in contents]:
            done.result()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    script = HOLD.replace("sys.stdin.read()", "__import__('time').sleep(0.5)")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with locked(tmp_path, patience=60):
            assert holder.wait() == 0


def test_a_file_of_somebody_elses_is_a_plain_one_of_a_size_that_was_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, why in {
        "link": "symbolic link",
        "pipe": "not a regular",
        "folder": "directory",
        "b": "No such",
        "a": "allowed are 4",
    }.items():
        with pytest.raises(RunFolderError, match=why):
            read_regular(tmp_path / name, 4)
