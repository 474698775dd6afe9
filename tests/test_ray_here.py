"""A Ray that resexp starts is for this user on this machine alone: whoever joins a Ray runs code in it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.sockets import family, listening

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are read from /proc")

STARTED = """
import os, sys
from resexp.config import RunSection
from resexp.experiments.executors.ray import on_ray
before = dict(os.environ)
with on_ray() as place:
    import ray
    place.resolve(RunSection(), num_images=100)  # by a worker, which listens too
    print(ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"], flush=True)
    sys.stdin.read()
changed = {key for key in before.keys() | os.environ if before.get(key) != os.environ.get(key)}
print(*sorted(changed - {"RAY_USAGE_STATS_ENABLED"}))
"""
STRANGER = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
print(ray.get(ray.remote(lambda: "ran").remote()))
"""
FEW_TRIES = {"RAY_NUM_REDIS_GET_RETRIES": "2"}
"""Of 20, one a second."""


class Started(NamedTuple):
    """A Ray that resexp started."""

    process: subprocess.Popen[str]
    address: str
    token: str
    home: Path
    temporary: Path


def environment(**changed: str) -> dict[str, str]:
    said = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return said | FEW_TRIES | changed


def start(root: Path) -> Started:
    home, temporary = root / "home", root / "tmp"
    home.mkdir()
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(HOME=str(home), TMPDIR=str(temporary)),
    )
    assert process.stdout
    address, token = process.stdout.readline().split()
    return Started(process, address, token, home, temporary)


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    with tempfile.TemporaryDirectory(dir="/tmp") as root:  # a socket's path has 107 characters at most
        found = start(Path(root))
        yield found
        over, _ = found.process.communicate("")
        assert found.process.returncode == 0
        assert over == "\n", "the environment is as it was"
        assert not list(found.temporary.iterdir())
        assert not (found.home / ".ray").exists(), "its token is in no file"


def test_every_port_of_it_is_on_loopback(started: Started) -> None:
    found = list(listening(family(started.process.pid)))
    assert len({pid for pid, _, _ in found}) >= 4, "driver, GCS, raylet, a worker"
    assert [(pid, str(address), port) for pid, address, port in found if not address.is_loopback] == []


@pytest.mark.parametrize("token", [None, "", "another"])
def test_a_stranger_without_its_token_runs_nothing_in_it(token: str | None, started: Started) -> None:
    known = started.token if token is None else token
    said = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": known} if known else {"RAY_AUTH_MODE": "disabled"}
    joined = subprocess.run(
        [sys.executable, "-c", STRANGER, started.address],
        env=environment(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", **said),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert joined.stdout == ("ran\n" if known == started.token else "")  # the one who knows it shows the way
    assert bool(joined.returncode) == (known != started.token)
    assert "InvalidAuthToken" in joined.stderr or known == started.token


def test_its_token_is_on_no_command_line_and_its_files_are_for_its_user_alone(started: Started) -> None:
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family(started.process.pid)]
    assert len(lines) >= 4
    assert not [line for line in lines if started.token.encode() in line]
    (folder,) = started.temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("sockets/*"))
